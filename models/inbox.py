"""What providers told us and has not been dealt with yet: ids and instants, never a person's data."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Index, Table, UniqueConstraint, bindparam, delete, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, ExternalId, Id, Instant, Json, Key, Sentence, Word, new_id, table_args
from models.statements import insert_new, rows_by
from models.tenancy import TenantScoped, check_scope, same_tenant

PENDING, HANDLED, FAILED = "pending", "handled", "failed"
CLOSED = "closed"
_CLOSED = "The connection was closed before this was read."


class InboxEvent(TenantScoped, Base):
    """One notice about one thing at a provider; unique per tenant, kind and external id, so that a repeat is a no-op."""

    __tablename__ = "inbox_events"
    __table_args__ = table_args(
        UniqueConstraint("tenant_id", "kind", "external_id"),
        same_tenant("connection_id", "connections"),
        Index("ix_inbox_events_pending", "tenant_id", "connection_id", "state", "due_at"),
    )

    id: Mapped[Key]
    connection_id: Mapped[Id]
    kind: Mapped[Word]
    external_id: Mapped[ExternalId]
    source: Mapped[Word]
    refs: Mapped[Json | None]
    occurred_at: Mapped[Instant | None]
    received_at: Mapped[Instant]
    state: Mapped[Word]
    due_at: Mapped[Instant]
    attempts: Mapped[int] = mapped_column(default=0)
    handled_at: Mapped[Instant | None]
    error_kind: Mapped[Word | None]
    error_sentence: Mapped[Sentence | None]


@dataclass(frozen=True, slots=True)
class Notice:
    """An event to be stored."""

    tenant_id: str
    connection_id: str
    kind: str
    external_id: str
    source: str
    refs: dict[str, str] | None = None
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """A stored event that is due."""

    id: str
    external_id: str
    source: str
    refs: dict[str, str]
    occurred_at: datetime | None
    received_at: datetime
    attempts: int


_INBOX: Table = InboxEvent.__table__  # type: ignore[assignment]


def take_in(session: Session, notices: Iterable[Notice], now: datetime) -> None:
    """Store events; those that are known already change nothing, but what had failed is tried again, by this connection."""
    notices = sorted(notices, key=lambda notice: (notice.tenant_id, notice.kind, notice.external_id))
    rows = [
        {
            "id": new_id(),
            "tenant_id": notice.tenant_id,
            "connection_id": notice.connection_id,
            "kind": notice.kind,
            "external_id": notice.external_id,
            "source": notice.source,
            "refs": notice.refs,
            "occurred_at": notice.occurred_at,
            "received_at": now,
            "state": PENDING,
            "due_at": now,
            "attempts": 0,
        }
        for notice in notices
    ]
    check_scope(session, (notice.tenant_id for notice in notices))
    if not insert_new(session.connection(), _INBOX, rows):
        return
    told: dict[tuple[str, str, str], list[str]] = {}
    for notice in notices:
        told.setdefault((notice.tenant_id, notice.connection_id, notice.kind), []).append(notice.external_id)
    for (tenant_id, connection_id, kind), external_ids in told.items():
        # Looked for without a lock first: nearly always there is none, and on MariaDB an update that finds nothing locks the
        # gaps where it looked, so that two deliveries of the same leads would wait for each other.
        query = select(_INBOX.c.id).where(
            _INBOX.c.tenant_id == tenant_id, _INBOX.c.kind == kind, _INBOX.c.state == FAILED,
            _INBOX.c.external_id.in_(external_ids),
        )  # fmt: skip
        failed = list(session.connection().execute(query).scalars())
        if failed:
            _again(session, tenant_id, now, _INBOX.c.id.in_(failed), connection_id=connection_id)


_PENDING = (
    select(
        *(_INBOX.c[name] for name in ("id", "external_id", "source", "refs", "occurred_at", "received_at", "attempts"))
    )
    .where(
        _INBOX.c.tenant_id == bindparam("tenant"),
        _INBOX.c.connection_id == bindparam("connection"),
        _INBOX.c.kind == bindparam("kind"),
        _INBOX.c.state == PENDING,
        _INBOX.c.due_at <= bindparam("now"),
    )
    .order_by(_INBOX.c.due_at, _INBOX.c.id)
    .limit(bindparam("most"))
)


def pending(
    session: Session, *, tenant_id: str, connection_id: str, kind: str, now: datetime, limit: int
) -> list[Pending]:
    """The connection's events that are due, oldest first."""
    values = {"tenant": tenant_id, "connection": connection_id, "kind": kind, "now": now, "most": limit}
    return [
        Pending(i, e, s, r or {}, o, t, n) for i, e, s, r, o, t, n in session.connection().execute(_PENDING, values)
    ]


def next_due(session: Session, *, tenant_id: str, connection_id: str, kind: str) -> datetime | None:
    """When the connection's earliest pending event is due; None when nothing is pending."""
    return session.scalar(
        select(InboxEvent.due_at)
        .where(
            InboxEvent.tenant_id == tenant_id,
            InboxEvent.connection_id == connection_id,
            InboxEvent.kind == kind,
            InboxEvent.state == PENDING,
        )
        .order_by(InboxEvent.due_at)
        .limit(1)
    )


_HANDLED = (
    update(_INBOX)
    .where(_INBOX.c.tenant_id == bindparam("tenant"), _INBOX.c.id.in_(bindparam("ids", expanding=True)))
    .values(state=HANDLED, handled_at=bindparam("now"), error_kind=None, error_sentence=bindparam("sentence"))
)


def handled(
    session: Session, *, tenant_id: str, ids: Sequence[str], now: datetime, sentence: str | None = None
) -> None:
    """These events have been dealt with; a sentence says how, where it was not by the usual way."""
    check_scope(session, (tenant_id,))
    if ids:
        values = {"tenant": tenant_id, "ids": list(ids), "now": now, "sentence": sentence}
        session.connection().execute(_HANDLED, values)


def arrived(session: Session, *, tenant_id: str, kind: str, external_ids: Sequence[str], now: datetime) -> None:
    """What these things' events were about has come another way: they are dealt with, whatever they waited for."""
    check_scope(session, (tenant_id,))
    if external_ids:
        connection = session.connection()
        mine = (_INBOX.c.tenant_id == tenant_id, _INBOX.c.kind == kind, _INBOX.c.state != HANDLED)
        waiting = connection.execute(rows_by(connection, _INBOX.c.external_id, external_ids, _INBOX.c.id, where=mine))
        handled(session, tenant_id=tenant_id, ids=list(waiting.scalars()), now=now)


def forget(session: Session, *, tenant_id: str, kind: str, external_ids: Collection[str]) -> None:
    """A deletion has taken what these things' events are about: the ids do not stay either."""
    check_scope(session, (tenant_id,))
    if external_ids:
        session.connection().execute(
            delete(_INBOX).where(
                _INBOX.c.tenant_id == tenant_id, _INBOX.c.kind == kind, _INBOX.c.external_id.in_(sorted(external_ids))
            )
        )


def unhandled(
    session: Session, *, tenant_id: str, event_id: str, kind: str, sentence: str, due_at: datetime | None
) -> None:
    """This event could not be dealt with: look again at `due_at`, or never by itself (None), kept with its reason.

    One that has been dealt with in the meantime stays so.
    """
    check_scope(session, (tenant_id,))
    values: dict[str, Any] = {"error_kind": kind, "error_sentence": sentence[:500], "attempts": _INBOX.c.attempts + 1}
    values.update({"state": FAILED} if due_at is None else {"due_at": due_at})
    session.connection().execute(
        update(_INBOX)
        .where(_INBOX.c.tenant_id == tenant_id, _INBOX.c.id == event_id, _INBOX.c.state == PENDING)
        .values(**values)
    )


def close(session: Session, *, tenant_id: str, connection_id: str) -> None:
    """The connection is closed: what waits for it will not be dealt with, and is kept with that as its reason."""
    check_scope(session, (tenant_id,))
    session.connection().execute(
        update(_INBOX)
        .where(_INBOX.c.tenant_id == tenant_id, _INBOX.c.connection_id == connection_id, _INBOX.c.state == PENDING)
        .values(state=FAILED, error_kind=CLOSED, error_sentence=_CLOSED)
    )


def replay(
    session: Session,
    tenant_id: str,
    connection_id: str | None,
    kind: str | None,
    ids: Sequence[str] | None,
    now: datetime,
) -> int:
    """Failed events are pending again, as if they had just come; how many. `kind` is the class of what went wrong.

    None of a filter is no filter. The connections' `leads.fetch` does the rest: put it with them.
    """
    more = []
    if connection_id is not None:
        more.append(_INBOX.c.connection_id == connection_id)
    if kind is not None:
        more.append(_INBOX.c.error_kind == kind)
    if ids is not None:
        more.append(_INBOX.c.id.in_(ids))
    return _again(session, tenant_id, now, *more)


def _again(session: Session, tenant_id: str, now: datetime, *more: ColumnElement[bool], **changes: str) -> int:
    check_scope(session, (tenant_id,))
    chosen = update(_INBOX).where(_INBOX.c.tenant_id == tenant_id, _INBOX.c.state == FAILED, *more)
    return session.connection().execute(chosen.values(state=PENDING, due_at=now, attempts=0, **changes)).rowcount
