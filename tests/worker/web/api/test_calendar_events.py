"""Wishes for calendar events over HTTP: what is taken, what is refused with its field, and who sees what."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from models.base import new_id
from models.calendar_event import CalendarEvent
from models.job import Job
from models.tenancy import tenant_session
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from worker.services import Services

KYIV = "Europe/Kyiv"


@pytest.fixture
def api(as_tenant: Callable[..., Api], acme: Any) -> Api:
    return as_tenant(acme)


@pytest.fixture
def connection_id(platform: Callable[..., Api], acme: Any) -> str:
    return import_calendar(platform("acme"))


def import_calendar(platform: Api, sub: str = "10001") -> str:
    body = {"integration": "google_calendar", "account": {"external_id": sub, "name": "ada@acme.example"},
            "tokens": {"refresh_token": "secret"}}  # fmt: skip
    found: str = good(platform("POST", "/v1/connections", json=body), 201)["id"]
    return found


def body(connection_id: str, **more: Any) -> dict[str, Any]:
    return {
        "connection_id": connection_id, "title": "Visit",
        "start": {"date_time": "2026-03-10T10:00:00", "time_zone": KYIV},
        "end": {"date_time": "2026-03-10T11:00:00", "time_zone": KYIV}, **more,
    }  # fmt: skip


def put(api: Api, host_id: str, wish: dict[str, Any]) -> Any:
    return api("PUT", f"/v1/calendar-events/{host_id}", json=wish)


def stored(services: Services, company: Any) -> list[CalendarEvent]:
    with tenant_session(services.database, company.id, reads_only=True) as session:
        return list(session.scalars(select(CalendarEvent).order_by(CalendarEvent.id)))


@pytest.mark.every_database
def test_a_wish_is_taken_and_its_job_is_there(api: Api, connection_id: str, services: Services, acme: Any) -> None:
    shown = good(put(api, "appointment 7", body(connection_id)), 202)

    assert (shown["host_id"], shown["status"], shown["version"]) == ("appointment 7", "pending", 1)
    assert shown["external_id"].isalnum()
    assert shown["wish"]["start"]["date_time"] == "2026-03-10T10:00:00+02:00"
    assert good(api("GET", "/v1/calendar-events/appointment%207"))["status"] == "pending"
    with tenant_session(services.database, acme.id, reads_only=True) as session:
        kinds = set(session.scalars(select(Job.kind).where(Job.connection_id == connection_id)))
    assert "calendars.converge" in kinds


def test_the_same_wish_twice_is_one_version_and_another_is_the_next(api: Api, connection_id: str) -> None:
    put(api, "a", body(connection_id))

    assert good(put(api, "a", body(connection_id)), 202)["version"] == 1
    assert good(put(api, "a", body(connection_id, title="Later")), 202)["version"] == 2
    assert good(api("DELETE", "/v1/calendar-events/a"), 202)["version"] == 3
    assert good(api("DELETE", "/v1/calendar-events/a"), 202)["version"] == 3


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"end": {"date_time": "2026-03-10T09:00:00", "time_zone": KYIV}}, "body.end"),
    ({"end": {"date": "2026-03-11"}}, "body.end"),
    ({"start": {"date_time": "2026-03-10T10:00:00", "time_zone": "Mars/Olympus"}}, "body.start.time_zone"),
    ({"start": {"when": "soon"}}, "body.start.(unknown field)"),
    ({"recurrence": ["RRULE:FREQ=HOURLY"]}, "body.recurrence.0"),
    ({"description": "x" * 1_000_000}, "body.description"),
    ({"attendees": [{"email": f"g{number}@example.com"} for number in range(500)]}, "body.attendees"),
    ({"attendees": [{"email": "nobody"}]}, "body.attendees.0.email"),
    ({"reminders": [{"method": "popup", "minutes": 50_000}]}, "body.reminders.0.minutes"),
    ({"title": ""}, "body.title"),
    ({"title": None}, "body.title"),
    ({"send_updates": "everybody"}, "body.send_updates"),
]


@pytest.mark.parametrize(("more", "field"), MISTAKES)
def test_a_mistake_is_named_by_its_field_and_nothing_is_stored(
    api: Api, connection_id: str, services: Services, acme: Any, more: dict[str, Any], field: str
) -> None:
    answer = problem(put(api, "a", body(connection_id, **more)), 422, "invalid")

    assert [error["field"] for error in answer["errors"]] == [field]
    assert len(answer["errors"][0]["problem"]) > 10
    assert stored(services, acme) == []


def test_a_connection_that_is_not_yours_does_not_exist(
    api: Api, connection_id: str, as_tenant: Callable[..., Api], globex: Any, services: Services
) -> None:
    for unknown in (new_id(), "no-id"):
        problem(put(api, "a", body(unknown)), 404, "not-found")
    problem(put(as_tenant(globex), "a", body(connection_id)), 404, "not-found")
    assert stored(services, globex) == []


def test_a_page_of_facebooks_has_no_calendar(api: Api, acme: Any) -> None:
    answer = problem(put(api, "a", body(acme.connection_id)), 422, "invalid")

    assert answer["errors"][0]["field"] == "body.connection_id"


def test_a_revoked_connection_takes_no_wishes(api: Api, connection_id: str) -> None:
    put(api, "a", body(connection_id))
    good(api("POST", f"/v1/connections/{connection_id}/revoke", json={"calendar_events": "remove"}), 202)

    problem(put(api, "b", body(connection_id)), 409, "wrong-state")
    problem(api("DELETE", "/v1/calendar-events/a"), 409, "wrong-state")


def test_globex_sees_nothing(api: Api, connection_id: str, as_tenant: Callable[..., Api], globex: Any) -> None:
    put(api, "a", body(connection_id))
    other = as_tenant(globex)

    problem(other("GET", "/v1/calendar-events/a"), 404, "not-found")
    problem(other("DELETE", "/v1/calendar-events/a"), 404, "not-found")
    problem(other("POST", "/v1/calendar-events/a/seen"), 404, "not-found")
    problem(other("GET", f"/v1/calendars/{connection_id}"), 404, "not-found")
    assert good(other("GET", "/v1/calendar-events"))["items"] == []
    assert good(other("GET", "/v1/calendars"))["items"] == []


def test_the_same_host_id_in_two_connections_is_named_by_its_connection(
    api: Api, connection_id: str, platform: Callable[..., Api]
) -> None:
    second = import_calendar(platform("acme"), "10002")
    put(api, "a", body(connection_id))
    put(api, "a", body(second, title="Other"))

    assert problem(api("GET", "/v1/calendar-events/a"), 422, "invalid")["errors"][0]["field"] == "query.connection_id"
    assert good(api("GET", f"/v1/calendar-events/a?connection_id={second}"))["wish"]["title"] == "Other"


def test_events_are_listed_by_page_and_state(api: Api, connection_id: str) -> None:
    for number in range(3):
        put(api, f"{number}", body(connection_id))

    first = good(api("GET", "/v1/calendar-events?limit=2&status=pending"))
    rest = good(api("GET", f"/v1/calendar-events?limit=2&status=pending&cursor={first['next']}"))

    assert [one["host_id"] for one in first["items"] + rest["items"]] == ["0", "1", "2"]
    assert rest["next"] is None
    assert good(api("GET", "/v1/calendar-events?status=synced"))["items"] == []


def test_a_scope_is_needed(connection_id: str, as_tenant: Callable[..., Api], acme: Any) -> None:
    reader = as_tenant(acme, "calendars:read")

    problem(put(reader, "a", body(connection_id)), 403, "missing-scope")
    assert good(reader("GET", "/v1/calendar-events"))["items"] == []


def test_a_calendar_is_shown_and_decided_about(api: Api, connection_id: str) -> None:
    put(api, "a", body(connection_id))

    shown = good(api("PATCH", f"/v1/calendars/{connection_id}", json={"clash": "newest", "on_revoke": "remove"}))

    assert (shown["clash"], shown["on_gone"], shown["on_revoke"]) == ("newest", "recreate", "remove")
    assert shown["events"] == {"pending": 1}
    assert (shown["external_id"], shown["proven_until"], shown["watched_until"]) == (None, None, None)
    assert good(api("GET", "/v1/calendars"))["items"] == [shown]
    problem(api("PATCH", f"/v1/calendars/{connection_id}", json={"clash": "host"}), 422, "invalid")


def test_what_an_event_says_is_in_no_log(api: Api, connection_id: str, log_lines: list[str]) -> None:
    put(api, "a", body(connection_id, title="Canary title", attendees=[{"email": "canary@example.com"}]))
    put(api, "a", body(connection_id, title="Canary title", end={"date": "2026-03-11"}))

    assert not any("anary" in line for line in log_lines)
