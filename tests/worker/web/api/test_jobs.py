"""The tenant's part of the ledger, and what a person may decide."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from models.base import new_id
from models.job import Job, put
from models.run import claim, finish, give_up
from models.tenancy import tenant_session
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from worker import jobs
from worker.services import Services

RUN: dict[str, Any] = {"kind": jobs.LEADS_FETCH, "lease": jobs.LEASE, "worker": "w"}


@pytest.fixture
def job(services: Services, acme: Any) -> str:
    """A queued job of acme."""
    with tenant_session(services.database, acme.id) as session:
        put(session, [jobs.leads_fetch(acme.id, acme.connection_id)], services.clock())
        return session.scalars(select(Job.id)).one()


def end(services: Services, tenant_id: str, job_id: str, *, well: bool) -> None:
    now = services.clock()
    with tenant_session(services.database, tenant_id) as session:
        run = claim(session, job_id, tenant_id, now=now, **RUN)
        assert run is not None
        if well:
            finish(session, run, now)
        else:
            give_up(session, run, now, kind="our_bug", sentence="Meta did not understand the request.")


@pytest.mark.every_database
def test_globex_sees_nothing_of_acmes_jobs(as_tenant: Callable[..., Api], job: str, globex: Any) -> None:
    api = as_tenant(globex)

    assert good(api("GET", "/v1/jobs"))["items"] == []
    for method, path in (("GET", ""), ("POST", "/retry"), ("POST", "/cancel")):
        theirs, unknown = api(method, f"/v1/jobs/{job}{path}"), api(method, f"/v1/jobs/{new_id()}{path}")
        problem(theirs, 404, "not-found")
        assert theirs.text == unknown.text


@pytest.mark.every_database
def test_only_a_dead_job_is_retried_and_its_error_is_shown(
    as_tenant: Callable[..., Api], job: str, acme: Any, services: Services
) -> None:
    api = as_tenant(acme)
    problem(api("POST", f"/v1/jobs/{job}/retry"), 409, "wrong-state")
    end(services, acme.id, job, well=False)
    dead = good(api("GET", f"/v1/jobs/{job}"))
    assert dead["state"] == "dead"
    assert dead["error"] == {"class": "our_bug", "sentence": "Meta did not understand the request."}
    assert dead["finished_at"] is not None

    again = good(api("POST", f"/v1/jobs/{job}/retry"))

    assert (again["state"], again["attempts"], again["finished_at"]) == ("queued", 0, None)
    assert services.gates["interactive"].backlog().queued == 1
    end(services, acme.id, job, well=True)
    problem(api("POST", f"/v1/jobs/{job}/retry"), 409, "wrong-state")


def test_a_dead_job_whose_work_waits_already_is_not_doubled(
    as_tenant: Callable[..., Api], job: str, acme: Any, services: Services
) -> None:
    end(services, acme.id, job, well=False)
    with tenant_session(services.database, acme.id) as session:
        put(session, [jobs.leads_fetch(acme.id, acme.connection_id)], services.clock())

    problem(as_tenant(acme)("POST", f"/v1/jobs/{job}/retry"), 409, "wrong-state")


@pytest.mark.every_database
def test_a_cancelled_job_cannot_be_claimed_and_makes_room_for_a_new_one(
    as_tenant: Callable[..., Api], job: str, acme: Any, services: Services
) -> None:
    api = as_tenant(acme)

    assert good(api("POST", f"/v1/jobs/{job}/cancel"))["state"] == "cancelled"
    assert good(api("POST", f"/v1/jobs/{job}/cancel"))["state"] == "cancelled"

    with tenant_session(services.database, acme.id) as session:
        assert claim(session, job, acme.id, now=services.clock(), **RUN) is None
        assert len(put(session, [jobs.leads_fetch(acme.id, acme.connection_id)], services.clock())) == 1


def test_a_finished_job_cannot_be_cancelled(
    as_tenant: Callable[..., Api], job: str, acme: Any, services: Services
) -> None:
    end(services, acme.id, job, well=True)

    problem(as_tenant(acme)("POST", f"/v1/jobs/{job}/cancel"), 409, "wrong-state")


@pytest.mark.every_database
def test_jobs_are_listed_by_state(as_tenant: Callable[..., Api], job: str, acme: Any) -> None:
    api = as_tenant(acme, "jobs:read")

    assert [item["id"] for item in good(api("GET", "/v1/jobs", params={"state": "queued"}))["items"]] == [job]
    assert good(api("GET", "/v1/jobs", params={"state": "dead"}))["items"] == []
    problem(api("GET", "/v1/jobs", params={"state": "lost"}), 422, "invalid")
    problem(api("POST", f"/v1/jobs/{job}/cancel"), 403, "missing-scope")
