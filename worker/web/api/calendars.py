"""`/v1/calendars`: how each connection's calendar is, and what the tenant decides about it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.calendar import RECREATE, Calendar, Channel, calendar_of
from models.calendar_event import counts_of
from models.tenancy import tenant_session
from worker.jobs import calendars_converge
from worker.web.api.fields import Wish
from worker.web.api.paging import Cursor, Limit, Page, known_id, page_of, read_cursor
from worker.web.callers import Access, Parts, tenant_access
from worker.web.problems import not_found
from worker.work import Work

router = APIRouter(prefix="/v1/calendars", tags=["calendars"])
Reader = Annotated[Access, Depends(tenant_access("calendars:read"))]
Writer = Annotated[Access, Depends(tenant_access("calendars:write"))]


class Policy(Wish):
    """What the tenant decides. What is left out stays as it is.

    `clash`: who wins when an event was changed on both sides. `on_gone`: whether a calendar that a person deleted at Google is
    made anew. `on_revoke`: whether our events stay when the connection is revoked.
    """

    clash: Literal["crm", "google", "newest"] | None = None
    on_gone: Literal["recreate", "explain"] | None = None
    on_revoke: Literal["keep", "remove"] | None = None


class CalendarShown(BaseModel):
    """A calendar. `proven_until`: every change at Google before it is known here. `watched_until`: until when Google tells of
    changes by itself. `gone_at`: a person deleted it at Google, and no new one is made."""

    connection_id: str
    external_id: str | None
    clash: str
    on_gone: str
    on_revoke: str
    proven_until: datetime | None
    watched_until: datetime | None
    gone_at: datetime | None
    events: dict[str, int]


@router.get("")
def listed(access: Reader, services: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[CalendarShown]:
    """The tenant's calendars, one a connection."""
    after = read_cursor("calendars", cursor)
    query = select(Calendar).order_by(Calendar.id).limit(limit + 1)
    if after is not None:
        query = query.where(Calendar.id > after)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        rows = list(session.scalars(query))
        shown = {one.connection_id: one for one in calendars_shown(session, rows)}
    return page_of("calendars", rows, limit, id_of=lambda row: row.id, show=lambda row: shown[row.connection_id])


@router.get("/{connection_id}")
def one(connection_id: str, access: Reader, services: Parts) -> CalendarShown:
    """One connection's calendar."""
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        return calendars_shown(session, [_calendar(session, connection_id)])[0]


@router.patch("/{connection_id}")
def decide(connection_id: str, wish: Policy, access: Writer, services: Parts) -> CalendarShown:
    """Decide about a calendar. A lost one is made anew as soon as that is what is wanted."""
    with Work(services, access.tenant_id) as work:
        row = _calendar(work.session, connection_id, locked=True)
        decided(work, row, **wish.model_dump(exclude_none=True))
        return calendars_shown(work.session, [row])[0]


def decided(work: Work, row: Calendar, **answers: str) -> None:
    """Keep what a tenant decided; a lost calendar is made anew if that is what is wanted now."""
    for name, answer in answers.items():
        setattr(row, name, answer)
    if row.on_gone == RECREATE and row.gone_at is not None:
        row.gone_at = None
        work.put(calendars_converge(row.tenant_id, row.connection_id))
    work.session.flush()


def _calendar(session: Session, connection_id: str, *, locked: bool = False) -> Calendar:
    row = calendar_of(session, known_id(connection_id), locked=locked)
    if row is None:
        raise not_found()
    return row


def calendars_shown(session: Session, rows: Sequence[Calendar]) -> list[CalendarShown]:
    """Calendars with what is around them."""
    ids = [row.connection_id for row in rows]
    counts = counts_of(session, ids)
    latest = (
        select(Channel.connection_id, func.max(Channel.expires_at))
        .where(Channel.connection_id.in_(ids))
        .group_by(Channel.connection_id)
    )
    watched: dict[str, datetime | None] = {connection: until for connection, until in session.execute(latest)}
    return [
        CalendarShown(
            connection_id=row.connection_id, external_id=row.external_id, clash=row.clash, on_gone=row.on_gone,
            on_revoke=row.on_revoke, proven_until=row.pulled_at, watched_until=watched.get(row.connection_id),
            gone_at=row.gone_at, events=counts.get(row.connection_id, {}),
        )
        for row in rows
    ]  # fmt: skip
