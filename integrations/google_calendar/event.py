"""What an event says, in the CRM's shape and in Google's; pure, it calls nobody.

A content is {"title", "description", "location", "start", "end", "recurrence", "attendees", "reminders"}, what is absent left
out. A point in time is {"date": "2026-03-02"} or {"date_time": "2026-03-02T10:00:00+02:00", "time_zone": "Europe/Kyiv"}; an
all-day event ends on the day after its last (Google's reading, too). One event has one content, however it was written: so
contents can be compared and hashed.

Source: https://developers.google.com/workspace/calendar/api/v3/reference/events
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from integrations.google_calendar.recurrence import problem_of

MOST_ATTENDEES = 200
MOST_REMINDERS = 5
LONGEST_TITLE, LONGEST_TEXT = 1_024, 8_192
LONGEST_REMINDER = 40_320
"""Minutes: four weeks."""

_T = TypeVar("_T")
# Google tells these of every event. What else it tells, somebody has added.
_USUAL = frozenset({
    "kind", "etag", "id", "status", "htmlLink", "created", "updated", "creator", "organizer", "iCalUID", "sequence",
    "eventType", "recurringEventId", "originalStartTime", "endTimeUnspecified",
    "summary", "description", "location", "start", "end", "recurrence", "attendees", "reminders", "extendedProperties",
})  # fmt: skip
_READ_ONLY = frozenset({"kind", "etag", "htmlLink", "created", "updated", "creator", "hangoutLink", "locked"})
_OURS = ("summary", "description", "location", "recurrence", "attendees", "reminders")
_MARK = "troth"
"""The private property of an event that says which content we gave it last: a keyed hash, which nobody else can read."""


class BadEvent(ValueError):
    """An event that Google would refuse: `field` is the CRM's name for what is wrong, the text how to mend it."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


def checked(wish: Mapping[str, Any], *, default_zone: str) -> dict[str, Any]:
    """A wish whose fields are of the right types, as a content. Raises BadEvent."""
    start, end = (_point(wish[name], name, default_zone) for name in ("start", "end"))
    if ("date" in start) != ("date" in end):
        raise BadEvent("end", "Start and end are both a date, or both a date_time.")
    if _order(end) < _order(start) or ("date" in start and _order(end) == _order(start)):
        words = (
            "The end of an all-day event is the day after its last." if "date" in start else "It is before the start."
        )
        raise BadEvent("end", words)
    recurrence = list(wish.get("recurrence") or ())
    for position, line in enumerate(recurrence):
        problem = problem_of(line, is_all_day="date" in start)
        if problem is not None:
            raise BadEvent(f"recurrence.{position}", problem)
    content: dict[str, Any] = {"title": wish["title"].strip(), "start": start, "end": end}
    for name in ("description", "location"):
        text = (wish.get(name) or "").strip()
        if text:
            content[name] = text
    if recurrence:
        content["recurrence"] = recurrence
    if wish.get("attendees"):
        content["attendees"] = _guests(wish["attendees"])
    if wish.get("reminders") is not None:
        content["reminders"] = _reminders(wish["reminders"])
    return content


def _point(given: Mapping[str, Any], field: str, default_zone: str) -> dict[str, str]:
    if ("date" in given) == ("date_time" in given):
        raise BadEvent(field, "Give either date, or date_time with time_zone.")
    if "date" in given:
        if given.get("time_zone") is not None:
            raise BadEvent(f"{field}.time_zone", "A date has no time zone.")
        try:
            return {"date": date.fromisoformat(given["date"]).isoformat()}
        except ValueError:
            raise BadEvent(f"{field}.date", "Write a day that exists as 2026-03-02.") from None
    name = given.get("time_zone") or default_zone
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadEvent(
            f"{field}.time_zone", "Use a name of the IANA time zone database, such as Europe/Dublin."
        ) from None
    try:
        at = datetime.fromisoformat(given["date_time"])
    except ValueError:
        raise BadEvent(
            f"{field}.date_time", "Write an instant as 2026-03-02T10:00:00, with or without an offset."
        ) from None
    if at.tzinfo is None:
        local = at.replace(tzinfo=zone)
        # The clocks go forward over it: each calendar would make something else of it.
        if datetime.fromtimestamp(local.timestamp(), zone).replace(tzinfo=None) != at:
            raise BadEvent(
                f"{field}.date_time", "The clocks of this time zone skip this time: there is no such moment."
            )
        at = local
    return _moment(at, name)


def _moment(at: datetime, zone: str) -> dict[str, str]:
    return {"date_time": at.astimezone(ZoneInfo(zone)).replace(microsecond=0).isoformat(), "time_zone": zone}


def _order(point: Mapping[str, str]) -> float:
    if "date" in point:
        return date.fromisoformat(point["date"]).toordinal()
    return datetime.fromisoformat(point["date_time"]).timestamp()


def _guests(given: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each address once, in the order of addresses: Google keeps no order of its own."""
    found: dict[str, dict[str, Any]] = {}
    for one in given:
        guest = {"email": one["email"].lower(), "optional": bool(one.get("optional"))}
        if one.get("name"):
            guest["name"] = one["name"]
        found[guest["email"]] = guest
    return [found[email] for email in sorted(found)]


def _reminders(given: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    pairs = {(one["method"], one["minutes"]) for one in given}
    return [{"method": method, "minutes": minutes} for method, minutes in sorted(pairs)]


def what_counts(content: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a content by which two are the same: Google changes the names of guests to what their accounts say."""
    guests = [{"email": one["email"], "optional": one["optional"]} for one in content.get("attendees", ())]
    return {**content, "attendees": guests} if guests else dict(content)


def to_google(content: Mapping[str, Any]) -> dict[str, Any]:
    """The resource for an insert, without its id."""
    resource: dict[str, Any] = {
        "summary": content["title"], "start": _to_point(content["start"]), "end": _to_point(content["end"])
    }  # fmt: skip
    for name in ("description", "location", "recurrence"):
        if name in content:
            resource[name] = content[name]
    if "attendees" in content:
        resource["attendees"] = [
            {"email": one["email"], **({"displayName": one["name"]} if "name" in one else {}),
             **({"optional": True} if one["optional"] else {})}
            for one in content["attendees"]
        ]  # fmt: skip
    if "reminders" in content:
        resource["reminders"] = {"useDefault": False, "overrides": content["reminders"]}
    return resource


def _to_point(point: Mapping[str, str]) -> dict[str, str]:
    if "date" in point:
        return {"date": point["date"]}
    return {"dateTime": point["date_time"], "timeZone": point["time_zone"]}


def merged(current: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """The resource for an update of what Google has: ours is as the content says, what others added stays."""
    kept = {name: value for name, value in current.items() if name not in _READ_ONLY and name not in _OURS}
    resource = {**kept, **to_google(content)}
    answers = {str(guest.get("email", "")).lower(): guest for guest in _list(current, "attendees", dict)}
    if "attendees" in resource:
        resource["attendees"] = [
            {**_without_names(answers.get(guest["email"], {})), **guest} for guest in resource["attendees"]
        ]
    return resource


def marked(resource: Mapping[str, Any], mark: str) -> dict[str, Any]:
    """The resource as one that we write: whoever changes it afterwards leaves the mark, and it fits no more."""
    halves = _properties(resource)
    return {**resource, "extendedProperties": {**halves, "private": {**halves.get("private", {}), _MARK: mark}}}


def mark_of(resource: Mapping[str, Any]) -> str | None:
    """What the last one who wrote it with `marked` called it."""
    mark = _properties(resource).get("private", {}).get(_MARK)
    return mark if isinstance(mark, str) else None


def _properties(resource: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    halves = resource.get("extendedProperties")
    return {name: half for name, half in halves.items() if isinstance(half, dict)} if isinstance(halves, dict) else {}


def _without_names(guest: Mapping[str, Any]) -> dict[str, Any]:
    return {name: guest[name] for name in ("responseStatus", "comment", "additionalGuests") if name in guest}


def from_google(resource: Mapping[str, Any], *, default_zone: str = "UTC") -> dict[str, Any]:
    """The content of a resource; of a cancelled one, of which Google tells no more than its id, what there is.

    Never raises: what cannot be read is left out, so that one strange event stops no pass.
    """
    content: dict[str, Any] = {"title": str(resource.get("summary") or "").strip()}
    for name in ("description", "location"):
        text = resource.get(name)
        if isinstance(text, str) and text.strip():
            content[name] = text.strip()
    for name in ("start", "end"):
        point = _from_point(resource.get(name), default_zone)
        if point is not None:
            content[name] = point
    recurrence = _list(resource, "recurrence", str)
    if recurrence:
        content["recurrence"] = recurrence
    guests = [
        {"email": one["email"], "optional": one.get("optional", False), "name": one.get("displayName")}
        for one in _list(resource, "attendees", dict)
        if isinstance(one.get("email"), str)
    ]
    if guests:
        content["attendees"] = _guests(guests)
    reminders = resource.get("reminders")
    if isinstance(reminders, dict) and reminders.get("useDefault") is False:
        overrides = _list(reminders, "overrides", dict)
        content["reminders"] = _reminders(one for one in overrides if {"method", "minutes"} <= one.keys())
    return content


def _list(resource: Mapping[str, Any], name: str, kind: type[_T]) -> list[_T]:
    """The members of one kind of what should be a list of such."""
    value = resource.get(name)
    return [one for one in value if isinstance(one, kind)] if isinstance(value, list) else []


def _from_point(point: object, default_zone: str) -> dict[str, str] | None:
    if not isinstance(point, dict):
        return None
    if isinstance(point.get("date"), str):
        return {"date": point["date"]}
    try:
        at = datetime.fromisoformat(str(point.get("dateTime")))
        zone = str(point.get("timeZone") or default_zone)
        return _moment(at if at.tzinfo is not None else at.replace(tzinfo=ZoneInfo(zone)), zone)
    except (ValueError, ZoneInfoNotFoundError, OSError):
        return {"date_time": str(point.get("dateTime")), "time_zone": str(point.get("timeZone"))}


def is_dressed(resource: Mapping[str, Any]) -> bool:
    """Whether somebody has added what our wishes do not tell: a colour, a conference, an answer to an invitation."""
    guests = _list(resource, "attendees", dict)
    answered = any(guest.get("responseStatus", "needsAction") != "needsAction" for guest in guests)
    properties = {name for half in _properties(resource).values() for name in half} - {_MARK}
    return (
        answered
        or bool(properties)
        or any(name not in _USUAL and value not in (None, False) for name, value in resource.items())
    )


def is_cancelled(resource: Mapping[str, Any]) -> bool:
    """Whether Google says that it was deleted."""
    return resource.get("status") == "cancelled"
