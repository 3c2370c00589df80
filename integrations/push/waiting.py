"""Retry-After as providers write it: seconds, or a date of HTTP (RFC 9110, 10.2.3)."""

from collections.abc import Mapping
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime

LONGEST = timedelta(hours=6)


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """How long to wait; None when nothing is said that can be read. A date is compared with the answer's own Date."""
    said = str(headers.get("Retry-After", "") or headers.get("retry-after", "")).strip()
    if said.isascii() and said.isdigit() and len(said) < 9:
        return min(timedelta(seconds=int(said)), LONGEST)
    try:
        until, now = (parsedate_to_datetime(text) for text in (said, str(headers.get("Date", ""))))
        return min(max(until.astimezone(UTC) - now.astimezone(UTC), timedelta()), LONGEST)
    except (TypeError, ValueError):
        return None
