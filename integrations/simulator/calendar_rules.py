"""What Google takes as an event, and how a write becomes what it tells of it; knows no HTTP."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from integrations.simulator import calendar_series
from integrations.simulator.calendar_schema import invalid, without_nulls
from integrations.simulator.calendar_world import Calendar, Calendars, Event, instant
from integrations.simulator.google_answers import api_fault

_ID = re.compile(r"[a-v0-9]{5,1024}", re.ASCII)
_WORDS: Mapping[str, tuple[str, ...]] = {
    "status": ("confirmed", "tentative", "cancelled"),
    "transparency": ("opaque", "transparent"),
    "visibility": ("default", "public", "private", "confidential"),
}
LONGEST_DESCRIPTION = 8_192
MOST_ATTENDEES = 200
# What a writer may say of these is not taken over.
_READ_ONLY = ("kind", "etag", "id", "htmlLink", "created", "updated", "creator", "organizer", "hangoutLink", "locked",
              "attendeesOmitted", "privateCopy")  # fmt: skip


def insert(world: Calendars, calendar: Calendar, body: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """A new event; an id that was ever given stays taken."""
    event_id = body.get("id") or world.digest("event")[:26].translate(str.maketrans("wxyz", "abcd"))
    if not _ID.fullmatch(event_id):
        raise invalid("Invalid resource id value.")
    if event_id in calendar.events:
        raise api_fault(409, "duplicate", "The requested identifier already exists.")
    checked(body)
    made = {"kind": "calendar#event", "id": event_id, "created": instant(world.clock()), "sequence": 0,
            "iCalUID": body.get("iCalUID") or f"{event_id}@google.com"}  # fmt: skip
    return world.store(calendar, _whole(calendar, made, body, params, before={}))


def import_(world: Calendars, calendar: Calendar, body: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of an event that has its uid from elsewhere; the same uid again is the same event."""
    if not body.get("iCalUID"):
        raise api_fault(400, "required", "Missing iCal UID.")
    for event in calendar.events.values():
        if event.resource.get("iCalUID") == body["iCalUID"] and "recurringEventId" not in event.resource:
            return update(world, calendar, event, body, params)
    return insert(world, calendar, {name: it for name, it in body.items() if name != "id"}, params)


def update(
    world: Calendars, calendar: Calendar, event: Event, body: Mapping[str, Any], params: Mapping[str, Any]
) -> dict[str, Any]:
    """The event as a whole: what the body leaves out is gone."""
    before = event.resource
    if event.is_cancelled and not world.restores:
        raise api_fault(403, "forbidden", "Forbidden")
    if body.get("status") == "cancelled":
        world.cancel(calendar, event)
        return calendar.events[before["id"]].resource
    if "recurringEventId" in before:  # a single event of a series has no recurrence of its own
        body = {name: it for name, it in body.items() if name != "recurrence"}
    checked(body)
    names = ("kind", "id", "created", "iCalUID", "recurringEventId", "originalStartTime")
    kept: dict[str, Any] = {name: before[name] for name in names if name in before}
    kept["sequence"] = before.get("sequence", 0) + 1
    return world.store(calendar, _whole(calendar, kept, body, params, before=before))


def patch(
    world: Calendars, calendar: Calendar, event: Event, body: Mapping[str, Any], params: Mapping[str, Any]
) -> dict[str, Any]:
    """What the body names; null takes away, objects are merged, lists are replaced."""
    whole = _merged(event.resource, body)
    if body.get("start") and body.get("end"):  # from days to times, and back
        whole |= {"start": body["start"], "end": body["end"]}
    return update(world, calendar, event, whole, params)


def _merged(before: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    whole = dict(before)
    for name, value in body.items():
        if value is None:
            whole.pop(name, None)
        elif isinstance(value, dict):
            whole[name] = _merged(whole.get(name, {}), value)
        else:
            whole[name] = without_nulls(value)
    return whole


def _whole(
    calendar: Calendar, made: dict[str, Any], body: Mapping[str, Any], params: Mapping[str, Any], *, before: Mapping[str, Any]
) -> dict[str, Any]:  # fmt: skip
    given = {name: value for name, value in body.items() if name not in _READ_ONLY and value is not None}
    # Whoever does not say that they know these fields leaves them as they are.
    for name, says in (("conferenceData", "conferenceDataVersion"), ("attachments", "supportsAttachments")):
        if not params.get(says):
            given.pop(name, None)
            if name in before:
                given[name] = before[name]
    me = {"email": calendar.owner[1], "self": True}
    whole = {**given, **made, "status": body.get("status", "confirmed"), "creator": me,
             "organizer": {"email": calendar.id, "displayName": calendar.resource["summary"], "self": True},
             "htmlLink": f"https://www.google.com/calendar/event?eid={made['id']}"}  # fmt: skip
    whole.setdefault("eventType", "default")
    whole.setdefault("reminders", {"useDefault": True})
    if "attendees" in whole:
        whole["attendees"] = [{"responseStatus": "needsAction", **guest} for guest in whole["attendees"]]
    return whole


def checked(body: Mapping[str, Any]) -> None:
    """Raises a 400 for what Google's rules, beyond the schema, refuse."""
    start, end = body.get("start"), body.get("end")
    if not start:
        raise api_fault(400, "required", "Missing start time.")
    if not end:
        raise api_fault(400, "required", "Missing end time.")
    is_day = _is_day(start)
    if is_day != _is_day(end):
        raise invalid("Start and end times must either both be date or both be dateTime.")
    recurrence = body.get("recurrence") or ()
    if recurrence and not is_day and not (start.get("timeZone") and end.get("timeZone")):
        raise api_fault(400, "required", "Missing time zone definition for start time.")
    if _order(end) < _order(start) or (is_day and _order(end) == _order(start)):
        raise api_fault(400, "timeRangeEmpty", "The specified time range is empty.")
    if recurrence:
        calendar_series.rule_of(body)
    for name, words in _WORDS.items():
        if body.get(name, words[0]) not in words:
            raise invalid(f"Invalid value for {name}: {body[name]}.")
    if len(body.get("description") or "") > LONGEST_DESCRIPTION:
        raise invalid("Invalid value for description: too long.")
    _guests(body.get("attendees") or ())
    _reminders(body.get("reminders") or {})


def zone_of(name: str) -> ZoneInfo:
    """Raises a 400 for a time zone that there is not."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise invalid(f"Invalid time zone: {name}.") from None


def _is_day(point: Mapping[str, Any]) -> bool:
    if ("date" in point) == ("dateTime" in point):
        raise invalid("Invalid start or end: exactly one of date and dateTime.")
    return "date" in point


def _order(point: Mapping[str, Any]) -> float:
    try:
        if "date" in point:
            return date.fromisoformat(point["date"]).toordinal()
        at = datetime.fromisoformat(point["dateTime"])
        zone = point.get("timeZone")
        if zone:
            ZoneInfo(zone)
        if at.tzinfo is None:
            if not zone:
                raise invalid("Missing time zone definition for start time.")
            at = at.replace(tzinfo=ZoneInfo(zone))
        return at.timestamp()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise invalid("Invalid value for start or end: no such time or time zone.") from None


def _guests(guests: Sequence[Mapping[str, Any]]) -> None:
    if len(guests) > MOST_ATTENDEES:
        raise api_fault(400, "calendarTooManyAttendees", "Too many attendees.")
    for guest in guests:
        if "@" not in guest.get("email", ""):
            raise invalid("Invalid attendee email.")


def _reminders(reminders: Mapping[str, Any]) -> None:
    overrides = reminders.get("overrides") or ()
    if reminders.get("useDefault") and overrides:
        raise api_fault(400, "cannotUseDefaultRemindersAndSpecifyOverride", "Cannot specify both.")
    if len(overrides) > 5:
        raise invalid("Too many reminder overrides.")
    for one in overrides:
        if one.get("method") not in ("email", "popup") or not 0 <= one.get("minutes", -1) <= 40_320:
            raise invalid("Invalid reminder override.")
