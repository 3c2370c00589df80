"""The ledger: every piece of work as a row, its states, and how it gets there. It knows no queue and no provider.

    waiting --due--> queued --claim--> running --finish--> done
       ^                ^                 |
       |                '--- triggered ---+--give up----> dead
       '--------------------- later ------'               cancelled (by a person, from waiting, queued or dead)

`key` names what a job is for. Until a job has ended its `open_key` equals its key, and being unique per tenant it absorbs
every further trigger: two runs for one key never overlap. A trigger that comes during a run is counted, and the run's
end sees the count: the job is queued once more (`models.run`).
`wake_at` is when the reconciler must look at the row: due (waiting), doubtful (queued) or lease over (running).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Index,
    Select,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    bindparam,
    case,
    literal_column,
    select,
    update,
)
from sqlalchemy import Connection as SqlConnection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Id, Instant, Json, Key, Sentence, Word, new_id, table_args
from models.database import Database
from models.statements import insert_new, insert_or_touch
from models.tenancy import TenantScoped, check_scope, check_tenants, ledger_connection

WAITING, QUEUED, RUNNING = "waiting", "queued", "running"
DONE, DEAD, CANCELLED = "done", "dead", "cancelled"

DOUBT = timedelta(seconds=10)
"""How long a job may stay queued before the reconciler asks Redis whether its message still exists."""


class Job(TenantScoped, Base):
    """One piece of work of one tenant. `args` holds ids, never personal data.

    `fence` is drawn at random for each claim, so that no two runs of a job ever hold the same one."""

    __tablename__ = "jobs"
    __table_args__ = table_args(
        UniqueConstraint("tenant_id", "open_key"),
        Index("ix_jobs_wake_at", "wake_at"),
        Index("ix_jobs_tenant_id_id", "tenant_id", "id"),
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
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
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


Scope = Session | SqlConnection
"""A transaction of one tenant or of the system. The ledger works on the bare connection: a session costs more CPU than
its statement, and every job pays for a claim and an end."""


def sql(scope: Scope) -> SqlConnection:
    """The connection of a transaction."""
    return scope if isinstance(scope, SqlConnection) else scope.connection()


JOBS: Table = Job.__table__  # type: ignore[assignment]


def put(session: Session, jobs: Iterable[NewJob], now: datetime) -> list[Message]:
    """Store jobs, or let waiting ones with the same key absorb them; returns what is to be published after the commit."""
    ordered = sorted(jobs, key=lambda job: (job.tenant_id, job.key or job.id, job.id))  # as `models.run.turn`
    if not ordered:
        return []
    check_scope(session, (job.tenant_id for job in ordered))
    return _put(session.connection(), ordered, now)


def put_alone(database: Database, job: NewJob, now: datetime, *, tenant_id: str | None) -> list[Message]:
    """`put` of one job that nothing else is written with, by who is bound to that tenant (None: to none).

    A session that begins, says whose it is, inserts and commits costs three times the CPU of the insert.
    """
    check_tenants(tenant_id, (job.tenant_id,))
    with ledger_connection(database, kept=True) as connection:
        return _put(connection, [job], now)


def _put(connection: SqlConnection, ordered: Sequence[NewJob], now: datetime) -> list[Message]:
    rows = [_row(job, now) for job in ordered]
    insert_or_touch(connection, JOBS, rows, unique=("tenant_id", "open_key"), touch=_absorb)
    ready = {row["id"] for row in rows if row["state"] == QUEUED}
    keyed = [job.id for job in ordered if job.key is not None and job.id in ready]
    ready -= set(keyed) - _present(connection, keyed)
    return [Message(job.id, job.tenant_id, job.kind, job.lane, 1) for job in ordered if job.id in ready]


def _absorb(new: Any) -> list[tuple[str, Any]]:
    """A trigger for a job that is there already: it is counted, and ends a rest early. Waits after errors go on."""
    resting = and_(
        JOBS.c.state == literal_column(f"'{WAITING}'"), JOBS.c.error_kind.is_(None), new.due_at < JOBS.c.due_at
    )
    return [
        ("triggers", JOBS.c.triggers + literal_column("1")),
        ("wake_at", case((resting, new.due_at), else_=JOBS.c.wake_at)),
        (
            "due_at",
            case((resting, new.due_at), else_=JOBS.c.due_at),
        ),  # last: MariaDB changes one column after the other
    ]


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


_PRESENT = select(JOBS.c.id).where(JOBS.c.id.in_(bindparam("ids", expanding=True)))


def _present(connection: SqlConnection, ids: Sequence[str]) -> set[str]:
    return set(connection.execute(_PRESENT, {"ids": ids}).scalars()) if ids else set()


def are_open(session: Session, tenant_id: str, keys: Sequence[str]) -> set[str]:
    """Those of a tenant's keys for which there is a job that has not ended."""
    query = select(JOBS.c.open_key).where(JOBS.c.tenant_id == tenant_id, JOBS.c.open_key.in_(keys))
    return {str(key) for key in session.connection().execute(query).scalars()} if keys else set()


def put_once(session: Session, job: NewJob, now: datetime) -> Message:
    """Store a job whose id says what it is for: the same id a second time, also long after its end, changes nothing."""
    check_scope(session, (job.tenant_id,))
    insert_new(session.connection(), JOBS, [_row(job, now)])
    return Message(job.id, job.tenant_id, job.kind, job.lane, 1)


def hurry(session: Session, tenant_id: str, key: str | None, now: datetime) -> None:
    """What a waiting job waited for has come (a new token, say): it is due now, and its attempts are forgotten."""
    session.connection().execute(
        update(JOBS)
        .where(JOBS.c.tenant_id == tenant_id, JOBS.c.open_key == key, JOBS.c.state == WAITING)
        .values(due_at=now, wake_at=now, attempts=0)
    )


def hurry_connections(session: Session, tenant_id: str, connection_ids: Sequence[str], now: datetime) -> int:
    """Connections are well again: every job of theirs that waits for a person is due now; how many."""
    parked = _of_connections(tenant_id, connection_ids, JOBS.c.state == WAITING, JOBS.c.error_kind == "needs_user")
    return _change(session, parked, {"due_at": now, "wake_at": now, "attempts": 0})


def cancel_connection(session: Session, tenant_id: str, connection_id: str, now: datetime) -> int:
    """The connection is closed: no job of it will start any more; how many. A running one sees it when it writes."""
    open_jobs = _of_connections(tenant_id, [connection_id], JOBS.c.state.in_((WAITING, QUEUED)))
    return _change(session, open_jobs, {"state": CANCELLED, "open_key": None, "wake_at": None, "finished_at": now})


def _of_connections(tenant_id: str, connection_ids: Sequence[str], *more: Any) -> Select[tuple[str]]:
    return (
        select(JOBS.c.id)
        .where(
            JOBS.c.tenant_id == tenant_id,
            JOBS.c.open_key.is_not(None),  # so that the index of what is open serves, not the many that have ended
            JOBS.c.connection_id.in_(connection_ids),
            *more,
        )
        .order_by(JOBS.c.tenant_id, JOBS.c.key, JOBS.c.id)  # as `models.run.turn`
        .with_for_update()
    )


def _change(session: Session, query: Select[tuple[str]], values: dict[str, Any]) -> int:
    ids = list(session.connection().execute(query).scalars())
    if ids:
        session.connection().execute(update(JOBS).where(JOBS.c.id.in_(ids)).values(values))
    return len(ids)


def park(session: Session, job_id: str, tenant_id: str, now: datetime, until: datetime) -> bool:
    """A due job whose tenant is restricted waits until that is lifted (`wake_due`), and is looked at again at `until` in case
    nobody told it so; False when it is another's turn already (system session)."""
    waits = (
        update(JOBS)
        .where(
            JOBS.c.id == job_id,
            JOBS.c.tenant_id == tenant_id,
            JOBS.c.state.in_((WAITING, QUEUED)),
            JOBS.c.due_at <= now,
        )
        .values(state=WAITING, wake_at=until)
    )
    return session.connection().execute(waits).rowcount == 1


def wake_due(session: Session, tenant_id: str, now: datetime) -> int:
    """A tenant is restricted no more: its jobs that are due are looked at now; how many."""
    parked = (
        select(JOBS.c.id)
        .where(JOBS.c.tenant_id == tenant_id, JOBS.c.open_key.is_not(None), JOBS.c.state == WAITING,
               JOBS.c.due_at <= now, JOBS.c.wake_at > now)
        .order_by(JOBS.c.tenant_id, JOBS.c.key, JOBS.c.id)  # as `models.run.turn`
        .with_for_update()
    )  # fmt: skip
    return _change(session, parked, {"wake_at": now})


def owner_and_kind(session: Session, job_id: str) -> tuple[str, str] | None:
    """(tenant id, kind) of a job, whoever owns it: why a message could not claim it (system session)."""
    row = session.connection().execute(select(JOBS.c.tenant_id, JOBS.c.kind).where(JOBS.c.id == job_id)).one_or_none()
    return None if row is None else (row[0], row[1])


def replay(session: Session, job_id: str, now: datetime, *, tenant_id: str | None = None) -> bool:
    """A person wants this dead, cancelled or waiting job to run now; False when there is none, or its key is taken."""
    connection = session.connection()
    query = select(JOBS.c.key, JOBS.c.state).where(JOBS.c.id == job_id, JOBS.c.state.in_((DEAD, CANCELLED, WAITING)))
    if tenant_id is not None:
        query = query.where(JOBS.c.tenant_id == tenant_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        return False
    again = (
        update(JOBS)
        .where(JOBS.c.id == job_id, JOBS.c.state == row.state)
        .values(state=WAITING, open_key=row.key, due_at=now, wake_at=now, attempts=0, finished_at=None)
    )
    try:
        with connection.begin_nested():
            return connection.execute(again).rowcount == 1
    except IntegrityError:  # another job has been made for the key since
        return False
