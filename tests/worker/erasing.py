"""Leads that are there, a deletion that is asked for, and time that passes: an erasure as it is played; it tests nothing."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, func, select

from integrations.simulator.records import Lead as MetaLead
from models import deletion as requests
from models.connection import REVOKED, Connection
from models.decision import approve
from models.deletion import Deletion, DeletionStep, Wish
from models.feed import Event
from models.form import Form
from models.inbox import InboxEvent, Notice, take_in
from models.lead import Lead, LeadHistory
from models.revocation import request_erasure
from models.schema import metadata
from models.tenancy import system_session, tenant_session
from models.tenant import Tenant
from tests.conftest import Company, FrozenClock
from tests.worker.outside import Outside, settle
from tests.worker.runner import Runner
from worker import jobs
from worker.schedule import tick
from worker.services import Services
from worker.tasks import deletions
from worker.work import Work

UNDO = timedelta(hours=24)


class Killed(BaseException):
    """SIGKILL: nothing of ours catches it."""


def mortal(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many transactions a deletion's run still begins: when it comes to 0, the process ends instead."""
    work, left = deletions.Ticket.work, [0]

    def dying(self: deletions.Ticket, *, reads_only: bool = False) -> Work:
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return work(self, reads_only=reads_only)

    monkeypatch.setattr(deletions.Ticket, "work", dying)
    return left


def bring(outside: Outside, worker: Runner, company: Company, number: int) -> list[MetaLead]:
    """Leads at Meta, told of and fetched."""
    made = outside.fill_in(company, number)
    troth = outside.services
    with Work(troth, company.id) as work:
        connection = work.session.scalars(
            select(Connection).where(Connection.external_id == company.page_id, Connection.status != REVOKED)
        ).one()
        told = [
            Notice(company.id, connection.id, "lead", lead.id, "webhook", occurred_at=lead.created_at) for lead in made
        ]
        take_in(work.session, told, troth.clock())
        work.put(jobs.leads_fetch(company.id, connection.id))
    settle(worker, troth)
    return made


def ask(troth: Services, company: Company, wish: Wish) -> str:
    with Work(troth, company.id) as work:
        tenant = work.session.get_one(Tenant, company.id)
        asked, closed = request_erasure(work.session, tenant=tenant, wish=wish, undo=UNDO, now=troth.clock())
        work.put(*(jobs.connections_revoke(company.id, one) for one in closed))
        return asked.id


def decide(troth: Services, company: Company, deletion_id: str, change: Callable[[Deletion], None]) -> None:
    """Somebody decides on a request (`models.decision`)."""
    with Work(troth, company.id) as work:
        row = requests.locked(work.session, deletion_id)
        assert row is not None
        change(row)


def agree(troth: Services, company: Company, deletion_id: str, who: bytes = b"somebody else..") -> None:
    decide(troth, company, deletion_id, lambda row: approve(row, who, troth.clock()))


def look_around(troth: Services, worker: Runner, clock: FrozenClock) -> None:
    """The next tick of the sweep and all that follows from it."""
    clock.tick(60)
    tick(troth, jobs.DELETIONS_SWEEP)
    settle(worker, troth)


def pass_time(troth: Services, worker: Runner, clock: FrozenClock, span: timedelta, *, each: timedelta) -> None:
    passed = timedelta()
    while passed < span:
        clock.tick(each.total_seconds())
        passed += each
        look_around(troth, worker, clock)


def one(troth: Services, company: Company, deletion_id: str) -> Deletion:
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        return session.get_one(Deletion, deletion_id)


def rows_of(troth: Services, company: Company) -> dict[str, int]:
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        return {model.__tablename__: session.scalar(select(func.count()).select_from(model)) or 0
                for model in (Lead, LeadHistory, InboxEvent, Form)}  # fmt: skip


def told(troth: Services, company: Company) -> list[str]:
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        return [kind for kind in session.scalars(select(Event.type).order_by(Event.position)) if kind[:3] == "del"]


def steps(troth: Services, company: Company, deletion_id: str) -> dict[str, DeletionStep]:
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        return {step.name: step for step in requests.steps_of(session, deletion_id)}


def by_connection(company: Company, requester: bytes = b"who asked.......") -> Wish:
    return Wish("connection", "api", connection_id=company.connection_id, requester=requester)


def connections_of(troth: Services, company: Company) -> list[Connection]:
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        return [row for row in session.scalars(select(Connection)) if row.integration == "facebook_leads"]


def backup(troth: Services) -> dict[Table, list[dict[str, Any]]]:
    """Every row, but those of tenants and jobs."""
    tables = [table for table in metadata.sorted_tables if table.name not in ("tenants", "jobs")]
    with system_session(troth.database, reads_only=True) as session:
        return {table: [dict(row) for row in session.execute(select(table)).mappings()] for table in tables}


def restore(troth: Services, snapshot: dict[Table, list[dict[str, Any]]]) -> None:
    """The rows of before, and no others."""
    with system_session(troth.database) as session:
        for table in reversed(snapshot):
            session.connection().execute(table.delete())
        for table, rows in snapshot.items():
            if rows:
                session.connection().execute(table.insert(), rows)
