"""The leads of a tenant as a page: masked, filtered, with what hinders their arrival above them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Query
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response, StreamingResponse

from integrations.facebook_leads import FACEBOOK_LEADS
from models.connection import LIVING, NEEDS_RECONNECT, Connection, account_names
from models.lead import Lead
from models.tenancy import tenant_session
from models.tenant import Tenant
from worker.services import Services
from worker.web.admin.rendering import page
from worker.web.admin.visitors import AtDesk, Desk, OwnForm, Visitor, desk_of
from worker.web.api.fields import ExternalId
from worker.web.api.paging import Cursor, cursor_to, read_cursor
from worker.web.callers import Parts
from worker.web.connection_health import Health, connections_page, healths
from worker.web.lead_csv import LeadFile
from worker.web.lead_reader import Filters, LeadReader, Unsearchable
from worker.web.problems import Problem
from worker.work import Work

router = APIRouter(prefix="/admin")
ROWS = 50
FOUND = 100
YES_OR_NO: Final = {"yes": True, "no": False}
SOURCES: Final = {"webhook": "At once", "catch_up": "Caught up", "backfill": "Backfill"}
_UNSEARCHABLE = "Leads are found by a whole e-mail address, a phone number or the lead's id. Names are stored sealed."


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table; `contact` is in the clear here and masked by the template."""

    lead: Lead
    contact: dict[str, str | None]
    page_name: str


@router.get("/leads")
def leads(
    services: Parts,
    desk: AtDesk,
    form_id: Annotated[str, Query(max_length=190)] = "",
    page_id: Annotated[str, Query(max_length=190)] = "",
    since: Annotated[str, Query(max_length=10)] = "",
    until: Annotated[str, Query(max_length=10)] = "",
    is_test: Annotated[str, Query(max_length=10)] = "",
    source: Annotated[str, Query(max_length=10)] = "",
    acknowledged: Annotated[str, Query(max_length=10)] = "",
    cursor: Cursor = None,
) -> Response:
    """The newest leads first; days are days in the tenant's time zone, both included."""
    chosen = chosen_by(form_id, page_id, since, until, is_test, source, acknowledged)
    filters = filters_of(chosen, desk, before=read_cursor("leads", cursor))
    with tenant_session(services.database, desk.tenant.id, reads_only=True) as session:
        reader = LeadReader(session, services.vault, desk.tenant.id)
        rows = reader.found(filters, limit=ROWS + 1)
        view = _view(session, services, desk, reader, rows[:ROWS])
    following = desk.address("/admin/leads", {**chosen, "cursor": cursor_to("leads", rows[ROWS - 1].id)}) \
        if len(rows) > ROWS else None  # fmt: skip
    return page(
        "leads.html", **view, chosen=chosen, is_filtered=any(chosen.values()), is_later=cursor is not None,
        following=following, q="", message=None,
    )  # fmt: skip


@router.post("/leads/search", dependencies=[OwnForm])
def search(
    services: Parts,
    visitor: Visitor,
    q: Annotated[ExternalId | None, Form()] = None,
    tenant: Annotated[str, Form(max_length=36)] = "",
) -> Response:
    """Find a person. A form is posted, because what is looked for is personal and an address is kept by browsers."""
    desk = desk_of(services, visitor, tenant or None)
    message, rows = None, list[Lead]()
    with tenant_session(services.database, desk.tenant.id, reads_only=True) as session:
        reader = LeadReader(session, services.vault, desk.tenant.id)
        try:
            rows = reader.found(Filters(), limit=FOUND, q=(q or "").strip() or None)
        except Unsearchable:
            message = _UNSEARCHABLE
        view = _view(session, services, desk, reader, rows)
    chosen = chosen_by()
    return page(
        "leads.html", **view, chosen=chosen, is_filtered=True, is_later=False, following=None, q=q or "",
        message=message,
    )  # fmt: skip


@router.post("/leads/merging", dependencies=[OwnForm])
def turn(
    services: Parts, visitor: Visitor, on: Annotated[bool, Form()], tenant: Annotated[str, Form(max_length=36)] = ""
) -> Response:
    """Whether the tenant's lists show a person's leads as one."""
    desk = desk_of(services, visitor, tenant or None)
    with Work(services, desk.tenant.id) as work:
        work.session.get_one(Tenant, desk.tenant.id).leads_merged_at = services.clock() if on else None
    return RedirectResponse(desk.address("/admin/leads"), 303)


@router.post("/leads/csv", dependencies=[OwnForm])
def as_csv(
    services: Parts,
    visitor: Visitor,
    form_id: Annotated[str, Form(max_length=190)] = "",
    page_id: Annotated[str, Form(max_length=190)] = "",
    since: Annotated[str, Form(max_length=10)] = "",
    until: Annotated[str, Form(max_length=10)] = "",
    is_test: Annotated[str, Form(max_length=10)] = "",
    source: Annotated[str, Form(max_length=10)] = "",
    acknowledged: Annotated[str, Form(max_length=10)] = "",
    q: Annotated[ExternalId | None, Form()] = None,
    tenant: Annotated[str, Form(max_length=36)] = "",
) -> Response:
    """What is filtered, in the clear, as a file. A form is posted, as what is looked for may be personal."""
    desk = desk_of(services, visitor, tenant or None)
    filters = filters_of(chosen_by(form_id, page_id, since, until, is_test, source, acknowledged), desk)
    try:
        file = LeadFile(services.database, services.vault, desk.tenant.id, filters, (q or "").strip() or None)
    except Unsearchable:
        raise Problem("unsearchable", _UNSEARCHABLE) from None
    name = f"leads-{services.clock().astimezone(ZoneInfo(desk.tenant.timezone)):%Y-%m-%d}.csv"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(file.pieces(), headers=headers, media_type="text/csv; charset=utf-8")


def _view(
    session: Session, services: Services, desk: Desk, reader: LeadReader, leads: Sequence[Lead]
) -> dict[str, Any]:
    connections = [row for row in connections_page(session) if row.integration == FACEBOOK_LEADS.name]
    opened = account_names(session, services.vault, connections)
    names = {row.id: opened[row.id].name or row.external_id for row in connections}
    rows = [
        Row(lead, reader.opened(lead, "contact"), names.get(lead.connection_id, lead.page_external_id))
        for lead in leads
    ]
    return {
        "desk": desk,
        "rows": rows,
        "sources": SOURCES,
        "connections": [row for row in connections if row.status in LIVING],
        "broken": _broken(connections, healths(session, connections)),
        "names": names,
        # A page that was disconnected and connected again is one page.
        "pages": {row.external_id: names[row.id] for row in connections},
    }


def _broken(connections: Sequence[Connection], health: dict[str, Health]) -> list[tuple[Connection, Health]]:
    return [(row, health[row.id]) for row in connections if row.status == NEEDS_RECONNECT]


def chosen_by(
    form_id: str = "", page_id: str = "", since: str = "", until: str = "", is_test: str = "", source: str = "",
    acknowledged: str = "",
) -> dict[str, str]:  # fmt: skip
    """What was chosen to filter by, as it was sent; what cannot be meant is as if it had not been."""
    return {
        "form_id": _line(form_id),
        "page_id": _line(page_id),
        "since": since,
        "until": until,
        "is_test": is_test if is_test in YES_OR_NO else "",
        "source": source if source in SOURCES else "",
        "acknowledged": acknowledged if acknowledged in YES_OR_NO else "",
    }


def filters_of(chosen: dict[str, str], desk: Desk, before: str | None = None) -> Filters:
    """What was chosen, as filters. A problem for a day that is none."""
    return Filters(
        page_id=chosen["page_id"] or None,
        form_id=chosen["form_id"] or None,
        since=midnight(chosen["since"], desk),
        until=midnight(chosen["until"], desk, days_later=1),
        before=before,
        is_test=YES_OR_NO.get(chosen["is_test"]),
        source=chosen["source"] or None,
        acknowledged=YES_OR_NO.get(chosen["acknowledged"]),
    )


def _line(value: str) -> str:
    return value.strip() if value.isprintable() else ""


def midnight(day: str, desk: Desk, *, days_later: int = 0) -> datetime | None:
    """The beginning of a day in the tenant's time zone; None for no day, a problem for what is none."""
    if not day:
        return None
    try:
        chosen = date.fromisoformat(day)
    except ValueError:
        chosen = date.min
    if not 1970 <= chosen.year <= 2200:
        raise Problem("invalid", "Choose a day such as 2026-11-23.")
    chosen += timedelta(days=days_later)
    return datetime(chosen.year, chosen.month, chosen.day, tzinfo=ZoneInfo(desk.tenant.timezone))
