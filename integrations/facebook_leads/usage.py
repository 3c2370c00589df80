"""What Meta's usage headers say: how much of a budget is gone, and how long to wait; it decides nothing.

Throttling comes as HTTP 400 without Retry-After, and calls made during the block lengthen it.
Source: https://developers.facebook.com/docs/graph-api/overview/rate-limiting
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson

_BUSINESS_HEADER = "x-business-use-case-usage"
_APP_HEADER = "x-app-usage"
_WAIT = "estimated_time_to_regain_access"  # in minutes
_TYPES = {80005: ("leadgen",), 80001: ("pages",), 32: ("pages",)}
_ANY_OF_OURS = ("leadgen", "pages")
_APP_CODES = {4, 17, 32, 613}
_WINDOW_MINUTES = 60
_SHORTEST_MINUTES = 5  # the percents are whole numbers and lag: just over the line is not just over the wait
_LONGEST = timedelta(days=1)  # the longest of Meta's windows: more than that is a mistake
_PERCENTS = ("call_count", "total_cputime", "total_time")


@dataclass(frozen=True, slots=True)
class Usage:
    """Of the budgets a call drew on, the worst: percent used (0 where Meta said nothing; over 100 is possible), and wait."""

    percent: int
    wait: timedelta | None


def read_usage(headers: Mapping[str, str], page_id: str | None = None) -> Usage:
    """From a good answer. Without `page_id`, or where only a business is named, every id of the header counts."""
    usage = {name.lower(): value for name, value in headers.items() if isinstance(value, str)}
    business, app = _object(usage.get(_BUSINESS_HEADER, "")), _object(usage.get(_APP_HEADER, ""))
    concerned = {page_id: business[page_id]} if page_id in business else business
    entries = list(_entries(concerned, _ANY_OF_OURS))
    percent = max((_percent(one) for one in [app, *entries]), default=0.0)
    minutes = max([_app_minutes(app), *(_positive(one.get(_WAIT)) for one in entries)])
    return Usage(int(percent), _wait(minutes))


def wait_asked_for(code: int | None, headers: Mapping[str, str]) -> timedelta | None:
    """The longest wait the headers give for this code, at most a day; None if they give none."""
    usage = {name.lower(): value for name, value in headers.items() if isinstance(value, str)}
    entries = _entries(_object(usage.get(_BUSINESS_HEADER, "")), _TYPES.get(code or 0, _ANY_OF_OURS))
    minutes = max((_positive(one.get(_WAIT)) for one in entries), default=0.0)
    if code in _APP_CODES:
        minutes = max(minutes, _app_minutes(_object(usage.get(_APP_HEADER, ""))))
    return _wait(minutes)


def _wait(minutes: float) -> timedelta | None:
    """None for no time at all, as for what is less than the smallest interval."""
    return min(timedelta(minutes=minutes), _LONGEST) or None


def _entries(business: Mapping[str, Any], types: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """{id: [{type, estimated_time_to_regain_access, percents}, ...], ...}: up to 32 ids, several objects for one id."""
    for entries in business.values():
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and entry.get("type") in types:
                yield entry


def _percent(entry: Mapping[str, Any]) -> float:
    return max(_positive(entry.get(name)) for name in _PERCENTS)


def _app_minutes(app: Mapping[str, Any]) -> float:
    """Percents of a rolling hour: over by a tenth, a tenth of the hour has to pass before calls fit again."""
    percent = _percent(app)
    return max(_WINDOW_MINUTES * (percent - 100) / percent, _SHORTEST_MINUTES) if percent >= 100 else 0.0


def _object(header: str) -> dict[str, Any]:
    try:
        parsed = orjson.loads(header)
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _positive(value: object) -> float:
    """A number above nothing, bounded so that it can be a timedelta; 0 for everything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(min(max(value, 0), 10_000))
    return 0.0
