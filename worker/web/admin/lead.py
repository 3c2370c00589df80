"""One lead on its own page, in the clear: who it is, what was answered and agreed to, and what has happened since."""

from fastapi import APIRouter
from starlette.responses import Response

from models.connection import Connection, account_names
from models.lead import PERSONAL
from models.tenancy import tenant_session
from worker.web.admin.rendering import page
from worker.web.admin.visitors import AtDesk
from worker.web.api.paging import known_id
from worker.web.callers import Parts
from worker.web.lead_reader import LeadReader
from worker.web.problems import not_found

router = APIRouter(prefix="/admin")
ENTRIES = 200


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
        history = sorted(reader.history(row, limit=ENTRIES), key=lambda entry: entry[0].occurred_at)
    page_name = names[row.connection_id].name if connection else None
    return page(
        "lead.html", desk=desk, lead=row, page_name=page_name or row.page_external_id, history=history, **personal
    )
