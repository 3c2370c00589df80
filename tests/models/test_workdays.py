"""Working days by hand where it hurts - weekends, other weeks, changing clocks, year ends - and against a naive walk."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.workdays import WEEK, end_of_working_day, working_days_left

MONDAY_TO_FRIDAY = ("mon", "tue", "wed", "thu", "fri")
SUNDAY_TO_THURSDAY = ("sun", "mon", "tue", "wed", "thu")
ZONES = ("UTC", "America/New_York", "Europe/Dublin", "Asia/Jerusalem", "Africa/Cairo", "Pacific/Apia", "Asia/Kathmandu")


@pytest.mark.parametrize(
    "asked, number, zone, week, end",
    [
        # Monday noon: Tuesday is the first, the Wednesday after next week's Tuesday begins as the seventh ends.
        ("2026-03-02T12:00-05:00", 7, "America/New_York", MONDAY_TO_FRIDAY, "2026-03-12T00:00-04:00"),
        # Saturday and Sunday as the Friday before them: the first day is Monday.
        ("2026-03-06T23:30-05:00", 1, "America/New_York", MONDAY_TO_FRIDAY, "2026-03-10T00:00-04:00"),
        ("2026-03-07T09:00-05:00", 1, "America/New_York", MONDAY_TO_FRIDAY, "2026-03-10T00:00-04:00"),
        ("2026-03-08T09:00-04:00", 1, "America/New_York", MONDAY_TO_FRIDAY, "2026-03-10T00:00-04:00"),
        # Friday evening here is Saturday in UTC; Thursday evening in New York is Friday in UTC.
        ("2026-03-06T03:00+00:00", 1, "America/New_York", MONDAY_TO_FRIDAY, "2026-03-07T00:00-05:00"),
        # Sunday to Thursday: a wish of Thursday evening waits for Sunday.
        ("2026-03-05T20:00+02:00", 1, "Asia/Jerusalem", SUNDAY_TO_THURSDAY, "2026-03-09T00:00+02:00"),
        # Clocks change on 27 March 2026, a Friday.
        ("2026-03-05T20:00+02:00", 15, "Asia/Jerusalem", SUNDAY_TO_THURSDAY, "2026-03-27T00:00+02:00"),
        ("2026-03-05T20:00+02:00", 16, "Asia/Jerusalem", SUNDAY_TO_THURSDAY, "2026-03-30T00:00+03:00"),
        # Dublin's clocks: forward on 29 March, back on 25 October 2026, both Sundays.
        ("2026-03-27T16:00+00:00", 1, "Europe/Dublin", MONDAY_TO_FRIDAY, "2026-03-31T00:00+01:00"),
        ("2026-10-23T16:00+01:00", 1, "Europe/Dublin", MONDAY_TO_FRIDAY, "2026-10-27T00:00+00:00"),
        ("2026-10-30T16:00-04:00", 1, "America/New_York", MONDAY_TO_FRIDAY, "2026-11-03T00:00-05:00"),
        # Cairo has no midnight on 24 April 2026: its Friday begins at one o'clock, which is 22:00 UTC the day before.
        ("2026-04-22T10:00+02:00", 1, "Africa/Cairo", SUNDAY_TO_THURSDAY, "2026-04-24T01:00+03:00"),
        # New Year is no holiday yet, and the year's end is no end of anything.
        ("2026-12-30T10:00+00:00", 2, "UTC", MONDAY_TO_FRIDAY, "2027-01-02T00:00+00:00"),
        ("2026-12-31T10:00+00:00", 7, "UTC", MONDAY_TO_FRIDAY, "2027-01-12T00:00+00:00"),
        ("2028-02-28T10:00+00:00", 2, "UTC", MONDAY_TO_FRIDAY, "2028-03-02T00:00+00:00"),
        # A week without days would never end; one with a word that is no day has the others.
        ("2026-03-06T10:00+00:00", 2, "UTC", (), "2026-03-09T00:00+00:00"),
        ("2026-03-06T10:00+00:00", 2, "UTC", ("lundi",), "2026-03-09T00:00+00:00"),
        ("2026-03-06T10:00+00:00", 1, "UTC", ("wed", "lundi", "wed"), "2026-03-12T00:00+00:00"),
    ],
)
def test_a_promise_ends_with_the_last_of_its_working_days(
    asked: str, number: int, zone: str, week: Sequence[str], end: str
) -> None:
    found = end_of_working_day(datetime.fromisoformat(asked), number, zone=zone, work_week=week)
    assert found.astimezone(UTC) == datetime.fromisoformat(end).astimezone(UTC)


def test_the_countdown_falls_by_one_with_each_working_day_and_rests_on_the_others() -> None:
    due = end_of_working_day(datetime(2026, 3, 5, 15, tzinfo=UTC), 3, zone="UTC", work_week=MONDAY_TO_FRIDAY)
    days = [datetime(2026, 3, day, 12, tzinfo=UTC) for day in range(5, 13)]
    left = [working_days_left(day, due, zone="UTC", work_week=MONDAY_TO_FRIDAY) for day in days]
    assert left == [3, 2, 2, 2, 1, 0, 0, 0]


instants = st.integers(0, 16 * 366 * 86_400).map(
    lambda seconds: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
weeks = st.lists(st.sampled_from(WEEK), min_size=1, max_size=7)


def walk(asked_at: datetime, number: int, zone: str, week: Sequence[str]) -> date:
    """Day after day on a calendar; the last one."""
    day = asked_at.astimezone(ZoneInfo(zone)).date()
    while number:
        day = date.fromordinal(day.toordinal() + 1)
        if WEEK[day.weekday()] in week:
            number -= 1
    return day


@given(instants, st.integers(0, 30), st.sampled_from(ZONES), weeks)
def test_it_ends_where_a_walk_over_the_calendar_ends(
    asked_at: datetime, number: int, zone: str, week: list[str]
) -> None:
    end, last = end_of_working_day(asked_at, number, zone=zone, work_week=week), walk(asked_at, number, zone, week)
    local = ZoneInfo(zone)
    assert (end.astimezone(UTC) - timedelta(microseconds=1)).astimezone(local).date() <= last
    assert end.astimezone(UTC).astimezone(local).date() > last
    assert end.astimezone(UTC) == datetime.combine(last + timedelta(days=1), time(), local).astimezone(UTC)
    assert end > asked_at
    # Everybody is told the same number, from the day of the wish to the last one.
    assert working_days_left(asked_at, end.astimezone(UTC), zone=zone, work_week=week) == number
