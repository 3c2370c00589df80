"""How Graph's lists go on from part to part, and when a part was too large; it knows nothing of what is listed.

The SDK's own cursor stops at an empty part in the middle of a list, and would lose what follows. Source:
https://developers.facebook.com/docs/graph-api/results
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from integrations.errors import IntegrationError, OurBug, Transient

START, FLOOR = 250, 5

# "Please reduce the amount of data you're asking for" is code 1, often with HTTP 500; what takes Meta too long is not
# answered at all. A passing wobble looks the same, and asking for less does no harm then.
_TOO_LARGE = ("1", "http_500", "timeout")


class PageTooLarge(Transient):
    """So many at once were too many for Facebook: ask again with the next smaller limit (see `smaller`)."""


class CursorGone(Transient):
    """Facebook no longer knows the cursor: begin again without it. Cursors do not last, and end with their item."""


def smaller(limit: int) -> int | None:
    """The limit to try after PageTooLarge; None below which there is no use in asking for less."""
    return max(limit // 2, FLOOR) if limit > FLOOR else None


def next_cursor(answer: Mapping[str, Any], asked_with: str | None = None) -> str | None:
    """The cursor to go on from; None at the end. Only `paging.next` says whether there is more: the last part has a cursor.

    The next part is asked for by its cursor: Meta's own address for it holds the token, and lacks the proof. A cursor
    that leads back to itself is an end.
    """
    paging = answer.get("paging")
    address = paging.get("next") if isinstance(paging, Mapping) else None
    if not isinstance(paging, Mapping) or not isinstance(address, str) or not address:
        return None
    cursors = paging.get("cursors")
    cursor = cursors.get("after") if isinstance(cursors, Mapping) else None
    if not isinstance(cursor, str) or not cursor:
        cursor = parse_qs(address.partition("?")[2]).get("after", [""])[0]
    if not cursor:
        # To stop here would lose the rest without a word.
        raise Transient("Facebook has more to list, and did not say how to ask for it.", code="shape")
    return None if cursor == asked_with else cursor


def listed(answer: Mapping[str, Any]) -> list[Any]:
    """The `data` of one part; Transient where it is no list."""
    data = answer.get("data")
    if not isinstance(data, list):
        raise Transient("Facebook answered without the list that was asked for.", code="shape")
    return data


def refused_part(error: IntegrationError, *, limit: int, after: str | None) -> IntegrationError:
    """The error to raise for a part that did not come: as it is, PageTooLarge or CursorGone."""
    code = error.code or ""
    if type(error) is Transient and code.partition("/")[0] in _TOO_LARGE and smaller(limit) is not None:
        return PageTooLarge("Facebook could not answer so much at once.", code=error.code, trace=error.trace)
    if isinstance(error, OurBug) and code.partition("/")[0] == "100" and after is not None:
        # If it was another parameter, the same call without the cursor says so.
        return CursorGone("Facebook no longer knows how far this list was read.", code=error.code, trace=error.trace)
    return error
