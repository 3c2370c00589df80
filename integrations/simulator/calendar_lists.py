"""Lists of a calendar's events: pages, sync tokens, and when Google has forgotten them; knows no HTTP."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from integrations.simulator import calendar_series
from integrations.simulator.calendar_schema import bad_request
from integrations.simulator.calendar_world import Calendar, Calendars, Event, gone
from integrations.simulator.google_answers import api_fault

USUAL, MOST = 250, 2_500
# https://developers.google.com/workspace/calendar/api/v3/reference/events/list#syncToken
_NOT_WITH_TOKEN = ("iCalUID", "orderBy", "privateExtendedProperty", "q", "sharedExtendedProperty", "timeMin", "timeMax",
                   "updatedMin")  # fmt: skip
_PLACES = ("syncToken", "pageToken", "maxResults", "alt", "prettyPrint", "fields", "quotaUser", "key", "userIp")


def listed(world: Calendars, calendar: Calendar, params: Mapping[str, Any]) -> dict[str, Any]:
    """One page. The order is that of the last changes, which are what a sync token is a place among."""
    place = _places(world, calendar, params)
    is_later = place.since > 0 or bool({"syncToken", "updatedMin"} & params.keys())
    found = [event for event in calendar.events.values() if place.since < event.seq <= place.until]
    if not is_later and not params.get("showDeleted"):
        found = [
            it
            for it in found
            if not it.is_cancelled or ("recurringEventId" in it.resource and not params.get("singleEvents"))
        ]
    items = [(at, it) for at, it in _told(calendar, found, params) if _is_wanted(calendar, it, params)]
    if params.get("orderBy") == "startTime":
        items = [((rank, 0), it) for rank, (_, it) in enumerate(sorted(items, key=_start_in(calendar)), 1)]
    return _page(world, calendar, place, [one for one in items if one[0] > place.after], params)


def instances(world: Calendars, calendar: Calendar, event: Event, params: Mapping[str, Any]) -> dict[str, Any]:
    """One page of the single events of a series, in their order; what is no series has none but itself."""
    series, place = event.resource, _places(world, calendar, params)
    if not series.get("recurrence"):
        found = [series]
    else:
        touched = [
            it.resource for it in calendar.events.values() if it.resource.get("recurringEventId") == series["id"]
        ]
        found = [*calendar_series.untouched(calendar, series), *touched]
    if not params.get("showDeleted"):
        found = [it for it in found if it["status"] != "cancelled"]
    found = [it for it in found if _is_wanted(calendar, it, params)]
    items = [((rank, 0), it) for rank, it in enumerate(sorted(found, key=lambda it: str(it["id"])), 1)]
    body = _page(world, calendar, place, [one for one in items if one[0] > place.after], params)
    body.pop("nextSyncToken", None)
    return body


class _Place(NamedTuple):
    """A pass goes from behind `since` up to `until`, this page begins behind `after`; `empties`: pages before it."""

    since: int
    until: int
    after: tuple[int, int]
    empties: int


def _told(
    calendar: Calendar, events: list[Event], params: Mapping[str, Any]
) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
    """Each with its place. With singleEvents a series is its single events; those that were touched are events anyway."""
    for event in events:
        if params.get("singleEvents") and event.resource.get("recurrence"):
            for number, one in enumerate(calendar_series.untouched(calendar, event.resource), 1):
                yield (event.seq, number), one
        else:
            yield (event.seq, 0), event.resource


def _page(
    world: Calendars, calendar: Calendar, place: _Place, items: list[tuple[tuple[int, int], dict[str, Any]]],
    params: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    size = min(int(params.get("maxResults", USUAL)), MOST)
    is_empty = world.empty_pages and place.empties == 0  # a page may be empty, and go on all the same
    page = [] if is_empty else items[:size]
    most = params.get("maxAttendees")
    body: dict[str, Any] = {
        "kind": "calendar#events", "etag": f'"{calendar.seq}.{place.after}.{_mark(params)}"',
        "summary": calendar.resource["summary"], "updated": _newest(calendar),
        "timeZone": calendar.resource["timeZone"], "accessRole": "owner", "defaultReminders": [],
        "items": [it if most is None else _with_few(it, most) for _, it in page],
    }  # fmt: skip
    if is_empty or len(items) > size:
        after = page[-1][0] if page else place.after
        body["nextPageToken"] = (
            f"p.{place.since}.{place.until}.{after[0]}.{after[1]}.{place.empties + 1}.{_mark(params)}"
        )
    else:
        body["nextSyncToken"] = f"s.{place.until}.{_mark(params)}"
    return body


def _places(world: Calendars, calendar: Calendar, params: Mapping[str, Any]) -> _Place:
    token, page = params.get("syncToken"), params.get("pageToken")
    if params.get("orderBy") == "startTime" and not params.get("singleEvents"):
        raise bad_request("The requested ordering is not available for the particular query.")
    if token is not None:
        wrong = [name for name in _NOT_WITH_TOKEN if name in params]
        if wrong or params.get("showDeleted") is False:
            raise bad_request(f"Sync token cannot be used with {', '.join(wrong) or 'showDeleted=false'}.")
    since = 0
    if token is not None:
        since = _place(token, "s", params)[0]
        if since < calendar.expired_before:
            raise gone("fullSyncRequired", "Sync token is no longer valid, a full sync is required.")
    if "updatedMin" in params and (world.clock() - params["updatedMin"]).days > 28:
        raise gone("updatedMinTooLongAgo", "The requested minimum modification time lies too far in the past.")
    if page is None:
        return _Place(since, calendar.seq, (since, 0), 0)
    since, until, seq, number, empties = _place(page, "p", params)
    return _Place(since, until, (seq, number), empties)


def _place(token: str, kind: str, params: Mapping[str, Any]) -> list[int]:
    parts = token.split(".")
    if parts[0] != kind or not all(part.isdecimal() for part in parts[1:-1]) or len(parts) != {"s": 3, "p": 7}[kind]:
        raise api_fault(400, "invalid", "Invalid token value.")
    if parts[-1] != _mark(params):
        raise bad_request("The parameters of the request differ from those that the token was given for.")
    return [int(part) for part in parts[1:-1]]


def _mark(params: Mapping[str, Any]) -> str:
    others = sorted((name, str(value)) for name, value in params.items() if name not in _PLACES)
    return hashlib.blake2b(repr(others).encode(), digest_size=4).hexdigest()


def _is_wanted(calendar: Calendar, resource: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    """Whether an event is what the list is asked for; a series is, if one of its single events is."""
    if "iCalUID" in params and resource.get("iCalUID") != params["iCalUID"]:
        return False
    if "eventTypes" in params and resource.get("eventType", "default") != params["eventTypes"]:
        return False
    if "updatedMin" in params and datetime.fromisoformat(resource["updated"]) < params["updatedMin"]:
        return False
    for name, half in (("privateExtendedProperty", "private"), ("sharedExtendedProperty", "shared")):
        if name in params:
            key, _, value = params[name].partition("=")
            if resource.get("extendedProperties", {}).get(half, {}).get(key) != value:
                return False
    if "q" in params and not _says(resource, params["q"].lower()):
        return False
    if not {"timeMin", "timeMax"} & params.keys() or "start" not in resource:
        return True
    singles = calendar_series.untouched(calendar, resource) if resource.get("recurrence") else (resource,)
    return any(_is_between(it, params, str(calendar.resource["timeZone"])) for it in singles)


def _says(resource: Mapping[str, Any], words: str) -> bool:
    people = [*resource.get("attendees", ()), resource.get("organizer", {})]
    texts = [resource.get(name, "") for name in ("summary", "description", "location")]
    texts += [person.get(name, "") for person in people for name in ("displayName", "email")]
    return any(words in text.lower() for text in texts)


def _is_between(resource: Mapping[str, Any], params: Mapping[str, Any], zone: str) -> bool:
    """Both bounds are beyond what is in: it ends after the one, and starts before the other."""
    return ("timeMin" not in params or _instant(resource["end"], zone) > params["timeMin"]) and (
        "timeMax" not in params or _instant(resource["start"], zone) < params["timeMax"]
    )


def _start_in(calendar: Calendar) -> Callable[[tuple[Any, Mapping[str, Any]]], datetime]:
    zone = str(calendar.resource["timeZone"])
    return lambda one: _instant(one[1]["start"], zone) if "start" in one[1] else datetime.max.replace(tzinfo=UTC)


def _instant(point: Mapping[str, Any], zone: str) -> datetime:
    """A day begins in the calendar's time zone."""
    at = datetime.fromisoformat(point.get("dateTime") or point["date"])
    return at if at.tzinfo else at.replace(tzinfo=ZoneInfo(point.get("timeZone", zone)))


def _with_few(resource: dict[str, Any], most: int) -> dict[str, Any]:
    """Without its guests, if they are more than that: only who asks stays, and here no guest does."""
    return (
        {**resource, "attendees": [], "attendeesOmitted": True}
        if len(resource.get("attendees", ())) > most
        else resource
    )


def _newest(calendar: Calendar) -> str:
    last = next(reversed(calendar.events.values()), None)
    return str(last.resource["updated"]) if last else "1970-01-01T00:00:00.000Z"
