"""Asking for deletions by the API: counts first, two people, nothing of another tenant, and clear refusals."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from models.deletion import Deletion
from models.job import Job
from models.tenancy import tenant_session
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from worker.services import Services

PERSON = {"kind": "subject", "email": "nobody@example.com"}


def by_connection(company: Any) -> dict[str, Any]:
    return {"kind": "connection", "connection_id": company.connection_id}


@pytest.fixture
def api(as_tenant: Callable[..., Api], acme: Any) -> Api:
    return as_tenant(acme)


@pytest.fixture
def held(api: Api, add_lead: Callable[..., str], acme: Any) -> dict[str, Any]:
    """A deletion of acme's connection, which has a lead, as Ann asked for it."""
    add_lead(acme, "1001")
    asked = {"scope": by_connection(acme), "requested_by": "Ann"}
    found: dict[str, Any] = good(api("POST", "/v1/deletions", json=asked), 202)
    return found


def test_a_preview_counts_and_changes_nothing(
    api: Api, add_lead: Callable[..., str], acme: Any, services: Services
) -> None:
    add_lead(acme, "1001")
    counted = good(api("POST", "/v1/deletions/preview", json={"scope": by_connection(acme)}))
    rows = {one["name"]: one["rows"] for one in counted["stores"]}
    assert (rows["leads"], rows["lead_history"], rows["connections"]) == (1, 1, 1)
    assert {"inbox_events", "forms", "data_keys", "events"} <= rows.keys()
    with tenant_session(services.database, acme.id) as session:
        assert session.scalars(select(Deletion)).all() == []


def test_leads_need_a_second_person_and_the_first_is_refused(
    api: Api, held: dict[str, Any], clock: Any, services: Services, acme: Any
) -> None:
    address = f"/v1/deletions/{held['id']}"
    assert (held["status"], held["needs_approval"]) == ("awaiting_approval", True)
    assert "two people" in problem(api("POST", f"{address}/approve", json={"approved_by": " ANN"}), 409,
                                   "second-person-needed")["detail"]  # fmt: skip
    clock.tick(timedelta(hours=25).total_seconds())
    agreed = good(api("POST", f"{address}/approve", json={"approved_by": "Bob"}))
    assert agreed["status"] == "scheduled" and agreed["approved_at"] is not None
    with tenant_session(services.database, acme.id) as session:
        assert session.scalars(select(Job.kind).where(Job.kind == "deletions.run")).all(), "it begins at once"
    assert good(api("POST", f"{address}/approve"))["approved_at"] == agreed["approved_at"]
    assert good(api("POST", "/v1/deletions", json={"scope": by_connection(acme)}), 202)["id"] == held["id"]


def test_it_can_be_held_released_and_cancelled_but_not_attested_before_it_begins(
    api: Api, held: dict[str, Any]
) -> None:
    address = f"/v1/deletions/{held['id']}"
    assert good(api("POST", f"{address}/hold", json={"reason": "dispute"}))["hold_reason"] == "dispute"
    problem(api("POST", f"{address}/hold", json={"reason": "Mr Smith says so"}), 422, "invalid")
    assert good(api("POST", f"{address}/release"))["status"] == "awaiting_approval"
    problem(api("POST", f"{address}/release"), 409, "wrong-state")
    problem(api("POST", f"{address}/acks", json={"system": "crm"}), 409, "wrong-state")
    assert good(api("POST", f"{address}/cancel"))["status"] == "cancelled"
    problem(api("POST", f"{address}/approve", json={"approved_by": "Bob"}), 409, "wrong-state")


def test_a_connection_without_leads_and_an_urgent_person_need_nobodys_leave(api: Api, acme: Any) -> None:
    asked = good(api("POST", "/v1/deletions", json={"scope": by_connection(acme)}), 202)
    assert (asked["status"], asked["needs_approval"]) == ("scheduled", False)
    child = good(api("POST", "/v1/deletions", json={"scope": PERSON, "urgent": True}), 202)
    assert (child["urgent"], child["undo_until"]) == (True, child["requested_at"])
    problem(api("POST", "/v1/deletions", json={"scope": {"kind": "tenant"}, "urgent": True}), 422, "invalid")


@pytest.mark.parametrize(
    "scope",
    [
        {"kind": "connection"},
        {"kind": "connection", "connection_id": "nonsense"},
        {"kind": "integration", "integration": "linkedin"},
        {"kind": "subject"},
        {"kind": "subject", "email": "not an address"},
        {"kind": "tenant", "email": "ann@example.com"},
        {"kind": "everything"},
    ],
)
def test_a_scope_that_says_nothing_is_refused_and_not_repeated(api: Api, scope: dict[str, str]) -> None:
    answer = api("POST", "/v1/deletions", json={"scope": scope})
    problem(answer, 422, "invalid")
    assert not any(value in answer.text for value in scope.values() if "@" in value or value == "nonsense")


def test_globex_can_do_nothing_about_acmes(
    held: dict[str, Any], as_tenant: Callable[..., Api], globex: Any, acme: Any
) -> None:
    theirs = as_tenant(globex)
    for action in ("approve", "cancel", "release", "acks"):
        problem(theirs("POST", f"/v1/deletions/{held['id']}/{action}"), 404, "not-found")
    problem(theirs("POST", "/v1/deletions", json={"scope": by_connection(acme)}), 404, "not-found")
    problem(theirs("POST", "/v1/deletions/preview", json={"scope": by_connection(acme)}), 404, "not-found")
    problem(as_tenant(acme, "leads:read")("POST", "/v1/deletions", json={"scope": PERSON}), 403, "missing-scope")
