"""The page behind a confirmation code: what happens to the data and by when, for people, and nothing about whose it is."""

from typing import Any

import httpx
import pytest

from models.deletion import STEP_DONE, STEP_FAILED, STEP_SKIPPED, end_step, nothing_held
from models.revocation import begin_revocation
from models.tenancy import system_session, tenant_session
from worker.services import Services

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def code(services: Services, acme: Any) -> str:
    """A revocation of acme's, with one step of each outcome."""
    now = services.clock()
    with tenant_session(services.database, acme.id) as session:
        begun = begin_revocation(session, acme.connection_id, requested_by="api", undo=services.settings.undo, now=now)
        assert begun is not None
        end_step(session, begun[0].id, "stop_notices", STEP_DONE, None, now)
        end_step(session, begun[0].id, "revoke_grant", STEP_SKIPPED, f"Another connection lives. {EVIL}", now)
        end_step(session, begun[0].id, "destroy_tokens", STEP_FAILED, None, now)
        return begun[0].confirmation_code


@pytest.mark.parametrize(
    "unknown", ["x", "%00", "a" * 32, "A" * 32, "01890000-0000-7000-8000-000000000000", "a" * 3000, "<script>"]
)
def test_an_unknown_code_is_said_kindly(http: httpx.Client, code: str, unknown: str) -> None:
    answer = http.get(f"/deletions/{unknown}")

    assert answer.status_code == 404
    assert "No deletion has this code" in answer.text
    assert "<script" not in answer.text


def test_the_page_says_what_and_until_when_and_names_nobody(http: httpx.Client, code: str, acme: Any) -> None:
    answer = http.get(f"/deletions/{code}")

    assert answer.status_code == 200
    for told in (
        "Scheduled", "A connection to Facebook Lead Ads, and everything acquired through it", "2 Mar 2026, 04:00",
        "Wednesday, 11 March 2026", "America/New York", "Stop taking in new data", "Another connection lives.", "Done",
        "Not done", "Failed",
    ):  # fmt: skip
        assert told in answer.text
    for hidden in ("Acme", "acme", acme.id, acme.page_id, acme.connection_id, "<script"):
        assert hidden not in answer.text
    assert answer.headers["cache-control"] == "no-store"


def test_programs_get_the_same_as_json(http: httpx.Client, code: str, acme: Any) -> None:
    told = http.get(f"/deletions/{code}", headers={"accept": "application/json"}).json()

    assert told["confirmation_code"] == code
    (asked,) = told["requests"]
    assert (asked["status"], asked["promise_due_at"]) == ("scheduled", "2026-03-12T04:00:00+00:00")
    assert [step["status"] for step in asked["steps"]] == ["done", "skipped", "failed", *["pending"] * 5]
    assert "Delete the data and its history" in [step["name"] for step in asked["steps"]]
    assert asked["skipped"][0] == {"day": "2026-03-07", "why": "Saturday"}
    assert acme.id not in str(told)


def test_who_is_not_known_reads_that_nothing_is_held(http: httpx.Client, services: Services) -> None:
    with system_session(services.database) as session:
        code = nothing_held(session, requested_by="meta_deletion", now=services.clock()).confirmation_code

    page = http.get(f"/deletions/{code}").text

    assert "there is nothing to delete" in page
    assert "Done by" not in page
