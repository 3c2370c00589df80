"""The one way into a job: what is refused, what is run, and what errors lead to."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import structlog
from sqlalchemy import select

from integrations.errors import NeedsUser, Throttled, Transient
from models import run as ledger
from models.connection import ACTIVE, NEEDS_RECONNECT, Connection
from models.job import DEAD, DONE, QUEUED, RUNNING, WAITING, Job, NewJob, hurry
from models.refusal import refusals_by_reason
from models.tenancy import SYSTEM, system_session, tenant_session
from tests.conftest import Company, FrozenClock
from tests.worker.runner import Runner
from worker.jobs import INTERACTIVE, LEASE, MOST_ATTEMPTS
from worker.reconcile import reconcile
from worker.services import Services
from worker.task import Handler, Ticket
from worker.work import Work

pytestmark = pytest.mark.every_database

KIND = "test.kind"
Make = Callable[[dict[str, Handler]], Runner]


def put(services: Services, tenant_id: str, **fields: str) -> str:
    job = NewJob(tenant_id, KIND, INTERACTIVE, **fields)
    with Work(services, tenant_id) as work:
        work.put(job)
    return job.id


def job(services: Services, job_id: str) -> Job:
    with system_session(services.database, reads_only=True) as session:
        return session.get_one(Job, job_id)


def refusals(services: Services) -> dict[str, int]:
    with system_session(services.database, reads_only=True) as session:
        return refusals_by_reason(session)


class Spy:
    def __init__(self, error: Exception | None = None) -> None:
        self.tickets: list[Ticket] = []
        self.error = error

    def __call__(self, ticket: Ticket) -> None:
        self.tickets.append(ticket)
        if self.error:
            raise self.error


def test_a_message_without_a_tenant_is_refused_and_kept(services: Services, acme: Company, runner: Make) -> None:
    spy = Spy()
    job_id = put(services, acme.id)
    runner({KIND: spy}).deliver(KIND, job_id, None)
    assert (spy.tickets, refusals(services), job(services, job_id).state) == ([], {"untagged": 1}, QUEUED)


@pytest.mark.parametrize("tag", ["", "acme", 7, "*", "x" * 36, "00000000-0000-0000-0000-00000000000g"])
def test_a_tag_that_is_no_id_is_refused(services: Services, acme: Company, runner: Make, tag: object) -> None:
    spy = Spy()
    runner({KIND: spy}).deliver(KIND, put(services, acme.id), tag)
    assert (spy.tickets, refusals(services)) == ([], {"malformed": 1})


def test_an_unknown_tenant_is_refused(services: Services, acme: Company, runner: Make) -> None:
    spy = Spy()
    runner({KIND: spy}).deliver(KIND, put(services, acme.id), "01900000-0000-7000-8000-000000000001")
    assert (spy.tickets, refusals(services)) == ([], {"unknown_tenant": 1})


@pytest.mark.parametrize("other", ["globex", "system"])
def test_a_tenant_that_does_not_own_the_job_is_refused(
    services: Services, acme: Company, globex: Company, runner: Make, other: str
) -> None:
    spy = Spy()
    job_id = put(services, acme.id)
    runner({KIND: spy}).deliver(KIND, job_id, globex.id if other == "globex" else SYSTEM)
    assert (spy.tickets, refusals(services), job(services, job_id).state) == ([], {"wrong_tag": 1}, QUEUED)


def test_a_message_of_another_kind_than_its_job_is_refused(services: Services, acme: Company, runner: Make) -> None:
    spy = Spy()
    job_id = put(services, acme.id)
    runner({KIND: Spy(), "other.kind": spy}).deliver("other.kind", job_id, acme.id)
    assert (spy.tickets, refusals(services), job(services, job_id).state) == ([], {"wrong_tag": 1}, QUEUED)


def test_a_job_nobody_knows_is_refused(services: Services, acme: Company, runner: Make) -> None:
    runner({KIND: Spy()}).deliver(KIND, "01900000-0000-7000-8000-000000000002", acme.id)
    assert refusals(services) == {"unknown_job": 1}


def test_a_job_runs_once_however_often_its_message_comes(services: Services, acme: Company, runner: Make) -> None:
    spy = Spy()
    worker = runner({KIND: spy})
    job_id = put(services, acme.id)
    assert worker.run_all() == 1
    for _ in range(3):
        worker.deliver(KIND, job_id, acme.id)
    assert (len(spy.tickets), job(services, job_id).state, refusals(services)) == (1, DONE, {})


def test_a_run_sees_its_own_tenant_only(services: Services, acme: Company, globex: Company, runner: Make) -> None:
    seen: list[str] = []

    def look(ticket: Ticket) -> None:
        with ticket.work(reads_only=True) as work:
            seen.extend(work.session.scalars(select(Connection.tenant_id)))

    worker = runner({KIND: look})
    put(services, acme.id)
    worker.run_all()
    assert seen == [acme.id]


def test_a_transient_error_waits_and_comes_back(
    services: Services, acme: Company, runner: Make, clock: FrozenClock
) -> None:
    spy = Spy(Transient("Meta did not answer."))
    worker = runner({KIND: spy})
    job_id = put(services, acme.id)
    worker.run_all()
    row = job(services, job_id)
    assert (row.state, row.error_kind, row.error_sentence) == (WAITING, "transient", "Meta did not answer.")
    assert reconcile(services).due == 0
    clock.tick(3)
    spy.error = None
    assert reconcile(services).due == 1
    assert worker.run_all() == 1
    row = job(services, job_id)
    assert (row.state, row.attempts, row.error_kind) == (DONE, 2, None)


def test_a_throttle_waits_as_long_as_the_provider_says_and_costs_no_attempt(
    services: Services, acme: Company, runner: Make, clock: FrozenClock
) -> None:
    worker = runner({KIND: Spy(Throttled("Meta asks us to wait.", retry_after=timedelta(minutes=17)))})
    job_id = put(services, acme.id)
    worker.run_all()
    row = job(services, job_id)
    assert (row.state, row.attempts, row.due_at) == (WAITING, 0, clock.now + timedelta(minutes=17))


def test_a_dead_token_parks_the_job_and_says_why_until_somebody_hurries_it(
    services: Services, acme: Company, runner: Make, clock: FrozenClock
) -> None:
    spy = Spy(NeedsUser("The password was changed.", code="190/460", fix="Connect the page again."))
    worker = runner({KIND: spy})
    job_id = put(services, acme.id, key="k", connection_id=acme.connection_id)
    worker.run_all()
    with tenant_session(services.database, acme.id) as session:
        connection = session.get_one(Connection, acme.connection_id)
        assert (connection.status, connection.health_sentence) == (NEEDS_RECONNECT, "The password was changed.")
        connection.status = ACTIVE
        hurry(session, acme.id, "k", clock.now)
    assert job(services, job_id).state == WAITING
    spy.error = None
    assert reconcile(services).due == 1
    worker.run_all()
    assert job(services, job_id).state == DONE


def test_our_own_bug_ends_dead_with_no_word_of_what_it_choked_on(
    services: Services, acme: Company, runner: Make, clock: FrozenClock
) -> None:
    worker = runner({KIND: Spy(ValueError("canary@example.com"))})
    job_id = put(services, acme.id)
    with structlog.testing.capture_logs() as logs:
        for _ in range(10):
            worker.run_all()
            clock.tick(7200)
            reconcile(services)
    row = job(services, job_id)
    assert (row.state, row.error_kind) == (DEAD, "our_bug")
    assert "canary@example.com" not in f"{row.error_sentence}"
    assert {line["event"] for line in logs} >= {"job_failed", "job_ended"}


def test_a_run_that_lost_its_lease_writes_nothing(
    services: Services, acme: Company, runner: Make, clock: FrozenClock
) -> None:
    def too_slow(ticket: Ticket) -> None:
        clock.tick(LEASE.total_seconds() + 1)
        reconcile(services)
        with ticket.work() as work:
            work.session.get_one(Connection, acme.connection_id).health_fix = "written by a run without a lease"
            ticket.finish(work)

    worker = runner({KIND: too_slow})
    job_id = put(services, acme.id)
    worker.run_one()
    assert job(services, job_id).state == QUEUED
    with tenant_session(services.database, acme.id) as session:
        assert session.get_one(Connection, acme.connection_id).health_fix is None


def test_a_job_that_kills_its_worker_every_time_is_not_started_for_ever(
    services: Services, acme: Company, clock: FrozenClock
) -> None:
    job_id = put(services, acme.id)
    for _ in range(MOST_ATTEMPTS):
        with tenant_session(services.database, acme.id) as session:
            assert ledger.claim(session, job_id, acme.id, KIND, now=clock.now, lease=LEASE, worker="w")
        assert job(services, job_id).state == RUNNING
        clock.tick(LEASE.total_seconds() + 1)
        reconcile(services)
    row = job(services, job_id)
    assert (row.state, row.error_kind) == (DEAD, "worker_lost")
