"""The simulated Calendar API, by Google's own client: what it takes and refuses, versions, lists, channels, batches, quotas."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from googleapiclient.errors import HttpError
from googleapiclient.http import BatchHttpRequest

from integrations.simulator.calendar_world import Notice
from integrations.simulator.google_world import EMAIL
from integrations.simulator.seed import ACME_ACCOUNT, GLOBEX_ACCOUNT
from integrations.simulator.server import SimulatorServer
from tests.conftest import FrozenClock
from tests.integrations.simulator.google_client import EVENT, Client, refused


def test_an_event_goes_through_its_life(client: Client, calendar: str) -> None:
    made = client.insert(calendar, attendees=[{"email": "amy@example.com"}])
    named = {"calendarId": calendar, "eventId": EVENT["id"]}

    assert (made["status"], made["reminders"], made["attendees"][0]["responseStatus"]) == (
        "confirmed", {"useDefault": True}, "needsAction")  # fmt: skip
    changed = client.events.update(**named, body={**EVENT, "summary": "Later"}).execute()
    assert "attendees" not in changed  # what a whole resource leaves out is gone
    assert changed["etag"] != made["etag"]
    assert client.events.patch(**named, body={"location": "Here"}).execute()["summary"] == "Later"
    assert client.events.delete(**named).execute() == ""
    assert client.events.get(**named).execute()["status"] == "cancelled"
    assert refused(client.events.delete(**named)) == (410, "deleted")


def test_a_patch_merges_objects_and_replaces_lists(client: Client, calendar: str) -> None:
    client.insert(
        calendar, extendedProperties={"private": {"a": "1", "b": "2"}}, attendees=[{"email": "amy@example.com"}]
    )
    body = {"extendedProperties": {"private": {"b": None, "c": "3"}}, "attendees": [{"email": "ben@example.com"}],
            "summary": None}  # fmt: skip
    changed = client.events.patch(calendarId=calendar, eventId=EVENT["id"], body=body).execute()
    assert changed["extendedProperties"] == {"private": {"a": "1", "c": "3"}}
    assert [guest["email"] for guest in changed["attendees"]] == ["ben@example.com"]
    assert "summary" not in changed


def test_a_calendar_has_versions_too_and_stands_in_the_persons_list(client: Client, calendar: str) -> None:
    books = client.service.calendars()
    before = books.get(calendarId=calendar).execute()
    patch = books.patch(calendarId=calendar, body={"description": "Visits"})
    assert refused(patch, **{"If-Match": '"other"'}) == (412, "conditionNotMet")
    patch.headers["If-Match"] = before["etag"]
    assert patch.execute()["summary"] == "Ours"
    assert refused(books.patch(calendarId=calendar, body={"timeZone": "Mars/One"})) == (400, "invalid")
    assert refused(books.insert(body={"summary": "x", "timeZone": "Mars/One"})) == (400, "invalid")
    whole = books.update(calendarId=calendar, body={"summary": "Theirs"}).execute()
    assert ("description" in whole, whole["timeZone"], whole["etag"] == before["etag"]) == (False, "UTC", False)
    entry = client.service.calendarList().get(calendarId=calendar).execute()
    assert (entry["summary"], entry["accessRole"]) == ("Theirs", "owner")
    books.delete(calendarId=calendar).execute()
    assert refused(client.service.calendarList().get(calendarId=calendar)) == (404, "notFound")


def test_an_imported_event_is_known_by_its_uid(client: Client, calendar: str) -> None:
    body = {**EVENT, "iCalUID": "visit@elsewhere"}
    made = client.events.import_(calendarId=calendar, body=body).execute()
    again = client.events.import_(calendarId=calendar, body={**body, "summary": "Later"}).execute()
    assert (again["id"], again["summary"]) == (made["id"], "Later") != (EVENT["id"], "Visit")
    assert refused(client.events.import_(calendarId=calendar, body=EVENT)) == (400, "required")


def test_an_id_stays_taken_and_a_deleted_event_comes_back_by_an_update_or_not(client: Client, calendar: str) -> None:
    client.insert(calendar)
    assert refused(client.events.insert(calendarId=calendar, body=EVENT)) == (409, "duplicate")
    client.events.delete(calendarId=calendar, eventId=EVENT["id"]).execute()
    assert refused(client.events.insert(calendarId=calendar, body=EVENT)) == (409, "duplicate")

    update = client.events.update(calendarId=calendar, eventId=EVENT["id"], body=EVENT)
    client.server.google.calendars.restores = False
    assert refused(update) == (403, "forbidden")
    client.server.google.calendars.restores = True
    assert update.execute()["status"] == "confirmed"


def test_versions_are_held_to(client: Client, calendar: str) -> None:
    made = client.insert(calendar)
    named = {"calendarId": calendar, "eventId": EVENT["id"]}
    update = client.events.update(**named, body={**EVENT, "summary": "Later"})
    assert refused(update, **{"If-Match": '"other"'}) == (412, "conditionNotMet")
    update.headers["If-Match"] = made["etag"]
    assert update.execute()["summary"] == "Later"
    get = client.events.get(**named)
    get.headers["If-None-Match"] = client.events.get(**named).execute()["etag"]
    with pytest.raises(HttpError) as caught:
        get.execute()
    assert caught.value.status_code == 304


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"id": "wxyz!"}, "invalid"),
        ({"end": {"date": "2026-03-10"}}, "timeRangeEmpty"),
        ({"end": {"dateTime": "2026-03-11T10:00:00Z"}}, "invalid"),
        ({"start": {"dateTime": "2026-03-10T10:00:00"}, "end": {"dateTime": "2026-03-10T11:00:00"}}, "invalid"),
        ({"start": {"dateTime": "2026-03-10T10:00:00Z"}, "end": {"dateTime": "2026-03-10T11:00:00Z"},
          "recurrence": ["RRULE:FREQ=DAILY"]}, "required"),
        ({"recurrence": ["RRULE:FREQ=SECONDLY"]}, "invalid"),
        ({"description": "x" * 8_193}, "invalid"),
        ({"attendees": [{"email": f"g{n}@example.com"} for n in range(201)]}, "calendarTooManyAttendees"),
        ({"reminders": {"useDefault": False, "overrides": [{"method": "popup", "minutes": n} for n in range(6)]}}, "invalid"),
        ({"start": None}, "required"),
        ({"colour": "red"}, "badRequest"),
        ({"summary": 7}, "badRequest"),
        ({"attendees": {"email": "a@b"}}, "badRequest"),
        ({"attendees": [{"email": None}]}, "invalid"),
        ({"reminders": {"useDefault": False, "overrides": [{"method": "popup", "minutes": None}]}}, "invalid"),
        ({"visibility": "hidden"}, "invalid"),
        ({"status": "maybe"}, "invalid"),
    ],
)  # fmt: skip
def test_what_google_does_not_take_is_refused(client: Client, calendar: str, more: dict[str, Any], reason: str) -> None:
    assert refused(client.events.insert(calendarId=calendar, body={**EVENT, **more})) == (400, reason)


def test_a_parameter_that_is_not_the_methods_is_refused(client: Client, calendar: str) -> None:
    headers = {"authorization": f"Bearer {client.token}"}
    with httpx.Client(headers=headers, trust_env=False) as http:
        url = f"{client.server.url}/calendar/v3/calendars/{calendar}/events"
        for query in ("when=now", "maxResults=many", "maxResults=0", "syncToken=x&q=y", "timeMin=soon",
                      "updatedMin=2026-03-10T10:00:00", "pageToken=p.1", "eventTypes=party"):  # fmt: skip
            assert http.get(f"{url}?{query}").status_code == 400, query
        for query in ("fields=items", "timeZone=UTC", "eventTypes=default&eventTypes=birthday"):
            assert http.get(f"{url}?{query}").status_code == 501, query  # nothing is passed over in silence


def test_a_list_goes_on_from_its_place_with_deletions_and_empty_pages(client: Client, calendar: str) -> None:
    for number in range(5):
        client.insert(calendar, id=f"event0000{number}", summary=f"{number}")
    first = client.events.list(calendarId=calendar, maxResults=3).execute()
    assert (len(first["items"]), "nextSyncToken" in first) == (3, False)
    rest = client.events.list(calendarId=calendar, maxResults=3, pageToken=first["nextPageToken"]).execute()
    assert (len(rest["items"]), "nextPageToken" in rest) == (2, False)

    client.events.delete(calendarId=calendar, eventId="event00001").execute()
    client.server.google.calendars.empty_pages = True
    page = client.events.list(calendarId=calendar, syncToken=rest["nextSyncToken"]).execute()
    assert page["items"] == []
    page = client.events.list(
        calendarId=calendar, syncToken=rest["nextSyncToken"], pageToken=page["nextPageToken"]
    ).execute()
    assert [(item["id"], item["status"]) for item in page["items"]] == [("event00001", "cancelled")]


def test_a_list_has_what_was_asked_for(client: Client, calendar: str) -> None:
    guests = [{"email": f"g{number}@example.com"} for number in range(3)]
    client.insert(calendar, attendees=guests, extendedProperties={"private": {"crm": "7"}})
    client.insert(calendar, id="event00002", summary="Lunch", start={"date": "2026-04-01"}, end={"date": "2026-04-02"})

    def found(**wanted: Any) -> list[str]:
        return [it["summary"] for it in client.events.list(calendarId=calendar, **wanted).execute()["items"]]

    assert (
        found(q="G1@EXAMPLE") == found(timeMax="2026-04-01T00:00:00+03:00") == ["Visit"]
    )  # a bound is beyond what is in
    assert found(timeMin="2026-03-11T00:00:00+02:00") == found(iCalUID="event00002@google.com") == ["Lunch"]
    assert found(privateExtendedProperty="crm=7") == ["Visit"]
    assert (found(eventTypes="birthday"), found(eventTypes="default")) == ([], ["Visit", "Lunch"])
    few = client.events.list(calendarId=calendar, maxAttendees=2, q="Visit").execute()["items"][0]
    assert (few["attendeesOmitted"], few["attendees"]) == (True, [])
    page = client.events.list(calendarId=calendar)
    page.headers["If-None-Match"] = page.execute()["etag"]
    with pytest.raises(HttpError) as caught:
        page.execute()
    assert caught.value.status_code == 304


def test_a_place_is_forgotten_and_held_to_its_parameters(client: Client, calendar: str) -> None:
    token = client.events.list(calendarId=calendar).execute()["nextSyncToken"]
    again = client.events.list(calendarId=calendar, syncToken=token, maxAttendees=1)
    assert refused(again) == (400, "badRequest")
    client.server.google.calendars.expire_sync_tokens(next(iter(client.server.google.calendars.calendars.values())))
    assert refused(client.events.list(calendarId=calendar, syncToken=token)) == (410, "fullSyncRequired")
    old = client.events.list(calendarId=calendar, updatedMin="2020-01-01T00:00:00Z")
    assert refused(old) == (410, "updatedMinTooLongAgo")


def test_a_channel_says_sync_before_its_answer_and_then_each_change(
    client: Client, calendar: str, clock: FrozenClock
) -> None:
    told: list[Notice] = []
    client.server.google.calendars.notify = told.append
    body = {"id": "channel-1", "type": "web_hook", "address": "https://troth.example/hook", "token": "secret",
            "params": {"ttl": "3600"}}  # fmt: skip

    answer = client.events.watch(calendarId=calendar, body=body).execute()
    client.insert(calendar)

    assert [(one.state, one.headers()["X-Goog-Channel-Token"]) for one in told] == [
        ("sync", "secret"),
        ("exists", "secret"),
    ]
    assert told[0].number == 1 < told[1].number
    assert int(answer["expiration"]) == int((clock() + timedelta(hours=1)).timestamp() * 1000)
    assert refused(client.events.watch(calendarId=calendar, body=body)) == (400, "channelIdNotUnique")
    for wrong in ({"params": {"ttl": "soon"}}, {"expiration": "99999999999999999"}, {"expiration": "1"},
                  {"token": "x" * 257}, {"id": "two words"}, {"address": None}):  # fmt: skip
        bad = client.events.watch(calendarId=calendar, body={**body, "id": "channel-2", "params": {}, **wrong})
        assert refused(bad)[0] == 400, wrong
    plain = {**body, "id": "channel-2", "address": "http://troth.example/hook"}
    assert refused(client.events.watch(calendarId=calendar, body=plain)) == (400, "push.webhookUrlNotHttps")
    stop = {"id": "channel-1", "resourceId": answer["resourceId"]}
    client.service.channels().stop(body=stop).execute()
    assert refused(client.service.channels().stop(body=stop)) == (404, "notFound")


def test_a_batch_of_the_librarys_is_answered_part_by_part(client: Client, calendar: str) -> None:
    found: dict[str, Any] = {}
    batch = BatchHttpRequest(
        callback=lambda name, answer, error: found.update({name: error.status_code if error else answer["summary"]}),
        batch_uri=f"{client.server.url}/batch/calendar/v3",
    )
    batch.add(client.events.insert(calendarId=calendar, body=EVENT), request_id="a")
    batch.add(client.events.insert(calendarId=calendar, body=EVENT), request_id="b")
    batch.add(client.events.get(calendarId=calendar, eventId="nowhere000"), request_id="c")
    batch.execute(http=client.http)

    assert found == {"a": "Visit", "b": 409, "c": 404}
    client.server.google.calendars.most_parts = 2
    with pytest.raises(HttpError) as caught:
        batch.execute(http=client.http)
    assert caught.value.status_code == 400


def test_who_may_not_is_refused(server: SimulatorServer, client: Client, calendar: str) -> None:
    other, mail_only = Client(server, GLOBEX_ACCOUNT), Client(server, scope=EMAIL)
    assert refused(other.events.list(calendarId=calendar)) == (404, "notFound")
    assert refused(mail_only.events.list(calendarId=calendar)) == (403, "insufficientPermissions")
    theirs = server.google.calendars.add_calendar(("", ACME_ACCOUNT), "Theirs", "UTC").id
    everything = Client(server, scope="https://www.googleapis.com/auth/calendar")
    assert refused(client.events.list(calendarId=theirs)) == (404, "notFound")
    assert everything.service.calendars().get(calendarId=theirs).execute()["summary"] == "Theirs"
    assert refused(client.service.calendarList().list()) == (
        403,
        "insufficientPermissions",
    )  # not of this scope's methods
    everything.http.close()
    server.google.expire_access(ACME_ACCOUNT)
    assert httpx.get(
        f"{server.url}/calendar/v3/calendars/{calendar}", headers={"authorization": f"Bearer {client.token}"}, trust_env=False
    ).json()["error"]["errors"][0]["reason"] == "authError"  # fmt: skip
    other.http.close()
    mail_only.http.close()


def test_quotas_are_of_a_moving_minute_and_count_the_calls_of_a_batch(
    client: Client, calendar: str, clock: FrozenClock
) -> None:
    client.server.google.calendars.quota.user = 2
    client.insert(calendar)
    clock.tick(30)
    client.events.get(calendarId=calendar, eventId=EVENT["id"]).execute()
    assert refused(client.events.get(calendarId=calendar, eventId=EVENT["id"])) == (403, "userRateLimitExceeded")
    clock.tick(31)
    client.events.get(calendarId=calendar, eventId=EVENT["id"]).execute()
    assert refused(client.events.get(calendarId=calendar, eventId=EVENT["id"])) == (403, "userRateLimitExceeded")
    clock.tick(61)
    client.server.google.calendars.quota.user = 3
    patch = client.events.patch(calendarId=calendar, eventId=EVENT["id"], body={"summary": "Later"})
    patch.execute()
    assert refused(client.events.get(calendarId=calendar, eventId=EVENT["id"])) == (403, "userRateLimitExceeded")
    client.server.google.calendars.quota.user, client.server.google.calendars.quota.project = 0, 1
    clock.tick(61)
    client.events.get(calendarId=calendar, eventId=EVENT["id"]).execute()
    assert refused(client.events.get(calendarId=calendar, eventId=EVENT["id"])) == (403, "rateLimitExceeded")


@pytest.mark.parametrize(
    ("does", "values", "answer"),
    [
        ("throttle", {}, (403, "rateLimitExceeded")),
        ("throttle", {"reason": "quotaExceeded"}, (403, "quotaExceeded")),
        ("throttle", {"status": 429, "seconds": 40}, (429, "rateLimitExceeded")),
        ("error", {"status": 403, "reason": "forbiddenForNonOrganizer"}, (403, "forbiddenForNonOrganizer")),
        ("error", {"status": 503}, (503, "backendError")),
    ],
)
def test_buttons_say_each_of_googles_words(
    client: Client, calendar: str, does: Any, values: dict[str, Any], answer: tuple[int, str]
) -> None:
    client.server.panel.press(does, kind="calendar.events.insert", account=ACME_ACCOUNT, times=1, **values)
    insert = client.events.insert(calendarId=calendar, body=EVENT)
    client.events.list(calendarId=calendar).execute()  # another kind of call
    with pytest.raises(HttpError) as caught:
        insert.execute(http=client.http)
    assert (caught.value.status_code, caught.value.error_details[0]["reason"]) == answer
    assert caught.value.resp.get("retry-after") == ("40" if "seconds" in values else None)
    assert (caught.value.reason == "Calendar usage limits exceeded.") is (answer[1] == "quotaExceeded")
    assert insert.execute()["id"] == EVENT["id"]


def test_people_do_things_by_the_switches(client: Client, calendar: str) -> None:
    url = f"{client.server.url}/_sim/calendars"
    client.insert(calendar)
    with httpx.Client(trust_env=False) as switches:
        switches.post(f"{url}/{calendar}/events/{EVENT['id']}", json={"set": {"colorId": "5"}}).raise_for_status()
        switches.post(f"{url}/{calendar}/events", json={"event": {**EVENT, "id": "theirs0000"}}).raise_for_status()
        switches.post(f"{url}/{calendar}/events/theirs0000", json={"deleted": True}).raise_for_status()
        assert switches.post(f"{url}/{calendar}/events", json={"event": {"id": "x"}}).status_code == 400
        assert switches.post(url, json={"usr_quota": 1}).status_code == 400
        found = {event["id"]: event for event in switches.get(f"{url}/{calendar}").json()}
        assert (found[EVENT["id"]]["colorId"], found["theirs0000"]["status"]) == ("5", "cancelled")
        assert switches.get(url).json()["calendars"][0]["events"] == 1
        switches.delete(f"{url}/{calendar}").raise_for_status()
        assert switches.get(f"{url}/{calendar}").status_code == 404
    assert refused(client.events.list(calendarId=calendar)) == (404, "notFound")
