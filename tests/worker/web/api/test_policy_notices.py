"""A change of policy: told once to each host, with evidence of who was told and who read it, and nothing told differently."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from models.feed import Event
from models.policy_notice import PolicyRecipient
from models.tenancy import tenant_session
from tests.worker.outside import settle
from tests.worker.runner import Runner
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from worker import jobs
from worker.services import Services
from worker.tasks import HANDLERS
from worker.work import Work

NOTICE = {
    "version": "2026-12",
    "effective_at": "2026-12-31T00:00:00Z",
    "url": "https://crm.example/privacy/2026-12",
    "summary": "Leads are kept for a year.",
}
ADDRESS = "/v1/policy-notices"


def told(services: Services, company: Any) -> list[dict[str, Any]]:
    with tenant_session(services.database, company.id, reads_only=True) as session:
        return list(session.scalars(select(Event.data).where(Event.type == "policy.notice")))


@pytest.mark.every_database
def test_a_tenants_users_are_told_and_who_read_it_is_known(
    as_tenant: Callable[..., Api], acme: Any, globex: Any, services: Services, clock: Any
) -> None:
    api, stranger = as_tenant(acme), as_tenant(globex)
    one = good(api("POST", ADDRESS, json={**NOTICE, "users": ["u1", "u2", "u1"]}), 202)
    assert (one["recipients"], one["acknowledged"], one["origin"]) == (3, 0, "tenant"), (
        "two users and the tenant itself"
    )
    assert [data["version"] for data in told(services, acme)] == ["2026-12"] and told(services, globex) == []
    clock.tick(60)
    again = good(api("POST", ADDRESS, json={**NOTICE, "users": ["u2", "u3"]}), 202)
    assert (again["id"], again["recipients"]) == (one["id"], 4)
    problem(api("POST", ADDRESS, json={**NOTICE, "summary": "For ever."}), 409, "conflict")

    acks = f"{ADDRESS}/{one['id']}/acks"
    first = good(api("POST", acks, json={"user": "u1"}))
    assert first["sent_at"] < first["acknowledged_at"]
    clock.tick(60)
    assert good(api("POST", acks, json={"user": "u1"})) == first == good(api("GET", acks, params={"user": "u1"}))
    assert good(api("GET", acks))["acknowledged_at"] is None and good(api("POST", acks))["acknowledged_at"] is not None
    problem(api("POST", acks, json={"user": "nobody"}), 404, "not-found")
    assert good(api("GET", f"{ADDRESS}/{one['id']}"))["acknowledged"] == 2
    with tenant_session(services.database, acme.id, reads_only=True) as session:
        assert not any(b"u1" in mark for mark in session.scalars(select(PolicyRecipient.mark)))

    for method, path in (("GET", f"{ADDRESS}/{one['id']}"), ("GET", acks), ("POST", acks)):
        problem(stranger(method, path), 404, "not-found")
    assert good(stranger("GET", ADDRESS))["items"] == []


def test_the_platform_tells_every_tenant_once(
    platform: Callable[..., Api], as_tenant: Callable[..., Api], acme: Any, globex: Any, services: Services
) -> None:
    notice = good(platform()("POST", ADDRESS, json=NOTICE), 202)
    settle(Runner(services, HANDLERS), services)
    with Work(services, None) as work:  # as after a worker that was killed
        work.put(jobs.policies_announce(notice["id"]))
    settle(Runner(services, HANDLERS), services)
    for company in (acme, globex):
        assert len(told(services, company)) == 1
        (item,) = good(as_tenant(company)("GET", ADDRESS))["items"]
        assert (item["origin"], item["recipients"], item["summary"]) == ("platform", 1, NOTICE["summary"])
    problem(platform()("POST", ADDRESS, json={**NOTICE, "users": ["u1"]}), 422, "invalid")
    problem(as_tenant(acme, "rights:read")("POST", ADDRESS, json=NOTICE), 403, "missing-scope")


@pytest.mark.parametrize("change", [
    {"version": ""}, {"effective_at": "soon"}, {"url": "javascript:alert(1)"}, {"summary": "x" * 501}, {"users": [""]},
    {"users": ["u"] * 1001}, {"else": 1},
])  # fmt: skip
def test_a_notice_that_cannot_be_told_is_refused(
    as_tenant: Callable[..., Api], acme: Any, change: dict[str, Any]
) -> None:
    problem(as_tenant(acme)("POST", ADDRESS, json={**NOTICE, **change}), 422, "invalid")
