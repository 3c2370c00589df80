"""When a deletion has to be looked at, and what is to be done then: run it, remind, raise an alarm. Pure, and table-tested.

Alarms only ever grow louder. They go by `safe_due_at`, days before what people were promised, and cancel nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from models.deletion import AWAITING_APPROVAL, AWAITING_HOST, COMPLETED, HELD, OPEN, RUNNING, SCHEDULED, Deletion
from models.erasure import may_begin

ALARMS = (0.5, 0.75, 0.9, 1.0)
"""Shares of the time until `safe_due_at` at which the host is told that a deletion is due soon."""
OVERDUE = len(ALARMS) + 1
"""The alarm of a broken promise; one more for each further day."""
LOOK_AGAIN = timedelta(minutes=10)
"""How long a run may take before somebody looks whether it goes on."""
STALLED = timedelta(minutes=30)
"""A run that has made no progress for so long has stopped."""
REMIND_EVERY = timedelta(days=1)
RESCAN_AFTER = timedelta(days=1)

APPROVAL, RELEASE, HOST, WORKER = "approval", "release", "host", "worker"
WAITS_FOR = {AWAITING_APPROVAL: APPROVAL, HELD: RELEASE, AWAITING_HOST: HOST}


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a deletion finds. `alarm` is its new one (None: nothing new), `waits_for` whom it waits for,
    `next_at` when to look again (None: never by itself)."""

    run: bool
    remind: bool
    alarm: int | None
    waits_for: str
    next_at: datetime | None

    @property
    def is_overdue(self) -> bool:
        """Whether the alarm says that the promise is broken."""
        return self.alarm is not None and self.alarm >= OVERDUE


def look(row: Deletion, now: datetime) -> Look:
    """Read only: nothing of the row is changed."""
    rescan_at, is_due = _rescan_at(row), is_rescan_due(row, now)
    run = may_begin(row, now) or row.status == RUNNING or (row.status in (AWAITING_HOST, COMPLETED) and is_due)
    level = alarm_of(row, now)
    remind_at = _remind_at(row)
    return Look(
        run=run,
        remind=remind_at is not None and remind_at <= now,
        alarm=level if level > row.alarm else None,
        waits_for=WAITS_FOR.get(row.status, WORKER),
        next_at=_next(row, now, run, None if is_due else rescan_at, remind_at),
    )


def alarm_of(row: Deletion, now: datetime) -> int:
    """How loud it has to be by now: 0 silent, one more for each share of the time that has passed, then by the day."""
    if row.status not in OPEN:
        return 0
    if now >= row.promise_due_at:
        return OVERDUE + (now - row.promise_due_at) // timedelta(days=1)
    return sum(now >= at for at in _alarm_instants(row))


def is_rescan_due(row: Deletion, now: datetime) -> bool:
    """Whether what was verified is to be looked at once more now."""
    rescan_at = _rescan_at(row)
    return rescan_at is not None and rescan_at <= now


def is_stalled(row: Deletion, now: datetime) -> bool:
    """Whether it runs, or should, and nothing has happened for long."""
    if row.status == RUNNING:
        return row.moved_at is not None and row.moved_at < now - STALLED
    return (
        may_begin(row, now) and row.undo_until < now - STALLED and (row.approved_at or row.undo_until) < now - STALLED
    )


def _rescan_at(row: Deletion) -> datetime | None:
    return None if row.verified_at is None or row.rescanned_at is not None else row.verified_at + RESCAN_AFTER


def _alarm_instants(row: Deletion) -> list[datetime]:
    whole = row.safe_due_at - row.requested_at
    return [row.requested_at + whole * share for share in ALARMS]


def _remind_at(row: Deletion) -> datetime | None:
    """A reminder is progress of a kind: the next one comes a day after it."""
    return row.moved_at + REMIND_EVERY if row.status == AWAITING_HOST and row.moved_at is not None else None


def _next(
    row: Deletion, now: datetime, run: bool, rescan_at: datetime | None, remind_at: datetime | None
) -> datetime | None:
    if row.status not in OPEN and row.status != COMPLETED:
        return None
    wanted = [rescan_at, now + LOOK_AGAIN if run else None]
    if row.status in OPEN:
        overdue_again = row.promise_due_at + timedelta(days=max(0, (now - row.promise_due_at) // timedelta(days=1) + 1))
        wanted += [*_alarm_instants(row), row.promise_due_at, overdue_again, remind_at]
        wanted.append(row.undo_until if row.status == SCHEDULED else None)
    return min((at for at in wanted if at is not None and at > now), default=None)
