"""Google calendars as pages: how far each is proven, what waits, and what two sides made of one event, beside each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Form, Query
from sqlalchemy import or_, select
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from integrations.google_calendar import GOOGLE_CALENDAR
from models.calendar import CLASHES, ON_GONE, ON_REVOKE, Calendar, calendar_of, to_be_read
from models.calendar_event import CONFLICT, FAILED, CalendarEvent
from models.calendar_event import seen as has_seen
from models.connection import LIVING, Connection
from models.tenancy import tenant_session
from worker.jobs import calendars_converge
from worker.services import Services
from worker.web.admin.connection_forms import Chosen
from worker.web.admin.connections import Seen, seen
from worker.web.admin.rendering import page
from worker.web.admin.visitors import AtDesk, Desk, OwnForm, Visitor, desk_of
from worker.web.api.calendar_events import EventShown, events_shown
from worker.web.api.calendars import CalendarShown, calendars_shown, decided
from worker.web.api.paging import known_id
from worker.web.callers import Parts
from worker.web.problems import Problem, not_found
from worker.work import Work

router = APIRouter(prefix="/admin/calendars")
DIFFERENCES: Final = 25
"""So many of a calendar are shown, the oldest first; the API lists all."""
SAID: Final = {
    "decided": "That is how it is done from now on.",
    "seen": "It is noted that you have seen it; what the event said has been erased here.",
    "reading": "Troth reads the calendar now. Load the page again in a few seconds.",
}


@dataclass(frozen=True, slots=True)
class OneCalendar:
    """A connection with its calendar (None: nothing was wished for yet), and what wants a look."""

    seen: Seen
    calendar: CalendarShown | None
    differences: Sequence[EventShown]


@router.get("")
def calendars(services: Parts, desk: AtDesk, said: Annotated[str, Query(max_length=20)] = "") -> Response:
    """The tenant's calendars."""
    with tenant_session(services.database, desk.tenant.id, reads_only=True) as session:
        found = _calendars(session, services, desk)
    return page(
        "calendars.html", desk=desk, calendars=found, said=SAID.get(said), clashes=CLASHES, on_gone=ON_GONE,
        on_revoke=ON_REVOKE, most=DIFFERENCES,
    )  # fmt: skip


def _calendars(session: Session, services: Services, desk: Desk) -> list[OneCalendar]:
    mine = select(Connection).where(Connection.integration == GOOGLE_CALENDAR.name, Connection.status.in_(LIVING))
    connections = seen(session, services, session.scalars(mine.order_by(Connection.id)).all())
    ids = [one.row.id for one in connections]
    rows = session.scalars(select(Calendar).where(Calendar.connection_id.in_(ids))).all()
    shown = {one.connection_id: one for one in calendars_shown(session, rows)}
    return [
        OneCalendar(one, shown.get(one.row.id), _differences(session, services, desk, one.row.id))
        for one in connections
    ]


def _differences(session: Session, services: Services, desk: Desk, connection_id: str) -> list[EventShown]:
    """What a person made of our events at Google, and what Google refuses."""
    query = (
        select(CalendarEvent)
        .where(
            CalendarEvent.connection_id == connection_id,
            or_(CalendarEvent.told_at.is_not(None), CalendarEvent.state.in_((CONFLICT, FAILED))),
        )
        .order_by(CalendarEvent.id)
        .limit(DIFFERENCES)
    )
    return list(events_shown(session, services, desk.tenant.id, session.scalars(query).all()).values())


@router.post("/{connection_id}/policy", dependencies=[OwnForm])
def decide(
    connection_id: str, services: Parts, visitor: Visitor, clash: Annotated[str, Form(max_length=20)],
    on_gone: Annotated[str, Form(max_length=20)], on_revoke: Annotated[str, Form(max_length=20)], tenant: Chosen = "",
) -> Response:  # fmt: skip
    """What the tenant decides about a calendar."""
    if clash not in CLASHES or on_gone not in ON_GONE or on_revoke not in ON_REVOKE:
        raise Problem("invalid", "Choose one of the answers that the page offers.")
    desk = desk_of(services, visitor, tenant or None)
    with Work(services, desk.tenant.id) as work:
        decided(work, _calendar(work.session, connection_id), clash=clash, on_gone=on_gone, on_revoke=on_revoke)
    return RedirectResponse(desk.address("/admin/calendars", {"said": "decided"}), 303)


@router.post("/{connection_id}/read", dependencies=[OwnForm])
def read(connection_id: str, services: Parts, visitor: Visitor, tenant: Chosen = "") -> Response:
    """Read it now."""
    desk = desk_of(services, visitor, tenant or None)
    with Work(services, desk.tenant.id) as work:
        row = _calendar(work.session, connection_id)
        to_be_read(work.session, row.connection_id, services.clock())
        work.put(calendars_converge(desk.tenant.id, row.connection_id))
    return RedirectResponse(desk.address("/admin/calendars", {"said": "reading"}), 303)


@router.post("/{connection_id}/seen", dependencies=[OwnForm])
def mark_seen(
    connection_id: str,
    services: Parts,
    visitor: Visitor,
    host_id: Annotated[str, Form(max_length=190)],
    tenant: Chosen = "",
) -> Response:
    """Somebody has seen what a person made of an event."""
    desk = desk_of(services, visitor, tenant or None)
    query = select(CalendarEvent).where(
        CalendarEvent.connection_id == known_id(connection_id), CalendarEvent.host_id == host_id
    )
    with Work(services, desk.tenant.id) as work:
        row = work.session.scalars(query.with_for_update()).one_or_none()
        if row is None:
            raise not_found()
        has_seen(work.session, row)
    return RedirectResponse(desk.address("/admin/calendars", {"said": "seen"}), 303)


def _calendar(session: Session, connection_id: str) -> Calendar:
    row = calendar_of(session, known_id(connection_id), locked=True)
    if row is None:
        raise not_found()
    return row
