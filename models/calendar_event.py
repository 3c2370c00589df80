"""Calendar events: what the host wishes, and the link to what the provider has. It knows no provider's format.

    pending --agreed--> synced --a person deleted it, or it is not wished any more--> removed
       |  ^                |  ^
       |  '--a new wish----+--'-- seen by the host
       '--> conflict (the provider's side won), failed (the provider refuses it)

What an event says is sealed, and kept only while a change is on its way: `wish` until the provider has it, `found` until
the host has seen it. At rest there are ids, the provider's version and keyed hashes.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Index, String, Table, UniqueConstraint, bindparam, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import (
    Base,
    ExternalId,
    Id,
    Instant,
    Json,
    Key,
    Sealed,
    Sentence,
    Word,
    new_id,
    short_binary,
    table_args,
)
from models.statements import among
from models.tenancy import TenantScoped, check_scope, same_tenant
from models.vault import Keyring

PENDING, SYNCED, CONFLICT, FAILED, REMOVED = "pending", "synced", "conflict", "failed", "removed"
PRESENT, ABSENT = "present", "absent"
SEEN_WITHIN = timedelta(days=7)
"""How long the provider's side of a change is kept for a host that does not look at it."""


class CalendarEvent(TenantScoped, Base):
    """One event of one connection. `host_id` is the host's name for it, `external_id` ours at the provider: made from a keyed
    hash of host id and `generation`, which is counted up where an id has been used up by a deletion.

    `version` counts the host's wishes. `wanted`: present or absent. `wished_hash` is of the last wish that was stored,
    `content_hash` of what the provider has, `etag` its version there. `is_dressed`: somebody added at the provider what our
    wishes do not tell (a colour, an answer of a guest), which must survive the next change. `told_at`: when the host was
    told of the provider's side, which `found` holds; None: it has seen it. `instances`: the exceptions of a series that were
    told of, by the provider's name for each, as a hash of what they say.
    """

    __tablename__ = "calendar_events"
    __table_args__ = table_args(
        UniqueConstraint("tenant_id", "host_id", "connection_id"),
        same_tenant("connection_id", "connections"),
        Index("ix_calendar_events_external_id", "tenant_id", "connection_id", "external_id"),
        Index("ix_calendar_events_due", "tenant_id", "connection_id", "state", "due_at"),
        Index("ix_calendar_events_told_at", "told_at"),
    )

    id: Mapped[Key]
    connection_id: Mapped[Id]
    host_id: Mapped[ExternalId]
    external_id: Mapped[str] = mapped_column(String(64))
    generation: Mapped[int] = mapped_column(default=1)
    etag: Mapped[str | None] = mapped_column(String(120))
    content_hash: Mapped[bytes | None] = mapped_column(short_binary(16))
    is_dressed: Mapped[bool] = mapped_column(default=False)
    version: Mapped[int] = mapped_column(default=1)
    wanted: Mapped[Word]
    state: Mapped[Word]
    wish: Mapped[Sealed | None]
    wished_hash: Mapped[bytes | None] = mapped_column(short_binary(16))
    wished_at: Mapped[Instant]
    found: Mapped[Sealed | None]
    told_at: Mapped[Instant | None]
    due_at: Mapped[Instant | None]
    attempts: Mapped[int] = mapped_column(default=0)
    instances: Mapped[Json | None]
    synced_at: Mapped[Instant | None]
    error_code: Mapped[Word | None]
    error_sentence: Mapped[Sentence | None]
    created_at: Mapped[Instant]


_EVENTS: Table = CalendarEvent.__table__  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Keys:
    """A tenant's keys for one connection's events: `contents` seals what they say, `hashes` makes ids and hashes."""

    contents: Keyring = field(repr=False)
    hashes: Keyring = field(repr=False)

    def seal(self, content: Mapping[str, Any], *, row: str, column: str) -> bytes:
        """A content, bound to its place."""
        return self.contents.seal(orjson.dumps(content), table="calendar_events", row=row, column=column)

    def unseal(self, sealed: bytes, *, row: str, column: str) -> dict[str, Any]:
        """What `seal` was given."""
        opened: dict[str, Any] = orjson.loads(
            self.contents.unseal(sealed, table="calendar_events", row=row, column=column)
        )
        return opened

    def hash(self, content: Mapping[str, Any]) -> bytes:
        """The same for the same content of this tenant, whatever the order of its fields."""
        return self.hashes.fingerprint("event:" + orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode())

    def external_id(self, connection_id: str, host_id: str, generation: int) -> str:
        """Our id at the provider: base32hex, the only letters that Google takes, of a keyed hash."""
        mark = self.hashes.fingerprint(f"event-id:{connection_id}:{generation}:{host_id}")
        return base64.b32hexencode(mark).decode().rstrip("=").lower()


@dataclass(frozen=True, slots=True)
class Pending:
    """An event whose wish is not the provider's yet. `content` None: it is not wished any more. `notify`: which of its guests
    the provider writes to. `undoes`: it was not wished any more just before, and may have been deleted by us for that."""

    id: str
    host_id: str
    external_id: str
    generation: int
    etag: str | None
    content_hash: bytes | None
    is_dressed: bool
    version: int
    attempts: int
    wished_at: datetime
    content: dict[str, Any] | None = field(repr=False)
    notify: str
    undoes: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """An event as a pass over the provider's calendar meets it. `found` is what the host has not seen yet, sealed."""

    id: str
    host_id: str
    external_id: str
    version: int
    wanted: str
    state: str
    etag: str | None
    content_hash: bytes | None
    is_dressed: bool
    instances: dict[str, str] | None
    found: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a row: `facts` in any case, `verdict` only if no newer wish came meanwhile."""

    id: str
    version: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    verdict: Mapping[str, Any] = field(default_factory=dict)


AGREED: Mapping[str, Any] = {
    "wish": None, "due_at": None, "attempts": 0, "error_code": None, "error_sentence": None,
}  # fmt: skip
"""What every end of a wish has in common: its content is erased."""


def event_of(
    session: Session, host_id: str, connection_id: str | None = None, *, locked: bool = False
) -> list[CalendarEvent]:
    """The tenant's events of a host id: one a connection."""
    query = select(CalendarEvent).where(CalendarEvent.host_id == host_id).order_by(CalendarEvent.connection_id)
    if connection_id is not None:
        query = query.where(CalendarEvent.connection_id == connection_id)
    return list(session.scalars(query.with_for_update() if locked else query))


def wish(
    session: Session, keys: Keys, *, tenant_id: str, connection_id: str, host_id: str, content: Mapping[str, Any],
    wished: bytes, notify: str, now: datetime,
) -> tuple[CalendarEvent, bool]:  # fmt: skip
    """The host wishes an event to be so; (its row, whether anything has to be done).

    `wished` is the hash of what counts of `content`. A wish that the provider has already, or that waits already, changes
    nothing.
    """
    row = next(iter(event_of(session, host_id, connection_id, locked=True)), None)
    if row is None:
        row = CalendarEvent(
            id=new_id(), tenant_id=tenant_id, connection_id=connection_id, host_id=host_id, generation=0, version=0,
            is_dressed=False, attempts=0, wanted=PRESENT, state=REMOVED, created_at=now,
            external_id="", wished_at=now,
        )  # fmt: skip
        session.add(row)
    elif row.wanted == PRESENT and row.wished_hash == wished and row.state in (PENDING, SYNCED):
        return row, False
    if row.state == REMOVED:  # its id has been used up
        row.generation += 1
        row.external_id = keys.external_id(connection_id, host_id, row.generation)
        row.etag = row.content_hash = None
    undoes = row.wish is not None and row.state == PENDING and (
        row.wanted == ABSENT or "undoes" in keys.unseal(row.wish, row=row.id, column="wish")
    )  # fmt: skip
    _wished(row, PRESENT, now)
    sealed = {"content": content, "notify": notify} | ({"undoes": True} if undoes else {})
    row.wish = keys.seal(sealed, row=row.id, column="wish")
    row.wished_hash = wished
    session.flush()
    return row, True


def unwish(session: Session, keys: Keys, row: CalendarEvent, *, notify: str, now: datetime) -> bool:
    """The host does not want the event any more; False when it is gone, or going, already."""
    if row.state == REMOVED or (row.wanted == ABSENT and row.state != FAILED):
        row.wanted = ABSENT
        return False
    _wished(row, ABSENT, now)
    row.wish, row.wished_hash = keys.seal({"content": None, "notify": notify}, row=row.id, column="wish"), None
    session.flush()
    return True


def _wished(row: CalendarEvent, wanted: str, now: datetime) -> None:
    row.wanted, row.state, row.version = wanted, PENDING, row.version + 1
    row.wished_at = row.due_at = now
    row.attempts, row.error_code, row.error_sentence = 0, None, None
    row.found = row.told_at = None  # who wishes anew has seen what there was


def seen(session: Session, row: CalendarEvent) -> None:
    """The host has seen the provider's side: its content is erased, and what it says now is agreed to."""
    row.found = row.told_at = None
    if row.state == CONFLICT:
        row.state, row.wish, row.wished_hash = SYNCED, None, None
    session.flush()


_PENDING = tuple(_EVENTS.c[one.name] for one in fields(Pending)[:-3])


def pending(
    session: Session, keys: Keys, *, tenant_id: str, connection_id: str, now: datetime, limit: int
) -> list[Pending]:
    """Events whose wishes are due, the longest waiting first."""
    query = select(*_PENDING, _EVENTS.c.wish).where(*_waiting(tenant_id, connection_id), _EVENTS.c.due_at <= now)
    found = []
    for *row, wish in session.connection().execute(query.order_by(_EVENTS.c.due_at, _EVENTS.c.id).limit(limit)):
        opened = keys.unseal(wish, row=row[0], column="wish")
        found.append(Pending(*row, **opened))
    return found


def next_due(session: Session, *, tenant_id: str, connection_id: str) -> datetime | None:
    """When the earliest waiting wish is due; None: none waits."""
    query = select(func.min(_EVENTS.c.due_at)).where(*_waiting(tenant_id, connection_id))
    due: datetime | None = session.connection().execute(query).scalar()
    return due


def _waiting(tenant_id: str, connection_id: str) -> tuple[ColumnElement[bool], ...]:
    return (
        _EVENTS.c.tenant_id == tenant_id, _EVENTS.c.connection_id == connection_id, _EVENTS.c.state == PENDING
    )  # fmt: skip


def settle(session: Session, tenant_id: str, changes: Iterable[Change]) -> None:
    """Write what became of events; each statement of a kind once, with many rows."""
    check_scope(session, (tenant_id,))
    facts: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    verdicts: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for one in sorted(changes, key=lambda change: change.id):
        row = {"b_id": one.id, "b_tenant": tenant_id}
        if one.facts:
            facts.setdefault(tuple(one.facts), []).append({**row, **one.facts})
        if one.verdict:
            verdicts.setdefault(tuple(one.verdict), []).append({**row, "b_version": one.version, **one.verdict})
    this = (_EVENTS.c.tenant_id == bindparam("b_tenant"), _EVENTS.c.id == bindparam("b_id"))
    for names, rows in facts.items():
        session.connection().execute(update(_EVENTS).where(*this).values(_named(names)), rows)
    for names, rows in verdicts.items():
        unmoved = _EVENTS.c.version == bindparam("b_version")
        session.connection().execute(update(_EVENTS).where(*this, unmoved).values(_named(names)), rows)


def _named(names: Sequence[str]) -> dict[str, Any]:
    return {name: bindparam(name) for name in names}


_KNOWN = tuple(_EVENTS.c[one.name] for one in fields(Known))


def known_events(
    session: Session, *, tenant_id: str, connection_id: str, external_ids: Sequence[str]
) -> dict[str, Known]:
    """Our id at the provider -> the event, for those that are ours."""
    connection = session.connection()
    query = select(*_KNOWN).where(
        _EVENTS.c.tenant_id == tenant_id, _EVENTS.c.connection_id == connection_id,
        among(connection, _EVENTS.c.external_id, external_ids),
    )  # fmt: skip
    return {row.external_id: Known(*row) for row in connection.execute(query)} if external_ids else {}


def every_event(session: Session, *, tenant_id: str, connection_id: str, after: str | None, limit: int) -> list[Known]:
    """A connection's events in the order of their ids, behind `after`."""
    query = select(*_KNOWN).where(_EVENTS.c.tenant_id == tenant_id, _EVENTS.c.connection_id == connection_id)
    if after is not None:
        query = query.where(_EVENTS.c.id > after)
    return [Known(*row) for row in session.connection().execute(query.order_by(_EVENTS.c.id).limit(limit))]


def forget_found(session: Session, before: datetime, *, limit: int) -> int:
    """Erase the provider's sides that no host has looked at since an instant; how many (system session)."""
    query = select(_EVENTS.c.id).where(_EVENTS.c.told_at < before).limit(limit)
    ids = list(session.connection().execute(query).scalars())
    if ids:
        erased = update(_EVENTS).where(_EVENTS.c.id.in_(ids)).values(found=None, told_at=None)
        session.connection().execute(erased)
        lost = update(_EVENTS).where(_EVENTS.c.id.in_(ids), _EVENTS.c.state == CONFLICT)
        session.connection().execute(lost.values(state=SYNCED, wish=None, wished_hash=None))
    return len(ids)


def counts_of(session: Session, connection_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """connection id -> state -> how many of its events."""
    query = (
        select(CalendarEvent.connection_id, CalendarEvent.state, func.count())
        .where(CalendarEvent.connection_id.in_(connection_ids))
        .group_by(CalendarEvent.connection_id, CalendarEvent.state)
    )
    found: dict[str, dict[str, int]] = {}
    for connection_id, state, number in session.execute(query):
        found.setdefault(connection_id, {})[state] = number
    return found
