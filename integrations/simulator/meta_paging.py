"""Graph's lists page by page, and its parameters that hold JSON; knows cursors, and nothing of what is listed."""

import base64
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

import orjson

from integrations.simulator.meta import Call, Graph, Place, truthy
from integrations.simulator.meta_answers import Answer, GraphFault, bad_parameter, ok

DEFAULT_LIMIT, TOO_MUCH = 25, 5000

T = TypeVar("T")


def page_of(
    graph: Graph,
    call: Call,
    place: Place,
    items: Sequence[T],
    *,
    key: Callable[[T], str],
    render: Callable[[T], Any],
    empty: int | None = None,
    most: int = TOO_MUCH,
    behind: Callable[[str], int] | None = None,
) -> Answer:
    """One page of a list. A cursor holds the last id given and the page's number; page `empty` gives nothing and goes on.

    More than `most` are refused. `behind` finds the place after an id faster than by looking at all.
    """
    limit = _limit(call.params.get("limit"), most)
    start, number = _start(items, key, call.params.get("after"), behind)
    taken = [] if number == empty else items[start : start + limit]
    body: dict[str, Any] = {"data": [render(item) for item in taken]}
    end = start + len(taken)
    if items:
        last = key(items[end - 1]) if end else ""
        cursors = {
            "before": _cursor(key(items[start - 1]) if start else "", number),
            "after": _cursor(last, number + 1),
        }
        body["paging"] = {"cursors": cursors}
        if end < len(items):
            body["paging"]["next"] = _next_url(call, limit, cursors["after"])
    if truthy(call.params.get("summary")):
        body["summary"] = {"total_count": len(items)}
    if "paging" in body and graph.met(graph.target(call, place), "no_cursors") is not None:
        del body["paging"]["cursors"]
    return ok(body)


def _limit(text: str | None, most: int) -> int:
    if text is None:
        return min(DEFAULT_LIMIT, most)
    if not text.isdecimal() or int(text) < 1:
        raise bad_parameter("param limit must be a positive integer")
    if int(text) > most:
        raise GraphFault(1, "Please reduce the amount of data you're asking for, then retry your request", status=500)
    return int(text)


def _start(
    items: Sequence[T], key: Callable[[T], str], after: str | None, behind: Callable[[str], int] | None
) -> tuple[int, int]:
    """(index to start at, number of the page). The item behind a cursor may have gone: begin again, as Meta may."""
    if not after:
        return 0, 0
    try:
        last, _, number = base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)).decode().partition(":")
        page = int(number)
    except ValueError as error:
        raise bad_parameter("Invalid cursors values. One of the cursors provided is not valid") from error
    if behind is not None:
        return behind(last) if last else 0, page
    for index, item in enumerate(items):
        if key(item) == last:
            return index + 1, page
    return 0, page


def _cursor(last: str, number: int) -> str:
    return base64.urlsafe_b64encode(f"{last}:{number}".encode()).decode().rstrip("=")


def _next_url(call: Call, limit: int, after: str) -> str:
    """As Meta writes it: with the token in it, and without the proof."""
    kept = {name: value for name, value in call.params.items() if name not in ("appsecret_proof", "after", "limit")}
    query = urlencode({**kept, "access_token": call.token, "limit": str(limit), "after": after})
    return f"{call.base_url}/{call.version}/{'/'.join(call.path)}?{query}"


def read_json(text: str | None, kind: type, name: str) -> Any:
    """A parameter that holds JSON; None when it was not given, GraphFault when it is not of that type."""
    if text is None:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise bad_parameter(f"param {name} must be valid JSON") from error
    if not isinstance(value, kind):
        raise bad_parameter(f"param {name} has the wrong type")
    return value
