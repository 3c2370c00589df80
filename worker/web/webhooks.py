"""`/webhooks/meta`: the handshake, and signed deliveries, which are answered once they are rows. It makes no outside call."""

from collections.abc import Callable, Mapping
from functools import cache

import structlog
from prometheus_client import Counter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from integrations.errors import BadPayload, BadSignature
from integrations.facebook_leads.webhook import handshake, read, verify
from worker.metrics import WEBHOOK_CHANGES, WEBHOOK_DELIVERIES
from worker.services import Services
from worker.web.front_door import Away, FrontDoor, Full
from worker.web.problems import problem

log = structlog.get_logger(__name__)

PATH = "/webhooks/meta"
MOST_BYTES = 4 * 1024 * 1024
"""Above Meta's largest delivery (1000 changes are a quarter of a megabyte); a smaller cap would break signatures."""


class TooLarge(Exception):
    """The body passed the cap; the rest of it was not read."""


def routes(services: Services) -> list[Route]:
    """GET for Meta's handshake."""
    meta = services.settings.meta

    async def greet(request: Request) -> Response:
        if meta.missing:
            return _turned_off(meta.missing)
        try:
            return PlainTextResponse(handshake(request.query_params, meta.verify_token))
        except BadSignature as error:
            return problem(403, "bad-verify-token", "The handshake was refused", str(error))

    return [Route(PATH, greet, methods=["GET"], include_in_schema=False)]


class Deliveries:
    """ASGI in front of the application: POSTs to the webhook are answered here, everything else is passed on.

    A delivery needs no routing, no dependencies and none of the pages' middleware, which together cost it more CPU than
    its signature, its parsing and its share of the commit.
    """

    def __init__(self, app: ASGIApp, services: Services, door: FrontDoor) -> None:
        self._app = app
        self._meta = services.settings.meta
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        answer = await self._deliver(scope, receive)
        if answer is None:
            await send(_OK_START)
            await send(_OK_BODY)
        else:
            await answer(scope, receive, send)

    async def _deliver(self, scope: Scope, receive: Receive) -> Response | None:
        if self._meta.missing:
            return _turned_off(self._meta.missing)
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            raw = await _body(headers.get(b"content-length", b""), receive)
            signature = headers.get(b"x-hub-signature-256")
            verify(raw, None if signature is None else signature.decode("latin-1"), self._meta.app_secret)
            delivery = read(raw)
            outcome = await self._door.take_in(delivery.changes) if delivery.changes else {}
        except Exception as error:
            return _refused(error)
        _count("stored", {**delivery.skipped, **outcome})
        return None


_OK_START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"2"),
        (b"cache-control", b"no-store"),
    ],
}
_OK_BODY: Message = {"type": "http.response.body", "body": b"ok"}


async def _body(length: bytes, receive: Receive) -> bytes:
    if length.isdigit() and int(length) > MOST_BYTES:
        raise TooLarge
    raw, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        raw = raw + message.get("body", b"") if raw else message.get("body", b"")
        if len(raw) > MOST_BYTES:
            raise TooLarge
        more = message.get("more_body", False)
    return raw


_ANSWERS: dict[type[Exception], tuple[int, str, str, Callable[[Exception], str]]] = {
    TooLarge: (413, "too-large", "The body is too large", lambda _: "Deliveries may have at most 4 MiB."),
    BadSignature: (401, "bad-signature", "The signature does not match", str),
    BadPayload: (400, "bad-payload", "The body cannot be read", str),
    Away: (503, "database-away", "The database is away", lambda _: "Nothing was stored; deliver it again."),
    Full: (503, "too-busy", "Too much is waiting", lambda _: "Nothing was stored; deliver it again."),
    ClientDisconnect: (400, "cut-short", "The body was cut short", lambda _: "Nothing was stored."),
}


def _refused(error: Exception) -> Response:
    known = _ANSWERS.get(type(error))
    if known is None:
        # Anything else is ours: Meta repeats what was not acknowledged, so nothing is lost by saying so.
        log.error("webhook_failed", exc_info=error)
        _count("failed", {})
        return problem(503, "not-stored", "The delivery was not stored", "Deliver it again.")
    status, name, title, detail = known
    _count(name, {})
    return problem(status, name, title, detail(error))


def _count(outcome: str, changes: Mapping[str, int]) -> None:
    _counter(WEBHOOK_DELIVERIES, outcome).inc()
    for name, number in changes.items():
        _counter(WEBHOOK_CHANGES, name).inc(number)


@cache
def _counter(counter: Counter, outcome: str) -> Counter:
    """The child of a counter; looking it up by its labels costs more than counting."""
    return counter.labels("meta", outcome)


def _turned_off(missing: list[str]) -> Response:
    return problem(503, "turned-off", "Facebook leads are turned off here", "Set " + ", ".join(missing) + ".")
