"""Ids, instants and flags in the spellings Meta uses for them; it knows no object they belong to."""

from datetime import UTC, datetime

_ID_DIGITS = 30
_YEAR_2500 = 16_725_225_600


def read_id(value: object) -> str | None:
    """Decimal text; "" where there is none (0, "0", "" and null mean absent); None where it is no id at all.

    Ids come as numbers in some messages and as text in others. Leading zeros are refused: two spellings of one id
    would be two leads.
    """
    if type(value) is str:
        if value.isdigit() and value[0] != "0" and len(value) <= _ID_DIGITS and value.isascii():
            return value
        return "" if value in ("", "0") else None
    if type(value) is int:  # a bool is not an id, and neither is a float
        return str(value) if value > 0 else ("" if value == 0 else None)
    return "" if value is None else None


def read_instant(value: object) -> datetime | None:
    """Unix seconds, as a number or text, or None; 0 stands for never."""
    if type(value) is not int:
        value = int(read_id(value) or 0)
    return datetime.fromtimestamp(value, UTC) if 0 < value < _YEAR_2500 else None


def read_time(value: object) -> datetime | None:
    """Meta's "2026-01-02T03:04:05+0000" (unix seconds are read too); text without an offset is UTC; None for all else."""
    try:
        if isinstance(value, str) and not value.isdigit():
            instant = datetime.fromisoformat(value)
            return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
        return None if isinstance(value, bool) else datetime.fromtimestamp(int(value), UTC)  # type: ignore[call-overload]
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def read_flag(value: object) -> bool | None:
    """A real true or false; None for all else."""
    return value if isinstance(value, bool) else None


def read_text(value: object) -> str | None:
    """Text, or a number as text; None where there is nothing."""
    return str(value) if isinstance(value, (str, int)) and value not in ("", 0) else None
