"""The ledger: every piece of work as a row, its states, its lease and its fence. It knows no queue and no provider.

    waiting --due--> queued --claim--> running --finish--> done
       ^                ^                 |
       |                '----- again -----+--give up----> dead
       '--------------------- later ------'               cancelled (by a person, from waiting, queued or dead)

`key` names what a job is for. While a job has not been claimed its `open_key` equals its key, and being unique per
tenant it absorbs every further trigger; a claim clears it, so that what happens during a run makes a run of its own.
`wake_at` is when the reconciler must look at the row: due (waiting), doubtful (queued) or lease over (running).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import Index, String, Table, Text, UniqueConstraint, and_, bindparam, delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Id, Instant, Json, Key, Sentence, Word, new_id, table_args
from models.database import past_deadlocks
from models.statements import insert_new, insert_or_touch
from models.tenancy import TenantScoped, check_scope

WAITING, QUEUED, RUNNING = "waiting", "queued", "running"
DONE, DEAD, CANCELLED = "done", "dead", "cancelled"

DOUBT = timedelta(seconds=10)
"""How long a job may stay queued before the reconciler asks Redis whether its message still exists."""


class LeaseLost(Exception):
    """This run's lease ran out and the job was given to another: whatever this run wanted to write is void."""


class Job(TenantScoped, Base):
    """One piece of work of one tenant. `args` holds ids, never personal data; `fence` counts the claims."""

    __tablename__ = "jobs"
    __table_args__ = table_args(
        UniqueConstraint("tenant_id", "open_key"),
        Index("ix_jobs_wake_at", "wake_at"),
        Index("ix_jobs_tenant_id_state", "tenant_id", "state"),
    )

    id: Mapped[Key]
    kind: Mapped[Word]
    lane: Mapped[Word]
    key: Mapped[str] = mapped_column(String(120))
    open_key: Mapped[str | None] = mapped_column(String(120))
    connection_id: Mapped[Id | None]
    args: Mapped[Json | None]
    state: Mapped[Word]
    due_at: Mapped[Instant]
    wake_at: Mapped[Instant | None]
    attempts: Mapped[int] = mapped_column(default=0)
    triggers: Mapped[int] = mapped_column(default=1)
    fence: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[Instant]
    started_at: Mapped[Instant | None]
    finished_at: Mapped[Instant | None]
    error_kind: Mapped[Word | None]
    error_sentence: Mapped[Sentence | None]
    note: Mapped[str | None] = mapped_column(Text)


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be stored. Without a `key` it is one of a kind and absorbs nothing."""

    tenant_id: str
    kind: str
    lane: str
    key: str | None = None
    connection_id: str | None = None
    args: dict[str, Any] | None = None
    due_at: datetime | None = None
    id: str = field(default_factory=new_id)


@dataclass(frozen=True, slots=True)
class Message:
    """What Redis may know of a job."""

    job_id: str
    tenant_id: str
    kind: str
    lane: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Run:
    """A claimed job: the only ticket with which its end may be written."""

    job_id: str
    tenant_id: str
    kind: str
    lane: str
    key: str
    connection_id: str | None
    args: dict[str, Any]
    attempts: int
    fence: int

    @classmethod
    def of(cls, row: Sequence[Any]) -> "Run":
        """From the ticket's columns."""
        job, tenant, kind, lane, key, connection, args, attempts, fence = row
        return cls(job, tenant, kind, lane, key, connection, args or {}, attempts, fence)


Scope = Session | SqlConnection
"""A transaction of one tenant or of the system. The ledger works on the bare connection: a session costs more CPU than
its statement, and every job pays for a claim and an end."""


def _sql(scope: Scope) -> SqlConnection:
    return scope if isinstance(scope, SqlConnection) else scope.connection()


def turn(run: Run) -> tuple[str, str, str]:
    """The place of a row among those that one transaction takes: all take them in this order (of code points, the "C"
    collation), or two of them wait for each other. A row stays locked even when its new state is not the wanted one,
    so it is one order for all states."""
    return run.tenant_id, run.key, run.job_id


_JOBS: Table = Job.__table__  # type: ignore[assignment]


def put(session: Session, jobs: Iterable[NewJob], now: datetime) -> list[Message]:
    """Store jobs, or let waiting ones with the same key absorb them; returns what is to be published after the commit."""
    ordered = sorted(jobs, key=lambda job: (job.tenant_id, job.key or job.id, job.id))  # as `turn`
    if not ordered:
        return []
    check_scope(session, (job.tenant_id for job in ordered))
    rows = [_row(job, now) for job in ordered]
    connection = session.connection()
    insert_or_touch(connection, _JOBS, rows, unique=("tenant_id", "open_key"), counter="triggers")
    ready = {row["id"] for row in rows if row["state"] == QUEUED}
    keyed = [job.id for job in ordered if job.key is not None and job.id in ready]
    ready -= set(keyed) - _present(connection, keyed)
    return [Message(job.id, job.tenant_id, job.kind, job.lane, 1) for job in ordered if job.id in ready]


def _row(job: NewJob, now: datetime) -> dict[str, Any]:
    due = job.due_at or now
    ready = due <= now
    return {
        "id": job.id,
        "tenant_id": job.tenant_id,
        "kind": job.kind,
        "lane": job.lane,
        "key": job.key or job.id,
        "open_key": job.key or job.id,
        "connection_id": job.connection_id,
        "args": job.args,
        "state": QUEUED if ready else WAITING,
        "due_at": due,
        "wake_at": now + DOUBT if ready else due,
        "attempts": 0,
        "triggers": 1,
        "fence": 0,
        "created_at": now,
    }


_PRESENT = select(_JOBS.c.id).where(_JOBS.c.id.in_(bindparam("ids", expanding=True)))


def _present(connection: SqlConnection, ids: Sequence[str]) -> set[str]:
    return set(connection.execute(_PRESENT, {"ids": ids}).scalars()) if ids else set()


def put_once(session: Session, job: NewJob, now: datetime) -> Message:
    """Store a job whose id says what it is for: the same id a second time, also long after its end, changes nothing."""
    check_scope(session, (job.tenant_id,))
    insert_new(session.connection(), _JOBS, [_row(job, now)])
    return Message(job.id, job.tenant_id, job.kind, job.lane, 1)


def hurry(session: Session, tenant_id: str, key: str | None, now: datetime) -> None:
    """What a waiting job waited for has come (a new token, say): it is due now, and its attempts are forgotten."""
    session.connection().execute(
        update(_JOBS)
        .where(_JOBS.c.tenant_id == tenant_id, _JOBS.c.open_key == key, _JOBS.c.state == WAITING)
        .values(due_at=now, wake_at=now, attempts=0)
    )


CLAIMED = {
    "state": RUNNING,
    "open_key": None,
    "attempts": _JOBS.c.attempts + 1,
    "fence": _JOBS.c.fence + 1,
    "started_at": bindparam("now"),
    "wake_at": bindparam("lease"),
    "worker": bindparam("by"),
}
"""What a claim writes."""
_CLAIM = (
    update(_JOBS)
    .where(
        _JOBS.c.id == bindparam("job"),
        _JOBS.c.tenant_id == bindparam("tenant"),
        _JOBS.c.kind == bindparam("what"),
        or_(_JOBS.c.state == QUEUED, and_(_JOBS.c.state == WAITING, _JOBS.c.due_at <= bindparam("now"))),
    )
    .values(CLAIMED)
)
TICKET = (_JOBS.c.id, *(_JOBS.c[column.name] for column in fields(Run)[1:]))
"""The columns of a run, in its order."""
_CLAIM_RETURNING = _CLAIM.returning(*TICKET)
_READ_TICKET = select(*TICKET).where(_JOBS.c.id == bindparam("job"), _JOBS.c.tenant_id == bindparam("tenant"))


def claim(
    scope: Scope, job_id: str, tenant_id: str, kind: str, *, now: datetime, lease: timedelta, worker: str
) -> Run | None:
    """Take a job for one run: one winner, however many messages there are. None when there is nothing to take.

    Must be the first statement of its transaction: InnoDB may undo it in favour of a `put`, and it is sent again.
    """
    connection = _sql(scope)
    values = {"job": job_id, "tenant": tenant_id, "what": kind, "now": now, "lease": now + lease, "by": worker}
    if connection.dialect.name == "mysql":
        return past_deadlocks(partial(claim_innodb, connection, values))
    row = connection.execute(_CLAIM_RETURNING, values).one_or_none()
    return None if row is None else Run.of(row)


def claim_innodb(connection: SqlConnection, values: dict[str, Any]) -> Run | None:
    """MariaDB has no UPDATE ... RETURNING. The row cannot change between the two: it is locked."""
    if connection.execute(_CLAIM, values).rowcount != 1:
        return None
    return Run.of(connection.execute(_READ_TICKET, {"job": values["job"], "tenant": values["tenant"]}).one())


_MINE = (
    _JOBS.c.id == bindparam("job"),
    _JOBS.c.tenant_id == bindparam("tenant"),
    _JOBS.c.fence == bindparam("ticket"),
    _JOBS.c.state == RUNNING,
)
_END = (
    update(_JOBS)
    .where(*_MINE)
    .values(
        state=bindparam("end"),
        open_key=None,
        wake_at=None,
        finished_at=bindparam("now"),
        error_kind=bindparam("error"),
        error_sentence=bindparam("sentence"),
    )
)


def finish(scope: Scope, run: Run, now: datetime) -> None:
    """The run has done its work; LeaseLost undoes the whole transaction when the job is no longer this run's."""
    _end(scope, run, DONE, now, None, None)


def give_up(scope: Scope, run: Run, now: datetime, *, kind: str, sentence: str) -> None:
    """The job is dead: kept, visible, and replayed only by a person."""
    _end(scope, run, DEAD, now, kind, sentence)


def _end(scope: Scope, run: Run, state: str, now: datetime, kind: str | None, sentence: str | None) -> None:
    values = {**_ticket(run), "end": state, "now": now, "error": kind, "sentence": sentence and sentence[:500]}
    if _sql(scope).execute(_END, values).rowcount != 1:
        raise LeaseLost(f"job {run.job_id} was taken over after claim {run.fence}")


def _ticket(run: Run) -> dict[str, Any]:
    return {"job": run.job_id, "tenant": run.tenant_id, "ticket": run.fence}


_OPEN_TWIN = select(_JOBS.c.id).where(_JOBS.c.tenant_id == bindparam("tenant"), _JOBS.c.open_key == bindparam("open"))


def later(
    scope: Scope,
    run: Run,
    now: datetime,
    *,
    due_at: datetime,
    kind: str | None = None,
    sentence: str | None = None,
    counts: bool = True,
) -> None:
    """The run ends and the job waits until `due_at`. `counts=False` gives the attempt back (a throttle is no failure).

    When a trigger during the run has already made a waiting twin, that one carries the wait and the attempts on.
    """
    sentence = sentence and sentence[:500]
    connection = _sql(scope)
    waiting: dict[str, Any] = {
        "error_kind": kind,
        "error_sentence": sentence,
        "state": WAITING,
        "due_at": due_at,
        "wake_at": due_at,
    }
    waiting["attempts"] = run.attempts if counts else run.attempts - 1
    if _reopened(connection, run, waiting):
        return
    _end(scope, run, DONE, now, kind, sentence)
    connection.execute(
        update(_JOBS)
        .where(_JOBS.c.tenant_id == run.tenant_id, _JOBS.c.open_key == run.key, _JOBS.c.state.in_((WAITING, QUEUED)))
        .values(**waiting)
    )


def _reopened(connection: SqlConnection, run: Run, waiting: dict[str, Any]) -> bool:
    """Whether this run's own row could wait again: not so when a twin has the key, be it since this very moment."""
    twin = connection.execute(_OPEN_TWIN, {"tenant": run.tenant_id, "open": run.key}).scalar()
    if twin is not None:
        return False
    reopen = update(_JOBS).where(*_MINE).values(**waiting, open_key=run.key, worker=None)
    try:
        with connection.begin_nested():
            changed = connection.execute(reopen, _ticket(run)).rowcount
    except IntegrityError:
        return False
    if changed != 1:
        raise LeaseLost(f"job {run.job_id} was taken over after claim {run.fence}")
    return True


_RENEW = update(_JOBS).where(*_MINE).values(wake_at=bindparam("lease"))


def renew(session: Session, runs: Sequence[Run], lease_until: datetime) -> None:
    """Prolong the leases of runs that are still at work (system session); a lost one stays lost."""
    if runs:
        session.connection().execute(_RENEW, [{**_ticket(run), "lease": lease_until} for run in sorted(runs, key=turn)])


@dataclass(frozen=True, slots=True)
class Doubt:
    """A row the reconciler must look at."""

    message: Message
    state: str
    key: str
    fence: int
    created_at: datetime


_AWAKE = (
    select(
        _JOBS.c.id,
        _JOBS.c.tenant_id,
        _JOBS.c.kind,
        _JOBS.c.lane,
        _JOBS.c.attempts,
        _JOBS.c.state,
        _JOBS.c.key,
        _JOBS.c.fence,
        _JOBS.c.created_at,
    )
    .where(_JOBS.c.wake_at <= bindparam("now"))
    .order_by(_JOBS.c.wake_at)
    .limit(bindparam("most"))
)


def awake(session: Session, now: datetime, *, limit: int) -> list[Doubt]:
    """The rows whose `wake_at` has come, longest overdue first (system session)."""
    return [
        Doubt(Message(job, tenant, kind, lane, attempts + 1), state, key, fence, created)
        for job, tenant, kind, lane, attempts, state, key, fence, created in session.connection().execute(
            _AWAKE, {"now": now, "most": limit}
        )
    ]


_SAME = (_JOBS.c.id == bindparam("job"), _JOBS.c.fence == bindparam("ticket"), _JOBS.c.state == bindparam("was"))
_TO_QUEUED = update(_JOBS).where(*_SAME).values(state=QUEUED, wake_at=bindparam("wake"))
_LEASE_OVER = (
    update(_JOBS)
    .where(*_SAME, _JOBS.c.wake_at <= bindparam("now"))
    .values(
        state=bindparam("to"),
        open_key=bindparam("open"),
        wake_at=bindparam("wake"),
        finished_at=bindparam("end"),
        error_kind=bindparam("error"),
        error_sentence=bindparam("sentence"),
    )
)


def to_queued(session: Session, doubts: Sequence[Doubt], wake_at: datetime) -> None:
    """These rows are about to be published, or their message was found; look again at `wake_at`."""
    if doubts:
        session.connection().execute(
            _TO_QUEUED,
            [
                {"job": d.message.job_id, "ticket": d.fence, "was": d.state, "wake": wake_at}
                for d in sorted(doubts, key=lambda d: (d.message.tenant_id, d.key, d.message.job_id))  # as `turn`
            ],
        )


def lease_over(session: Session, doubt: Doubt, now: datetime, *, most_attempts: int) -> Message | None:
    """A run ended without a word (its worker died). Queue the job again, or end it when it has done so too often."""
    connection = session.connection()
    twin = connection.execute(_OPEN_TWIN, {"tenant": doubt.message.tenant_id, "open": doubt.key}).scalar()
    worn_out = doubt.message.attempt > most_attempts
    values: dict[str, Any] = {
        "job": doubt.message.job_id, "ticket": doubt.fence, "was": RUNNING, "now": now,
        "to": QUEUED, "open": doubt.key, "wake": now + DOUBT, "end": None, "error": None, "sentence": None,
    }  # fmt: skip
    if worn_out or twin is not None:
        values.update(to=DEAD if worn_out else DONE, open=None, wake=None, end=now)
    if worn_out:
        sentence = f"The worker died in each of {doubt.message.attempt - 1} runs of this job; it was not started again."
        values.update(error="worker_lost", sentence=sentence)
    try:
        with connection.begin_nested():
            changed = connection.execute(_LEASE_OVER, values).rowcount == 1
    except IntegrityError:  # a trigger made a twin just now: the next look finds it
        return None
    return doubt.message if changed and values["to"] == QUEUED else None


def wake_all_queued(session: Session, now: datetime) -> int:
    """Redis was wiped: look at every queued row now (system session)."""
    return session.connection().execute(update(_JOBS).where(_JOBS.c.state == QUEUED).values(wake_at=now)).rowcount


def owner_and_kind(session: Session, job_id: str) -> tuple[str, str] | None:
    """(tenant id, kind) of a job, whoever owns it: why a message could not claim it (system session)."""
    row = (
        session.connection().execute(select(_JOBS.c.tenant_id, _JOBS.c.kind).where(_JOBS.c.id == job_id)).one_or_none()
    )
    return None if row is None else (row[0], row[1])


def prune(session: Session, before: datetime, *, limit: int) -> int:
    """Drop up to `limit` jobs that were done or cancelled before an instant; how many (system session)."""
    ended = select(_JOBS.c.id).where(_JOBS.c.state.in_((DONE, CANCELLED)), _JOBS.c.finished_at < before).limit(limit)
    ids = list(session.connection().execute(ended).scalars())
    if ids:
        session.connection().execute(delete(_JOBS).where(_JOBS.c.id.in_(ids)))
    return len(ids)


def replay(session: Session, job_id: str, now: datetime, *, tenant_id: str | None = None) -> bool:
    """A person wants this dead, cancelled or waiting job to run now; False when there is none, or a twin waits already."""
    connection = session.connection()
    query = select(_JOBS.c.tenant_id, _JOBS.c.key, _JOBS.c.state).where(
        _JOBS.c.id == job_id, _JOBS.c.state.in_((DEAD, CANCELLED, WAITING))
    )
    if tenant_id is not None:
        query = query.where(_JOBS.c.tenant_id == tenant_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        return False
    twin = connection.execute(_OPEN_TWIN, {"tenant": row.tenant_id, "open": row.key}).scalar()
    if twin not in (None, job_id):
        return False
    again = (
        update(_JOBS)
        .where(_JOBS.c.id == job_id, _JOBS.c.state == row.state)
        .values(state=WAITING, open_key=row.key, due_at=now, wake_at=now, attempts=0, finished_at=None)
    )
    try:
        with connection.begin_nested():
            return connection.execute(again).rowcount == 1
    except IntegrityError:  # a trigger made a twin just now
        return False
