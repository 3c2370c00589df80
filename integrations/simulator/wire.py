"""ASGI's bytes: a body read whole, an answer sent, an answer kept back or cut off; knows no provider."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from integrations.simulator.buttons import Button
from integrations.simulator.meta_answers import BAD_GATEWAY, Answer

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

LONGEST_HANG = 60.0
_LARGEST = 8 * 1024 * 1024


async def read_body(scope: Scope, receive: Receive) -> bytes | None:
    """The whole body; None when it is too large."""
    if scope["method"] == "GET":
        return b""
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > _LARGEST:
            return None
        chunks.append(chunk)
        more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def reply(send: Send, answer: Answer, more: Iterable[Header] = ()) -> None:
    """Send an answer, with `more` headers than its own."""
    headers = [(b"content-type", answer.media.encode()), (b"content-length", b"%d" % len(answer.body)), *more]
    if answer.headers:
        headers += [(name.lower().encode(), value.encode()) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


class Meddler:
    """Does what the buttons that act on the HTTP exchange say. `cut` is given by the server: it drops a connection."""

    def __init__(self, longest_hang: float) -> None:
        self.longest_hang = longest_hang
        self.cut: Callable[[Any], None] | None = None
        self._stopping: asyncio.Event | None = None

    def start(self) -> None:
        """Inside the loop."""
        self._stopping = asyncio.Event()

    def wake(self) -> None:
        """Inside the loop: end every hang now, so that the server can stop."""
        if self._stopping is not None:
            self._stopping.set()

    async def meddle(self, button: Button, scope: Scope, send: Send) -> bool:
        """Do what the button says; whether the call shall be answered after it."""
        if button.does in ("latency", "late_answer"):
            await asyncio.sleep(button.seconds)
            return True
        if button.does == "html_502":
            await reply(send, BAD_GATEWAY)
            return False
        if button.does == "hang":
            await self._hang(min(button.seconds or self.longest_hang, self.longest_hang))
            if button.seconds:
                return True
        await self._drop(scope, send)
        return False

    async def _hang(self, seconds: float) -> None:
        if self._stopping is None:
            await asyncio.sleep(seconds)
            return
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _drop(self, scope: Scope, send: Send) -> None:
        """Drop the connection; under a foreign server, break off in the middle of an answer, which closes it too."""
        if self.cut is not None:
            self.cut(scope["client"])
            await asyncio.sleep(0.01)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
