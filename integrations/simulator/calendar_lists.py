"""Lists of a calendar's events: pages, sync tokens, and when Google has forgotten them; knows no HTTP."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from integrations.simulator.calendar_schema import bad_request
from integrations.simulator.calendar_world import Calendar, Calendars, Event, gone, living
from integrations.simulator.google_answers import api_fault

USUAL, MOST = 250, 2_500
# https://developers.google.com/workspace/calendar/api/v3/reference/events/list#syncToken
_NOT_WITH_TOKEN = ("iCalUID", "orderBy", "privateExtendedProperty", "q", "sharedExtendedProperty", "timeMin", "timeMax",
                   "updatedMin")  # fmt: skip
_PLACES = ("syncToken", "pageToken", "maxResults", "alt", "prettyPrint", "fields", "quotaUser", "key", "userIp")


def listed(world: Calendars, calendar: Calendar, params: Mapping[str, Any]) -> dict[str, Any]:
    """One page. The order is that of the last changes, which are what a sync token is a place among."""
    since, until, after, empties = _places(world, calendar, params)
    is_later = params.get("syncToken") is not None or since > 0
    found = [event for event in calendar.events.values() if after < event.seq <= until]
    if not is_later and not params.get("showDeleted"):
        found = living(found)
    found = _wanted(found, params)
    size = max(1, min(int(params.get("maxResults", USUAL)), MOST))
    page, rest = found[:size], found[size:]
    if world.empty_pages and empties == 0:  # a page may be empty, and go on all the same
        page, rest = [], found
    body: dict[str, Any] = {
        "kind": "calendar#events", "etag": world.etag(), "summary": calendar.resource["summary"], "updated": _newest(calendar),
        "timeZone": calendar.resource["timeZone"], "accessRole": "owner", "defaultReminders": [],
        "items": [event.resource for event in page],
    }  # fmt: skip
    mark = _mark(params)
    if rest or (world.empty_pages and empties == 0):
        place = page[-1].seq if page else after
        body["nextPageToken"] = f"p.{since}.{until}.{place}.{empties + 1}.{mark}"
    else:
        body["nextSyncToken"] = f"s.{until}.{mark}"
    return body


def _places(world: Calendars, calendar: Calendar, params: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """(from where the pass goes, up to where, behind which place this page begins, pages before it that were empty)."""
    token, page = params.get("syncToken"), params.get("pageToken")
    if token is not None:
        wrong = [name for name in _NOT_WITH_TOKEN if name in params]
        if wrong or params.get("showDeleted") is False:
            raise bad_request(f"Sync token cannot be used with {', '.join(wrong) or 'showDeleted=false'}.")
    since = 0
    if token is not None:
        since = _place(token, "s", params)[0]
        if since < calendar.expired_before:
            raise gone("fullSyncRequired", "Sync token is no longer valid, a full sync is required.")
    if "updatedMin" in params and (world.clock() - datetime.fromisoformat(params["updatedMin"])).days > 28:
        raise gone("updatedMinTooLongAgo", "The requested minimum modification time lies too far in the past.")
    if page is None:
        return since, calendar.seq, since, 0
    since, until, place, empties = _place(page, "p", params)
    return since, until, place, empties


def _place(token: str, kind: str, params: Mapping[str, Any]) -> list[int]:
    parts = token.split(".")
    if parts[0] != kind or not all(part.isdigit() for part in parts[1:-1]) or len(parts) != {"s": 3, "p": 6}[kind]:
        raise api_fault(400, "invalid", "Invalid token value.")
    if parts[-1] != _mark(params):
        raise bad_request("The parameters of the request differ from those that the token was given for.")
    return [int(part) for part in parts[1:-1]]


def _mark(params: Mapping[str, Any]) -> str:
    others = sorted((name, str(value)) for name, value in params.items() if name not in _PLACES)
    return hashlib.blake2b(repr(others).encode(), digest_size=4).hexdigest()


def _wanted(events: list[Event], params: Mapping[str, Any]) -> list[Event]:
    if "iCalUID" in params:
        events = [it for it in events if it.resource.get("iCalUID") == params["iCalUID"]]
    if "updatedMin" in params:
        since = datetime.fromisoformat(params["updatedMin"])
        events = [it for it in events if datetime.fromisoformat(it.resource["updated"]) >= since]
    for name, half in (("privateExtendedProperty", "private"), ("sharedExtendedProperty", "shared")):
        if name in params:
            key, _, value = params[name].partition("=")
            events = [it for it in events if it.resource.get("extendedProperties", {}).get(half, {}).get(key) == value]
    return events


def _newest(calendar: Calendar) -> str:
    last = next(reversed(calendar.events.values()), None)
    return str(last.resource["updated"]) if last else "1970-01-01T00:00:00.000Z"
