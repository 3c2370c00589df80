"""The simulated Calendar API, by Google's own client: what it takes and refuses, versions, lists, channels, batches, quotas."""

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Any

import google_auth_httplib2
import httplib2
import httpx
import orjson
import pytest
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError
from googleapiclient.http import BatchHttpRequest

from integrations.simulator.calendar_world import Notice
from integrations.simulator.google_world import CALENDAR, EMAIL
from integrations.simulator.seed import ACME_ACCOUNT, GLOBEX_ACCOUNT, GOOGLE_CLIENT_ID, build_world
from integrations.simulator.server import SimulatorServer
from tests.conftest import FrozenClock

EVENT = {"id": "event00001", "summary": "Visit", "start": {"date": "2026-03-10"}, "end": {"date": "2026-03-11"}}


@cache
def document() -> dict[str, Any]:
    path = files("googleapiclient").joinpath("discovery_cache", "documents", "calendar.v3.json")
    found: dict[str, Any] = orjson.loads(path.read_bytes())
    return found


@pytest.fixture
def server(clock: FrozenClock) -> Iterator[SimulatorServer]:
    with SimulatorServer(build_world(clock)) as running:
        yield running


class Client:
    """Google's client of one account, and a calendar in it."""

    def __init__(self, server: SimulatorServer, account: str = ACME_ACCOUNT, scope: str = CALENDAR) -> None:
        server.google.grant(account, (scope,))
        self.server = server
        self.token = server.google.issue_access((GOOGLE_CLIENT_ID, account), (scope,)).value
        credentials = Credentials(self.token)  # type: ignore[no-untyped-call]
        self.http = google_auth_httplib2.AuthorizedHttp(credentials, http=httplib2.Http())  # type: ignore[no-untyped-call]
        self.service = build_from_document({**document(), "rootUrl": f"{server.url}/"}, http=self.http)
        self.events = self.service.events()

    def calendar(self) -> str:
        made: str = self.service.calendars().insert(body={"summary": "Ours", "timeZone": "Europe/Kyiv"}).execute()["id"]
        return made

    def insert(self, calendar: str, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.events.insert(calendarId=calendar, body={**EVENT, **more}).execute()
        return found


@pytest.fixture
def client(server: SimulatorServer) -> Iterator[Client]:
    made = Client(server)
    yield made
    made.http.close()


@pytest.fixture
def calendar(client: Client) -> str:
    return client.calendar()


def refused(request: Any, **headers: str) -> tuple[int, str]:
    """(status, reason) of a call that is refused."""
    request.headers.update(headers)
    with pytest.raises(HttpError) as caught:
        request.execute()
    return caught.value.status_code, orjson.loads(caught.value.content)["error"]["errors"][0]["reason"]


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
    ],
)  # fmt: skip
def test_what_google_does_not_take_is_refused(client: Client, calendar: str, more: dict[str, Any], reason: str) -> None:
    assert refused(client.events.insert(calendarId=calendar, body={**EVENT, **more})) == (400, reason)


def test_a_parameter_that_is_not_the_methods_is_refused(client: Client, calendar: str) -> None:
    for query in ("when=now", "maxResults=many", "syncToken=x&q=y"):
        url = f"{client.server.url}/calendar/v3/calendars/{calendar}/events?{query}"
        assert httpx.get(url, headers={"authorization": f"Bearer {client.token}"}, trust_env=False).status_code == 400


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


def test_who_may_not_is_refused(server: SimulatorServer, client: Client, calendar: str) -> None:
    other, mail_only = Client(server, GLOBEX_ACCOUNT), Client(server, scope=EMAIL)
    assert refused(other.events.list(calendarId=calendar)) == (404, "notFound")
    assert refused(mail_only.events.list(calendarId=calendar)) == (403, "insufficientPermissions")
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
    client.server.google.calendars.quota.user, client.server.google.calendars.quota.project = 0, 1
    clock.tick(61)
    client.events.get(calendarId=calendar, eventId=EVENT["id"]).execute()
    assert refused(client.events.get(calendarId=calendar, eventId=EVENT["id"])) == (403, "rateLimitExceeded")


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
