"""When a deletion is looked at again: no alarm lies between two looks, whatever its state and however late a look comes."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.deletion import AWAITING_APPROVAL, AWAITING_HOST, HELD, OPEN, RUNNING, SCHEDULED, Deletion
from models.watch import look

ASKED = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
spans = st.integers(1, 40 * 86_400).map(lambda seconds: timedelta(seconds=seconds))


def asked_for(status: str, *, safe: timedelta = 6 * DAY, promise: timedelta = 9 * DAY, alarm: int = 0) -> Deletion:
    return Deletion(
        status=status, requested_at=ASKED, undo_until=ASKED + DAY, safe_due_at=ASKED + safe,
        promise_due_at=ASKED + promise, needs_approval=status == AWAITING_APPROVAL, approved_at=None, part_of=None,
        alarm=alarm, moved_at=ASKED, verified_at=ASKED + DAY if status == AWAITING_HOST else None, rescanned_at=None,
    )  # fmt: skip


def loudness(row: Deletion, passed: timedelta) -> int:
    """1 to 4 for the shares of the time until it is safe, 5 for a broken promise, one more for each further day."""
    broken_for = ASKED + passed - row.promise_due_at
    if broken_for >= timedelta(0):
        return 5 + broken_for.days
    return sum(passed >= share * (row.safe_due_at - ASKED) / 100 for share in (50, 75, 90, 100))


@pytest.mark.parametrize("status", OPEN)
def test_each_alarm_comes_once_at_its_instant_when_one_looks_when_told_to(status: str) -> None:
    row, now, told = asked_for(status), ASKED, []
    while now < ASKED + 12 * DAY:
        seen = look(row, now)
        if seen.alarm is not None:
            row.alarm = seen.alarm
            told.append(((now - ASKED) / DAY, seen.alarm, seen.is_overdue))
        if seen.remind:
            row.moved_at = now
        assert seen.next_at is not None and seen.next_at > now
        now = seen.next_at
    assert told == [(3, 1, False), (4.5, 2, False), (5.4, 3, False), (6, 4, False),
                    (9, 5, True), (10, 6, True), (11, 7, True)]  # fmt: skip


@given(st.sampled_from(OPEN), spans, spans, st.integers(0, 60 * 86_400), st.data())
def test_the_next_look_is_never_after_the_next_alarm(
    status: str, safe: timedelta, more: timedelta, seconds: int, data: st.DataObject
) -> None:
    passed = timedelta(seconds=seconds)
    row = asked_for(status, safe=safe, promise=safe + more - timedelta(seconds=1))
    level = loudness(row, passed)
    row.alarm = data.draw(st.integers(0, level), label="the last alarm")
    seen = look(row, ASKED + passed)
    assert seen.alarm == (level if row.alarm < level else None), "a look that comes late tells of the loudest at once"
    assert seen.next_at is not None and loudness(row, seen.next_at - ASKED - timedelta(microseconds=1)) == level


@pytest.mark.parametrize(
    "status, whom",
    [(AWAITING_APPROVAL, "approval"), (HELD, "release"), (AWAITING_HOST, "host"), (RUNNING, "worker"),
     (SCHEDULED, "worker")],
)  # fmt: skip
def test_an_alarm_says_whom_it_waits_for(status: str, whom: str) -> None:
    assert look(asked_for(status), ASKED + 5 * DAY).waits_for == whom
