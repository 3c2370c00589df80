"""An event's content: one for one event, however it was written, and what Google would refuse is refused with its mend."""

from typing import Any

import pytest

from integrations.google_calendar.event import (
    BadEvent,
    checked,
    from_google,
    is_dressed,
    mark_of,
    marked,
    merged,
    to_google,
    what_counts,
)

KYIV = "Europe/Kyiv"


def wish(**more: Any) -> dict[str, Any]:
    return {"title": "Visit", "start": {"date_time": "2026-03-02T10:00:00"}, "end": {"date_time": "2026-03-02T11:00:00"},
            **more}  # fmt: skip


def content(**more: Any) -> dict[str, Any]:
    return checked(wish(**more), default_zone=KYIV)


def test_a_moment_is_the_same_however_it_is_written() -> None:
    local = content()
    with_offset = content(start={"date_time": "2026-03-02T08:00:00+00:00"}, end={"date_time": "2026-03-02T09:00:00Z"})

    assert local == with_offset
    assert local["start"] == {"date_time": "2026-03-02T10:00:00+02:00", "time_zone": KYIV}


def test_what_goes_to_google_comes_back_as_the_same_content() -> None:
    mine = content(
        description="Bring the keys ", location="Main street 1", recurrence=["RRULE:FREQ=WEEKLY;COUNT=3"],
        attendees=[{"email": "Zoe@example.com", "name": "Zoe"}, {"email": "amy@example.com", "optional": True}],
        reminders=[{"method": "popup", "minutes": 10}],
    )  # fmt: skip
    there = {**to_google(mine), "etag": '"1"', "id": "x", "status": "confirmed"}
    for guest in there["attendees"]:
        guest["responseStatus"], guest["displayName"] = "needsAction", "As the account says"

    assert what_counts(from_google(there)) == what_counts(mine)
    assert not is_dressed(there)


def test_an_all_day_event_has_days() -> None:
    mine = content(start={"date": "2026-03-02"}, end={"date": "2026-03-03"})

    assert to_google(mine)["start"] == {"date": "2026-03-02"}
    assert from_google(to_google(mine)) == mine


def test_winter_and_summer_time_keep_their_own_offsets() -> None:
    summer = content(start={"date_time": "2026-07-02T10:00:00"}, end={"date_time": "2026-07-02T11:00:00"})

    assert summer["start"]["date_time"].endswith("+03:00")


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"end": {"date_time": "2026-03-02T09:00:00"}}, "end"),
        ({"end": {"date": "2026-03-03"}}, "end"),
        ({"start": {"date": "2026-03-02"}, "end": {"date": "2026-03-02"}}, "end"),
        ({"start": {}}, "start"),
        ({"start": {"date": "2026-02-30"}}, "start.date"),
        ({"start": {"date": "2026-03-02", "time_zone": KYIV}}, "start.time_zone"),
        ({"start": {"date_time": "tomorrow"}}, "start.date_time"),
        ({"start": {"date_time": "2026-03-02T10:00:00", "time_zone": "Mars/Olympus"}}, "start.time_zone"),
        ({"start": {"date_time": "2026-03-02T10:00:00", "time_zone": "../etc/passwd"}}, "start.time_zone"),
        # The clocks of Kyiv go from 3 to 4.
        ({"start": {"date_time": "2026-03-29T03:30:00", "time_zone": KYIV}}, "start.date_time"),
        ({"recurrence": ["FREQ=DAILY"]}, "recurrence.0"),
        ({"recurrence": ["RRULE:FREQ=DAILY", "DTSTART:20260302"]}, "recurrence.1"),
        ({"recurrence": ["RRULE:FREQ=SECONDLY"]}, "recurrence.0"),
        ({"recurrence": ["RRULE:FREQ=DAILY;COUNT=2;UNTIL=20260302"]}, "recurrence.0"),
        ({"recurrence": ["RRULE:FREQ=DAILY;UNTIL=20260302T100000"]}, "recurrence.0"),
        ({"recurrence": ["RRULE:FREQ=WEEKLY;BYDAY=XX"]}, "recurrence.0"),
        ({"recurrence": ["RRULE:FREQ=DAILY;FOO=1"]}, "recurrence.0"),
        ({"recurrence": ["EXDATE:yesterday"]}, "recurrence.0"),
    ],
)  # fmt: skip
def test_what_google_would_refuse_is_named(more: dict[str, Any], field: str) -> None:
    with pytest.raises(BadEvent) as caught:
        content(**more)

    assert caught.value.field == field


@pytest.mark.parametrize(
    "line",
    ["RRULE:FREQ=WEEKLY;BYDAY=MO,WE;UNTIL=20261231T235959Z", "EXDATE;TZID=Europe/Kyiv:20260309T100000",
     "RDATE;VALUE=DATE:20260310,20260311", "RRULE:FREQ=MONTHLY;BYDAY=-1FR;INTERVAL=2"],
)  # fmt: skip
def test_good_recurrence_lines_are_taken(line: str) -> None:
    assert content(recurrence=[line])["recurrence"] == [line]


def test_what_others_added_survives_a_change() -> None:
    there = {
        **to_google(content(location="Old place", attendees=[{"email": "amy@example.com"}])),
        "etag": '"1"', "id": "x", "colorId": "7", "conferenceData": {"conferenceId": "abc"}, "hangoutLink": "https://meet",
    }  # fmt: skip
    there["attendees"][0]["responseStatus"] = "accepted"

    after = merged(there, content(attendees=[{"email": "amy@example.com"}, {"email": "zoe@example.com"}]))

    assert is_dressed(there)
    assert (after["colorId"], after["conferenceData"]) == ("7", {"conferenceId": "abc"})
    assert "etag" not in after
    assert "hangoutLink" not in after
    assert "location" not in after  # ours, and not wished any more
    assert [guest.get("responseStatus") for guest in after["attendees"]] == ["accepted", None]


def test_our_mark_adds_nothing_and_takes_nothing_away() -> None:
    ours = marked(to_google(content()), "1f")
    assert (mark_of(ours), is_dressed(ours)) == ("1f", False)

    theirs = {**ours, "extendedProperties": {"private": {"troth": "1f", "crm": "7"}, "shared": {"x": "y"}}}
    assert is_dressed(theirs)
    assert marked(merged(theirs, content()), "2e")["extendedProperties"] == {
        "private": {"troth": "2e", "crm": "7"}, "shared": {"x": "y"}
    }  # fmt: skip


STRANGE = [None, True, 7, "x", [], [None], [7], {}, [{}], {"date": 7}, {"dateTime": "?"}, {"dateTime": None, "timeZone": 7},
           {"dateTime": "2026-03-02T10:00:00", "timeZone": "Mars"}, [{"email": 7}], [{"email": "a@b", "optional": "?"}],
           {"useDefault": False, "overrides": [7, {"method": "popup"}]}, {"useDefault": False, "overrides": None}]  # fmt: skip


@pytest.mark.parametrize("name", ["summary", "start", "attendees", "reminders", "recurrence", "description", "colorId"])
def test_no_event_of_googles_stops_a_pass(name: str) -> None:
    for value in STRANGE:
        from_google({name: value})
        is_dressed({name: value})
