"""Working days of a tenant: when a promise of so many of them is due, and which days did not count. Pure.

In doubt a day counts, which makes a deadline earlier, never later: a half-day holiday, a holiday whose date is only an
estimate, a Saturday to which a country moved work, every day of a country that is not known. Company closures have no way
in, so they extend nothing.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from threading import Lock
from zoneinfo import ZoneInfo

WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SAFE_DAYS = timedelta(days=6)
"""Less than seven working days in the strictest reading: the day of the request counts, no day is off, in any zone."""
CALENDAR_VERSION = f"holidays {version('holidays')}"
_A_DAY = timedelta(days=1)
# Warnings are silenced for the whole process at once.
_silence = Lock()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A day that did not count: `why` is a day of the week (the tenant does not work on it) or a holiday's English name."""

    day: date
    why: str


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a promise is due, and by what it was counted; to be frozen with the request.

    Both instants are half-open and in UTC, `safe_due_at` is never the later. `calendar` says what was counted by, in at most
    120 characters; two counts over the same days with the same `calendar_digest` (64 hex digits) skipped the same ones.
    """

    promise_due_at: datetime
    safe_due_at: datetime
    calendar: str
    calendar_version: str
    calendar_digest: str
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class _Year:
    """Public holidays by their day, and days off that a country made working days."""

    holidays: Mapping[date, str]
    worked: frozenset[date]


_NO_HOLIDAYS = _Year({}, frozenset())


@dataclass(frozen=True, slots=True)
class _Calendar:
    country: str
    subdivision: str | None
    week: frozenset[int]

    def why_off(self, day: date) -> str | None:
        """Why a day does not count, or None if it does."""
        year = _year(self.country, self.subdivision, day.year) or _NO_HOLIDAYS
        if day.weekday() not in self.week and day not in year.worked:
            return f"{day:%A}"
        return year.holidays.get(day)


def deadline(
    asked_at: datetime, working_days: int, *, country: str, subdivision: str | None, zone: str, work_week: Sequence[str]
) -> Deadline:
    """The end of the last of so many working days after the local day of `asked_at`, which does not count.

    `country` and `subdivision` are codes of ISO 3166 such as IN and IN-TN. A work week without a known day has no day off.
    """
    local, calendar = ZoneInfo(zone), _calendar(country, subdivision, work_week)
    asked = asked_at.astimezone(local)
    day, left, skipped, unusual = asked.date(), working_days, [], [zone, _week_words(calendar.week)]
    while left:
        day += _A_DAY
        why = calendar.why_off(day)
        if why is None:
            left -= 1
        else:
            skipped.append(Skipped(day, why))
        if (day.weekday() in calendar.week) == (why is not None):
            unusual.append(f"{day} {'works' if why is None else 'rests'}")
    promise = datetime.combine(day + _A_DAY, time(), local).astimezone(UTC)
    return Deadline(
        promise_due_at=promise,
        # The same time of day, whatever the clocks do meanwhile.
        safe_due_at=min((asked + SAFE_DAYS).astimezone(UTC), promise),
        calendar=f"{_place(calendar, day.year)} {_week_words(calendar.week)} {zone}",
        calendar_version=CALENDAR_VERSION,
        calendar_digest=sha256("\n".join(unusual).encode()).hexdigest(),
        skipped=tuple(skipped),
    )


def working_days_left(
    now: datetime, due_at: datetime, *, country: str, subdivision: str | None, zone: str, work_week: Sequence[str]
) -> int:
    """How many whole working days lie between the day of `now` and `due_at`; 0 on the last one and after it."""
    local, calendar = ZoneInfo(zone), _calendar(country, subdivision, work_week)
    today, end = now.astimezone(local).date(), due_at.astimezone(local).date()
    return sum(calendar.why_off(today + _A_DAY * ahead) is None for ahead in range(1, (end - today).days))


def _calendar(country: str, subdivision: str | None, work_week: Sequence[str]) -> _Calendar:
    week = frozenset(WEEK.index(day) for day in work_week if day in WEEK) or frozenset(range(7))
    return _Calendar(country, subdivision and subdivision.removeprefix(f"{country}-"), week)


@lru_cache(maxsize=1024)
def _year(country: str, subdivision: str | None, year: int) -> _Year | None:
    """A year's public holidays, or None for a place that is not known. The first call loads every country, about 0.1 s."""
    # 12 MiB, for the processes that count days and for no other.
    import holidays  # noqa: PLC0415

    with _silence, warnings.catch_warnings():
        # It says that it knows no Hindu days after 2035: those days count.
        warnings.simplefilter("ignore")
        try:
            found = holidays.country_holidays(
                country, subdiv=subdivision, years=year, language="en_US", categories=holidays.PUBLIC
            )
        except NotImplementedError:
            return None
    names_of = {day: names.split(holidays.HOLIDAY_NAME_DELIMITER) for day, names in found.items()}
    certain = {day: name for day, names in names_of.items() if (name := _certain(names))}
    return _Year(certain, frozenset(found.weekend_workdays))


def _certain(names: Sequence[str]) -> str:
    """The names of a day without those of holidays that were only put there by estimate."""
    return "; ".join(name for name in names if not name.endswith("estimated)"))


def _place(calendar: _Calendar, year: int) -> str:
    if _year(calendar.country, calendar.subdivision, year) is None:
        why = " (unknown, no holidays)"
    else:
        why = "" if calendar.subdivision else " (nationwide)"
    return "-".join(filter(None, (calendar.country, calendar.subdivision))) + why


def _week_words(week: frozenset[int]) -> str:
    """A work week in words: days in a row, over the week's end too, as the first and the last."""
    days = sorted(week)
    starts = [day for day in days if (day - 1) % 7 not in week]
    if len(days) > 1 and len(starts) == 1:
        return f"{WEEK[starts[0]]}-{WEEK[(starts[0] + len(days) - 1) % 7]}"
    return ",".join(WEEK[day] for day in days) if starts else "every day"
