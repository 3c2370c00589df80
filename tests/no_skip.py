"""A pytest plugin: with TROTH_TEST_NO_SKIP=1, as continuous integration sets it, a skipped test is a failed one."""

import os
from collections.abc import Generator
from typing import TypeVar

import pytest

VARIABLE = "TROTH_TEST_NO_SKIP"
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test, or the set-up of one, that was skipped."""
    return _without_skips((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A whole file that was skipped while it was read."""
    return _without_skips((yield))


def _without_skips(report: Report) -> Report:
    # An expected failure is reported as skipped too; that one is no hole in what was tested.
    if os.environ.get(VARIABLE) == "1" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which {VARIABLE}=1 forbids: {_reason(report.longrepr)}"
    return report


def _reason(longrepr: object) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
