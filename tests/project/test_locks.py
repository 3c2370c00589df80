"""What is installed: every package by version and hash, from whatever index pip is told to use."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.project.places import ROOT

LOCKS = ("requirements.lock", "requirements-dev.lock")


def _entries(lock: str) -> list[str]:
    """A lock's requirements, each joined into one line."""
    return (ROOT / lock).read_text().replace("\\\n", " ").splitlines()


def _pins(lock: str) -> dict[str, str]:
    found = [Requirement(entry.partition(" --hash")[0]) for entry in _entries(lock)]
    return {canonicalize_name(one.name): str(one.specifier) for one in found}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_is_a_version_with_its_hashes(lock: str) -> None:
    shape = re.compile(r"[\w.\-]+==[^ ;]+( ; [^#]+?)?( +--hash=sha256:[0-9a-f]{64})+")
    assert _entries(lock)
    assert [entry for entry in _entries(lock) if not shape.fullmatch(entry)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not re.search(r"://|--index|--extra-index|--find-links|--trusted-host| @ ", text)


def test_both_locks_agree_on_every_version() -> None:
    runtime, development = (_pins(lock) for lock in LOCKS)
    assert runtime.items() <= development.items()


def test_what_pyproject_asks_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    runtime = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["embedded"]]
    wanted = {
        "requirements.lock": runtime + groups["build"],
        "requirements-dev.lock": runtime + groups["build"] + [one for one in groups["dev"] if isinstance(one, str)],
    }
    for lock, asked in wanted.items():
        pins = _pins(lock)
        for requirement in map(Requirement, asked):
            pin = pins[canonicalize_name(requirement.name)].removeprefix("==")
            assert requirement.specifier.contains(pin), f"{lock} has {requirement.name} {pin}; run `make lock`"


def test_tools_of_the_developer_are_not_in_the_runtime_lock() -> None:
    assert _pins("requirements.lock").keys().isdisjoint({"pytest", "mypy", "ruff", "hypothesis", "uv"})
