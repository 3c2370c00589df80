"""The types of what callers send: short, printable, bounded; each refuses without repeating the value."""

import re
from datetime import UTC, datetime
from functools import cache
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
# PostgreSQL stores no NUL, and no control character belongs into a name or an id.
_NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$"


class Wish(BaseModel):
    """A body: unknown fields are mistakes, and nothing is turned from one type into another."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _instant(value: object) -> datetime:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("Write an instant of RFC 3339, such as 2026-11-23T09:30:00Z.")
    try:
        at = datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("There is no such instant.") from None
    if not 1970 <= at.year <= 2200:
        raise ValueError("The year must be from 1970 to 2200.")
    return at


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(value: str) -> str:
    if value not in _zones():
        raise ValueError("Use a name of the IANA time zone database, such as Europe/Dublin.")
    return value


Instant = Annotated[datetime, BeforeValidator(_instant, json_schema_input_type=datetime)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=190, pattern=_NO_CONTROLS, strip_whitespace=True)]
# It travels in the header Troth-Tenant, so it is ASCII; a space at an end would be lost on the way.
TenantName = Annotated[str, StringConstraints(min_length=1, max_length=190, pattern=r"^[!-~]([ -~]*[!-~])?$")]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
Subdivision = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}-[A-Z0-9]{1,3}$")]
TimeZone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_zone)]
PageId = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,31}$")]
Token = Annotated[str, StringConstraints(min_length=1, max_length=4000, pattern=r"^[!-~]+$")]
# A scope of OAuth (RFC 6749, 3.3): no space in it, for a space is between two.
Scope = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=r"^[!#-\[\]-~]+$")]
EntryKind = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.]{0,31}$")]
EntryText = Annotated[str, StringConstraints(min_length=1, max_length=4000, pattern=r"^[^\x00]*$")]
ExternalId = Annotated[str, StringConstraints(min_length=1, max_length=190, pattern=_NO_CONTROLS)]
SearchText = Annotated[
    str, StringConstraints(min_length=1, max_length=320, pattern=_NO_CONTROLS, strip_whitespace=True)
]
