"""Series: the days that a recurrence makes, and its single events as Google tells them; knows no HTTP.

A single event of a series that nobody has touched is nowhere kept: it is told from its series. One that somebody changed or
deleted is kept under the id that it had before, and stays so when the series changes.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from dateutil.rrule import rruleset, rrulestr  # type: ignore[import-untyped]

from integrations.simulator.calendar_schema import invalid
from integrations.simulator.calendar_world import Calendar, Event

MOST = 730
"""Single events told of a series that has no end."""
_FREQUENCY = re.compile(r"FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY)(;|$)", re.ASCII)
_NEVER = re.compile(r"(INTERVAL|COUNT)=0*(;|$)", re.ASCII)
_UNTIL = re.compile(r"UNTIL=(\d{8})(T\d{6}Z?)?(?=;|$)", re.ASCII)
_ZONE = re.compile(r";TZID=([^;:]+)", re.ASCII)
_ID = re.compile(r"(.+)_(\d{8}(T\d{6}Z)?)", re.ASCII)


def rule_of(resource: Mapping[str, Any]) -> Any:
    """All starts of a series as an rruleset; of all-day ones as midnights without a zone. Raises a 400."""
    first, zone = _first(resource["start"])
    rules = rruleset()
    lines = [line.upper() if line.upper().startswith(("RRULE", "EXRULE")) else line for line in resource["recurrence"]]
    try:
        for line in lines:
            _add(rules, line, first, zone)
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        raise invalid("Invalid recurrence rule.") from None
    if not any(line.startswith("RRULE") for line in lines):
        rules.rdate(first)
    return rules


def untouched(calendar: Calendar, series: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The single events of a series that nobody changed or deleted."""
    for at in islice(rule_of(series), MOST):
        if (event_id := _id(series, at)) not in calendar.events:
            yield _told(series, at, event_id)


def untouched_one(calendar: Calendar, event_id: str) -> Event | None:
    """The same by its id."""
    named = _ID.fullmatch(event_id)
    series = calendar.events.get(named[1]) if named else None
    if named is None or series is None or series.is_cancelled or not series.resource.get("recurrence"):
        return None
    try:
        at = datetime.fromisoformat(named[2])
    except ValueError:
        return None
    is_day = "date" in series.resource["start"]
    if is_day != (named[3] is None) or not rule_of(series.resource).between(at, at, inc=True):
        return None
    if not is_day:
        at = at.astimezone(ZoneInfo(series.resource["start"]["timeZone"]))
    return Event(_told(series.resource, at, event_id), series.seq)


def _first(start: Mapping[str, Any]) -> tuple[datetime, ZoneInfo | None]:
    if "date" in start:
        return datetime.combine(date.fromisoformat(start["date"]), time()), None
    zone = ZoneInfo(start["timeZone"])
    at = datetime.fromisoformat(start["dateTime"])
    return (at.astimezone(zone) if at.tzinfo else at.replace(tzinfo=zone)), zone


def _add(rules: Any, line: str, first: datetime, zone: ZoneInfo | None) -> None:
    kind, _, value = line.partition(":")
    if kind in ("RRULE", "EXRULE"):
        if not _FREQUENCY.search(value) or _NEVER.search(value) or ("COUNT=" in value and "UNTIL=" in value):
            raise ValueError(line)
        plain = _UNTIL.sub(lambda found: f"UNTIL={_until(found[1], found[2] or '', zone)}", value)
        (rules.rrule if kind == "RRULE" else rules.exrule)(rrulestr(f"RRULE:{plain}", dtstart=first))
        return
    add = {"RDATE": rules.rdate, "EXDATE": rules.exdate}[kind.partition(";")[0]]
    named = _ZONE.search(kind)
    for one in value.split(","):
        at = datetime.fromisoformat(one)
        if zone is None:
            at = datetime.combine(at.date(), time())
        elif "T" not in one:
            at = datetime.combine(at.date(), first.time(), zone)
        else:
            at = (at if at.tzinfo else at.replace(tzinfo=ZoneInfo(named[1]) if named else zone)).astimezone(zone)
        add(at)


def _until(day: str, at: str, zone: ZoneInfo | None) -> str:
    """As the library wants it: a day without a zone, an instant in UTC with one. A whole day is meant to its end."""
    if zone is None:
        return day
    if at.endswith("Z"):
        return day + at
    local = datetime.fromisoformat(day + (at or "T235959")).replace(tzinfo=zone)
    return local.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _id(series: Mapping[str, Any], at: datetime) -> str:
    stamp = at.strftime("%Y%m%d") if at.tzinfo is None else at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{series['id']}_{stamp}"


def _told(series: Mapping[str, Any], at: datetime, event_id: str) -> dict[str, Any]:
    start = _point(at)
    first, last = (_first(series[name])[0] for name in ("start", "end"))
    end = _point(_after(at, _counted(last) - _counted(first)))
    kept = {name: it for name, it in series.items() if name != "recurrence"}
    return {
        **kept,
        "id": event_id,
        "start": start,
        "end": end,
        "recurringEventId": series["id"],
        "originalStartTime": start,
    }


def _after(at: datetime, length: timedelta) -> datetime:
    return at + length if at.tzinfo is None else (_counted(at) + length).astimezone(at.tzinfo)


def _counted(at: datetime) -> datetime:
    """By a clock that counts, whatever the one on the wall does."""
    return at if at.tzinfo is None else at.astimezone(UTC)


def _point(at: datetime) -> dict[str, str]:
    if at.tzinfo is None:
        return {"date": at.date().isoformat()}
    return {"dateTime": at.isoformat(), "timeZone": str(at.tzinfo)}
