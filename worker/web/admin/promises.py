"""What is promised to a tenant's people, as a page: by which clock, what keeps and proves it, and how it is kept for them."""

from fastapi import APIRouter
from starlette.responses import Response

from models.promise import promises
from models.tally import LOOKS_BACK, tallies
from models.tenancy import tenant_session
from worker.web.admin.rendering import page
from worker.web.admin.visitors import AtDesk
from worker.web.callers import Parts

router = APIRouter(prefix="/admin/promises")


@router.get("")
def all_of_them(services: Parts, desk: AtDesk) -> Response:
    """Every promise with this tenant's own counts."""
    with tenant_session(services.database, desk.tenant.id, reads_only=True) as session:
        counted = tallies(session, services.clock())
    shown = [(one, counted.get(one.counts)) for one in promises()]
    return page("promises.html", desk=desk, promises=shown, days=LOOKS_BACK.days)
