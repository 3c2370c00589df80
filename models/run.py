"""Claims and ends of many runs in one transaction: each statement still names job, tenant and kind (or fence) of every one.

A worker's threads claim and finish at the same time; sharing a transaction saves most of what the ledger costs them.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, and_, bindparam, or_, select, tuple_, update

from models.database import past_deadlocks
from models.job import (
    CLAIMED,
    DONE,
    QUEUED,
    RUNNING,
    TICKET,
    WAITING,
    Job,
    LeaseLost,
    Run,
    claim,
    claim_innodb,
    finish,
    turn,
)

_JOBS: Table = Job.__table__  # type: ignore[assignment]


class Ask(NamedTuple):
    """What a message says: run this job of this tenant, which is of this kind."""

    job_id: str
    tenant_id: str
    kind: str


_ASKED = (
    tuple_(_JOBS.c.id, _JOBS.c.tenant_id, _JOBS.c.kind).in_(bindparam("asks", expanding=True)),
    or_(_JOBS.c.state == QUEUED, and_(_JOBS.c.state == WAITING, _JOBS.c.due_at <= bindparam("now"))),
)
_HELD = (
    tuple_(_JOBS.c.id, _JOBS.c.tenant_id, _JOBS.c.fence).in_(bindparam("runs", expanding=True)),
    _JOBS.c.state == RUNNING,
)
_CLAIM = update(_JOBS).values(CLAIMED).returning(*TICKET)
_FINISH = (
    update(_JOBS)
    .values(state=DONE, open_key=None, wake_at=None, finished_at=bindparam("now"), error_kind=None, error_sentence=None)
    .returning(_JOBS.c.id)
)
_CLAIM_ALL, _FINISH_ALL = _CLAIM.where(*_ASKED), _FINISH.where(*_HELD)

# PostgreSQL updates rows in the order in which it finds them; `job.turn` says why these are taken in another one first.
_TURN = (_JOBS.c.tenant_id, _JOBS.c.key.collate("C"), _JOBS.c.id)
_ASKED_ROWS = select(_JOBS.c.id).where(*_ASKED).order_by(*_TURN).with_for_update().cte("asked")
_HELD_ROWS = select(_JOBS.c.id).where(*_HELD).order_by(*_TURN).with_for_update().cte("held")
_CLAIM_ALL_IN_ORDER = _CLAIM.where(_JOBS.c.id == _ASKED_ROWS.c.id)
_FINISH_ALL_IN_ORDER = _FINISH.where(_JOBS.c.id == _HELD_ROWS.c.id)


def claim_all(
    connection: Connection, asks: Sequence[Ask], *, now: datetime, lease: timedelta, worker: str
) -> list[Run | None]:
    """For each ask the run, or None when there is nothing to take. One winner each, also among equal asks."""
    values = {"now": now, "lease": now + lease, "by": worker}
    if connection.dialect.name == "mysql":
        won = past_deadlocks(lambda: {ask: _claim_innodb(connection, ask, values) for ask in sorted(set(asks))})
        return [won.pop(ask, None) for ask in asks]
    if len(asks) == 1:
        return [claim(connection, *asks[0], now=now, lease=lease, worker=worker)]
    statement = _CLAIM_ALL if connection.dialect.name == "sqlite" else _CLAIM_ALL_IN_ORDER
    found = connection.execute(statement, {**values, "asks": sorted(set(asks))})
    runs = {Ask(run.job_id, run.tenant_id, run.kind): run for run in map(Run.of, found)}
    return [runs.pop(ask, None) for ask in asks]


def _claim_innodb(connection: Connection, ask: Ask, values: dict[str, Any]) -> Run | None:
    return claim_innodb(connection, {**values, "job": ask.job_id, "tenant": ask.tenant_id, "what": ask.kind})


def finish_all(connection: Connection, runs: Sequence[Run], now: datetime) -> list[bool]:
    """For each run whether it was still its job's; if not, its job belongs to another run and stays as it is."""
    if connection.dialect.name == "mysql" or len(runs) == 1:
        ended = {run.job_id: _finished(connection, run, now) for run in sorted(runs, key=turn)}
        return [ended[run.job_id] for run in runs]
    statement = _FINISH_ALL if connection.dialect.name == "sqlite" else _FINISH_ALL_IN_ORDER
    tickets = [(run.job_id, run.tenant_id, run.fence) for run in runs]
    done = set(connection.execute(statement, {"runs": tickets, "now": now}).scalars())
    return [run.job_id in done for run in runs]


def _finished(connection: Connection, run: Run, now: datetime) -> bool:
    try:
        finish(connection, run, now)
    except LeaseLost:
        return False
    return True
