"""No body larger than our forms and calls need; webhooks, whose bodies are a provider's, are left to their own cap."""

from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.web.problems import Problem

MOST_BYTES: Final = 256 * 1024
ROOMY: Final = "/v1/calendar-events/"
ROOMY_BYTES: Final = 2 * 1024 * 1024
"""Who sends a calendar event with a megabyte of description is told which field it is."""


def _too_large(most: int) -> Problem:
    return Problem("too-large", f"Send at most {most // 1024} KiB.")


class BodyCap:
    """ASGI middleware. A body that says its size is refused unread, another one as soon as it has grown too large."""

    def __init__(self, app: ASGIApp, answer: Callable[[Request, Problem], Response]) -> None:
        self._app = app
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is small enough."""
        if scope["type"] != "http" or scope["path"].startswith("/webhooks/"):
            await self._app(scope, receive, send)
            return
        most = ROOMY_BYTES if scope["path"].startswith(ROOMY) else MOST_BYTES
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdigit() and int(length[:20]) > most:
            await self._answer(Request(scope), _too_large(most))(scope, receive, send)
            return
        size = 0

        async def receive_some() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > most:
                raise _too_large(most)
            return message

        await self._app(scope, receive_some, send)
