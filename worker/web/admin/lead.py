"""One lead on its own page, in the clear: who it is, what was answered and agreed to, and what has happened since."""

from typing import Final

from fastapi import APIRouter
from sqlalchemy import or_, select
from sqlalchemy.orm import Session
from starlette.responses import Response

from models.connection import Connection, account_names
from models.form import Form
from models.lead import PERSONAL, Lead
from models.tenancy import tenant_session
from worker.web.admin.rendering import page
from worker.web.admin.visitors import AtDesk
from worker.web.api.paging import known_id
from worker.web.callers import Parts
from worker.web.lead_reader import LeadReader
from worker.web.problems import not_found

router = APIRouter(prefix="/admin")
ENTRIES = 200
OTHERS = 20
STEPS: Final = {
    "received": "Stored",
    "mapped": "Contact read by the form's mapping",
    "acknowledged": "The CRM said that it has it",
}


@router.get("/leads/{lead_id}")
def lead(lead_id: str, services: Parts, desk: AtDesk) -> Response:
    """One lead of the tenant."""
    known_id(lead_id)
    with tenant_session(services.database, desk.tenant.id, reads_only=True) as session:
        reader = LeadReader(session, services.vault, desk.tenant.id)
        row = reader.one(lead_id)
        if row is None:
            raise not_found()
        connection = session.get(Connection, row.connection_id)
        names = account_names(session, services.vault, [connection] if connection else [])
        personal = {column: reader.opened(row, column) for column in PERSONAL}
        others = same_person(session, row)
        form_id = session.scalars(
            select(Form.id)
            .where(Form.connection_id == row.connection_id, Form.external_id == row.form_external_id)
        ).one_or_none()  # fmt: skip
        history = sorted(reader.history(row, limit=ENTRIES), key=lambda entry: entry[0].occurred_at)
    page_name = names[row.connection_id].name if connection else None
    return page(
        "lead.html", desk=desk, lead=row, page_name=page_name or row.page_external_id, history=history, others=others,
        form_id=form_id, steps=STEPS, **personal,
    )  # fmt: skip


def same_person(session: Session, lead: Lead) -> list[Lead]:
    """Other leads with the same e-mail address or phone number, newest first; none of a test lead."""
    marks = [column == mark for column, mark in ((Lead.email_hash, lead.email_hash), (Lead.phone_hash, lead.phone_hash))
             if mark is not None]  # fmt: skip
    if lead.is_test or not marks:
        return []
    query = select(Lead).where(
        or_(*marks), Lead.id != lead.id, Lead.is_test.is_(False), Lead.restricted.is_(None)
    )  # fmt: skip
    return list(session.scalars(query.order_by(Lead.id.desc()).limit(OTHERS)))
