"""Series at the simulated Calendar API, by Google's own client: their single events, with and without a person's change."""

from typing import Any

import httpx
import pytest

from tests.integrations.simulator.google_client import EVENT, Client, refused

DAYS = ["RRULE:FREQ=DAILY;COUNT=4", "EXDATE;TZID=Europe/Kyiv:20260329T100000"]
TIMES = {"start": {"dateTime": "2026-03-28T10:00:00", "timeZone": "Europe/Kyiv"},
         "end": {"dateTime": "2026-03-28T11:30:00", "timeZone": "Europe/Kyiv"}}  # fmt: skip
FIRST, AFTER = "event00001_20260328T080000Z", "event00001_20260330T070000Z"  # the clocks go forward in between


def starts(items: list[dict[str, Any]]) -> list[str]:
    return [(item["start"].get("dateTime") or item["start"]["date"]) for item in items]


def test_single_events_of_a_series_keep_to_the_clock_on_the_wall(client: Client, calendar: str) -> None:
    client.insert(calendar, recurrence=DAYS, **TIMES)

    items = client.events.instances(calendarId=calendar, eventId="event00001").execute()["items"]

    assert [item["id"] for item in items] == [FIRST, AFTER, "event00001_20260331T070000Z"]
    assert starts(items)[:2] == ["2026-03-28T10:00:00+02:00", "2026-03-30T10:00:00+03:00"]
    assert items[1]["end"]["dateTime"] == "2026-03-30T11:30:00+03:00"
    assert (items[1]["recurringEventId"], items[1]["originalStartTime"]) == ("event00001", items[1]["start"])
    assert "recurrence" not in items[1]
    assert client.events.get(calendarId=calendar, eventId=AFTER).execute() == items[1]


def test_a_changed_or_deleted_one_is_an_event_of_its_own(client: Client, calendar: str) -> None:
    client.insert(calendar, recurrence=DAYS, **TIMES)
    place = client.events.list(calendarId=calendar).execute()["nextSyncToken"]

    client.events.patch(calendarId=calendar, eventId=AFTER, body={"summary": "Moved"}).execute()
    client.events.delete(calendarId=calendar, eventId=FIRST).execute()

    assert refused(client.events.delete(calendarId=calendar, eventId=FIRST)) == (410, "deleted")
    news = client.events.list(calendarId=calendar, syncToken=place).execute()["items"]
    assert [(one["id"], one["status"], one["recurringEventId"]) for one in news] == [
        (AFTER, "confirmed", "event00001"),
        (FIRST, "cancelled", "event00001"),
    ]
    whole = client.events.list(calendarId=calendar).execute()["items"]
    assert {one["id"] for one in whole} == {
        "event00001",
        AFTER,
        FIRST,
    }  # a list of series tells what was taken from them
    left = client.events.instances(calendarId=calendar, eventId="event00001").execute()["items"]
    assert [one["summary"] for one in left] == ["Moved", "Visit"]
    everything = client.events.instances(calendarId=calendar, eventId="event00001", showDeleted=True).execute()["items"]
    assert len(everything) == 3
    client.events.delete(calendarId=calendar, eventId="event00001").execute()
    assert refused(client.events.get(calendarId=calendar, eventId=AFTER)) == (404, "notFound")


def test_a_list_of_single_events_goes_through_every_series_page_by_page(client: Client, calendar: str) -> None:
    client.insert(calendar, recurrence=["RRULE:FREQ=DAILY;UNTIL=20260313"], end={"date": "2026-03-11"})
    client.insert(calendar, id="event00002", start={"date": "2026-03-09"}, end={"date": "2026-03-10"})
    client.events.delete(calendarId=calendar, eventId="event00001_20260312").execute()

    def pages(**more: Any) -> list[list[dict[str, Any]]]:
        asked, found = client.events.list(calendarId=calendar, singleEvents=True, maxResults=2, **more), []
        while asked is not None:
            answer = asked.execute()
            found.append(answer["items"])
            asked = client.events.list_next(asked, answer)
        return found

    assert [starts(page) for page in pages(orderBy="startTime")] == [
        ["2026-03-09", "2026-03-10"],
        ["2026-03-11", "2026-03-13"],
    ]
    assert sorted(start for page in pages() for start in starts(page)) == [
        "2026-03-09", "2026-03-10", "2026-03-11", "2026-03-13"]  # fmt: skip
    window = {
        "timeMin": "2026-03-10T22:00:00Z",
        "timeMax": "2026-03-12T00:00:00+02:00",
    }  # one day of the calendar's zone
    assert [starts(page) for page in pages(**window)] == [["2026-03-11"]]
    series = client.events.list(calendarId=calendar, **window).execute()["items"][0]
    assert (series["id"], "recurrence" in series) == ("event00001", True)
    by_start = client.events.list(calendarId=calendar, orderBy="startTime")
    assert refused(by_start) == (400, "badRequest")


@pytest.mark.parametrize(
    ("lines", "days"),
    [
        (["RDATE;VALUE=DATE:20260312,20260315"], ["10", "12", "15"]),
        (["RRULE:FREQ=WEEKLY;BYDAY=TU,TH;COUNT=3", "EXDATE;VALUE=DATE:20260312"], ["10", "17"]),
        (["RRULE:FREQ=DAILY;INTERVAL=2;UNTIL=20260314T000000Z"], ["10", "12", "14"]),
    ],
)
def test_days_are_added_and_taken_away(client: Client, calendar: str, lines: list[str], days: list[str]) -> None:
    client.insert(calendar, recurrence=lines)
    items = client.events.instances(calendarId=calendar, eventId="event00001").execute()["items"]
    assert starts(items) == [f"2026-03-{day}" for day in days]


@pytest.mark.parametrize(
    "line",
    ["RRULE:FREQ=DAILY;COUNT=x", "RRULE:FREQ=DAILY;WHEN=1", "RRULE:FREQ=DAILY;COUNT=2;UNTIL=20260401", "EXDATE:soon",
     "RRULE:FREQ=DAILY;INTERVAL=0", "DTSTART:20260310"],
)  # fmt: skip
def test_a_recurrence_that_cannot_be_read_is_refused(client: Client, calendar: str, line: str) -> None:
    insert = client.events.insert(calendarId=calendar, body={**EVENT, "recurrence": [line]})
    assert refused(insert) == (400, "invalid")


def test_what_is_no_day_of_the_series_is_not_there(client: Client, calendar: str) -> None:
    client.insert(calendar, recurrence=DAYS, **TIMES)
    for name in (
        "event00001_20260329T070000Z",
        "event00001_20260330",
        "event00001_20269999T000000Z",
        "other00001_20260330",
    ):
        assert refused(client.events.get(calendarId=calendar, eventId=name)) == (404, "notFound")


def test_a_person_changes_one_event_of_a_series_by_the_switches(client: Client, calendar: str) -> None:
    client.insert(calendar, recurrence=DAYS, **TIMES)
    address = f"{client.server.url}/_sim/calendars/{calendar}/events/{AFTER}"
    httpx.post(address, json={"set": {"location": "There"}}, trust_env=False).raise_for_status()
    assert client.events.get(calendarId=calendar, eventId=AFTER).execute()["location"] == "There"
    gone = httpx.post(address.replace("0330", "0329"), json={"deleted": True}, trust_env=False)
    assert gone.status_code == 404
