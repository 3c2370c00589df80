"""The outermost layer of every request: safe headers, no error without an answer, and one count; it reads no body."""

import time
from collections.abc import Callable
from typing import Final

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.web.metrics import WebMetrics
from worker.web.problems import Problem, problem_of

log = structlog.get_logger(__name__)

HEADERS: Final = {
    # Forms may go nowhere else, and nobody may frame us.
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Shelter:
    """ASGI middleware. `answer` turns a problem into the response that fits the request (JSON or a page)."""

    def __init__(self, app: ASGIApp, metrics: WebMetrics, answer: Callable[[Request, Problem], Response]) -> None:
        self._app = app
        self._metrics = metrics
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, whatever happens below."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def send_safely(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_safely)
        except Exception as error:
            problem = problem_of(error)
            _say(scope, problem, error)
            if status:  # the answer had begun: only cutting the connection can say that it is not whole
                raise
            await self._answer(Request(scope), problem)(scope, receive, send_safely)
        finally:
            self._metrics.answered(scope["method"], _route(scope), status, time.perf_counter() - began)


def _say(scope: Scope, problem: Problem, error: Exception) -> None:
    """Only the route's template is written: the path of a mistaken request may hold anything."""
    if problem.kind == "unavailable":
        log.warning("database_away", route=_route(scope), error=type(error).__name__)
    else:
        log.error("request_failed", route=_route(scope), problem=problem.kind, exc_info=error)


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", "none")
