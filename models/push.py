"""Pushes: one row for each device that a bulletin is for, from the fixing of its recipients to a final result.

    queued --claim--> sending --result--> sent | failed | removed | expired | cancelled | opted_out | restricted
                         |  '--again----> retry --claim--> sending
                         '--lease over--> claimed once more: `doubts` counts that its answer was never seen

A claim is committed before anything is posted, and a result is final. It knows no provider.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import (
    ColumnElement,
    Index,
    Table,
    UniqueConstraint,
    and_,
    case,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Id, Instant, Key, Word, new_ids, short_binary, table_args
from models.bulletin import Audience
from models.device import DEVICES, TAGS
from models.opt_out import user_mark, user_opted_out
from models.restriction import user_is_restricted
from models.statements import among, id_as_text, id_in_sql, insert_all
from models.tenancy import TenantScoped, check_scope, same_tenant
from models.vault import Keyring

QUEUED, SENDING, RETRY = "queued", "sending", "retry"
SENT, FAILED, REMOVED, EXPIRED, CANCELLED = "sent", "failed", "removed", "expired", "cancelled"
FEED_ONLY, OPTED_OUT, RESTRICTED = "feed_only", "opted_out", "restricted"
"""Not pushed: the person has no device, wants no pushes, or is restricted; all of them find it in their feed."""
OPEN = (QUEUED, SENDING, RETRY)
LEASE = timedelta(seconds=20)
"""Longer than that of the job that claims (`worker.jobs.LEASE`): while its run lives, nobody else comes for its pushes."""


class Push(TenantScoped, Base):
    """A bulletin for one device (or for the feed of a person who has none: then `device_id` is None).

    `due_at` is the earliest instant to send it, or of the next try; `lease_until` until when whoever claimed it last may take.
    """

    __tablename__ = "pushes"
    __table_args__ = table_args(
        same_tenant("bulletin_id", "bulletins"),
        UniqueConstraint("tenant_id", "bulletin_id", "device_id"),
        Index("ix_pushes_user", "tenant_id", "user_hash", "bulletin_id"),
    )

    id: Mapped[Key]
    bulletin_id: Mapped[Id]
    device_id: Mapped[Id | None]
    user_hash: Mapped[bytes] = mapped_column(short_binary(16))
    state: Mapped[Word]
    reason: Mapped[Word | None]
    due_at: Mapped[Instant]
    lease_until: Mapped[Instant | None]
    attempts: Mapped[int] = mapped_column(default=0)
    doubts: Mapped[int] = mapped_column(default=0)
    ended_at: Mapped[Instant | None]


PUSHES: Table = Push.__table__  # type: ignore[assignment]


class Stretch(NamedTuple):
    """Devices that follow each other by id, as the fixing of recipients sees them: up to `last`, and in which time zones."""

    last: str
    number: int
    zones: frozenset[str | None]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The devices of a tenant that a bulletin is for: all, those with any of the tags, or those of the users."""

    tenant_id: str
    tags: Sequence[str] = ()
    users: Sequence[bytes] | None = None

    def where(self, *, after: str | None = None, last: str | None = None) -> ColumnElement[bool]:
        """As a condition; those behind `after` by id alone, and up to `last`."""
        mine: list[ColumnElement[bool]] = [DEVICES.c.tenant_id == self.tenant_id]
        if self.tags:
            tagged = select(TAGS.c.device_id).where(TAGS.c.tenant_id == self.tenant_id, TAGS.c.tag.in_(self.tags))
            mine.append(DEVICES.c.id.in_(tagged))
        if self.users is not None:
            mine.append(DEVICES.c.user_hash.in_(self.users))
        mine += [] if after is None else [DEVICES.c.id > after]
        mine += [] if last is None else [DEVICES.c.id <= last]
        return and_(*mine)


def chosen_by(audience: Audience, tenant_id: str, keyring: Keyring | None) -> Chosen:
    """Whom an audience names. Without a keyring nobody is known by a name."""
    if audience.kind != "users":
        return Chosen(tenant_id, audience.tags)
    return Chosen(tenant_id, users=[user_mark(keyring, user) for user in audience.users] if keyring is not None else [])


def stretches(session: Session, chosen: Chosen, *, after: str | None, size: int, limit: int) -> list[Stretch]:
    """The next `limit` devices behind `after`, as stretches of `size`."""
    connection = session.connection()
    number = func.row_number().over(order_by=DEVICES.c.id)
    following = (
        select(id_as_text(connection.dialect.name, DEVICES.c.id), DEVICES.c.timezone, ((number - 1) // size).label("part"))
        .where(chosen.where(after=after)).order_by(DEVICES.c.id).limit(limit).subquery()
    )  # fmt: skip
    last = func.max(following.c.id)
    query = select(following.c.part, following.c.timezone, last, func.count())
    found: dict[int, list[tuple[str | None, str, int]]] = {}
    for part, *rest in connection.execute(query.group_by(following.c.part, following.c.timezone)):
        found.setdefault(part, []).append(tuple(rest))
    return [
        Stretch(max(last for _, last, _ in some), sum(many for *_, many in some), frozenset(zone for zone, *_ in some))
        for _, some in sorted(found.items())
    ]


def counted(session: Session, chosen: Chosen) -> dict[str, int]:
    """kind -> devices; OPTED_OUT and RESTRICTED -> those of them that are not pushed to; "recipients" -> the persons behind
    them: what a preview tells."""
    where, connection = chosen.where(), session.connection()
    each = select(DEVICES.c.kind, spared(DEVICES).label("spared")).where(where).subquery()
    kinds = select(each.c.kind, each.c.spared, func.count()).group_by(each.c.kind, each.c.spared)
    people = select(func.count(DEVICES.c.user_hash.distinct())).where(where)
    found = Counter({"recipients": connection.execute(people).scalar_one()})
    for kind, reason, number in connection.execute(kinds):
        found.update({kind: number} | ({reason: number} if reason is not None else {}))
    return found


def spared(table: Table) -> ColumnElement[str | None]:
    """Why a user's devices are not pushed to now: RESTRICTED or OPTED_OUT; NULL: they are."""
    tenant, user = table.c.tenant_id, table.c.user_hash
    return case((user_is_restricted(tenant, user), RESTRICTED), (user_opted_out(tenant, user), OPTED_OUT))


def zones_of(session: Session, tenant_id: str) -> list[str | None]:
    """The time zones of the tenant's devices."""
    query = select(DEVICES.c.timezone).where(DEVICES.c.tenant_id == tenant_id).distinct()
    return list(session.connection().execute(query).scalars())


def write(
    session: Session, chosen: Chosen, bulletin_id: str, *, after: str | None, last: str, due: Mapping[str | None, datetime],
) -> int:  # fmt: skip
    """Store a push for each chosen device between; how many. `due`: by time zone, None for any other. The rows never leave the
    database: here and back they would take as long as their claim."""
    connection = session.connection()
    check_scope(session, (chosen.tenant_id,))
    same = {"tenant_id": chosen.tenant_id, "bulletin_id": bulletin_id, "state": QUEUED, "attempts": 0, "doubts": 0}
    at = {zone: literal(instant, PUSHES.c.due_at.type) for zone, instant in due.items()}
    other = at.pop(None)
    by_zone = case(at, value=DEVICES.c.timezone, else_=other) if len(set(due.values())) > 1 else other
    source = select(
        id_in_sql(connection.dialect.name), DEVICES.c.id, DEVICES.c.user_hash, by_zone,
        *(literal(value, PUSHES.c[name].type) for name, value in same.items()),
    ).where(chosen.where(after=after, last=last))  # fmt: skip
    names = ["id", "device_id", "user_hash", "due_at", *same]
    statement = insert(PUSHES).from_select(names, source, include_defaults=False)
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount


def write_feed_only(session: Session, tenant_id: str, bulletin_id: str, users: Sequence[bytes], now: datetime) -> None:
    """Store what users without a device find in their feeds."""
    check_scope(session, (tenant_id,))
    same = {"tenant_id": tenant_id, "bulletin_id": bulletin_id, "device_id": None, "state": FEED_ONLY, "due_at": now,
            "attempts": 0, "doubts": 0}  # fmt: skip
    own = [{"id": push, "user_hash": user} for push, user in zip(new_ids(len(users)), users, strict=True)]
    insert_all(session.connection(), PUSHES, own, same)


def recipients(session: Session, tenant_id: str, bulletin_id: str) -> int:
    """How many users a bulletin is for."""
    query = select(func.count(PUSHES.c.user_hash.distinct())).where(_of(tenant_id, bulletin_id))
    return session.connection().execute(query).scalar_one()


def without(session: Session, tenant_id: str, bulletin_id: str, users: Sequence[bytes]) -> list[bytes]:
    """Those of these users for whom a bulletin has no row yet: they have no device."""
    query = select(PUSHES.c.user_hash).where(_of(tenant_id, bulletin_id), PUSHES.c.user_hash.in_(users))
    known = {bytes(user) for user in session.connection().execute(query).scalars()}
    return [user for user in dict.fromkeys(users) if user not in known]


def _of(tenant_id: str, bulletin_id: str) -> ColumnElement[bool]:
    return and_(PUSHES.c.tenant_id == tenant_id, PUSHES.c.bulletin_id == bulletin_id)


def close(session: Session, tenant_id: str, bulletin_id: str, state: str, now: datetime, *, limit: int) -> int:
    """End up to `limit` pushes that were not sent yet: expired or cancelled; how many. Those in flight end by themselves."""
    rows = PUSHES.c
    waiting = or_(rows.state.in_((QUEUED, RETRY)), and_(rows.state == SENDING, rows.lease_until <= now))
    query = select(rows.id).where(_of(tenant_id, bulletin_id), waiting).order_by(rows.device_id).limit(limit)
    connection = session.connection()
    ids = list(connection.execute(query.with_for_update()).scalars())
    if ids:  # by their ids alone, as `models.push_chunk`
        ending = update(PUSHES).where(rows.bulletin_id == bulletin_id, among(connection, rows.id, ids))
        connection.execute(ending.values(state=state, lease_until=None, ended_at=now))
    return len(ids)


@dataclass(frozen=True, slots=True)
class Counts:
    """Pushes by state; `failed` also by reason. "Sent" means that the provider took it, never that somebody saw it."""

    states: Mapping[str, int]
    reasons: Mapping[str, int] = field(default_factory=dict)

    def number(self, *states: str) -> int:
        """How many are in these states."""
        return sum(self.states.get(state, 0) for state in states)


def counts(session: Session, tenant_id: str, bulletin_id: str) -> Counts:
    """How a bulletin stands now, from its rows."""
    query = (
        select(PUSHES.c.state, PUSHES.c.reason, func.count())
        .where(_of(tenant_id, bulletin_id))
        .group_by(PUSHES.c.state, PUSHES.c.reason)
    )
    states: dict[str, int] = {}
    reasons: dict[str, int] = {}
    for state, reason, number in session.connection().execute(query):
        states[state] = states.get(state, 0) + number
        if reason is not None and state in (FAILED, RETRY):
            reasons[reason] = reasons.get(reason, 0) + number
    return Counts(states, reasons)
