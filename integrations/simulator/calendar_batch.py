"""A batch of the Calendar API: taken apart into its calls, and their answers put together; knows no call."""

import re

from integrations.simulator.calendar_front import ROOT, CalendarFront
from integrations.simulator.google_answers import GoogleFault, api_fault
from integrations.simulator.meta_answers import Answer

PATH = "/batch/calendar/v3"
_BOUNDARY = re.compile(r'boundary="?([^";,]+)"?', re.ASCII)
_LINE = re.compile(rb"^([A-Z]+) (\S+)(?: HTTP/1\.[01])?\s*$")


def batch(front: CalendarFront, content: bytes, content_type: str, authorization: str) -> Answer:
    """The answer to a whole batch. Its parts may come in any order: here the last comes first."""
    try:
        parts = [_Part(part, authorization) for part in _parts(content, content_type)]
        if len(parts) > front.world.most_parts:
            raise api_fault(400, "badRequest", f"The batch request may have at most {front.world.most_parts} calls.")
    except GoogleFault as fault:
        return fault.answer()
    answers = [(part, front.answer(part.method, part.target, part.headers, part.body)) for part in parts]
    boundary = b"batch_simulated"
    body = b"".join(_written(boundary, part.name, answer) for part, answer in reversed(answers))
    return Answer(200, body + b"--" + boundary + b"--\r\n", (), f"multipart/mixed; boundary={boundary.decode()}")


def _parts(content: bytes, content_type: str) -> list[bytes]:
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise api_fault(400, "badRequest", "Failed to parse batch request, error: no boundary.")
    pieces = content.split(b"--" + found[1].encode())
    parts = [piece for piece in pieces[1:] if not piece.startswith(b"--")]
    if not parts:
        raise api_fault(400, "badRequest", "The batch request has no calls.")
    return parts


class _Part:
    """One call of a batch."""

    def __init__(self, part: bytes, authorization: str) -> None:
        outer, _, inner = part.replace(b"\r\n", b"\n").lstrip(b"\n").partition(b"\n\n")
        head, _, self.body = inner.partition(b"\n\n")
        first, _, rest = head.partition(b"\n")
        line = _LINE.match(first)
        if line is None or not line[2].startswith(ROOT.encode()):
            raise api_fault(400, "badRequest", "Failed to parse batch request: a part is no call of this API.")
        self.name = _headers(outer).get("content-id", "").strip("<>")
        self.method, self.target = line[1].decode(), line[2].decode()
        self.headers = {"authorization": authorization, **_headers(rest)}


def _headers(lines: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines.decode("latin-1").split("\n") if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _written(boundary: bytes, name: str, answer: Answer) -> bytes:
    head = f"Content-Type: application/http\r\nContent-ID: <response-{name}>\r\n\r\nHTTP/1.1 {answer.status} -\r\n"
    own = "".join(f"{key}: {value}\r\n" for key, value in answer.headers)
    length = f"Content-Type: {answer.media}\r\nContent-Length: {len(answer.body)}\r\n\r\n"
    return b"--" + boundary + b"\r\n" + (head + own + length).encode() + answer.body + b"\r\n"
