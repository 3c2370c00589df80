"""Working days of a tenant: when a promise of so many of them is due. Pure; public holidays are not counted yet.

A holiday that is taken for a working day makes a deadline earlier, never later.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def end_of_working_day(asked_at: datetime, number: int, *, zone: str, work_week: Sequence[str]) -> datetime:
    """The end of the `number`th working day after the day of `asked_at`, which does not count (half-open: next midnight).

    A work week that names no day of the week would never end; it is read as one without days off.
    """
    local, working = ZoneInfo(zone), {WEEK.index(day) for day in work_week if day in WEEK} or set(range(7))
    day, left = asked_at.astimezone(local).date(), number
    while left:
        day += timedelta(days=1)
        left -= day.weekday() in working
    return _midnight(day + timedelta(days=1), local)


def working_days_left(now: datetime, due_at: datetime, *, zone: str, work_week: Sequence[str]) -> int:
    """How many whole working days lie between the day of `now` and the end of the last one; 0 on the last and after it."""
    number = 0
    while end_of_working_day(now, number + 1, zone=zone, work_week=work_week) <= due_at:
        number += 1
    return number


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
