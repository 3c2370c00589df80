"""Calls about events: what they name is found, held to its version, and given to the rules and the lists."""

from collections.abc import Mapping
from typing import Any

from integrations.simulator import calendar_lists, calendar_rules
from integrations.simulator.calendar_ask import Ask, Handler, calendar_of, event_of, hold_to_version, unless_known
from integrations.simulator.calendar_world import Calendars, Event, gone


def _insert(world: Calendars, ask: Ask) -> dict[str, Any]:
    return calendar_rules.insert(world, calendar_of(world, ask), ask.body, ask.params)


def _import(world: Calendars, ask: Ask) -> dict[str, Any]:
    return calendar_rules.import_(world, calendar_of(world, ask), ask.body, ask.params)


def _get(world: Calendars, ask: Ask) -> dict[str, Any]:
    return unless_known(ask, event_of(world, ask).resource)


def _update(world: Calendars, ask: Ask) -> dict[str, Any]:
    return calendar_rules.update(world, calendar_of(world, ask), _matching(world, ask), ask.body, ask.params)


def _patch(world: Calendars, ask: Ask) -> dict[str, Any]:
    return calendar_rules.patch(world, calendar_of(world, ask), _matching(world, ask), ask.body, ask.params)


def _delete(world: Calendars, ask: Ask) -> None:
    event = event_of(world, ask)
    if event.is_cancelled:
        raise gone("deleted", "Resource has been deleted")
    hold_to_version(ask, event.resource["etag"])
    world.cancel(calendar_of(world, ask), event)


def _list(world: Calendars, ask: Ask) -> dict[str, Any]:
    return unless_known(ask, calendar_lists.listed(world, calendar_of(world, ask), ask.params))


def _instances(world: Calendars, ask: Ask) -> dict[str, Any]:
    return calendar_lists.instances(world, calendar_of(world, ask), event_of(world, ask), ask.params)


def _matching(world: Calendars, ask: Ask) -> Event:
    event = event_of(world, ask)
    hold_to_version(ask, event.resource["etag"])
    return event


EVENTS: Mapping[str, Handler] = {
    "calendar.events.insert": _insert,
    "calendar.events.import": _import,
    "calendar.events.get": _get,
    "calendar.events.update": _update,
    "calendar.events.patch": _patch,
    "calendar.events.delete": _delete,
    "calendar.events.list": _list,
    "calendar.events.instances": _instances,
}
