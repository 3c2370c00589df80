"""The chapter about calendars: the host wishes, a person changes, Google fails, and both sides end up the same."""

from typing import Any

from worker.demo.stage import NotTrue, Stage, Tenant

EVENTS = 120


def keep_a_calendar(stage: Stage) -> list[str]:
    """The CRM's appointments appear in Google Calendar; a person moves one and deletes another there"""
    acme = stage.acme
    for number in range(EVENTS):
        _wish(stage, acme, f"appointment-{number}", f"Visit {number}")
    waited = stage.wait("the appointments at Google", lambda: len(_there(stage)) == EVENTS)
    settled = lambda: _states(stage, acme) == {"synced"}  # noqa: E731 - asked twice
    stage.wait("the appointments to be agreed", settled)
    calls = stage.meta("GET", "calendars")["calls"]
    _wish(stage, acme, "appointment-1", "Visit 1")
    _check(stage.meta("GET", "calendars")["calls"] - calls <= 1, "a wish that is true already called Google")
    calendar = stage.meta("GET", "calendars")["calendars"][0]["id"]
    events = {event["summary"]: event["id"] for event in _there(stage).values()}
    stage.meta("POST", f"calendars/{calendar}/events/{events['Visit 2']}", json={"set": {"summary": "Visit 2, moved"}})
    stage.meta("POST", f"calendars/{calendar}/events/{events['Visit 3']}", json={"deleted": True})
    stage.wait("the host to be told", lambda: {"appointment-2", "appointment-3"} <= _told(stage, acme))
    shown = _event(stage, acme, "appointment-2")
    _check(shown["found"]["event"]["title"] == "Visit 2, moved", "the person's change is not shown")
    _check(_event(stage, acme, "appointment-3")["status"] == "removed", "the deletion is not known")
    stage.api("POST", "/v1/calendar-events/appointment-2/seen", stage.platform_key, tenant=acme)
    _check(_event(stage, acme, "appointment-2")["found"] is None, "what was seen is still kept")
    other = stage.api("GET", "/v1/calendar-events/appointment-1", stage.platform_key, tenant=stage.globex)
    _check(other.status_code == 404, "globex sees acme's appointment")
    return [
        f"{EVENTS} wishes, {EVENTS} events in a calendar of its own within {waited:.1f} s; nothing of what they say is kept",
        "Google told of a person's changes by a notice: the host knows what was moved, and what was deleted",
    ]


def _wish(stage: Stage, tenant: Tenant, host_id: str, title: str) -> None:
    start = {"date_time": "2030-03-04T10:00:00", "time_zone": tenant.timezone}
    end = {"date_time": "2030-03-04T11:00:00", "time_zone": tenant.timezone}
    wish = {"connection_id": tenant.google_id, "title": title, "start": start, "end": end}
    path = f"/v1/calendar-events/{host_id}"
    answer = stage.api("PUT", path, stage.platform_key, tenant=tenant, json=wish)
    _check(answer.status_code == 202, f"the wish was not taken: {answer.text}")


def _there(stage: Stage) -> dict[str, dict[str, Any]]:
    """id -> event that Google has, in all calendars."""
    found: dict[str, dict[str, Any]] = {}
    for calendar in stage.meta("GET", "calendars")["calendars"]:
        events = stage.meta("GET", f"calendars/{calendar['id']}")
        found |= {event["id"]: event for event in events if event["status"] != "cancelled"}
    return found


def _states(stage: Stage, tenant: Tenant) -> set[str]:
    shown = stage.api("GET", f"/v1/calendars/{tenant.google_id}", stage.platform_key, tenant=tenant).json()
    return set(shown["events"])


def _event(stage: Stage, tenant: Tenant, host_id: str) -> dict[str, Any]:
    found: dict[str, Any] = stage.api("GET", f"/v1/calendar-events/{host_id}", stage.platform_key, tenant=tenant).json()
    return found


def _told(stage: Stage, tenant: Tenant) -> set[str]:
    """The host ids that the host was told a person's change of."""
    found: set[str] = set()
    after: dict[str, str] = {}
    while True:
        answer = stage.api(
            "GET", "/v1/events", stage.platform_key, tenant=tenant, params={"limit": "100", **after}
        ).json()
        found |= {event["data"]["host_id"] for event in answer["items"] if event["type"] == "calendar_event.changed"}
        if answer["next"] is None or not answer["items"]:
            return found
        after = {"after": answer["next"]}


def _check(holds: object, otherwise: str) -> None:
    if not holds:
        raise NotTrue(otherwise)
