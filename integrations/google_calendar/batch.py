"""Many calls of the Calendar API as one request, and its answer taken apart; it knows no event and sends nothing.

The library's own (`BatchHttpRequest`) costs ten times the CPU a call. Fifty a batch: what Google's guide says varies with its
page, and what its staff says is 50. Source: https://developers.google.com/workspace/calendar/api/guides/batch
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from integrations.errors import Transient

LIMIT = 50
_BOUNDARY = re.compile(r'boundary="?([^";,]+)"?', re.ASCII)
_PLACE = re.compile(rb"^content-id:\s*<?response-(?:[^>\r\n]*?\+\s*)?(\d{1,4})>?\s*$", re.IGNORECASE | re.MULTILINE)
_STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3})")


@dataclass(frozen=True, slots=True)
class Call:
    """One inner call. `path` begins with /calendar/v3 and is encoded; `if_match` is an etag as Google gave it."""

    method: str
    path: str
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    if_match: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one call. `body` is None where there was no JSON; `status` 0: the batch has no answer for it."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = field(default=None, repr=False)


def encode(calls: Sequence[Call]) -> tuple[bytes, str]:
    """(body, content type) of a batch of at most `LIMIT` calls."""
    if not 0 < len(calls) <= LIMIT:
        raise ValueError(f"a batch has 1 to {LIMIT} calls")
    boundary = f"troth_{secrets.token_hex(12)}"
    parts = bytearray()
    for place, call in enumerate(calls):
        parts += f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: <{place}>\r\n\r\n".encode()
        parts += f"{call.method} {call.path} HTTP/1.1\r\nAccept: application/json\r\n".encode()
        if call.if_match is not None:
            parts += f"If-Match: {call.if_match}\r\n".encode()
        if call.body is None:
            parts += b"\r\n\r\n"
        else:
            content = orjson.dumps(call.body)
            parts += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode()
            parts += content + b"\r\n"
    parts += f"--{boundary}--\r\n".encode()
    return bytes(parts), f"multipart/mixed; boundary={boundary}"


def decode(content: bytes, content_type: str, number: int) -> list[Answer]:
    """The answers in the order of the calls, in whatever order Google gave them. Raises Transient if it is no batch's."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise Transient("Google answered a batch with something else.", code="batch")
    answers = [Answer(0)] * number
    for part in content.split(b"--" + boundary[1].encode())[1:]:
        outer, _, inner = part.replace(b"\r\n", b"\n").lstrip(b"\n").partition(b"\n\n")
        place = _PLACE.search(outer)
        if place is not None and int(place[1]) < number:
            answers[int(place[1])] = _answer(inner)
    return answers


def _answer(inner: bytes) -> Answer:
    head, _, body = inner.partition(b"\n\n")
    first, _, rest = head.partition(b"\n")
    status = _STATUS.match(first)
    if status is None:
        return Answer(0)
    lines = (line.partition(":") for line in rest.decode("latin-1").split("\n") if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    return Answer(int(status[1]), headers, _json(body))


def _json(body: bytes) -> Any:
    body = body.strip()
    try:
        return orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return None
