"""Claims and ends of many runs in one transaction: each statement still names job, tenant and kind (or fence) of every one.

A worker's threads claim and finish at the same time; sharing a transaction saves most of what the ledger costs them.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, Table, and_, bindparam, or_, tuple_, update

from models.job import CLAIMED, DONE, QUEUED, RUNNING, TICKET, WAITING, Job, LeaseLost, Run, claim, finish

_JOBS: Table = Job.__table__  # type: ignore[assignment]


class Ask(NamedTuple):
    """What a message says: run this job of this tenant, which is of this kind."""

    job_id: str
    tenant_id: str
    kind: str


_CLAIM_ALL = (
    update(_JOBS)
    .where(
        tuple_(_JOBS.c.id, _JOBS.c.tenant_id, _JOBS.c.kind).in_(bindparam("asks", expanding=True)),
        or_(_JOBS.c.state == QUEUED, and_(_JOBS.c.state == WAITING, _JOBS.c.due_at <= bindparam("now"))),
    )
    .values(CLAIMED)
    .returning(*TICKET)
)
_FINISH_ALL = (
    update(_JOBS)
    .where(
        tuple_(_JOBS.c.id, _JOBS.c.tenant_id, _JOBS.c.fence).in_(bindparam("runs", expanding=True)),
        _JOBS.c.state == RUNNING,
    )
    .values(state=DONE, open_key=None, wake_at=None, finished_at=bindparam("now"), error_kind=None, error_sentence=None)
    .returning(_JOBS.c.id)
)


def claim_all(
    connection: Connection, asks: Sequence[Ask], *, now: datetime, lease: timedelta, worker: str
) -> list[Run | None]:
    """For each ask the run, or None when there is nothing to take. One winner each, also among equal asks."""
    if connection.dialect.name == "mysql":
        return [claim(connection, *ask, now=now, lease=lease, worker=worker) for ask in asks]
    values = {"asks": sorted(set(asks)), "now": now, "lease": now + lease, "by": worker}
    won = {row[0]: Run.of(row) for row in connection.execute(_CLAIM_ALL, values)}
    return [won.pop(ask.job_id, None) for ask in asks]


def finish_all(connection: Connection, runs: Sequence[Run], now: datetime) -> list[bool]:
    """For each run whether it was still its job's; if not, its job belongs to another run and stays as it is."""
    if connection.dialect.name == "mysql":
        return [_finished(connection, run, now) for run in runs]
    tickets = sorted((run.job_id, run.tenant_id, run.fence) for run in runs)
    done = set(connection.execute(_FINISH_ALL, {"runs": tickets, "now": now}).scalars())
    return [run.job_id in done for run in runs]


def _finished(connection: Connection, run: Run, now: datetime) -> bool:
    try:
        finish(connection, run, now)
    except LeaseLost:
        return False
    return True
