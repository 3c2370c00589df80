"""Revoking a connection by the API, and the deletion that it asks for, as it can be read afterwards."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select

from models.base import new_id
from models.connection import Connection
from models.deletion import FREEZE, GRANT_STEPS, HOST, RESCAN, VERIFY, Deletion
from models.job import CANCELLED, Job
from models.personal import children_of, stores_of
from models.revocation import end_revocation
from models.tenancy import tenant_session
from tests.worker.web.answers import good, problem
from tests.worker.web.api.test_connections import page
from tests.worker.web.conftest import Api
from worker.services import Services

STEPS = (*GRANT_STEPS, FREEZE, *(name for store in stores_of("connection")
                                 for name in (*(child.name for child in children_of(store)), store.name)),
         VERIFY, HOST, RESCAN)  # fmt: skip


def revoke(api: Api, connection_id: str, **options: Any) -> Any:
    return good(api("POST", f"/v1/connections/{connection_id}/revoke", **options), 202)


@pytest.mark.every_database
def test_who_may_not_revoke_does_not(as_tenant: Callable[..., Api], acme: Any, globex: Any, services: Services) -> None:
    path = f"/v1/connections/{acme.connection_id}/revoke"
    problem(as_tenant(acme, "connections:read")("POST", path), 403, "missing-scope")
    problem(as_tenant(globex)("POST", path), 404, "not-found")
    for unknown in (new_id(), "x", "%00"):
        problem(as_tenant(acme)("POST", f"/v1/connections/{unknown}/revoke"), 404, "not-found")

    with tenant_session(services.database, acme.id) as session:
        assert session.scalars(select(Connection.status)).one() == "active"
        assert session.scalars(select(Deletion)).all() == []


@pytest.mark.every_database
def test_revoking_closes_the_connection_and_schedules_what_was_promised(
    as_tenant: Callable[..., Api], platform: Callable[..., Api], acme: Any, services: Services
) -> None:
    platform("acme")("POST", "/v1/connections", json=page(acme.page_id))

    answer = revoke(as_tenant(acme), acme.connection_id)

    assert (answer["id"], answer["status"]) == (acme.connection_id, "revoking")
    deletion = answer["deletion"]
    assert len(deletion.pop("confirmation_code")) == 32
    assert deletion.pop("id")
    waits = {"status": "pending", "sentence": None, "before": None, "deleted": None, "after": None}
    assert deletion == {
        "status": "scheduled",
        "scope": {
            "kind": "connection",
            "connection_id": acme.connection_id,
            "integration": "facebook_leads",
            "rule_id": None,
            "idle_since": None,
        },
        "requested_by": "api",
        "requested_at": "2026-03-02T09:00:00Z",
        "undo_until": "2026-03-03T09:00:00Z",
        "safe_due_at": "2026-03-08T08:00:00Z",
        # Monday; the end of the seventh working day after it, in New York.
        "promise_due_at": "2026-03-12T04:00:00Z",
        "working_days_left": 7,
        "completed_at": None,
        "needs_approval": False,
        "approved_at": None,
        "hold_reason": None,
        "urgent": False,
        "calendar": "US (nationwide) mon-fri America/New_York",
        "skipped": [{"day": "2026-03-07", "why": "Saturday"}, {"day": "2026-03-08", "why": "Sunday"}],
        "frozen_at": None,
        "verified_at": None,
        "acknowledged_at": None,
        "steps": [{"name": name, **waits} for name in STEPS],
    }
    with tenant_session(services.database, acme.id) as session:
        jobs = dict(session.execute(select(Job.kind, Job.state)).all())
    cancelled = ("connections.check", "leads.fetch", "forms.discover", "leads.catch_up")
    assert jobs == {**dict.fromkeys(cancelled, CANCELLED), "connections.revoke": "queued"}
    problem(as_tenant(acme)("POST", f"/v1/connections/{acme.connection_id}/check"), 409, "wrong-state")
    again = platform("acme")("POST", "/v1/connections", json=page(acme.page_id))
    assert "in a few minutes" in problem(again, 409, "wrong-state")["detail"]


@pytest.mark.every_database
def test_revoking_twice_or_at_once_is_one_deletion(
    as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    api = as_tenant(acme)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: revoke(api, acme.connection_id)["deletion"]["id"], range(4)))

    assert len(set(answers)) == 1
    with tenant_session(services.database, acme.id) as session:
        assert len(session.scalars(select(Deletion)).all()) == 1
        assert len(session.scalars(select(Job).where(Job.kind == "connections.revoke")).all()) == 1
        end_revocation(session, services.vault, session.get_one(Connection, acme.connection_id), services.clock())
    late = revoke(api, acme.connection_id)
    assert (late["status"], late["deletion"]["id"]) == ("revoked", answers[0])


@pytest.mark.every_database
def test_a_deletion_can_be_read_and_its_days_run_out(as_tenant: Callable[..., Api], acme: Any, clock: Any) -> None:
    api = as_tenant(acme)
    asked = revoke(api, acme.connection_id)["deletion"]

    assert good(api("GET", f"/v1/deletions/{asked['id']}")) == asked
    assert good(api("GET", "/v1/deletions")) == {"items": [asked], "next": None}
    problem(as_tenant(acme, "leads:read")("GET", "/v1/deletions"), 403, "missing-scope")
    problem(api("GET", "/v1/deletions?cursor=AAAA"), 400, "bad-cursor")
    for days, left in ((1, 6), (5, 3), (8, 0)):
        clock.tick(days * 86400)
        assert good(api("GET", f"/v1/deletions/{asked['id']}"))["working_days_left"] == left


@pytest.mark.every_database
def test_deletions_are_listed_a_page_at_a_time(
    as_tenant: Callable[..., Api], platform: Callable[..., Api], acme: Any
) -> None:
    for number in range(3):
        made = good(platform("acme")("POST", "/v1/connections", json=page(f"44{number}")), 201)
        revoke(as_tenant(acme), made["id"])

    first = good(as_tenant(acme)("GET", "/v1/deletions?limit=2"))
    second = good(as_tenant(acme)("GET", f"/v1/deletions?limit=2&cursor={first['next']}"))

    assert (len(first["items"]), len(second["items"]), second["next"]) == (2, 1, None)
    assert all(len(item["steps"]) == len(STEPS) for item in first["items"] + second["items"])


def test_globex_sees_nothing_of_acmes_deletions(as_tenant: Callable[..., Api], acme: Any, globex: Any) -> None:
    theirs = revoke(as_tenant(acme), acme.connection_id)["deletion"]["id"]

    assert good(as_tenant(globex)("GET", "/v1/deletions")) == {"items": [], "next": None}
    answer, unknown = (as_tenant(globex)("GET", f"/v1/deletions/{id}") for id in (theirs, new_id()))  # noqa: A001
    problem(answer, 404, "not-found")
    assert answer.text == unknown.text
