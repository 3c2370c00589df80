"""The feed of events for the host CRM: what happened to a tenant, in the order of commits; ids only, no personal data."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Table, UniqueConstraint, Uuid, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Instant, Json, Key, Word, new_ids, table_args
from models.statements import insert_all, insert_new
from models.tenancy import TenantScoped, check_scope

CONNECTION_CREATED, CONNECTION_REVOKED = "connection.created", "connection.revoked"
CONNECTION_NEEDS_RECONNECT, CONNECTION_RECOVERED = "connection.needs_reconnect", "connection.recovered"
LEAD_RECEIVED, LEAD_UPDATED = "lead.received", "lead.updated"
DELETION_REQUESTED, DELETION_ACTION_NEEDED = "deletion.requested", "deletion.action_needed"
DELETION_DUE_SOON, DELETION_OVERDUE = "deletion.due_soon", "deletion.overdue"
DELETION_COMPLETED = "deletion.completed"
EXPORT_READY, EXPORT_DOWNLOADED = "export.ready", "export.downloaded"
RESTRICTION_SET, RESTRICTION_LIFTED = "restriction.set", "restriction.lifted"
POLICY_NOTICE = "policy.notice"
CALENDAR_EVENT_SYNCED, CALENDAR_EVENT_CHANGED = "calendar_event.synced", "calendar_event.changed"
CALENDAR_EVENT_CONFLICT, CALENDAR_EVENT_FAILED = "calendar_event.conflict", "calendar_event.failed"
CALENDAR_EVENTS = (CALENDAR_EVENT_SYNCED, CALENDAR_EVENT_CHANGED, CALENDAR_EVENT_CONFLICT, CALENDAR_EVENT_FAILED)
BULLETIN_COMPLETED, DEVICE_REMOVED = "bulletin.completed", "device.removed"
RETENTION_NOTICE = "retention.notice"
LEAD_PLACE = len('{"lead_id":"') + 1
"""Where the id of a lead begins in the data of its events, which name it first."""


class Feed(TenantScoped, Base):
    """How many events a tenant has. Its lock is held until the commit, so positions are seen in their order."""

    __tablename__ = "feeds"
    __table_args__ = table_args()

    tenant_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), ForeignKey("tenants.id"), primary_key=True)
    last: Mapped[int] = mapped_column(BigInteger)


class Event(TenantScoped, Base):
    """One event. `position` counts from 1 without gaps within the tenant; `data` holds ids and words of ours."""

    __tablename__ = "events"
    __table_args__ = table_args(UniqueConstraint("tenant_id", "position"), Index("ix_events_created_at", "created_at"))

    id: Mapped[Key]
    position: Mapped[int] = mapped_column(BigInteger)
    type: Mapped[Word]
    data: Mapped[Json]
    created_at: Mapped[Instant]


_FEEDS: Table = Feed.__table__  # type: ignore[assignment]
_EVENTS: Table = Event.__table__  # type: ignore[assignment]


def hold_feed(session: Session, tenant_id: str) -> None:
    """Others of the tenant that tell something wait from now on. For who changes leads that are there and then tells of it:
    all take the feed before those leads, or two of them wait for each other."""
    check_scope(session, (tenant_id,))
    insert_new(session.connection(), _FEEDS, [{"tenant_id": tenant_id, "last": 0}])
    session.connection().execute(select(_FEEDS.c.last).where(_FEEDS.c.tenant_id == tenant_id).with_for_update())


def emit(session: Session, tenant_id: str, events: Sequence[tuple[str, Mapping[str, Any]]], now: datetime) -> None:
    """Store events in this transaction. Take it last: other transactions of the tenant that emit wait for the commit."""
    if not events:
        return
    check_scope(session, (tenant_id,))
    session.flush()  # what it tells of is there before it
    connection = session.connection()
    step = update(_FEEDS).where(_FEEDS.c.tenant_id == tenant_id).values(last=_FEEDS.c.last + len(events))
    if connection.execute(step).rowcount == 0:
        insert_new(connection, _FEEDS, [{"tenant_id": tenant_id, "last": 0}])
        connection.execute(step)
    last = connection.execute(select(_FEEDS.c.last).where(_FEEDS.c.tenant_id == tenant_id)).scalar_one()
    # Without the ORM: leads come by the hundred, and an object costs more than its row.
    insert_all(
        connection,
        _EVENTS,
        [
            {"id": row, "tenant_id": tenant_id, "position": last + offset, "type": kind, "data": dict(data),
             "created_at": now}
            for row, offset, (kind, data) in zip(new_ids(len(events)), range(1 - len(events), 1), events, strict=True)
        ],
    )  # fmt: skip


def events_after(session: Session, *, after: str | None, limit: int) -> list[Event] | None:
    """The tenant's events behind the one with the id `after` (None: from the first); None when there is no such event."""
    query = select(Event).order_by(Event.position).limit(limit)
    if after is not None:
        position = session.scalars(select(Event.position).where(Event.id == after)).one_or_none()
        if position is None:
            return None
        query = query.where(Event.position > position)
    return list(session.scalars(query))
