"""`/v1/inbox`: what providers told us, how far each notice is, and a new try for what failed; ids, never a person's data."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy import select
from starlette.responses import Response

from models.inbox import InboxEvent
from models.tenancy import tenant_session
from worker.web.api.fields import Wish
from worker.web.api.ids import Ids, OurId
from worker.web.api.leads import Reader
from worker.web.api.paging import Cursor, Limit, Page, page_of, read_cursor
from worker.web.callers import Access, Parts, tenant_access
from worker.web.lead_repairs import replay
from worker.web.once import Asked, once
from worker.work import Work

router = APIRouter(prefix="/v1/inbox", tags=["inbox"])
Writer = Annotated[Access, Depends(tenant_access("leads:write"))]
State = Literal["pending", "handled", "failed"]
ErrorClass = Literal["transient", "throttled", "needs_user", "missing", "our_bug"]


class NoticeError(BaseModel):
    """Why the last try did not end well."""

    kind: str = Field(serialization_alias="class")
    sentence: str | None


class NoticeShown(BaseModel):
    """A notice; `external_id` is the provider's id of what it is about."""

    id: str
    external_id: str
    kind: str
    connection_id: str
    state: str
    error: NoticeError | None
    attempts: int
    received_at: datetime


class Replay(Wish):
    """Which failed notices: those that fit all that is given; nothing given means every one."""

    ids: Ids | None = None
    connection_id: OurId | None = None
    kind: ErrorClass | None = Field(default=None, alias="class")


class Replayed(BaseModel):
    """How many are tried again."""

    replayed: int


@router.get("")
def listed(
    access: Reader,
    services: Parts,
    state: Annotated[State | None, Query()] = None,
    connection_id: Annotated[OurId | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[NoticeShown]:
    """The tenant's notices, newest first."""
    before = read_cursor("inbox", cursor)
    query = select(InboxEvent).order_by(InboxEvent.id.desc()).limit(limit + 1)
    query = query if state is None else query.where(InboxEvent.state == state)
    query = query if before is None else query.where(InboxEvent.id < before)
    query = query if connection_id is None else query.where(InboxEvent.connection_id == connection_id)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        rows = list(session.scalars(query))
    return page_of("inbox", rows, limit, id_of=lambda row: row.id, show=_shown)


@router.post("/replay", response_model=Replayed)
def try_again(wish: Replay, access: Writer, services: Parts, ask: Asked) -> Response:
    """Try failed notices again; what is unknown, or has not failed, is left alone."""

    def effect(work: Work) -> Replayed:
        count = replay(
            work, services, access.tenant_id, connection_id=wish.connection_id, error=wish.kind, ids=wish.ids
        )  # fmt: skip
        return Replayed(replayed=count)

    return once(services, access, ask, 200, effect)


def _shown(row: InboxEvent) -> NoticeShown:
    return NoticeShown(
        id=row.id,
        external_id=row.external_id,
        kind=row.kind,
        connection_id=row.connection_id,
        state=row.state,
        error=NoticeError(kind=row.error_kind, sentence=row.error_sentence) if row.error_kind else None,
        attempts=row.attempts,
        received_at=row.received_at,
    )
