"""Forms, checks and failed notices for tests of the web, and what a tenant's ledger and feed hold."""

from datetime import date
from typing import Any

from sqlalchemy import select

from models.feed import Event
from models.form import GREEN, RED, Form, LeadCheck, SeenForm, see_forms
from models.inbox import InboxEvent, Notice, take_in, unhandled
from models.job import Job
from models.tenancy import system_session, tenant_session
from worker.services import Services

QUESTIONS: list[dict[str, Any]] = [
    {"key": "full_name", "label": "Full name", "type": "FULL_NAME", "options": []},
    {"key": "email", "label": "E-mail", "type": "EMAIL", "options": []},
    {"key": "best_mail", "label": "Where do we write to?", "type": "CUSTOM", "options": []},
    {"key": "size", "label": "How big?", "type": "CUSTOM", "options": [{"key": "s", "value": "Small"}]},
]


def add_form(services: Services, company: Any, external_id: str = "777", **changes: Any) -> str:
    """Our id of a form of a company's page."""
    seen = SeenForm(external_id, f"Form {external_id}", "ACTIVE", "en_US", QUESTIONS, None, 12, None, None)
    with tenant_session(services.database, company.id) as session:
        others = [
            SeenForm(row.external_id, row.name, row.status, row.locale, row.questions, None, None, None, None)
            for row in session.scalars(select(Form).where(Form.connection_id == company.connection_id))
        ]
        see_forms(
            session,
            tenant_id=company.id,
            connection_id=company.connection_id,
            seen=[*others, seen],
            now=services.clock(),
        )
        row = session.scalars(select(Form).where(Form.external_id == external_id)).one()
        for name, value in changes.items():
            setattr(row, name, value)
        return row.id


def add_check(services: Services, company: Any, form_id: str, day: date, missing: list[str]) -> str:
    """Our id of a line."""
    with tenant_session(services.database, company.id) as session:
        row = LeadCheck(
            tenant_id=company.id, form_id=form_id, day=day, provider=5, received=5 - len(missing), acknowledged=1,
            missing=missing, status=RED if missing else GREEN, checked_at=services.clock(),
        )  # fmt: skip
        session.add(row)
        session.flush()
        return row.id


def add_failed(
    services: Services, company: Any, lead: str, kind: str = "missing", sentence: str = "Meta has no such lead."
) -> str:
    """Our id of a notice that was given up."""
    with tenant_session(services.database, company.id) as session:
        take_in(session, [Notice(company.id, company.connection_id, "lead", lead, "webhook")], services.clock())
        row = session.scalars(select(InboxEvent).where(InboxEvent.external_id == lead)).one()
        unhandled(session, tenant_id=company.id, event_id=row.id, kind=kind, sentence=sentence, due_at=None)
        return row.id


def inbox_of(services: Services, company: Any) -> dict[str, str]:
    """Meta's id of a lead -> the state of its notice."""
    with tenant_session(services.database, company.id, reads_only=True) as session:
        return {row.external_id: row.state for row in session.scalars(select(InboxEvent))}


def jobs_of(services: Services, company: Any) -> list[str]:
    """The kinds of a tenant's jobs."""
    with tenant_session(services.database, company.id, reads_only=True) as session:
        return sorted(session.scalars(select(Job.kind)))


def every_job(services: Services) -> int:
    """How many jobs there are, whoever owns them."""
    with system_session(services.database, reads_only=True) as session:
        return len(session.scalars(select(Job.id)).all())


def events_of(services: Services, company: Any) -> list[tuple[str, dict[str, Any]]]:
    """(type, data) of a tenant's events, in order."""
    with tenant_session(services.database, company.id, reads_only=True) as session:
        return [(row.type, row.data) for row in session.scalars(select(Event).order_by(Event.position))]


def form_row(services: Services, form_id: str) -> Form:
    """A form as it is stored."""
    with system_session(services.database, reads_only=True) as session:
        return session.scalars(select(Form).where(Form.id == form_id)).one()
