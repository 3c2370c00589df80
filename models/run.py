"""Runs of jobs: the claim that has one winner, the lease that keeps it, the fence that voids a late one, and the ends.

A worker's threads claim and finish at the same time; in groups they share a transaction, which saves most of what the
ledger costs them. Each statement still names job, tenant and kind (or fence) of every one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from secrets import randbits
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    TableValuedAlias,
    and_,
    any_,
    bindparam,
    func,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from models.database import past_deadlocks
from models.job import DEAD, DONE, DOUBT, JOBS, QUEUED, RUNNING, WAITING, Message, Scope, sql
from models.restriction import tenant_is_restricted


class LeaseLost(Exception):
    """This run's lease ran out and the job was given to another: whatever this run wanted to write is void."""


class Ask(NamedTuple):
    """What a message says: run this job of this tenant, which is of this kind."""

    job_id: str
    tenant_id: str
    kind: str


@dataclass(frozen=True, slots=True)
class Run:
    """A claimed job: the only ticket with which its end may be written. `triggers` is their number at the claim."""

    job_id: str
    tenant_id: str
    kind: str
    lane: str
    key: str
    connection_id: str | None
    args: dict[str, Any]
    attempts: int
    triggers: int
    fence: int

    @classmethod
    def of(cls, row: Sequence[Any]) -> "Run":
        """From the ticket's columns."""
        job, tenant, kind, lane, key, connection, args, attempts, triggers, fence = row
        return cls(job, tenant, kind, lane, key, connection, args or {}, attempts, triggers, fence)


def turn(run: Run) -> tuple[str, str, str]:
    """The place of a row among those that one transaction takes: all take them in this order (of code points, the "C"
    collation), or two of them wait for each other. A row stays locked even when its new state is not the wanted one,
    so it is one order for all states."""
    return run.tenant_id, run.key, run.job_id


_TICKET = (JOBS.c.id, *(JOBS.c[column.name] for column in fields(Run)[1:]))
_DUE = or_(JOBS.c.state == QUEUED, and_(JOBS.c.state == WAITING, JOBS.c.due_at <= bindparam("now")))
# The one place where a tenant's restriction stops its jobs; a few kinds run all the same.
_FREE = not_(tenant_is_restricted(JOBS.c.tenant_id))
_ONE = (JOBS.c.id == bindparam("job"), JOBS.c.tenant_id == bindparam("tenant"))
_CLAIM = update(JOBS).values(
    state=RUNNING,
    attempts=JOBS.c.attempts + 1,
    # Random, not counted up: claims are not synced to the disk, and a counter could give a fence out twice after a crash.
    fence=bindparam("ticket"),
    started_at=bindparam("now"),
    wake_at=bindparam("lease"),
    worker=bindparam("by"),
)
_CLAIM_ONE = _CLAIM.where(
    *_ONE, JOBS.c.kind == bindparam("what"), _DUE, or_(bindparam("is_free", type_=Boolean), _FREE)
)
_CLAIM_ONE_RETURNING = _CLAIM_ONE.returning(*_TICKET)
_READ_TICKET = select(*_TICKET).where(*_ONE)
# PostgreSQL updates rows in the order in which it finds them; `turn` says why they are taken in another one first.
_TURN = (JOBS.c.tenant_id, JOBS.c.key.collate("C"), JOBS.c.id)


def _rows_of(*columns: Column[Any]) -> TableValuedAlias:
    """PostgreSQL: arrays as a table, one bound parameter a column, so that groups of any size are one statement."""
    arrays = (bindparam(f"every_{column.name}", type_=ARRAY(column.type)) for column in columns)
    return func.unnest(*arrays).table_valued(*columns, name="given").render_derived()


def _taken(given: TableValuedAlias, *conditions: ColumnElement[bool]) -> CTE:
    """The rows that are given and fulfil the conditions, locked in turn."""
    same = (JOBS.c[column.name] == column for column in given.c)
    return select(JOBS.c.id).where(*same, *conditions).order_by(*_TURN).with_for_update(of=JOBS).cte("taken")


_FREE_OR_ANYWAY = or_(JOBS.c.kind == any_(bindparam("anyway", type_=ARRAY(JOBS.c.kind.type))), _FREE)
_ASKED = _taken(_rows_of(JOBS.c.id, JOBS.c.tenant_id, JOBS.c.kind), _DUE, _FREE_OR_ANYWAY)
_CLAIM_ALL = _CLAIM.where(JOBS.c.id == _ASKED.c.id).returning(*_TICKET)


def claim(
    scope: Scope,
    job_id: str,
    tenant_id: str,
    kind: str,
    *,
    now: datetime,
    lease: timedelta,
    worker: str,
    anyway: Sequence[str] = (),
) -> Run | None:
    """Take a job for one run: one winner, however many messages there are. None when there is nothing to take.

    Must be the first statement of its transaction: InnoDB may undo it in favour of a `put`, and it is sent again.
    """
    ask = Ask(job_id, tenant_id, kind)
    return claim_all(sql(scope), [ask], now=now, lease=lease, worker=worker, anyway=anyway)[0]


def claim_all(
    connection: Connection,
    asks: Sequence[Ask],
    *,
    now: datetime,
    lease: timedelta,
    worker: str,
    anyway: Sequence[str] = (),
) -> list[Run | None]:
    """For each ask the run, or None when there is nothing to take. One winner each, also among equal asks. Of a tenant that
    is restricted only the kinds of `anyway` are taken."""
    values = {"now": now, "lease": now + lease, "by": worker, "ticket": randbits(62)}
    wanted = sorted(set(asks))
    runs: dict[Ask, Run]
    if not wanted:
        return []
    if connection.dialect.name == "mysql":
        runs = past_deadlocks(lambda: _claim_each(connection, wanted, values, anyway))
    elif len(wanted) == 1 or connection.dialect.name == "sqlite":
        found = [
            connection.execute(
                _CLAIM_ONE_RETURNING, {**values, **_named(ask), "is_free": ask.kind in anyway}
            ).one_or_none()
            for ask in wanted
        ]
        runs = {ask: Run.of(row) for ask, row in zip(wanted, found, strict=True) if row is not None}
    else:
        ids, tenants, kinds = (list(column) for column in zip(*wanted, strict=True))
        given = {"every_id": ids, "every_tenant_id": tenants, "every_kind": kinds, "anyway": list(anyway)}
        runs = {
            Ask(run.job_id, run.tenant_id, run.kind): run
            for run in map(Run.of, connection.execute(_CLAIM_ALL, {**values, **given}))
        }
    return [runs.pop(ask, None) for ask in asks]


def _claim_each(
    connection: Connection, asks: Sequence[Ask], values: dict[str, Any], anyway: Sequence[str]
) -> dict[Ask, Run]:
    """MariaDB has no UPDATE ... RETURNING. A row cannot change between the two statements: it is locked."""
    won = [
        ask for ask in asks
        if connection.execute(_CLAIM_ONE, {**values, **_named(ask), "is_free": ask.kind in anyway}).rowcount == 1
    ]  # fmt: skip
    return {ask: Run.of(connection.execute(_READ_TICKET, _named(ask)).one()) for ask in won}


def _named(ask: Ask) -> dict[str, str]:
    return {"job": ask.job_id, "tenant": ask.tenant_id, "what": ask.kind}


_MINE = (*_ONE, JOBS.c.fence == bindparam("ticket"), JOBS.c.state == RUNNING)
_UNTRIGGERED = (*_MINE, JOBS.c.triggers == bindparam("seen"))
_OVER: dict[str, Any] = {"open_key": None, "wake_at": None, "finished_at": bindparam("now")}
_END = update(JOBS).values(
    **_OVER, state=bindparam("end"), error_kind=bindparam("error"), error_sentence=bindparam("sentence")
)
_END_UNTRIGGERED = _END.where(*_UNTRIGGERED)
_WAIT = update(JOBS).values(
    state=WAITING,
    due_at=bindparam("due"),
    wake_at=bindparam("due"),
    attempts=bindparam("tried"),
    worker=None,
    error_kind=bindparam("error"),
    error_sentence=bindparam("sentence"),
)
_WAIT_MINE, _WAIT_UNTRIGGERED = _WAIT.where(*_MINE), _WAIT.where(*_UNTRIGGERED)
_ONCE_MORE = (
    update(JOBS)
    .where(*_MINE)
    .values(state=QUEUED, due_at=bindparam("now"), wake_at=bindparam("wake"), attempts=0, worker=None)
)
_HELD = _taken(_rows_of(JOBS.c.id, JOBS.c.tenant_id, JOBS.c.fence, JOBS.c.triggers), JOBS.c.state == RUNNING)
_DONE = update(JOBS).values(**_OVER, state=DONE, error_kind=None, error_sentence=None)
_DONE_ALL = _DONE.where(JOBS.c.id == _HELD.c.id).returning(JOBS.c.id, JOBS.c.fence)


def finish(scope: Scope, run: Run, now: datetime) -> Message | None:
    """The run has done its work. When a trigger came meanwhile the job is queued once more: publish its message.

    LeaseLost undoes the whole transaction when the job is no longer this run's.
    """
    return _end(sql(scope), run, DONE, now, None, None)


def give_up(scope: Scope, run: Run, now: datetime, *, kind: str, sentence: str) -> Message | None:
    """The job is dead: kept, visible, and replayed only by a person; but a trigger meanwhile queues it once more."""
    return _end(sql(scope), run, DEAD, now, kind, sentence)


def _end(
    connection: Connection, run: Run, state: str, now: datetime, kind: str | None, sentence: str | None
) -> Message | None:
    values = {**_ticket(run), "end": state, "now": now, "error": kind, "sentence": sentence and sentence[:500]}
    if connection.execute(_END_UNTRIGGERED, values).rowcount == 1:
        return None
    return _once_more(connection, run, now)


def _once_more(connection: Connection, run: Run, now: datetime) -> Message:
    if connection.execute(_ONCE_MORE, {**_ticket(run), "now": now, "wake": now + DOUBT}).rowcount != 1:
        raise LeaseLost(f"job {run.job_id} was taken over after its attempt {run.attempts}")
    return Message(run.job_id, run.tenant_id, run.kind, run.lane, 1)


def _ticket(run: Run) -> dict[str, Any]:
    return {"job": run.job_id, "tenant": run.tenant_id, "ticket": run.fence, "seen": run.triggers}


def finish_all(connection: Connection, runs: Sequence[Run], now: datetime) -> list[Message | LeaseLost | None]:
    """For each run what `finish` would have returned or raised; a lost one leaves the others' ends as they are.

    Must be all that its transaction does, as InnoDB may undo it in favour of a `put`, and it is sent again.
    """
    # By fence too: one process may end a run that lost its lease and the one that has its job now in the same group.
    ended: set[tuple[str, int]] = set()
    if connection.dialect.name == "postgresql" and len(runs) > 1:
        held = {
            "every_id": [run.job_id for run in runs],
            "every_tenant_id": [run.tenant_id for run in runs],
            "every_fence": [run.fence for run in runs],
            "every_triggers": [run.triggers for run in runs],
        }
        ended = {(job_id, fence) for job_id, fence in connection.execute(_DONE_ALL, {**held, "now": now})}
    left = sorted((run for run in runs if (run.job_id, run.fence) not in ended), key=turn)
    outcomes = past_deadlocks(lambda: {(run.job_id, run.fence): _finish_one(connection, run, now) for run in left})
    return [outcomes.get((run.job_id, run.fence)) for run in runs]


def _finish_one(connection: Connection, run: Run, now: datetime) -> Message | LeaseLost | None:
    try:
        return finish(connection, run, now)
    except LeaseLost as lost:
        return lost


def rest(scope: Scope, run: Run, now: datetime, *, due_at: datetime) -> Message | None:
    """The run went well and the job has more to do at `due_at`; at once when a trigger came meanwhile (publish it)."""
    values = {**_ticket(run), "due": due_at, "tried": 0, "error": None, "sentence": None}
    if sql(scope).execute(_WAIT_UNTRIGGERED, values).rowcount == 1:
        return None
    return _once_more(sql(scope), run, now)


def later(scope: Scope, run: Run, *, due_at: datetime, kind: str, sentence: str, counts: bool = True) -> None:
    """The run failed and the job waits until `due_at`, whatever triggers came. `counts=False` gives the attempt back (a
    throttle is no failure). LeaseLost as `finish`."""
    tried = run.attempts if counts else run.attempts - 1
    values = {**_ticket(run), "due": due_at, "tried": tried, "error": kind, "sentence": sentence[:500]}
    if sql(scope).execute(_WAIT_MINE, values).rowcount != 1:
        raise LeaseLost(f"job {run.job_id} was taken over after its attempt {run.attempts}")


_HELD_BY = select(JOBS.c.id).where(*_MINE).with_for_update()
_PROGRESSED = update(JOBS).where(*_MINE).values(attempts=1)


def hold(scope: Scope, run: Run) -> None:
    """The job stays this run's until the transaction ends: what the run writes in it counts. LeaseLost as `finish`.

    Ask last in a transaction, as who puts a job has locked its other rows by then.
    """
    if sql(scope).execute(_HELD_BY, _ticket(run)).first() is None:
        raise LeaseLost(f"job {run.job_id} was taken over after its attempt {run.attempts}")


def progressed(scope: Scope, run: Run) -> None:
    """As `hold`, and the run has written a part of its work: however often workers die in what is left, none of them died
    over this."""
    if sql(scope).execute(_PROGRESSED, _ticket(run)).rowcount != 1:
        raise LeaseLost(f"job {run.job_id} was taken over after its attempt {run.attempts}")


_RENEW = update(JOBS).where(*_MINE).values(wake_at=bindparam("until"))


def renew(scope: Scope, runs: Sequence[Run], lease_until: datetime) -> None:
    """Prolong the leases of runs that are still at work (system session); a lost one stays lost."""
    if runs:
        sql(scope).execute(_RENEW, [{**_ticket(run), "until": lease_until} for run in sorted(runs, key=turn)])
