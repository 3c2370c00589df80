"""Recurrence lines that Google takes; it expands none of them.

Source: https://developers.google.com/workspace/calendar/api/concepts/events-calendars#recurring_events and RFC 5545, 3.8.5
"""

import re
from datetime import datetime

from dateutil.rrule import rrulestr  # type: ignore[import-untyped]

LONGEST_LINE = 1_000
_KINDS = re.compile(r"(RRULE|EXRULE|RDATE|EXDATE)[:;]", re.ASCII)
_FREQUENCY = re.compile(r"FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY)(;|$)", re.ASCII)
_UNTIL = re.compile(r"UNTIL=(\d{8})(T\d{6}(Z?))?(;|$)", re.ASCII)
_DAYS = re.compile(r"\d{8}(T\d{6}Z?)?(,\d{8}(T\d{6}Z?)?)*", re.ASCII)


def problem_of(line: str, *, is_all_day: bool) -> str | None:
    """What is wrong with a line, and how to mend it; None: nothing."""
    kind = _KINDS.match(line)
    if kind is None or len(line) > LONGEST_LINE or not line.isprintable():
        return "Write a line that begins with RRULE:, EXRULE:, RDATE or EXDATE; start and end have fields of their own."
    if kind[1] in ("RDATE", "EXDATE"):
        days = line.rpartition(":")[2]
        return None if _DAYS.fullmatch(days) else "Write days as 20260302, or times as 20260302T100000Z, with commas."
    rule = line.partition(":")[2].upper()
    if not _FREQUENCY.search(rule):
        return "FREQ is DAILY, WEEKLY, MONTHLY or YEARLY."
    if "COUNT=" in rule and "UNTIL=" in rule:
        return "Give COUNT or UNTIL, not both."
    return _until(rule, is_all_day) or _rest(rule)


def _until(rule: str, is_all_day: bool) -> str | None:
    if "UNTIL=" not in rule:
        return None
    until = _UNTIL.search(rule)
    if until is None:
        return "Write UNTIL as 20260302, or as 20260302T100000Z."
    if is_all_day and until[2] is not None:
        return "UNTIL of an all-day event is a day, such as 20260302."
    if until[2] is not None and not until[3]:
        return "UNTIL is in UTC: it ends with Z."
    return None


def _rest(rule: str) -> str | None:
    # The library wants UNTIL and the start to be of one kind, which has been looked at by now.
    plain = _UNTIL.sub(lambda found: f"UNTIL={found[1]}{found[4]}", rule)
    try:
        rrulestr(f"RRULE:{plain}", dtstart=datetime(2026, 1, 1))  # noqa: DTZ001 - a place to begin, no instant
    except (ValueError, KeyError, TypeError, AttributeError):
        return "This rule cannot be read: see RFC 5545, 3.3.10."
    return None
