"""`/v1/calendar-events`: which events the host wishes there to be in Google Calendar, and how far each is from it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field, StringConstraints
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from integrations.google_calendar import GOOGLE_CALENDAR
from integrations.google_calendar.event import (
    LONGEST_REMINDER,
    LONGEST_TEXT,
    LONGEST_TITLE,
    MOST_ATTENDEES,
    MOST_REMINDERS,
    BadEvent,
    checked,
    what_counts,
)
from models.calendar import ensure_calendar
from models.calendar_event import CalendarEvent, Keys, event_of, seen, unwish, wish
from models.connection import LISTENING, PENDING, Connection
from models.tenancy import tenant_session
from models.tenant import Tenant
from worker.jobs import calendars_converge
from worker.services import Services
from worker.web.api.fields import ExternalId, Line, Wish
from worker.web.api.paging import Cursor, Limit, Page, known_id, page_of, read_cursor
from worker.web.callers import Access, Parts, tenant_access
from worker.web.once import Asked, once
from worker.web.problems import Problem, not_found
from worker.work import Work

router = APIRouter(prefix="/v1/calendar-events", tags=["calendar events"])
Reader = Annotated[Access, Depends(tenant_access("calendars:read"))]
Writer = Annotated[Access, Depends(tenant_access("calendars:write"))]
HostId = Annotated[ExternalId, Path(description="The host's own id for the event.")]
OneOf = Annotated[str | None, Query(description="Where several connections have an event of this host id: which one.")]
Updates = Literal["none", "external_only", "all"]

_MEND = "Mend the fields listed under errors, and send the request again."
_OPEN = (*LISTENING, PENDING)


class Point(Wish):
    """A day (`date`), or a moment: `date_time` with an offset, or as it is in `time_zone`."""

    date: Annotated[str, StringConstraints(max_length=10)] | None = None
    date_time: Annotated[str, StringConstraints(max_length=40)] | None = None
    time_zone: Annotated[str, StringConstraints(max_length=64)] | None = None


class Guest(Wish):
    """Someone who is invited."""

    email: Annotated[
        str, StringConstraints(min_length=3, max_length=254, pattern=r"^[^\x00-\x20\x7f@]+@[^\x00-\x20\x7f@]+$")
    ]
    name: Line | None = None
    optional: bool = False


class Reminder(Wish):
    """A reminder for the owner of the calendar."""

    method: Literal["popup", "email"]
    minutes: Annotated[int, Field(ge=0, le=LONGEST_REMINDER)]


class EventWish(Wish):
    """How an event is wished to be. `send_updates`: whom Google writes to about this change."""

    connection_id: str
    title: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TITLE, pattern=r"^[^\x00]*$")]
    description: Annotated[str, StringConstraints(max_length=LONGEST_TEXT, pattern=r"^[^\x00]*$")] | None = None
    location: Annotated[str, StringConstraints(max_length=LONGEST_TITLE, pattern=r"^[^\x00]*$")] | None = None
    start: Point
    end: Point
    recurrence: Annotated[list[str], Field(max_length=20)] | None = None
    attendees: Annotated[list[Guest], Field(max_length=MOST_ATTENDEES)] | None = None
    reminders: Annotated[list[Reminder], Field(max_length=MOST_REMINDERS)] | None = None
    send_updates: Updates = "none"


class ErrorShown(BaseModel):
    """Why Google does not have it: its code, and a sentence."""

    code: str
    sentence: str


class FoundShown(BaseModel):
    """What a person made of it at Google: the event, or single ones of a series by their original start (null: cancelled)."""

    event: dict[str, Any] | None
    instances: dict[str, dict[str, Any] | None]


class EventShown(BaseModel):
    """An event. `wish` and `found` are there only while the provider, or the host, has not taken them in."""

    host_id: str
    connection_id: str
    status: str
    external_id: str
    version: int
    synced_at: datetime | None
    error: ErrorShown | None
    wish: dict[str, Any] | None
    found: FoundShown | None


@router.put("/{host_id}", status_code=202, response_model=EventShown)
def put(host_id: HostId, body: EventWish, access: Writer, services: Parts, ask: Asked) -> Response:
    """Wish for an event to be so. The same wish once more changes nothing, and calls nobody."""

    def effect(work: Work) -> EventShown:
        connection = _connection(work.session, body.connection_id)
        keys, now = _keys(work.session, services, connection), services.clock()
        content = _content(body, work.session.get_one(Tenant, access.tenant_id).timezone)
        ensure_calendar(work.session, tenant_id=access.tenant_id, connection_id=connection.id, now=now)
        row, is_news = wish(
            work.session, keys, tenant_id=access.tenant_id, connection_id=connection.id, host_id=host_id,
            content=content, wished=keys.hash(what_counts(content)), notify=body.send_updates, now=now,
        )  # fmt: skip
        if is_news:
            work.put(calendars_converge(access.tenant_id, connection.id))
        return _shown(keys, row)

    return once(services, access, ask, 202, effect)


@router.get("")
def listed(
    access: Reader, services: Parts, connection_id: OneOf = None, limit: Limit = 50, cursor: Cursor = None,
    status: Annotated[Literal["pending", "synced", "conflict", "failed", "removed"] | None, Query()] = None,
) -> Page[EventShown]:  # fmt: skip
    """The tenant's events, in the order in which they were first wished for."""
    after = read_cursor("calendar-events", cursor)
    query = select(CalendarEvent).order_by(CalendarEvent.id).limit(limit + 1)
    if after is not None:
        query = query.where(CalendarEvent.id > after)
    if connection_id is not None:
        query = query.where(CalendarEvent.connection_id == known_id(connection_id))
    if status is not None:
        query = query.where(CalendarEvent.state == status)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        rows = list(session.scalars(query))
        shown = events_shown(session, services, access.tenant_id, rows)
    return page_of("calendar-events", rows, limit, id_of=lambda row: row.id, show=lambda row: shown[row.id])


@router.get("/{host_id}")
def one(host_id: HostId, access: Reader, services: Parts, connection_id: OneOf = None) -> EventShown:
    """One event."""
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        row = _event(session, host_id, connection_id)
        return events_shown(session, services, access.tenant_id, [row])[row.id]


@router.delete("/{host_id}", status_code=202, response_model=EventShown)
def remove(
    host_id: HostId, access: Writer, services: Parts, ask: Asked, connection_id: OneOf = None,
    send_updates: Annotated[Updates, Query()] = "none",
) -> Response:  # fmt: skip
    """Wish for an event not to be. A second time changes nothing."""

    def effect(work: Work) -> EventShown:
        row = _event(work.session, host_id, connection_id, locked=True)
        keys = _keys(work.session, services, _connection(work.session, row.connection_id))
        if unwish(work.session, keys, row, notify=send_updates, now=services.clock()):
            work.put(calendars_converge(access.tenant_id, row.connection_id))
        return _shown(keys, row)

    return once(services, access, ask, 202, effect)


@router.post("/{host_id}/seen", response_model=EventShown)
def mark_seen(host_id: HostId, access: Writer, services: Parts, ask: Asked, connection_id: OneOf = None) -> Response:
    """Say that the host has what a person made of it at Google: it is erased here, and a conflict is over."""

    def effect(work: Work) -> EventShown:
        row = _event(work.session, host_id, connection_id, locked=True)
        seen(work.session, row)
        return events_shown(work.session, services, access.tenant_id, [row])[row.id]

    return once(services, access, ask, 200, effect)


def _connection(session: Session, connection_id: str) -> Connection:
    row = session.scalars(
        select(Connection).where(Connection.id == known_id(connection_id)).with_for_update(read=True)
    ).one_or_none()
    if row is None:
        raise not_found()
    if row.integration != GOOGLE_CALENDAR.name:
        raise _invalid("connection_id", "This connection has no calendar: name one of google_calendar.")
    if row.status not in _OPEN:
        raise Problem(
            "wrong-state", "This connection has been revoked: connect the account again, and use the new one."
        )
    return row


def _content(body: EventWish, zone: str) -> dict[str, Any]:
    given = body.model_dump(exclude_none=True)
    try:
        return checked(given, default_zone=zone)
    except BadEvent as error:
        raise _invalid(error.field, str(error)) from None


def _invalid(field: str, problem: str) -> Problem:
    return Problem("invalid", _MEND, errors=[{"field": f"body.{field}", "problem": problem}])


def _event(session: Session, host_id: str, connection_id: str | None, *, locked: bool = False) -> CalendarEvent:
    rows = event_of(session, host_id, None if connection_id is None else known_id(connection_id), locked=locked)
    if not rows:
        raise not_found()
    if len(rows) > 1:
        errors = [
            {"field": "query.connection_id", "problem": "Several connections have an event of this id: name one."}
        ]
        raise Problem("invalid", _MEND, errors=errors)
    return rows[0]


def _keys(session: Session, services: Services, connection: Connection) -> Keys:
    now = services.clock()
    return Keys(
        services.vault.keyring(session, connection.tenant_id, connection.id, now),
        services.vault.keyring(session, connection.tenant_id, connection.tenant_id, now),
    )


def events_shown(
    session: Session, services: Services, tenant_id: str, rows: Sequence[CalendarEvent]
) -> Mapping[str, EventShown]:
    """row id -> the event, with what its keys still open."""
    scopes = list({row.connection_id for row in rows})
    keyrings = services.vault.keyrings(session, tenant_id, [*scopes, tenant_id])
    hashes = keyrings.get(tenant_id)
    keys = {scope: Keys(keyrings[scope], hashes) for scope in scopes if scope in keyrings and hashes is not None}
    return {row.id: _shown(keys.get(row.connection_id), row) for row in rows}


def _shown(keys: Keys | None, row: CalendarEvent) -> EventShown:
    """`keys` None: they have been destroyed."""
    wished = found = None
    if keys is not None and row.wish is not None:
        wished = keys.unseal(row.wish, row=row.id, column="wish")["content"]
    if keys is not None and row.found is not None:
        found = FoundShown(**keys.unseal(row.found, row=row.id, column="found"))
    error = None
    if row.error_code is not None:
        error = ErrorShown(code=row.error_code, sentence=row.error_sentence or "")
    return EventShown(
        host_id=row.host_id, connection_id=row.connection_id, status=row.state, external_id=row.external_id,
        version=row.version, synced_at=row.synced_at, error=error, wish=wished, found=found,
    )  # fmt: skip
