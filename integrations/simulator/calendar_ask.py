"""One call of the Calendar API that may go on, and the things that it names; knows no answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from integrations.simulator import calendar_series
from integrations.simulator.calendar_schema import Method
from integrations.simulator.calendar_world import Calendar, Calendars, Event, Owner
from integrations.simulator.google_answers import GoogleFault, api_fault
from integrations.simulator.google_world import CALENDAR


@dataclass(frozen=True, slots=True)
class Ask:
    """Its method, what it names, and whose it is."""

    method: Method
    path: Mapping[str, str]
    params: Mapping[str, Any]
    body: dict[str, Any]
    headers: Mapping[str, str]
    owner: Owner
    scopes: frozenset[str]


Handler = Callable[[Calendars, Ask], dict[str, Any] | None]


def calendar_of(world: Calendars, ask: Ask) -> Calendar:
    """The calendar; a 404 for another account's, and for one that the app has not made unless a wider scope opens it."""
    is_wider = bool(ask.scopes & ask.method.scopes - {CALENDAR})
    return world.calendar(ask.owner, ask.path["calendarId"], is_wider=is_wider)


def event_of(world: Calendars, ask: Ask) -> Event:
    """The event, or the single day of a series that nobody has touched yet; a 404."""
    calendar, event_id = calendar_of(world, ask), ask.path["eventId"]
    found = calendar.events.get(event_id) or calendar_series.untouched_one(calendar, event_id)
    if found is None:
        raise api_fault(404, "notFound", "Not Found")
    return found


def hold_to_version(ask: Ask, etag: str) -> None:
    """Raises the 412 of a write that was meant for another version."""
    if ask.headers.get("if-match", "*") not in ("*", etag):
        raise api_fault(412, "conditionNotMet", "Precondition Failed")


def unless_known(ask: Ask, resource: dict[str, Any]) -> dict[str, Any]:
    """What was asked for; raises the 304 of a read by someone who has this version."""
    if ask.headers.get("if-none-match") == resource["etag"]:
        raise GoogleFault(304, "notModified", {})
    return resource
