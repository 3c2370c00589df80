"""Pushes: one row for each device that a bulletin is for, from the fixing of its recipients to a final result.

    queued --claim--> sending --result--> sent | failed | removed | expired | cancelled | opted_out | restricted
                         |  '--again----> retry --claim--> sending
                         '--lease over--> claimed once more: `doubts` counts that its answer was never seen

A claim is committed before anything is posted, and a result is final. It knows no provider.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Index,
    Select,
    Table,
    Text,
    UniqueConstraint,
    Update,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Id, Instant, Key, Word, new_ids, short_binary, table_args
from models.device import DEVICES, TAGS
from models.opt_out import user_opted_out
from models.restriction import user_is_restricted
from models.statements import among, insert_all
from models.tenancy import TenantScoped, check_scope, same_tenant

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
_BEFORE_ALL = str(UUID(int=0))


class Listed(NamedTuple):
    """A device as the fixing of recipients sees it."""

    id: str
    user_hash: bytes
    timezone: str | None


def listed(
    session: Session, tenant_id: str, *, after: str | None, limit: int, tags: Sequence[str] = (),
    users: Sequence[bytes] | None = None,
) -> list[Listed]:  # fmt: skip
    """The tenant's devices behind `after` by id: all, those with any of the tags, or those of the users."""
    query = select(DEVICES.c.id, DEVICES.c.user_hash, DEVICES.c.timezone).where(
        _chosen(tenant_id, tags, users), *([] if after is None else [DEVICES.c.id > after])
    )
    rows = session.connection().execute(query.order_by(DEVICES.c.id).limit(limit)).all()
    return [Listed(device, bytes(user), zone) for device, user, zone in rows]


def counted(
    session: Session, tenant_id: str, *, tags: Sequence[str] = (), users: Sequence[bytes] | None = None
) -> dict[str, int]:
    """kind -> devices; OPTED_OUT and RESTRICTED -> those of them that are not pushed to; "recipients" -> the persons behind
    them: what a preview tells."""
    where, connection = _chosen(tenant_id, tags, users), session.connection()
    each = select(DEVICES.c.kind, _spared(DEVICES).label("spared")).where(where).subquery()
    kinds = select(each.c.kind, each.c.spared, func.count()).group_by(each.c.kind, each.c.spared)
    people = select(func.count(DEVICES.c.user_hash.distinct())).where(where)
    found = Counter({"recipients": connection.execute(people).scalar_one()})
    for kind, reason, number in connection.execute(kinds):
        found.update({kind: number} | ({reason: number} if reason is not None else {}))
    return found


def _spared(table: Table) -> ColumnElement[str | None]:
    """Why a user's devices are not pushed to now: RESTRICTED or OPTED_OUT; NULL: they are."""
    tenant, user = table.c.tenant_id, table.c.user_hash
    return case((user_is_restricted(tenant, user), RESTRICTED), (user_opted_out(tenant, user), OPTED_OUT))


def zones_of(session: Session, tenant_id: str) -> list[str | None]:
    """The time zones of the tenant's devices."""
    query = select(DEVICES.c.timezone).where(DEVICES.c.tenant_id == tenant_id).distinct()
    return list(session.connection().execute(query).scalars())


def _chosen(tenant_id: str, tags: Sequence[str], users: Sequence[bytes] | None) -> ColumnElement[bool]:
    mine: list[ColumnElement[bool]] = [DEVICES.c.tenant_id == tenant_id]
    if tags:
        tagged = select(TAGS.c.device_id).where(TAGS.c.tenant_id == tenant_id, TAGS.c.tag.in_(tags))
        mine.append(DEVICES.c.id.in_(tagged))
    if users is not None:
        mine.append(DEVICES.c.user_hash.in_(users))
    return and_(*mine)


def write(
    session: Session, tenant_id: str, bulletin_id: str, rows: Sequence[tuple[str | None, bytes, str, datetime]]
) -> None:
    """Store pushes: (device or None, user's hash, state, due)."""
    check_scope(session, (tenant_id,))
    insert_all(
        session.connection(),
        PUSHES,
        [
            {"id": push, "tenant_id": tenant_id, "bulletin_id": bulletin_id, "device_id": device, "user_hash": user,
             "state": state, "due_at": due, "attempts": 0, "doubts": 0}
            for push, (device, user, state, due) in zip(new_ids(len(rows)), rows, strict=True)
        ],
    )  # fmt: skip


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


@dataclass(frozen=True, slots=True)
class Chunk:
    """The pushes of one job: those of a bulletin whose devices' ids are behind `after`, up to `last`."""

    tenant_id: str
    bulletin_id: str
    after: str | None
    last: str

    def given(self) -> dict[str, str]:
        """The parameters of `_IN_CHUNK`."""
        return {
            "tenant": self.tenant_id,
            "bulletin": self.bulletin_id,
            "after": self.after or _BEFORE_ALL,
            "last": self.last,
        }


_IN_CHUNK = and_(
    PUSHES.c.tenant_id == bindparam("tenant"), PUSHES.c.bulletin_id == bindparam("bulletin"),
    PUSHES.c.device_id > bindparam("after"), PUSHES.c.device_id <= bindparam("last"),
)  # fmt: skip
"""The rows of a chunk, as a condition of a statement that is given which one."""


class Claimed(NamedTuple):
    """A push to be posted now, with its device as it is at this moment (kind None: it is gone, or another person's).

    `spared`: RESTRICTED or OPTED_OUT where its person is not to be pushed to; it is not posted then."""

    id: str
    device_id: str
    attempts: int
    spared: str | None
    kind: str | None
    address: bytes | None = None
    locale: str | None = None


def _same_device() -> ColumnElement[bool]:
    """A push and its device, while that is still the same person's."""
    rows, devices = PUSHES.c, DEVICES.c
    return and_(devices.tenant_id == rows.tenant_id, devices.id == rows.device_id, devices.user_hash == rows.user_hash)


@cache
def _claiming(dialect: str) -> Select[Any]:
    """Made once: to make it took a tenth of a chunk's time. Parameters: those of `_IN_CHUNK`, now, number."""
    rows, devices = PUSHES.c, DEVICES.c
    now: BindParameter[datetime] = bindparam("now", type_=rows.due_at.type)
    lost = and_(rows.state == SENDING, rows.lease_until <= now)
    ready = or_(and_(rows.state.in_((QUEUED, RETRY)), rows.due_at <= now), lost)
    query = (
        # Its own id as text: nobody here needs the driver to make an object of it.
        select(cast(rows.id, Text), rows.device_id, rows.attempts, _spared(PUSHES), devices.kind, devices.address,
               devices.locale)
        .select_from(PUSHES.outerjoin(DEVICES, _same_device()))
        .where(_IN_CHUNK, ready)
        .order_by(rows.device_id)
        .limit(bindparam("number"))
    )  # fmt: skip
    # MariaDB locks what it joins; PostgreSQL cannot lock what an outer join may not find.
    return query.with_for_update(of=None if dialect == "mysql" else PUSHES)


def claim(session: Session, chunk: Chunk, now: datetime, *, limit: int, lease: timedelta = LEASE) -> list[Claimed]:
    """Take pushes that are due, or whose lease ran out, for `lease`. Commit before posting."""
    rows, connection = PUSHES.c, session.connection()
    given = {**chunk.given(), "now": now, "number": limit}
    # All at once: a row at a time costs as much again as the rest of the claim.
    found = [Claimed._make(row) for row in connection.execute(_claiming(connection.dialect.name), given).all()]
    if found:
        doubted = case((rows.state == SENDING, rows.doubts + literal_column("1")), else_=rows.doubts)
        taken = _changing(connection, chunk.bulletin_id, [one.id for one in found])
        # MariaDB changes one column after the other: `doubts` looks at the state as it was.
        connection.execute(
            taken.ordered_values(
                (rows.doubts, doubted), (rows.attempts, rows.attempts + literal_column("1")),
                (rows.lease_until, now + lease), (rows.state, SENDING),
            )
        )  # fmt: skip
    return found


class Result(NamedTuple):
    """What became of pushes: a final state, or RETRY with the instant of the next try."""

    state: str
    reason: str | None = None
    due_at: datetime | None = None


def record(session: Session, chunk: Chunk, results: Mapping[Result, Sequence[str]], now: datetime) -> None:
    """Write results of claimed pushes, a statement for each kind of result. What has a final result keeps it."""
    check_scope(session, (chunk.tenant_id,))
    connection, rows = session.connection(), PUSHES.c
    for result, ids in sorted(results.items(), key=lambda pair: (pair[0].state, pair[0].reason or "", pair[1][0])):
        values: dict[str, Any] = {"state": result.state, "reason": result.reason}
        values |= {"due_at": result.due_at} if result.state == RETRY else {"ended_at": now}
        taken = _changing(connection, chunk.bulletin_id, ids).where(rows.state == SENDING)
        connection.execute(taken.values(values))


def _changing(connection: Connection, bulletin_id: str, ids: Sequence[str]) -> Update:
    """A change of some of a tenant's bulletin's pushes. No column that an index begins with is named but their own ids: a
    database that knows little of the table would go through all rows of the tenant instead."""
    return update(PUSHES).where(PUSHES.c.bulletin_id == bulletin_id, among(connection, PUSHES.c.id, ids))


def any_sent(session: Session, chunk: Chunk, kinds: Collection[str]) -> bool:
    """Whether the provider took any push of the chunk's bulletin to a device of these kinds."""
    mine = (_of(chunk.tenant_id, chunk.bulletin_id), PUSHES.c.state == SENT, DEVICES.c.kind.in_(kinds))
    query = select(PUSHES.c.id).select_from(PUSHES.join(DEVICES, _same_device())).where(*mine)
    return session.connection().execute(query.limit(1)).first() is not None


def dead_devices(session: Session, chunk: Chunk) -> dict[str, list[tuple[str, str]]]:
    """reason -> (id, host's id) of the devices in a chunk that the provider calls dead, and of which the host has not heard
    since they were claimed: one that came back meanwhile has another address, or lives."""
    rows, devices = PUSHES.c, DEVICES.c
    same = _same_device()
    query = (
        select(rows.reason, devices.id, devices.host_id, devices.seen_at, rows.lease_until)
        .select_from(PUSHES.join(DEVICES, same))
        .where(_IN_CHUNK, rows.state == REMOVED)
        .order_by(devices.id)
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for reason, device, host_id, seen_at, lease_until in session.connection().execute(query, chunk.given()):
        if seen_at <= lease_until - LEASE:
            found.setdefault(reason, []).append((device, host_id))
    return found


def next_due(session: Session, chunk: Chunk) -> datetime | None:
    """When the earliest open push of a chunk can be claimed; None: all of them have ended."""
    rows = PUSHES.c
    at = case((rows.state == SENDING, rows.lease_until), else_=rows.due_at)
    query = select(rows.state, rows.due_at, rows.lease_until).where(_IN_CHUNK, rows.state.in_(OPEN))
    found = session.connection().execute(query.order_by(at).limit(1), chunk.given()).first()
    return None if found is None else (found.lease_until if found.state == SENDING else found.due_at)


def close(session: Session, tenant_id: str, bulletin_id: str, state: str, now: datetime, *, limit: int) -> int:
    """End up to `limit` pushes that were not sent yet: expired or cancelled; how many. Those in flight end by themselves."""
    rows = PUSHES.c
    waiting = or_(rows.state.in_((QUEUED, RETRY)), and_(rows.state == SENDING, rows.lease_until <= now))
    query = select(rows.id).where(_of(tenant_id, bulletin_id), waiting).order_by(rows.device_id).limit(limit)
    connection = session.connection()
    ids = list(connection.execute(query.with_for_update()).scalars())
    if ids:
        ending = _changing(connection, bulletin_id, ids)
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
