"""Shortcuts for what reads leads in bulk: put a job and run it, look at forms and leads; it tests nothing itself."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from integrations.facebook_leads.graph import Graph
from models.connection import Connection
from models.feed import Event
from models.form import Form, LeadCheck
from models.inbox import InboxEvent
from models.job import Job, NewJob
from models.lead import Lead, LeadHistory
from models.tenancy import system_session, tenant_session
from tests.conftest import Company
from tests.worker.outside import Outside, settle
from tests.worker.runner import Runner
from worker import jobs
from worker.services import Services
from worker.tasks import HANDLERS
from worker.work import Work


def run(troth: Services, *new: NewJob) -> Job:
    """Put jobs and run what can be run now; the last one's row."""
    with Work(troth, None) as work:
        work.put(*new)
    settle(Runner(troth, HANDLERS), troth)
    return job_of(troth, new[-1].kind)


def job_of(troth: Services, kind: str) -> Job:
    with system_session(troth.database, reads_only=True) as session:
        return session.scalars(select(Job).where(Job.kind == kind).order_by(Job.id.desc())).all()[0]


def discover(troth: Services, company: Company) -> Job:
    return run(troth, jobs.forms_discover(company.id, company.connection_id))


def catch_up(troth: Services, company: Company) -> Job:
    return run(troth, jobs.leads_catch_up(company.id, company.connection_id))


def check(troth: Services, company: Company) -> Job:
    return run(troth, jobs.leads_check(company.id, company.connection_id))


def read_soon(troth: Services, company: Company) -> None:
    """All forms of the company are due."""
    change_form(troth, company, read_due_at=troth.clock())


def change_form(troth: Services, company: Company, **values: object) -> None:
    with tenant_session(troth.database, company.id) as session:
        for form in session.scalars(select(Form)):
            for name, value in values.items():
                setattr(form, name, value)


def change_connection(troth: Services, company: Company, **values: object) -> None:
    with tenant_session(troth.database, company.id) as session:
        row = session.get_one(Connection, company.connection_id)
        for name, value in values.items():
            setattr(row, name, value)


def form_of(troth: Services, company: Company, external_id: str | None = None) -> Form:
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        wanted = external_id or f"6{company.page_id}"
        return session.scalars(select(Form).where(Form.external_id == wanted)).one()


def stored(troth: Services, company: Company) -> dict[str, str]:
    """lead id at Meta -> how it came; each with one beginning of its history, and one event."""
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        leads = list(session.scalars(select(Lead)))
        received = Counter(session.scalars(select(LeadHistory.lead_id).where(LeadHistory.kind == "received")))
        told = Counter(
            event.data["lead_id"] for event in session.scalars(select(Event).where(Event.type == "lead.received"))
        )
    assert received == told == Counter(lead.id for lead in leads)
    return {lead.external_id: lead.source for lead in leads}


def lines(troth: Services, company: Company) -> list[LeadCheck]:
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        return list(session.scalars(select(LeadCheck).order_by(LeadCheck.day)))


def events(troth: Services, company: Company) -> dict[str, InboxEvent]:
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        return {event.external_id: event for event in session.scalars(select(InboxEvent))}


def before_reads(outside: Outside, at: Collection[int], do: Callable[[], object]) -> Services:
    """Services with which something happens before these parts of forms' leads are asked for; the first one is 0."""
    graph = outside.services.meta()
    count = iter(range(10**6))

    class Meddled:
        def __getattr__(self, name: str) -> Any:
            return getattr(graph, name)

        def get(self, token: str, path: str, params: dict[str, str]) -> Any:
            if path.endswith("/leads") and next(count) in at:
                do()
            return graph.get(token, path, params)

    meddled: Graph = Meddled()  # type: ignore[assignment]
    return replace(outside.services, graph=meddled)


HOUR, DAY = timedelta(hours=1), timedelta(days=1)
