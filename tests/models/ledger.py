"""What the tests of the ledger share: two tenants' jobs, put, claimed, ended and looked at; it tests nothing itself."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TypeVar

from sqlalchemy import select

from models import doubt, inbox
from models import job as ledger
from models import run as runs_of
from models.database import Database, past_deadlocks
from models.doubt import Doubt
from models.inbox import Notice
from models.job import Job, Message, NewJob
from models.run import LeaseLost, Run
from models.tenancy import ledger_connection, system_session, tenant_session
from tests.conftest import Company, FrozenClock

Result = TypeVar("Result")
KIND = "leads.fetch"
LEASE = timedelta(seconds=20)


def a_job(company: Company, key: str | None = "page", **more: object) -> NewJob:
    return NewJob(company.id, KIND, "interactive", key=key, connection_id=company.connection_id, **more)  # type: ignore[arg-type]


def put(database: Database, clock: FrozenClock, *jobs: NewJob) -> list[Message]:
    with system_session(database) as session:
        return ledger.put(session, jobs, clock())


def claim(database: Database, clock: FrozenClock, job_id: str, company: Company, worker: str = "w") -> Run | None:
    with tenant_session(database, company.id) as session:
        return runs_of.claim(session, job_id, company.id, KIND, now=clock(), lease=LEASE, worker=worker)


def taken(database: Database, clock: FrozenClock, company: Company, **more: object) -> Run:
    job = a_job(company, **more)  # type: ignore[arg-type]
    put(database, clock, job)
    run = claim(database, clock, job.id, company)
    assert run is not None
    return run


def finish(database: Database, clock: FrozenClock, run: Run) -> Message | None:
    with tenant_session(database, run.tenant_id) as session:
        return runs_of.finish(session, run, clock())


def give_up(database: Database, clock: FrozenClock, run: Run) -> Message | None:
    with tenant_session(database, run.tenant_id) as session:
        return runs_of.give_up(session, run, clock(), kind="gone", sentence="Gone.")


def finish_bare(database: Database, clock: FrozenClock, run: Run) -> Message | None:
    """As a worker does when its handler has written nothing."""
    (outcome,) = finish_group(database, clock, [run])
    assert not isinstance(outcome, LeaseLost)
    return outcome


def finish_group(database: Database, clock: FrozenClock, runs: list[Run]) -> list[Message | LeaseLost | None]:
    with ledger_connection(database) as connection:
        return runs_of.finish_all(connection, runs, clock())


def claim_group(database: Database, clock: FrozenClock, asks: list[runs_of.Ask]) -> list[Run | None]:
    with ledger_connection(database) as connection:
        return runs_of.claim_all(connection, asks, now=clock(), lease=LEASE, worker="w")


def renew(database: Database, clock: FrozenClock, runs: list[Run]) -> None:
    with system_session(database) as session:
        runs_of.renew(session, runs, clock() + LEASE)


def ask(job: Job) -> runs_of.Ask:
    return runs_of.Ask(job.id, job.tenant_id, job.kind)


def rows(database: Database) -> dict[str, Job]:
    with system_session(database, reads_only=True) as session:
        return {row.id: row for row in session.scalars(select(Job))}


def row(database: Database, job_id: str) -> Job:
    return rows(database)[job_id]


def doubts(database: Database, clock: FrozenClock) -> list[Doubt]:
    with system_session(database, reads_only=True) as session:
        return doubt.awake(session, clock(), limit=100)


def lease_over(database: Database, clock: FrozenClock, job_id: str, most_attempts: int = 5) -> Message | None:
    """As the reconciler does when a lease has run out."""
    (found,) = [one for one in doubts(database, clock) if one.message.job_id == job_id]
    with system_session(database) as session:
        return doubt.lease_over(session, found, clock(), most_attempts=most_attempts)


def notice(company: Company, number: int) -> Notice:
    return Notice(company.id, company.connection_id, "lead", f"lead {number}", "webhook")


def seen(database: Database, clock: FrozenClock, company: Company) -> set[str]:
    with tenant_session(database, company.id, reads_only=True) as session:
        found = inbox.pending(
            session, tenant_id=company.id, connection_id=company.connection_id, kind="lead", now=clock(), limit=1000
        )
    return {event.external_id for event in found}


def whole(database: Database, transaction: Callable[[], Result]) -> Result:
    """InnoDB asks everyone to be ready for a deadlock; the others must have none."""
    return past_deadlocks(partial(past_deadlocks, transaction)) if database.kind == "mysql" else transaction()
