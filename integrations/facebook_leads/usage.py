"""How long Meta's usage headers ask us to wait; it decides nothing else.

Throttling comes as HTTP 400 without Retry-After, and calls made during the block lengthen it.
Source: https://developers.facebook.com/docs/graph-api/overview/rate-limiting
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import orjson

_BUSINESS_HEADER = "x-business-use-case-usage"
_APP_HEADER = "x-app-usage"
_TYPES = {80005: ("leadgen",), 80001: ("pages",), 32: ("pages",)}
_ANY_OF_OURS = ("leadgen", "pages")
_APP_CODES = {4, 17, 32, 613}
_WINDOW_MINUTES = 60
_SHORTEST_MINUTES = 5  # the percents are whole numbers and lag: just over the line is not just over the wait
_LONGEST = timedelta(days=1)  # the longest of Meta's windows: more than that is a mistake


def wait_asked_for(code: int | None, headers: Mapping[str, str]) -> timedelta | None:
    """The longest wait the headers give for this code, at most a day; None if they give none."""
    usage = {name.lower(): value for name, value in headers.items() if isinstance(value, str)}
    minutes = _business_minutes(usage.get(_BUSINESS_HEADER, ""), _TYPES.get(code or 0, _ANY_OF_OURS))
    if code in _APP_CODES:
        minutes = max(minutes, _app_minutes(usage.get(_APP_HEADER, "")))
    return min(timedelta(minutes=minutes), _LONGEST) if minutes > 0 else None


def _business_minutes(header: str, types: tuple[str, ...]) -> float:
    """{id: [{type, estimated_time_to_regain_access}, ...], ...}: up to 32 ids, several objects for one id."""
    found = (
        _positive(entry.get("estimated_time_to_regain_access"))
        for entries in _object(header).values()
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict) and entry.get("type") in types
    )
    return max(found, default=0)


def _app_minutes(header: str) -> float:
    """Percents of a rolling hour: over by a tenth, a tenth of the hour has to pass before calls fit again."""
    percent = max(map(_positive, _object(header).values()), default=0.0)
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
