"""The list that an app shows inside: the bulletins that were for a user, pushed or not, and which of them were read."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Table, func, or_, select
from sqlalchemy.orm import Session

from models.base import new_id
from models.bulletin import Bulletin, FeedRead
from models.push import CANCELLED, PUSHES, QUEUED
from models.statements import insert_new
from models.tenancy import check_scope

_READS: Table = FeedRead.__table__  # type: ignore[assignment]


class Entry(NamedTuple):
    """A bulletin in somebody's feed."""

    bulletin: Bulletin
    read_at: datetime | None


def feed(
    session: Session, tenant_id: str, user: bytes, now: datetime, *, before: str | None, limit: int, unread: bool
) -> list[Entry]:
    """The newest first: what was meant for the user and whose time has come; not what was cancelled before, nor tests."""
    mine = select(PUSHES.c.bulletin_id).where(
        PUSHES.c.tenant_id == tenant_id, PUSHES.c.user_hash == user, PUSHES.c.state != CANCELLED,
        or_(PUSHES.c.due_at <= now, PUSHES.c.state != QUEUED),
    )  # fmt: skip
    read = (
        (FeedRead.tenant_id == Bulletin.tenant_id)
        & (FeedRead.bulletin_id == Bulletin.id)
        & (FeedRead.user_hash == user)
    )
    query = (
        select(Bulletin, FeedRead.read_at)
        .outerjoin(FeedRead, read)
        .where(Bulletin.id.in_(mine), Bulletin.is_test.is_(False))
        .order_by(Bulletin.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(Bulletin.id < before)
    if unread:
        query = query.where(FeedRead.read_at.is_(None))
    return [Entry(row, read_at) for row, read_at in session.execute(query)]


def is_for(session: Session, tenant_id: str, bulletin_id: str, user: bytes) -> bool:
    """Whether a bulletin was meant for a user."""
    query = select(PUSHES.c.id).where(
        PUSHES.c.tenant_id == tenant_id, PUSHES.c.user_hash == user, PUSHES.c.bulletin_id == bulletin_id
    )
    return session.connection().execute(query.limit(1)).first() is not None


def mark_read(session: Session, tenant_id: str, bulletin_id: str, user: bytes, now: datetime) -> None:
    """A user has read it; the first time counts."""
    check_scope(session, (tenant_id,))
    row = {"id": new_id(), "tenant_id": tenant_id, "bulletin_id": bulletin_id, "user_hash": user, "read_at": now}
    insert_new(session.connection(), _READS, [row])


def openings(session: Session, bulletin_id: str) -> int:
    """How many users have read it, as far as the host said."""
    query = select(func.count()).select_from(FeedRead).where(FeedRead.bulletin_id == bulletin_id)
    return session.scalar(query) or 0
