"""The operator's first page: whose leads to look at. A tenant's own people never see it."""

from fastapi import APIRouter
from starlette.responses import Response

from models.tenancy import system_session
from models.tenant import tenants
from worker.web.admin.rendering import page
from worker.web.admin.visitors import GoTo, Visitor
from worker.web.api.paging import Cursor, cursor_to, read_cursor
from worker.web.callers import Parts

router = APIRouter(prefix="/admin")
ROWS = 100


@router.get("/tenants")
def choose(services: Parts, visitor: Visitor, cursor: Cursor = None) -> Response:
    """All tenants, a page at a time."""
    if visitor.tenant_id is not None:
        raise GoTo("/admin/leads")
    with system_session(services.database, reads_only=True) as session:
        rows = tenants(session, after=read_cursor("tenants", cursor), limit=ROWS + 1)
    following = cursor_to("tenants", rows[ROWS - 1].id) if len(rows) > ROWS else None
    return page("tenants.html", tenants=rows[:ROWS], following=following)
