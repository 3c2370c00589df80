"""The list that an app shows inside: the bulletins that were for a user, pushed or not, and which of them were read.

A push is the entry while it is kept; when pushes go, each user's entry stays as a row of its own.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import CompoundSelect, Connection, Table, and_, delete, func, or_, select, union_all, update
from sqlalchemy.orm import Session

from models.base import new_id
from models.bulletin import Bulletin, FeedRead
from models.push import CANCELLED, PUSHES, QUEUED
from models.statements import among, insert_new
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
    read = (
        (FeedRead.tenant_id == Bulletin.tenant_id)
        & (FeedRead.bulletin_id == Bulletin.id)
        & (FeedRead.user_hash == user)
    )
    query = (
        select(Bulletin, FeedRead.read_at)
        .outerjoin(FeedRead, read)
        .where(Bulletin.id.in_(_entries(tenant_id, user, now)), Bulletin.is_test.is_(False))
        .order_by(Bulletin.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(Bulletin.id < before)
    if unread:
        query = query.where(FeedRead.read_at.is_(None))
    return [Entry(row, read_at) for row, read_at in session.execute(query)]


def _entries(tenant_id: str, user: bytes, now: datetime) -> CompoundSelect[Any]:
    """The ids of what is in a user's feed."""
    pushed = select(PUSHES.c.bulletin_id).where(
        PUSHES.c.tenant_id == tenant_id, PUSHES.c.user_hash == user, PUSHES.c.state != CANCELLED,
        or_(PUSHES.c.due_at <= now, PUSHES.c.state != QUEUED),
    )  # fmt: skip
    kept = select(_READS.c.bulletin_id).where(_READS.c.tenant_id == tenant_id, _READS.c.user_hash == user)
    return union_all(pushed, kept)


def is_for(session: Session, tenant_id: str, bulletin_id: str, user: bytes, now: datetime) -> bool:
    """Whether a bulletin is in a user's feed, or was a test that they got."""
    entries = _entries(tenant_id, user, now).subquery()
    query = select(entries.c.bulletin_id).where(entries.c.bulletin_id == bulletin_id)
    return session.connection().execute(query.limit(1)).first() is not None


def mark_read(session: Session, tenant_id: str, bulletin_id: str, user: bytes, now: datetime) -> None:
    """A user has read it; the first time counts."""
    check_scope(session, (tenant_id,))
    connection, reads = session.connection(), _READS.c
    mine = (reads.tenant_id == tenant_id, reads.bulletin_id == bulletin_id, reads.user_hash == user)
    if connection.execute(update(_READS).where(*mine, reads.read_at.is_(None)).values(read_at=now)).rowcount == 0:
        insert_new(connection, _READS, [_entry(tenant_id, bulletin_id, user, now)])


def openings(session: Session, bulletin_id: str) -> int:
    """How many users have read it, as far as the host said."""
    mine = (FeedRead.bulletin_id == bulletin_id, FeedRead.read_at.is_not(None))
    return session.scalar(select(func.count()).select_from(FeedRead).where(*mine)) or 0


def fold(session: Session, tenant_id: str, bulletin_id: str, *, limit: int) -> int:
    """Up to `limit` pushes of a bulletin that is over go, and leave what the feeds of their users show; how many went."""
    check_scope(session, (tenant_id,))
    connection, rows = session.connection(), PUSHES.c
    mine = and_(rows.tenant_id == tenant_id, rows.bulletin_id == bulletin_id)
    found = connection.execute(select(rows.id, rows.user_hash, rows.state).where(mine).limit(limit)).all()
    users = dict.fromkeys(bytes(row.user_hash) for row in found if row.state != CANCELLED)
    insert_new(connection, _READS, [_entry(tenant_id, bulletin_id, user, None) for user in users])
    _drop(connection, PUSHES, [row.id for row in found])
    return len(found)


def forget(session: Session, tenant_id: str, bulletin_id: str, *, limit: int) -> int:
    """Up to `limit` entries of a bulletin, whose pushes are gone, leave the feeds, and after the last of them the bulletin
    itself goes; how many entries went."""
    check_scope(session, (tenant_id,))
    connection, reads = session.connection(), _READS.c
    mine = and_(reads.tenant_id == tenant_id, reads.bulletin_id == bulletin_id)
    found = connection.execute(select(reads.id).where(mine).limit(limit)).scalars().all()
    _drop(connection, _READS, found)
    if len(found) < limit:
        session.execute(delete(Bulletin).where(Bulletin.tenant_id == tenant_id, Bulletin.id == bulletin_id))
    return len(found)


def _drop(connection: Connection, table: Table, ids: Sequence[str]) -> None:
    """By their ids alone, as in `models.push`: they were read as the tenant's."""
    if ids:
        connection.execute(delete(table).where(among(connection, table.c.id, ids)))


def _entry(tenant_id: str, bulletin_id: str, user: bytes, read_at: datetime | None) -> dict[str, Any]:
    return {"id": new_id(), "tenant_id": tenant_id, "bulletin_id": bulletin_id, "user_hash": user, "read_at": read_at}
