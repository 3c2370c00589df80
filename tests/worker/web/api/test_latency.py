"""How fast a tenant's leads were: its own alone, and only those that came by themselves."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from worker.web.api.latency import percentiles

NONE = {"p50": None, "p95": None, "p99": None}


@pytest.mark.parametrize(
    "seconds, wanted",
    [
        ([], (None, None, None)),
        ([3.0], (3.0, 3.0, 3.0)),
        ([2.0, 1.0], (1.0, 2.0, 2.0)),
        ([float(number) for number in range(100, 0, -1)], (50.0, 95.0, 99.0)),
    ],
    ids=["none", "one", "two", "hundred"],
)
def test_each_percentile_is_one_that_was_measured(
    seconds: list[float], wanted: tuple[float | None, float | None, float | None]
) -> None:
    found = percentiles(seconds)
    assert (found.p50, found.p95, found.p99) == wanted


def test_a_span_that_makes_no_sense_is_refused(as_tenant: Callable[..., Api], acme: Any) -> None:
    for days in ("0", "91", "week"):
        problem(as_tenant(acme)("GET", "/v1/leads/latency", params={"days": days}), 422, "invalid")
    problem(as_tenant(acme, "jobs:read")("GET", "/v1/leads/latency"), 403, "missing-scope")


@pytest.mark.every_database
def test_the_spans_are_those_of_leads_that_came_by_themselves_and_globex_sees_none(
    as_tenant: Callable[..., Api], acme: Any, globex: Any, add_lead: Callable[..., str], clock: Any
) -> None:
    nobody = {"full_name": None, "email": None, "phone": None, "phone_raw": None}
    had = add_lead(acme, "5001", contact=nobody)  # heard of after 4 seconds
    add_lead(acme, "5002", contact=nobody, created_at=clock() - timedelta(seconds=10), source="catch_up")
    add_lead(acme, "5003", contact=nobody, created_at=clock() - timedelta(days=80), source="backfill")
    add_lead(acme, "5004", contact=nobody, created_at=clock() - timedelta(hours=1), is_test=True)
    long_ago = clock() - timedelta(days=2)
    add_lead(acme, "5005", contact=nobody, created_at=long_ago - timedelta(hours=2), received_at=long_ago)
    clock.tick(30)
    good(as_tenant(acme)("POST", f"/v1/leads/{had}/acknowledge"))

    assert good(as_tenant(acme, "leads:read")("GET", "/v1/leads/latency", params={"days": 1})) == {
        "days": 1, "leads": 2, "acknowledged": 1,
        "created_to_received": {"p50": 4.0, "p95": 10.0, "p99": 10.0},
        "received_to_acknowledged": {"p50": 30.0, "p95": 30.0, "p99": 30.0},
        "created_to_acknowledged": {"p50": 34.0, "p95": 34.0, "p99": 34.0},
    }  # fmt: skip
    assert good(as_tenant(acme)("GET", "/v1/leads/latency"))["leads"] == 3
    assert good(as_tenant(globex)("GET", "/v1/leads/latency")) == {
        "days": 7, "leads": 0, "acknowledged": 0, "created_to_received": NONE, "received_to_acknowledged": NONE,
        "created_to_acknowledged": NONE,
    }  # fmt: skip
