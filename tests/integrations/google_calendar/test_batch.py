"""Batches as bytes: what is written can be read by others, and answers are found by their names, not their places."""

from email import message_from_bytes
from typing import Any

import orjson
import pytest
from googleapiclient.http import BatchHttpRequest

from integrations.errors import Transient
from integrations.google_calendar.batch import LIMIT, Call, decode, encode

CALLS = [
    Call("POST", "/calendar/v3/calendars/c%40x/events?sendUpdates=none", {"summary": "Ünïcode ✓"}),
    Call("PUT", "/calendar/v3/calendars/c/events/e", {"a": 1}, '"etag"'),
    Call("DELETE", "/calendar/v3/calendars/c/events/e"),
]


def parts_of(content: bytes, kind: str) -> list[Any]:
    message = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + content)
    return list(message.get_payload())


def test_a_batch_is_multipart_that_others_read() -> None:
    parts = parts_of(*encode(CALLS))

    assert [part["Content-Type"] for part in parts] == ["application/http"] * 3
    lines = [part.get_payload(decode=True).split(b"\r\n") for part in parts]
    assert lines[0][0] == b"POST /calendar/v3/calendars/c%40x/events?sendUpdates=none HTTP/1.1"
    assert orjson.loads(lines[0][-2] or lines[0][-1]) == {"summary": "Ünïcode ✓"}
    assert b'If-Match: "etag"' in lines[1]
    assert lines[2][0].startswith(b"DELETE ")


def answer(*parts: tuple[str, int, bytes], end: str = "\r\n") -> bytes:
    text = b""
    for name, status, body in parts:
        head = [f"--b{end}Content-Type: application/http", f"Content-ID: <{name}>", "", f"HTTP/1.1 {status} Why",
                "Content-Type: application/json", "Retry-After: 3", "", ""]  # fmt: skip
        text += end.join(head).encode() + body + end.encode()
    return text + f"--b--{end}".encode()


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_answers_come_in_any_order_and_with_either_line_end(end: str) -> None:
    content = answer(
        ("response-2", 204, b""), ("response-0", 200, b'{"id": "x"}'), ("response-1", 412, b"oops"), end=end
    )

    found = decode(content, 'multipart/mixed; boundary="b"', 3)

    assert [one.status for one in found] == [200, 412, 204]
    assert [one.body for one in found] == [{"id": "x"}, None, None]
    assert found[1].headers["retry-after"] == "3"


def test_a_part_that_is_missing_has_no_status() -> None:
    found = decode(answer(("response-1", 200, b"{}"), ("response-9", 200, b"{}")), "multipart/mixed; boundary=b", 2)

    assert [one.status for one in found] == [0, 200]


def test_the_names_that_the_library_gives_its_parts_are_understood_too() -> None:
    name = BatchHttpRequest()._id_to_header("1").strip("<>")

    found = decode(answer((f"response-{name}", 200, b"{}")), "multipart/mixed; boundary=b", 2)

    assert [one.status for one in found] == [0, 200]


def test_something_else_is_said_to_be_so() -> None:
    with pytest.raises(Transient):
        decode(b"<html>", "text/html", 1)


def test_no_batch_is_empty_or_too_large() -> None:
    for number in (0, LIMIT + 1):
        with pytest.raises(ValueError, match="1 to 50"):
            encode([CALLS[2]] * number)
