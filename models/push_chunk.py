"""The pushes of one job: claimed in slices, posted by others, and recorded; and what is left of them in the end."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    Update,
    and_,
    bindparam,
    case,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from models.base import BEFORE_ALL
from models.device import DEVICES
from models.push import LEASE, OPEN, PUSHES, QUEUED, REMOVED, RETRY, SENDING, SENT, spared
from models.statements import among_given, as_given, id_as_text
from models.tenancy import check_scope

_A_FEW = 50


@dataclass(frozen=True, slots=True)
class Chunk:
    """Those of a bulletin whose devices' ids are behind `after`, up to `last`."""

    tenant_id: str
    bulletin_id: str
    after: str | None
    last: str

    def given(self) -> dict[str, str]:
        """The parameters of `_IN_CHUNK`."""
        return {
            "tenant": self.tenant_id,
            "bulletin": self.bulletin_id,
            "after": self.after or BEFORE_ALL,
            "last": self.last,
        }


_OF_BULLETIN = and_(PUSHES.c.tenant_id == bindparam("tenant"), PUSHES.c.bulletin_id == bindparam("bulletin"))
_IN_CHUNK = and_(
    _OF_BULLETIN, PUSHES.c.device_id > bindparam("after"), PUSHES.c.device_id <= bindparam("last")
)  # fmt: skip
"""The rows of a chunk, as a condition of a statement that is given which one."""
_NOW: BindParameter[datetime] = bindparam("now", type_=PUSHES.c.due_at.type)


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


# Statements are made once: to make those of a slice took a tenth of its time.


@cache
def _claiming(dialect: str) -> Select[Any]:
    """Parameters: those of `_IN_CHUNK`, now, number."""
    rows, devices = PUSHES.c, DEVICES.c
    lost = and_(rows.state == SENDING, rows.lease_until <= _NOW)
    ready = or_(and_(rows.state.in_((QUEUED, RETRY)), rows.due_at <= _NOW), lost)
    query = (
        select(id_as_text(dialect, rows.id), id_as_text(dialect, rows.device_id), rows.attempts, spared(PUSHES),
               devices.kind, devices.address, devices.locale)
        .select_from(PUSHES.outerjoin(DEVICES, _same_device()))
        .where(_IN_CHUNK, ready)
        .order_by(rows.device_id)
        .limit(bindparam("number"))
    )  # fmt: skip
    # MariaDB locks what it joins; PostgreSQL cannot lock what an outer join may not find.
    return query.with_for_update(of=None if dialect == "mysql" else PUSHES)


@cache
def _taking(dialect: str) -> Update:
    """Parameters: bulletin, ids, until."""
    rows = PUSHES.c
    doubted = case((rows.state == SENDING, rows.doubts + literal_column("1")), else_=rows.doubts)
    # MariaDB changes one column after the other: `doubts` looks at the state as it was.
    return _changing(dialect).ordered_values(
        (rows.doubts, doubted), (rows.attempts, rows.attempts + literal_column("1")),
        (rows.lease_until, bindparam("until", type_=rows.lease_until.type)), (rows.state, SENDING),
    )  # fmt: skip


@cache
def _recording(dialect: str, *, is_over: bool) -> Update:
    """Parameters: bulletin, ids, became, why, at."""
    rows = PUSHES.c
    at = rows.ended_at if is_over else rows.due_at
    return _changing(dialect).where(rows.state == SENDING).values(
        {rows.state: bindparam("became"), rows.reason: bindparam("why"), at: bindparam("at", type_=at.type)}
    )  # fmt: skip


def _changing(dialect: str) -> Update:
    """A change of some of a tenant's bulletin's pushes. No column that an index begins with is named but their own ids: a
    database that knows little of the table would go through all rows of the tenant instead."""
    return update(PUSHES).where(
        PUSHES.c.bulletin_id == bindparam("bulletin"), among_given(dialect, PUSHES.c.id, "ids")
    )  # fmt: skip


def claim(session: Session, chunk: Chunk, now: datetime, *, limit: int, lease: timedelta = LEASE) -> list[Claimed]:
    """Take pushes that are due, or whose lease ran out, for `lease`. Commit before posting."""
    connection = session.connection()
    dialect = connection.dialect
    given = {**chunk.given(), "now": now, "number": limit}
    # All at once: a row at a time costs as much again as the rest of the claim.
    found = [Claimed._make(row) for row in connection.execute(_claiming(dialect.name), given).all()]
    if found:
        ids = as_given(dialect, PUSHES.c.id, [one.id for one in found])
        taken = {"bulletin": chunk.bulletin_id, "ids": ids, "until": now + lease}
        connection.execute(_taking(dialect.name), taken)
    return found


class Result(NamedTuple):
    """What became of pushes: a final state, or RETRY with the instant of the next try."""

    state: str
    reason: str | None = None
    due_at: datetime | None = None


def record(session: Session, chunk: Chunk, results: Mapping[Result, Sequence[str]], now: datetime) -> None:
    """Write results of claimed pushes, a statement for each kind of result. What has a final result keeps it."""
    check_scope(session, (chunk.tenant_id,))
    connection = session.connection()
    dialect = connection.dialect
    for result, ids in sorted(results.items(), key=lambda pair: (pair[0].state, pair[0].reason or "", pair[1][0])):
        given = {"bulletin": chunk.bulletin_id, "ids": as_given(dialect, PUSHES.c.id, ids), "became": result.state,
                 "why": result.reason, "at": result.due_at or now}  # fmt: skip
        connection.execute(_recording(dialect.name, is_over=result.state != RETRY), given)


_STATES_OF_FIRST = select(PUSHES.c.state).where(_OF_BULLETIN).order_by(PUSHES.c.device_id).limit(_A_FEW)


def is_taken(session: Session, chunk: Chunk) -> bool:
    """Whether a provider has taken any of the bulletin's first pushes."""
    given = {"tenant": chunk.tenant_id, "bulletin": chunk.bulletin_id}
    return SENT in set(session.connection().execute(_STATES_OF_FIRST, given).scalars())


def any_sent(session: Session, chunk: Chunk, kinds: Collection[str]) -> bool:
    """Whether a provider has taken any push of the chunk's bulletin to a device of these kinds."""
    mine = (_OF_BULLETIN, PUSHES.c.state == SENT, DEVICES.c.kind.in_(kinds))
    query = select(PUSHES.c.id).select_from(PUSHES.join(DEVICES, _same_device())).where(*mine)
    return session.connection().execute(query.limit(1), chunk.given()).first() is not None


_DEAD = (
    select(PUSHES.c.reason, DEVICES.c.id, DEVICES.c.host_id, DEVICES.c.seen_at, PUSHES.c.lease_until)
    .select_from(PUSHES.join(DEVICES, _same_device()))
    .where(_IN_CHUNK, PUSHES.c.state == REMOVED)
    .order_by(DEVICES.c.id)
)


def dead_devices(session: Session, chunk: Chunk) -> dict[str, list[tuple[str, str]]]:
    """reason -> (id, host's id) of the devices in a chunk that the provider calls dead, and of which the host has not heard
    since they were claimed: one that came back meanwhile has another address, or lives."""
    found: dict[str, list[tuple[str, str]]] = {}
    for reason, device, host_id, seen_at, lease_until in session.connection().execute(_DEAD, chunk.given()):
        if seen_at <= lease_until - LEASE:
            found.setdefault(reason, []).append((device, host_id))
    return found


_NEXT = (
    select(PUSHES.c.state, PUSHES.c.due_at, PUSHES.c.lease_until)
    .where(_IN_CHUNK, PUSHES.c.state.in_(OPEN))
    .order_by(case((PUSHES.c.state == SENDING, PUSHES.c.lease_until), else_=PUSHES.c.due_at))
    .limit(1)
)


def next_due(session: Session, chunk: Chunk) -> datetime | None:
    """When the earliest open push of a chunk can be claimed; None: all of them have ended."""
    found = session.connection().execute(_NEXT, chunk.given()).first()
    return None if found is None else (found.lease_until if found.state == SENDING else found.due_at)
