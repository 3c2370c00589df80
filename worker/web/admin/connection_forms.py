"""What people do with connections on the pages: make a link, connect, look again, disconnect. Every form is posted."""

from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Form
from starlette.responses import RedirectResponse, Response

from integrations.contract import Integration
from models.calendar import ON_REVOKE, calendar_of, choose_end
from models.connect_link import add_link
from models.connection import LISTENING, REVOKING
from models.deletion import WORKING_DAYS
from models.job import hurry
from models.revocation import begin_revocation
from models.tenancy import tenant_session
from models.workdays import deadline
from worker.grants import BY_NAME
from worker.jobs import connections_check, connections_revoke
from worker.services import Services
from worker.web.admin.connections import one_of
from worker.web.admin.rendering import page
from worker.web.admin.visitors import AtDesk, Desk, OwnForm, Visitor, desk_of, mark_of
from worker.web.api.connect_links import require_on
from worker.web.api.paging import known_id
from worker.web.callers import Parts
from worker.web.deletion_page import last_day
from worker.web.problems import Problem, not_found
from worker.work import Work

router = APIRouter(prefix="/admin/connections")
Chosen = Annotated[str, Form(max_length=36)]
"""The tenant that an operator chose; a tenant's own people send none."""

WHAT_STOPS: Final = {
    "facebook_leads": "New leads are not taken in any more, and leads that are waiting are not fetched.",
    "google_calendar": "Appointments of the CRM are not written into the calendar any more.",
}
WHAT_GOES: Final = {
    "facebook_leads": "every lead that came through this page, with its answers, consents and history",
    "google_calendar": "the ids by which the CRM's appointments are known in this calendar",
}
WHAT_STAYS: Final = {
    "facebook_leads": "What the CRM has copied of these leads is the CRM's own; it is told of this deletion. The leads that"
    " Meta keeps for the page stay with Meta.",
    "google_calendar": "What the account's owner has put into the calendar stays; what becomes of our events is chosen below.",
}


@router.post("/connect", dependencies=[OwnForm])
def connect(
    services: Parts,
    visitor: Visitor,
    integration: Annotated[str, Form(max_length=32)] = "",
    how: Annotated[str, Form(max_length=10)] = "now",
    tenant: Chosen = "",
) -> Response:
    """Make a connect link, and follow it or (`how=link`) show it once, to be sent to somebody."""
    desk, wanted = desk_of(services, visitor, tenant or None), BY_NAME.get(integration)
    if wanted is None:
        raise Problem("invalid", "Choose what to connect on the page of connections.")
    require_on(services, wanted.name)
    secret, expires_at = _link(services, desk, wanted)
    if how != "link":
        return RedirectResponse(f"/connect/{secret}", 303)
    url = f"{services.settings.base_url}/connect/{secret}"
    return page("link.html", desk=desk, integration=wanted, url=url, expires_at=expires_at)


def _link(services: Services, desk: Desk, integration: Integration) -> tuple[str, datetime]:
    with tenant_session(services.database, desk.tenant.id) as session:
        row, secret = add_link(
            session, services.vault, tenant_id=desk.tenant.id, integration=integration.name, user=None,
            now=services.clock(),
        )  # fmt: skip
        return secret, row.expires_at


@router.post("/{connection_id}/check", dependencies=[OwnForm])
def check(connection_id: str, services: Parts, visitor: Visitor, tenant: Chosen = "") -> Response:
    """Look at the grant now."""
    desk = desk_of(services, visitor, tenant or None)
    with Work(services, desk.tenant.id) as work:
        if one_of(work.session, services, connection_id).row.status not in LISTENING:
            raise Problem("wrong-state", "This connection has no access that could be looked at: connect it again.")
        job = connections_check(desk.tenant.id, connection_id)
        hurry(work.session, desk.tenant.id, job.key, services.clock())
        work.put(job)
    return RedirectResponse(desk.address(f"/admin/connections/{connection_id}", {"said": "checking"}), 303)


@router.get("/{connection_id}/disconnect")
def before_disconnecting(connection_id: str, services: Parts, desk: AtDesk) -> Response:
    """What will happen, before it does."""
    with tenant_session(services.database, desk.tenant.id, reads_only=True) as session:
        one = one_of(session, services, connection_id)
        calendar = calendar_of(session, one.row.id)
    if not one.is_open:
        return RedirectResponse(desk.address(f"/admin/connections/{connection_id}"), 303)
    tenant, name = desk.tenant, one.integration.name
    due = deadline(services.clock(), WORKING_DAYS, country=tenant.country, subdivision=tenant.subdivision,
                   zone=tenant.timezone, work_week=tenant.work_week)  # fmt: skip
    return page(
        "revoke.html", desk=desk, one=one, due_on=last_day(due.promise_due_at, tenant.timezone), working_days=WORKING_DAYS,
        undo_hours=int(services.settings.undo.total_seconds()) // 3600, stops=WHAT_STOPS[name], goes=WHAT_GOES[name],
        stays=WHAT_STAYS[name], on_revoke=calendar.on_revoke if calendar else None,
    )  # fmt: skip


@router.post("/{connection_id}/disconnect", dependencies=[OwnForm])
def disconnect(
    connection_id: str,
    services: Parts,
    visitor: Visitor,
    tenant: Chosen = "",
    events: Annotated[str, Form(max_length=10)] = "",
) -> Response:
    """Close the connection; what follows is a job. A second time changes nothing."""
    desk, now = desk_of(services, visitor, tenant or None), services.clock()
    with Work(services, desk.tenant.id) as work:
        hashes = services.vault.keyring(work.session, desk.tenant.id, desk.tenant.id, now)
        if events in ON_REVOKE:
            choose_end(work.session, known_id(connection_id), events)
        begun = begin_revocation(
            work.session, known_id(connection_id), requested_by="admin", undo=services.settings.undo, now=now,
            requester=mark_of(hashes, visitor),
        )  # fmt: skip
        if begun is None:
            raise not_found()
        if one_of(work.session, services, connection_id).row.status == REVOKING:
            work.put(connections_revoke(desk.tenant.id, connection_id))
    return RedirectResponse(desk.address(f"/admin/connections/{connection_id}"), 303)
