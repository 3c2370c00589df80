"""Working days by hand where it hurts - holidays, other weeks, changing clocks, year ends - and against a naive walk."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from zoneinfo import ZoneInfo

import holidays
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.workdays import WEEK, Deadline, Skipped, deadline, working_days_left

MONDAY_TO_FRIDAY = ("mon", "tue", "wed", "thu", "fri")
MONDAY_TO_SATURDAY = WEEK[:6]
SUNDAY_TO_THURSDAY = ("sun", "mon", "tue", "wed", "thu")
NOWHERE = "ZZ"
"""No such country, so no holidays."""
AT = {
    "IN-TN": "Asia/Kolkata", "IN-MH": "Asia/Kolkata", "GB-NIR": "Europe/Belfast", "GB-ENG": "Europe/London",
    "GB": "Europe/London", "IE": "Europe/Dublin", "UA": "Europe/Kyiv", "AE": "Asia/Dubai", "US": "America/New_York",
    "CN": "Asia/Shanghai",
}  # fmt: skip
ZONES = ("UTC", "America/New_York", "Europe/Dublin", "Asia/Jerusalem", "Africa/Cairo", "Pacific/Apia", "Asia/Kathmandu")


def due(
    place: str, asked: str | datetime, number: int = 7, week: Sequence[str] = MONDAY_TO_FRIDAY, zone: str | None = None
) -> Deadline:
    """A deadline at a place of AT, asked for at a local time there."""
    zone = zone or AT[place]
    at = datetime.fromisoformat(asked).replace(tzinfo=ZoneInfo(zone)) if isinstance(asked, str) else asked
    country, subdivision = place[:2], place if "-" in place else None
    return deadline(at, number, country=country, subdivision=subdivision, zone=zone, work_week=week)


@pytest.mark.parametrize(
    "place, asked, end",
    [
        # Pongal and two days more from the 14th, Republic Day on the 26th.
        ("IN-TN", "2026-01-12T23:59", "2026-01-28T00:00+05:30"),
        # Gudi Padwa on the 19th and Ram Navami on the 26th; in Chennai the seventh day comes before Ram Navami.
        ("IN-MH", "2026-03-16T10:00", "2026-03-28T00:00+05:30"),
        ("IN-TN", "2026-03-16T10:00", "2026-03-26T00:00+05:30"),
        ("IN-TN", "2026-12-24T23:59", "2027-01-06T00:00+05:30"),
        # Good Friday and Easter Monday, and the clocks forward on 29 March; outside of a part of GB Easter Monday counts.
        ("GB-NIR", "2026-03-26T23:59", "2026-04-09T00:00+01:00"),
        ("GB", "2026-03-26T23:59", "2026-04-08T00:00+01:00"),
        # The Boyne on a Sunday is observed on Monday the 13th.
        ("GB-NIR", "2026-07-10T23:59", "2026-07-23T00:00+01:00"),
        # Boxing Day on a Saturday is observed on Monday the 28th; New Year's Day.
        ("GB-NIR", "2026-12-23T09:00", "2027-01-07T00:00+00:00"),
        # The clocks back on 25 October, and the holiday after it.
        ("IE", "2026-10-22T23:59", "2026-11-04T00:00+00:00"),
        # Nobody moves Saint Stephen's Day from its Saturday.
        ("IE", "2026-12-23T23:59", "2027-01-06T00:00+00:00"),
        # Martial law: neither Easter Monday nor Independence Day is a day off. The clocks change on 29 March, 25 October.
        ("UA", "2026-03-27T23:59", "2026-04-08T00:00+03:00"),
        ("UA", "2026-08-21T23:59", "2026-09-02T00:00+03:00"),
        ("UA", "2026-10-23T23:59", "2026-11-04T00:00+02:00"),
        ("UA", "2026-12-30T23:59", "2027-01-09T00:00+02:00"),
        # Four days from the Day of Arafah, Tuesday the 26th.
        ("AE", "2026-05-25T23:59", "2026-06-10T00:00+04:00"),
        ("AE", "2026-12-30T23:59", "2027-01-12T00:00+04:00"),
        # Eid of 2027, from Tuesday the 9th, is only an estimate.
        ("AE", "2027-03-08T23:59", "2027-03-18T00:00+04:00"),
        # The clocks forward on 8 March and back on 1 November.
        ("US", "2026-03-06T23:59", "2026-03-18T00:00-04:00"),
        ("US", "2026-10-29T23:59", "2026-11-10T00:00-05:00"),
        # Independence Day on a Saturday is observed on the Friday; Veterans Day; New Year (half days around it count).
        ("US", "2026-06-30T23:59", "2026-07-11T00:00-04:00"),
        ("US", "2026-11-06T23:59", "2026-11-19T00:00-05:00"),
        ("US", "2026-12-24T23:59", "2027-01-07T00:00-05:00"),
        # China works on Saturday, 14 February, before a week of holidays from the 15th.
        ("CN", "2026-02-09T10:00", "2026-02-26T00:00+08:00"),
    ],
)
def test_seven_working_days_end_where_a_wall_calendar_ends_them(place: str, asked: str, end: str) -> None:
    assert due(place, asked).promise_due_at == datetime.fromisoformat(end)


@pytest.mark.parametrize("place", ["IN-TN", "IN-MH", "GB-NIR", "IE", "UA", "AE", "US"])
def test_a_minute_before_midnight_is_still_the_day_of_the_request(place: str) -> None:
    # From Monday, 14 to Sunday, 20 September 2026; no holiday anywhere until the 29th.
    ends = [due(place, f"2026-09-{day}T23:59").promise_due_at.astimezone(ZoneInfo(AT[place])) for day in range(14, 21)]
    assert [(end.day, end.time()) for end in ends] == [(day, time()) for day in (24, 25, 26, 29, 30, 30, 30)]


@pytest.mark.parametrize(
    "asked, number, zone, week, end",
    [
        # Sunday to Thursday: a wish of Thursday evening waits for Sunday. Clocks change on 27 March 2026, a Friday.
        ("2026-03-05T20:00", 1, "Asia/Jerusalem", SUNDAY_TO_THURSDAY, "2026-03-09T00:00+02:00"),
        ("2026-03-05T20:00", 15, "Asia/Jerusalem", SUNDAY_TO_THURSDAY, "2026-03-27T00:00+02:00"),
        ("2026-03-05T20:00", 16, "Asia/Jerusalem", SUNDAY_TO_THURSDAY, "2026-03-30T00:00+03:00"),
        # Cairo has no midnight on 24 April 2026: its Friday begins at one o'clock, which is 22:00 UTC the day before.
        ("2026-04-22T10:00", 1, "Africa/Cairo", SUNDAY_TO_THURSDAY, "2026-04-24T01:00+03:00"),
        ("2026-10-02T12:00", 7, "Asia/Kolkata", MONDAY_TO_SATURDAY, "2026-10-11T00:00+05:30"),
        ("2028-02-28T10:00", 2, "UTC", MONDAY_TO_FRIDAY, "2028-03-02T00:00+00:00"),
        # A week without days would never end; one with a word that is no day has the others.
        ("2026-03-06T10:00", 2, "UTC", (), "2026-03-09T00:00+00:00"),
        ("2026-03-06T10:00", 2, "UTC", ("lundi",), "2026-03-09T00:00+00:00"),
        ("2026-03-06T10:00", 1, "UTC", ("wed", "lundi", "wed"), "2026-03-12T00:00+00:00"),
    ],
)
def test_other_weeks_and_clocks(asked: str, number: int, zone: str, week: Sequence[str], end: str) -> None:
    assert due(NOWHERE, asked, number, week, zone).promise_due_at == datetime.fromisoformat(end)


def test_each_day_that_did_not_count_says_why() -> None:
    assert due("GB-NIR", "2026-07-10T23:59").skipped == (
        Skipped(date(2026, 7, 11), "Saturday"),
        Skipped(date(2026, 7, 12), "Sunday"),
        Skipped(date(2026, 7, 13), "Battle of the Boyne (observed)"),
        Skipped(date(2026, 7, 18), "Saturday"),
        Skipped(date(2026, 7, 19), "Sunday"),
    )
    assert due("AE", "2026-05-25T23:59").skipped[0] == Skipped(date(2026, 5, 26), "Day of Arafah")
    # In Chennai the Prophet's Birthday of 2027 is an estimate, but falls on Independence Day.
    assert due("IN-TN", "2027-08-14T10:00", 1, WEEK).skipped == (Skipped(date(2027, 8, 15), "Independence Day"),)


@pytest.mark.parametrize(
    "place, zone, week, words",
    [
        ("IN-TN", "Asia/Kolkata", MONDAY_TO_FRIDAY, "IN-TN mon-fri Asia/Kolkata"),
        ("GB", "Europe/London", MONDAY_TO_SATURDAY, "GB (nationwide) mon-sat Europe/London"),
        ("US", "UTC", ("thu", "sun", "mon", "tue", "wed"), "US (nationwide) sun-thu UTC"),
        (NOWHERE, "UTC", (), "ZZ (unknown, no holidays) every day UTC"),
        ("IN-XX", "America/Argentina/ComodRivadavia", ("sat", "mon", "wed"),
         "IN-XX (unknown, no holidays) mon,wed,sat America/Argentina/ComodRivadavia"),
    ],
)  # fmt: skip
def test_it_says_what_it_counted_by(place: str, zone: str, week: Sequence[str], words: str) -> None:
    found = due(place, "2026-12-24T10:00", 7, week, zone)
    assert (found.calendar, found.calendar_version) == (words, f"holidays {holidays.__version__}")
    if "unknown" in words:
        assert {one.why for one in found.skipped} <= {"Saturday", "Sunday", "Tuesday", "Thursday", "Friday"}


def test_without_a_part_of_the_kingdom_only_days_of_all_four_are_skipped() -> None:
    def skipped(subdivision: str | None) -> set[date]:
        found = deadline(datetime(2025, 1, 1, tzinfo=UTC), 1200, country="GB", subdivision=subdivision,
                         zone="Europe/London", work_week=MONDAY_TO_FRIDAY)  # fmt: skip
        return {one.day for one in found.skipped if one.day.year < 2029}

    common = skipped(None)
    assert date(2026, 4, 3) in common
    assert all(common < skipped(f"GB-{part}") for part in ("ENG", "NIR", "SCT", "WLS"))


@pytest.mark.parametrize("year", [2036, 2099, 2101])
def test_years_that_the_library_does_not_know_have_fewer_days_off(year: int) -> None:
    found = due("IN-TN", f"{year}-10-01T12:00", 60)
    assert found.promise_due_at < datetime(year + 1, 1, 6, tzinfo=UTC)
    assert found.calendar == "IN-TN mon-fri Asia/Kolkata"


def test_the_digest_is_that_of_the_days_that_mattered() -> None:
    digest = due("GB-NIR", "2026-03-16T10:00", zone="Europe/London").calendar_digest
    assert digest == sha256(b"Europe/London\nmon-fri\n2026-03-17 rests").hexdigest()
    assert digest == due("GB-NIR", "2026-03-16T23:00", 7, MONDAY_TO_FRIDAY[::-1], "Europe/London").calendar_digest
    worked = due("CN", "2026-02-12T10:00", 2).calendar_digest
    assert worked == sha256(b"Asia/Shanghai\nmon-fri\n2026-02-14 works").hexdigest()
    changed = [
        due("GB-ENG", "2026-03-16T10:00"),  # a holiday less
        due("GB-NIR", "2026-03-16T10:00", zone="Europe/Dublin"),
        due("GB-NIR", "2026-03-16T10:00", 7, MONDAY_TO_SATURDAY, "Europe/London"),
    ]
    assert len({digest, *(one.calendar_digest for one in changed)}) == 4
    # Saint Patrick's Day after the deadline, and on a day off, matters to nobody.
    for asked, week in (("2026-03-05T10:00", MONDAY_TO_FRIDAY), ("2026-03-16T10:00", ("mon", "wed"))):
        north, england = (due(place, asked, 7, week, "Europe/London") for place in ("GB-NIR", "GB-ENG"))
        assert (north.calendar_digest, north.promise_due_at) == (england.calendar_digest, england.promise_due_at)


def test_the_safe_side_is_the_same_time_of_day_six_days_later_or_the_promise_if_that_is_earlier() -> None:
    # The clocks go forward on the sixth day.
    assert due("US", "2026-03-02T04:00").safe_due_at == datetime(2026, 3, 8, 8, tzinfo=UTC)
    assert due("IE", "2026-10-20T12:00").safe_due_at == datetime(2026, 10, 26, 12, tzinfo=UTC)
    soon = due("US", "2026-03-02T04:00", 1)
    assert soon.safe_due_at == soon.promise_due_at == datetime(2026, 3, 4, 5, tzinfo=UTC)


def test_the_countdown_falls_by_one_with_each_working_day_and_rests_on_the_others() -> None:
    here = {"country": "IN", "subdivision": "IN-TN", "zone": "Asia/Kolkata"}
    end = due("IN-TN", "2026-01-12T23:59", 3).promise_due_at
    days = [datetime(2026, 1, day, 18, tzinfo=UTC) for day in range(12, 23)]
    left = [working_days_left(day, end, work_week=MONDAY_TO_FRIDAY, **here) for day in days]
    assert left == [3, 2, 2, 2, 2, 2, 2, 1, 0, 0, 0]
    # An instant within a day leaves no whole day of it.
    assert working_days_left(days[0], end - timedelta(seconds=1), work_week=MONDAY_TO_FRIDAY, **here) == 2


# Up to 2033, so that no walk leaves the years of OFFICIAL.
instants = st.integers(0, 14 * 366 * 86_400).map(
    lambda seconds: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
weeks = st.lists(st.sampled_from(WEEK), min_size=1, max_size=7)
places = st.sampled_from(["ZZ", "IN-TN", "IN-MH", "GB-NIR", "GB", "IE", "AE", "US"])
OFFICIAL = {
    place: holidays.country_holidays(place[:2], subdiv=place[3:] or None, years=range(2020, 2036), language="en_US")
    for place in AT
}


def walk(asked_at: datetime, number: int, place: str, zone: str, week: Sequence[str]) -> date:
    """Day after day on a calendar; the last one."""
    day = asked_at.astimezone(ZoneInfo(zone)).date()
    while number:
        day = date.fromordinal(day.toordinal() + 1)
        name = OFFICIAL[place].get(day, "") if place in OFFICIAL else ""
        if WEEK[day.weekday()] in week and all(one.endswith("estimated)") for one in name.split("; ") if one):
            number -= 1
    return day


@given(instants, st.integers(0, 30), places, st.sampled_from(ZONES), weeks)
def test_it_ends_where_a_walk_over_the_calendar_ends(
    asked_at: datetime, number: int, place: str, zone: str, week: list[str]
) -> None:
    found, last = due(place, asked_at, number, week, zone), walk(asked_at, number, place, zone, week)
    end, local = found.promise_due_at, ZoneInfo(zone)
    assert (end - timedelta(microseconds=1)).astimezone(local).date() <= last < end.astimezone(local).date()
    assert end == datetime.combine(last + timedelta(days=1), time(), local).astimezone(UTC)
    assert len(found.skipped) == (last - asked_at.astimezone(local).date()).days - number
    # The safe side comes before the end of the seventh day, the day of the request being the first.
    asked = asked_at.astimezone(local).date()
    assert asked_at < found.safe_due_at <= end
    assert found.safe_due_at < datetime.combine(asked + timedelta(days=7), time(), local).astimezone(UTC)
    # Everybody is told the same number, from the day of the wish to the last one.
    country, subdivision = place[:2], place if "-" in place else None
    assert number == working_days_left(
        asked_at, end, country=country, subdivision=subdivision, zone=zone, work_week=week
    )
