"""The promises as they are listed: each is proven by tests that exist or says why it is not kept yet, and none is left out."""

import ast
from collections.abc import Iterable
from dataclasses import replace
from functools import cache

import pytest

from models.promise import Promise, promises, read
from models.tally import GRANT_ENDS_WITHIN, NAMES
from tests.project.places import ROOT
from worker import jobs
from worker.retries import LONGEST_WAIT
from worker.tasks.revocations import PROVIDER_PATIENCE

KINDS = {kind for name, kind in vars(jobs).items() if name.isupper() and isinstance(kind, str) and "." in kind}
REQUIRED = set("""
facebook-erased-in-seven-working-days leads-and-their-history-erased no-deletion-by-mistake all-leads-can-be-viewed
facebook-access-for-leads-alone grants-ended access-removed-at-the-provider google-least-data google-revoked-on-request
inactive-data-deleted deleted-on-request-unless-law-forbids person-forgotten tenant-forgotten every-readily-searchable-store
third-parties-told access-in-a-portable-format inaccurate-data-corrected processing-restricted objection-and-opt-out
identity-checked administrators-decide tenants-apart encrypted-and-restricted kept-only-as-long-as-needed
policy-changes-announced children-deleted-promptly bulletins-and-devices-erased recordings-and-call-logs-erased
meta-deletion-callback deletion-proven every-lead-is-here
""".split())  # fmt: skip
"""What the five policies promise (the first ones), and what Troth promises besides. None may be dropped in silence."""


@cache
def functions_of(file: str) -> frozenset[str]:
    path = ROOT / file
    if not path.is_file():
        return frozenset()
    return frozenset(node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef))


def is_a_test(node_id: str) -> bool:
    file, _, name = node_id.partition("::")
    return name.startswith("test_") and name in functions_of(file)


def faults(listed: Iterable[Promise]) -> set[str]:
    """What is wrong with a list of promises, in words."""
    found: set[str] = set()
    seen: set[str] = set()
    for one in listed:
        if one.id in seen:
            found.add(f"{one.id} is listed twice")
        seen.add(one.id)
        if not one.id.replace("-", "").isalnum() or one.id != one.id.lower():
            found.add(f"{one.id} is not in kebab case")
        if not one.sentence or not one.clock:
            found.add(f"{one.id} says nothing or has no clock")
        found |= {f"{one.id} names a test that does not exist: {test}" for test in one.tests if not is_a_test(test)}
        found |= {f"{one.id} names a job that does not exist: {job}" for job in one.jobs if job not in KINDS}
        if not one.tests and not one.not_yet:
            found.add(f"{one.id} has no tests and does not say why")
        if one.counts and (one.counts not in NAMES or not one.tests):
            found.add(f"{one.id} is counted by nothing, or before it is tested")
    return found | {f"{name} is missing" for name in REQUIRED - seen}


def test_every_promise_is_proven_or_says_why_not() -> None:
    assert faults(promises()) == set()
    assert {one.counts for one in promises()} - {""} == set(NAMES), "a tally that no promise shows"


@pytest.mark.parametrize(
    "change, fault",
    [
        ({"tests": ("tests/worker/test_deletions_task.py::test_that_nobody_wrote",)}, "names a test that does not exist"),
        ({"tests": ("tests/nowhere.py::test_a",)}, "names a test that does not exist"),
        ({"jobs": ("deletions.dream",)}, "names a job that does not exist: deletions.dream"),
        ({"tests": (), "not_yet": "", "counts": ""}, "has no tests and does not say why"),
        ({"counts": "wishes"}, "is counted by nothing"),
        ({"id": "tenants-apart"}, "tenants-apart is listed twice"),
        ({"id": "another"}, f"{promises()[0].id} is missing"),
        ({"sentence": ""}, "says nothing"),
    ],
)  # fmt: skip
def test_a_promise_without_proof_is_found(change: dict[str, object], fault: str) -> None:
    first, *others = promises()
    assert fault in " ".join(faults([replace(first, **change), *others]))  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"clocks": "x"}, {"jobs": "deletions.run"}, {"tests": [1]}, {"sentence": ["x"]}])
def test_an_entry_of_another_shape_is_refused_by_name(change: dict[str, object]) -> None:
    good: dict[str, object] = {"id": "x", "sentence": "s", "policies": [], "clock": "c", "jobs": [], "tests": [],
                               "counts": "", "not_yet": "n"}  # fmt: skip
    assert read(good).policies == ()
    with pytest.raises(ValueError, match="promise 'x' has "):
        read(good | change)


def test_the_count_of_ended_grants_waits_as_long_as_the_task_does() -> None:
    assert GRANT_ENDS_WITHIN == PROVIDER_PATIENCE + LONGEST_WAIT
