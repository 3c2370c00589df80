"""Calls about calendars themselves, and about their places in a person's list; knows no event."""

from collections.abc import Mapping
from typing import Any

from integrations.simulator.calendar_ask import Ask, Handler, calendar_of, hold_to_version, unless_known
from integrations.simulator.calendar_rules import zone_of
from integrations.simulator.calendar_world import Calendar, Calendars
from integrations.simulator.google_answers import api_fault

_WRITABLE = ("summary", "description", "location", "timeZone")


def _insert(world: Calendars, ask: Ask) -> dict[str, Any]:
    _check(ask.body)
    more = {name: ask.body[name] for name in ("description", "location") if name in ask.body}
    return world.add_calendar(ask.owner, ask.body["summary"], ask.body.get("timeZone", "UTC"), **more).resource


def _get(world: Calendars, ask: Ask) -> dict[str, Any]:
    return unless_known(ask, calendar_of(world, ask).resource)


def _update(world: Calendars, ask: Ask) -> dict[str, Any]:
    """As a whole: what the body leaves out is gone. A calendar without a time zone has UTC."""
    calendar = calendar_of(world, ask)
    kept = {name: it for name, it in calendar.resource.items() if name not in _WRITABLE}
    return _write(world, ask, calendar, kept | {"timeZone": "UTC"})


def _patch(world: Calendars, ask: Ask) -> dict[str, Any]:
    calendar = calendar_of(world, ask)
    return _write(world, ask, calendar, calendar.resource)


def _write(world: Calendars, ask: Ask, calendar: Calendar, before: Mapping[str, Any]) -> dict[str, Any]:
    hold_to_version(ask, calendar.resource["etag"])
    resource = {**before, **{name: ask.body[name] for name in _WRITABLE if name in ask.body}}
    resource = {name: it for name, it in resource.items() if it is not None}
    _check(resource)
    calendar.resource = resource | {"etag": world.etag()}
    return calendar.resource


def _delete(world: Calendars, ask: Ask) -> None:
    calendar = calendar_of(world, ask)
    hold_to_version(ask, calendar.resource["etag"])
    world.remove_calendar(calendar)


def _listed(world: Calendars, ask: Ask) -> dict[str, Any]:
    resource = calendar_of(world, ask).resource
    names = ("id", "etag", "summary", "description", "location", "timeZone", "conferenceProperties", "dataOwner")
    entry = {"kind": "calendar#calendarListEntry", **{name: resource[name] for name in names if name in resource}}
    return unless_known(ask, {**entry, "accessRole": "owner", "defaultReminders": [], "selected": True})


def _check(resource: Mapping[str, Any]) -> None:
    if not resource.get("summary"):
        raise api_fault(400, "required", "Missing title.")
    zone_of(resource.get("timeZone", "UTC"))


BOOKS: Mapping[str, Handler] = {
    "calendar.calendars.insert": _insert,
    "calendar.calendars.get": _get,
    "calendar.calendars.update": _update,
    "calendar.calendars.patch": _patch,
    "calendar.calendars.delete": _delete,
    "calendar.calendarList.get": _listed,
}
