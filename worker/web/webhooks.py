"""`/webhooks/meta`: the handshake, and signed deliveries, which are answered once they are rows. It makes no outside call."""

from collections.abc import Callable

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from integrations.errors import BadPayload, BadSignature
from integrations.facebook_leads.webhook import handshake, read, verify
from worker.metrics import WEBHOOK_CHANGES, WEBHOOK_DELIVERIES
from worker.services import Services
from worker.web.front_door import Away, FrontDoor, Full
from worker.web.problems import problem

log = structlog.get_logger(__name__)

MOST_BYTES = 4 * 1024 * 1024
"""Above Meta's largest delivery (1000 changes are a quarter of a megabyte); a smaller cap would break signatures."""


class TooLarge(Exception):
    """The body passed the cap; the rest of it was not read."""


def routes(services: Services, door: FrontDoor) -> list[Route]:
    """GET for Meta's handshake, POST for its deliveries."""
    meta = services.settings.meta

    async def greet(request: Request) -> Response:
        if meta.missing:
            return _turned_off(meta.missing)
        try:
            return PlainTextResponse(handshake(request.query_params, meta.verify_token))
        except BadSignature as error:
            return problem(403, "bad-verify-token", "The handshake was refused", str(error))

    async def deliver(request: Request) -> Response:
        if meta.missing:
            return _turned_off(meta.missing)
        try:
            raw = await _body(request)
            verify(raw, request.headers.get("x-hub-signature-256"), meta.app_secret)
            delivery = read(raw)
            outcome = await door.take_in(delivery.changes) if delivery.changes else {}
        except Exception as error:
            return _refused(error)
        _count("stored", {**delivery.skipped, **outcome})
        return PlainTextResponse("ok")

    return [
        Route("/webhooks/meta", greet, methods=["GET"], include_in_schema=False),
        Route("/webhooks/meta", deliver, methods=["POST"], include_in_schema=False),
    ]


async def _body(request: Request) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > MOST_BYTES:
        raise TooLarge
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MOST_BYTES:
            raise TooLarge
        chunks.append(chunk)
    return b"".join(chunks)


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


def _count(outcome: str, changes: dict[str, int]) -> None:
    WEBHOOK_DELIVERIES.labels("meta", outcome).inc()
    for name, number in changes.items():
        WEBHOOK_CHANGES.labels("meta", name).inc(number)


def _turned_off(missing: list[str]) -> Response:
    return problem(503, "turned-off", "Facebook leads are turned off here", "Set " + ", ".join(missing) + ".")
