"""The push services of the benchmark and of the kill test: FCM's and Web Push's answers from a bare protocol, which costs next
to nothing, and a count of what was taken from whom. `python -m tests.benchmarks.push_provider PORT LATENCY_MS RECYCLE`.

GET /counts: {"taken": targets that were sent to, "posts": posts taken, "twice": targets with more than one, "asked"}.
"""

import asyncio
import sys
from collections import Counter
from functools import partial

import httptools
import orjson
import uvloop

_TAKEN = (
    b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 29\r\n\r\n{"name":"projects/p/messages"}'
)
_TAKEN = _TAKEN.replace(b"length: 29", b"length: 30")
_CREATED = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"
_BODY = (
    b'{"error":{"code":404,"status":"NOT_FOUND","message":"Requested entity was not found.","details":[{"@type":'
    b'"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"UNREGISTERED"}]}}'
)
_DEAD = b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(_BODY),
    _BODY,
)
_GONE = b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"


class Provider(asyncio.Protocol):
    """One connection. After `recycle` answers (0: never) it is closed, as a provider's front ends do."""

    def __init__(self, taken: Counter[bytes], asked: Counter[str], latency: float, recycle: int) -> None:
        self.taken, self.asked, self.latency, self.recycle = taken, asked, latency, recycle
        self.answered = 0
        self.url = self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        url, body, self.url, self.body = self.url, self.body, b"", b""
        answer = self._counts() if url == b"/counts" else self._answer(url, body)
        if self.latency and url != b"/counts":
            asyncio.get_running_loop().call_later(self.latency, self._write, answer)
        else:
            self._write(answer)

    def _answer(self, url: bytes, body: bytes) -> bytes:
        if url.startswith(b"/token"):
            told = b'{"access_token":"bench","expires_in":3600,"token_type":"Bearer"}'
            return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
                len(told),
                told,
            )
        self.asked["posts"] += 1
        is_fcm = url.startswith(b"/v1/")
        target = _target(body) if is_fcm else url
        if b"dead-" in target:
            return _DEAD if is_fcm else _GONE
        self.taken[target] += 1
        return _TAKEN if is_fcm else _CREATED

    def _counts(self) -> bytes:
        twice = sum(number > 1 for number in self.taken.values())
        told = orjson.dumps({"taken": len(self.taken), "posts": sum(self.taken.values()), "twice": twice,
                             "asked": self.asked["posts"]})  # fmt: skip
        return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(told), told)

    def _write(self, answer: bytes) -> None:
        self.answered += 1
        if self.recycle and self.answered % self.recycle == 0:
            answer = answer.replace(b"\r\n", b"\r\nconnection: close\r\n", 1)
            self.transport.write(answer)  # type: ignore[attr-defined]
            self.transport.close()
            return
        self.transport.write(answer)  # type: ignore[attr-defined]


def _target(body: bytes) -> bytes:
    """The text behind "fid" or "token"."""
    for name in (b'"fid":', b'"token":', b'"fid": ', b'"token": '):
        place = body.find(name)
        if place >= 0:
            first = body.index(b'"', place + len(name)) + 1
            return body[first : body.index(b'"', first)]
    return b""


async def main(port: int, latency: float, recycle: int) -> None:
    """Answer until told to end."""
    made = partial(Provider, Counter[bytes](), Counter[str](), latency, recycle)
    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]) / 1000, int(sys.argv[3])))
