"""A connection's own calendar at the provider: where it is, how far it has been read, and what its tenant decided about it.

It knows no event: those are in `models.calendar_event`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Index, Table, Text, UniqueConstraint, and_, delete, exists, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, ExternalId, Id, Instant, Key, Word, new_id, short_binary, table_args
from models.connection import ACTIVE, Connection
from models.statements import insert_new
from models.tenancy import TenantScoped, check_scope, same_tenant

CRM, PROVIDER, NEWEST = "crm", "google", "newest"
CLASHES = (CRM, PROVIDER, NEWEST)
"""Who wins when an event was changed on both sides."""
RECREATE, EXPLAIN = "recreate", "explain"
ON_GONE = (RECREATE, EXPLAIN)
"""What becomes of a calendar that a person deleted at the provider."""
KEEP, REMOVE = "keep", "remove"
ON_REVOKE = (KEEP, REMOVE)
"""What becomes of our events when the connection is revoked."""

POLL_EVERY = timedelta(hours=6)
"""How often a calendar is read although no notice came; Google's notices "are not 100% reliable"."""
POLL_UNWATCHED = timedelta(minutes=15)
"""... and while there is no channel by which notices could come."""
RENEW_BEFORE = timedelta(days=1)
"""A channel is followed by a new one so long before it ends; both bring notices meanwhile."""


class Calendar(TenantScoped, Base):
    """The one calendar that a connection made for itself. `external_id` None: it is not made yet, or is gone.

    `sync_token` is the provider's place behind the last complete pass, `pulled_at` when that pass began: everything that
    was changed at the provider before it is known here. `dirty_at` is the last notice that no pass has answered yet.
    `look_at`: when the sweep looks at it next. `gone_at`: a person deleted it at the provider, and the tenant wants no new one.
    """

    __tablename__ = "calendars"
    __table_args__ = table_args(
        UniqueConstraint("tenant_id", "connection_id"),
        same_tenant("connection_id", "connections"),
        Index("ix_calendars_look_at", "look_at"),
    )

    id: Mapped[Key]
    connection_id: Mapped[Id]
    external_id: Mapped[ExternalId | None]
    clash: Mapped[Word]
    on_gone: Mapped[Word]
    on_revoke: Mapped[Word]
    sync_token: Mapped[str | None] = mapped_column(Text)
    dirty_at: Mapped[Instant | None]
    pulled_at: Mapped[Instant | None]
    look_at: Mapped[Instant | None]
    gone_at: Mapped[Instant | None]
    created_at: Mapped[Instant]
    updated_at: Mapped[Instant]


class Channel(TenantScoped, Base):
    """A way by which the provider tells of changes. It is stored before it is asked for, as the first notice may come
    before the answer; `digest` is of the token that every notice bears, `heard_at` when the last one came."""

    __tablename__ = "channels"
    __table_args__ = table_args(
        same_tenant("connection_id", "connections"), Index("ix_channels_connection", "tenant_id", "connection_id")
    )

    id: Mapped[Key]
    connection_id: Mapped[Id]
    digest: Mapped[bytes] = mapped_column(short_binary(32))
    resource_id: Mapped[ExternalId | None]
    expires_at: Mapped[Instant | None]
    heard_at: Mapped[Instant | None]
    created_at: Mapped[Instant]


@dataclass(frozen=True, slots=True)
class DueCalendar:
    """A calendar whose time has come. `to_watch`: it has no channel that lives long enough."""

    tenant_id: str
    connection_id: str
    to_watch: bool


_CALENDARS: Table = Calendar.__table__  # type: ignore[assignment]


def ensure_calendar(session: Session, *, tenant_id: str, connection_id: str, now: datetime) -> None:
    """Have a row for a connection's calendar; one that is there stays as it is."""
    check_scope(session, (tenant_id,))
    row = {"id": new_id(), "tenant_id": tenant_id, "connection_id": connection_id, "clash": CRM, "on_gone": RECREATE,
           "on_revoke": KEEP, "look_at": now, "created_at": now, "updated_at": now}  # fmt: skip
    insert_new(session.connection(), _CALENDARS, [row])


def calendar_of(session: Session, connection_id: str, *, locked: bool = False) -> Calendar | None:
    """A connection's calendar; `locked`: it stays as it is until this transaction ends."""
    query = select(Calendar).where(Calendar.connection_id == connection_id)
    return session.scalars(query.with_for_update() if locked else query).one_or_none()


def choose_end(session: Session, connection_id: str, choice: str) -> None:
    """What becomes of our events when the connection is revoked: KEEP or REMOVE."""
    _set(session, connection_id, on_revoke=choice)


def made(session: Session, connection_id: str, external_id: str, now: datetime) -> None:
    """The provider made it: it is read from its beginning."""
    _set(session, connection_id, external_id=external_id, sync_token=None, dirty_at=now, gone_at=None, look_at=now,
         updated_at=now)  # fmt: skip


def lost(session: Session, connection_id: str, now: datetime, *, gone_at: datetime | None) -> None:
    """The provider has it no more. `gone_at` set: nor is a new one to be made."""
    _set(session, connection_id, external_id=None, sync_token=None, dirty_at=None, gone_at=gone_at, updated_at=now)


def _set(session: Session, connection_id: str, **values: object) -> None:
    session.execute(
        update(Calendar)
        .where(Calendar.connection_id == connection_id)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def to_be_read(session: Session, connection_id: str, now: datetime) -> None:
    """It may have been changed at the provider: somebody has to look."""
    _set(session, connection_id, dirty_at=now)


def passed(
    session: Session, calendar: Calendar, *, sync_token: str, began_at: datetime, dirty_at: datetime | None,
    next_look: datetime, now: datetime,
) -> bool:  # fmt: skip
    """A pass is complete: remember its place, unless another began from a newer one meanwhile (False).

    A notice that came during the pass (`dirty_at` is that of its beginning) asks for one more.
    """
    same = Calendar.sync_token.is_(None) if calendar.sync_token is None else Calendar.sync_token == calendar.sync_token
    mine = and_(Calendar.id == calendar.id, Calendar.external_id == calendar.external_id, same)
    kept = session.execute(
        update(Calendar)
        .where(mine)
        .values(sync_token=sync_token, pulled_at=began_at, look_at=next_look, updated_at=now)
        .execution_options(synchronize_session=False)
    )
    answered = Calendar.dirty_at.is_(None) if dirty_at is None else Calendar.dirty_at == dirty_at
    session.execute(
        update(Calendar)
        .where(Calendar.id == calendar.id, answered)
        .values(dirty_at=None)
        .execution_options(synchronize_session=False)
    )
    return int(kept.rowcount) == 1  # type: ignore[attr-defined]


def token_expired(session: Session, connection_id: str, now: datetime) -> None:
    """The provider has forgotten the place that was reached: everything is read again."""
    _set(session, connection_id, sync_token=None, dirty_at=now, updated_at=now)


def due_calendars(session: Session, now: datetime, *, after: str | None, limit: int) -> list[DueCalendar]:
    """Calendars whose time has come, of all tenants, in the order of their connections' ids (system session)."""
    lasting = exists().where(
        Channel.tenant_id == Calendar.tenant_id, Channel.connection_id == Calendar.connection_id,
        Channel.expires_at > now + RENEW_BEFORE,
    )  # fmt: skip
    query = (
        select(Calendar.tenant_id, Calendar.connection_id, lasting, Calendar.external_id)
        .join(Connection, and_(Connection.tenant_id == Calendar.tenant_id, Connection.id == Calendar.connection_id))
        .where(Calendar.look_at <= now, Connection.status == ACTIVE)
        .order_by(Calendar.connection_id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(Calendar.connection_id > after)
    return [
        DueCalendar(tenant, connection, external is not None and not watched)
        for tenant, connection, watched, external in session.execute(query)
    ]


def look_again(session: Session, connection_ids: Sequence[str], at: datetime) -> None:
    """The sweep has seen these."""
    session.execute(
        update(Calendar)
        .where(Calendar.connection_id.in_(connection_ids))
        .values(look_at=at)
        .execution_options(synchronize_session=False)
    )


def token_digest(token: str) -> bytes:
    """What is stored of a channel's token: 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode()).digest()


def channels_of(session: Session, connection_id: str) -> list[Channel]:
    """A connection's channels, the youngest first."""
    query = select(Channel).where(Channel.connection_id == connection_id)
    return list(session.scalars(query.order_by(Channel.created_at.desc(), Channel.id.desc())))


def forget_channels(session: Session, channel_ids: Sequence[str]) -> None:
    """Channels that bring nothing any more."""
    session.execute(delete(Channel).where(Channel.id.in_(channel_ids)))


def is_watched(session: Session, connection_id: str, now: datetime) -> bool:
    """Whether there is a channel by which notices come."""
    query = select(Channel.id).where(Channel.connection_id == connection_id, Channel.expires_at > now)
    return session.scalars(query.limit(1)).one_or_none() is not None
