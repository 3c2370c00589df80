"""What the reconciler asks of the ledger: which rows need a look now, and what becomes of those that were given up on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from models.job import DEAD, DOUBT, JOBS, QUEUED, RUNNING, Message


@dataclass(frozen=True, slots=True)
class Doubt:
    """A row whose `wake_at` has come. `message.attempt` is the number of the run that would be next."""

    message: Message
    state: str
    key: str
    fence: int
    created_at: datetime


_AWAKE = (
    select(
        JOBS.c.id,
        JOBS.c.tenant_id,
        JOBS.c.kind,
        JOBS.c.lane,
        JOBS.c.attempts,
        JOBS.c.state,
        JOBS.c.key,
        JOBS.c.fence,
        JOBS.c.created_at,
    )
    .where(JOBS.c.wake_at <= bindparam("now"))
    .order_by(JOBS.c.wake_at)
    .limit(bindparam("most"))
)


def awake(session: Session, now: datetime, *, limit: int) -> list[Doubt]:
    """The rows whose `wake_at` has come, longest overdue first (system session)."""
    rows = session.connection().execute(_AWAKE, {"now": now, "most": limit})
    return [
        Doubt(Message(job, tenant, kind, lane, attempts + 1), state, key, fence, created)
        for job, tenant, kind, lane, attempts, state, key, fence, created in rows
    ]


_SAME = (JOBS.c.id == bindparam("job"), JOBS.c.fence == bindparam("ticket"), JOBS.c.state == bindparam("was"))
_TO_QUEUED = update(JOBS).where(*_SAME).values(state=QUEUED, wake_at=bindparam("wake"))
_LEASE_OVER = update(JOBS).where(*_SAME, JOBS.c.wake_at <= bindparam("now"))
_TAKE_BACK = _LEASE_OVER.values(state=QUEUED, wake_at=bindparam("wake"), worker=None)
_END = _LEASE_OVER.values(
    state=DEAD,
    open_key=None,
    wake_at=None,
    finished_at=bindparam("now"),
    error_kind="worker_lost",
    error_sentence=bindparam("sentence"),
)


def to_queued(session: Session, doubts: Sequence[Doubt], wake_at: datetime) -> None:
    """These rows are about to be published, or their message was found; look again at `wake_at`."""
    if doubts:
        # In the order of `models.run.turn`, as everyone takes rows.
        ordered = sorted(doubts, key=lambda doubt: (doubt.message.tenant_id, doubt.key, doubt.message.job_id))
        session.connection().execute(_TO_QUEUED, [{**_named(doubt), "wake": wake_at} for doubt in ordered])


def lease_over(session: Session, doubt: Doubt, now: datetime, *, most_attempts: int) -> Message | None:
    """A run ended without a word (its worker died). Queue the job again, or end it when it has done so too often."""
    values: dict[str, Any] = {**_named(doubt), "now": now}
    if doubt.message.attempt > most_attempts:
        died = doubt.message.attempt - 1
        values["sentence"] = f"The worker died in each of {died} runs of this job; it was not started again."
        session.connection().execute(_END, values)
        return None
    changed = session.connection().execute(_TAKE_BACK, {**values, "wake": now + DOUBT}).rowcount == 1
    return doubt.message if changed and doubt.state == RUNNING else None


def _named(doubt: Doubt) -> dict[str, Any]:
    return {"job": doubt.message.job_id, "ticket": doubt.fence, "was": doubt.state}


def wake_all_queued(session: Session, now: datetime) -> int:
    """Redis was wiped: look at every queued row now; how many (system session)."""
    return session.connection().execute(update(JOBS).where(JOBS.c.state == QUEUED).values(wake_at=now)).rowcount
