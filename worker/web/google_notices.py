"""`/webhooks/google/calendar`: Google tells that a calendar changed, never what. The calendar is stamped, and a job reads it.

Every notice is acknowledged, also one that is forged or late: Google counts others as failed, and a forger learns nothing. It
makes no outside call and reads no body. Source: https://developers.google.com/workspace/calendar/api/guides/push
"""

import hmac
from datetime import timedelta

import structlog
from sqlalchemy.exc import DBAPIError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from models.base import is_id
from models.calendar import Channel, to_be_read, token_digest
from models.connection import still
from models.tenancy import system_session
from worker.jobs import calendars_converge
from worker.metrics import WEBHOOK_DELIVERIES
from worker.services import Services
from worker.web.problems import problem
from worker.work import Work

log = structlog.get_logger(__name__)

PATH = "/webhooks/google/calendar"
GATHER = timedelta(seconds=2)
"""Changes come in flocks, our own among them: a pass waits so long for the rest of them."""


def routes(services: Services) -> list[Route]:
    """POST for Google's notices."""

    async def notice(request: Request) -> Response:
        try:
            outcome = await run_in_threadpool(take, services, request.headers)
        except (DBAPIError, TimeoutError) as error:
            log.warning("notice_not_stored", error=type(error).__name__)
            WEBHOOK_DELIVERIES.labels("google", "failed").inc()
            return problem(503, "database-away", "The database is away", "Nothing was stored; deliver it again.")
        WEBHOOK_DELIVERIES.labels("google", outcome).inc()
        return Response(status_code=204)

    return [Route(PATH, notice, methods=["POST"], include_in_schema=False)]


def take(services: Services, headers: Headers) -> str:
    """What became of a notice."""
    channel_id, token = headers.get("x-goog-channel-id"), headers.get("x-goog-channel-token", "")
    if not is_id(channel_id):
        return "forged"
    with system_session(services.database, reads_only=True) as session:
        channel = session.get(Channel, channel_id)
    if channel is None:
        return "stale"
    if not hmac.compare_digest(channel.digest, token_digest(token)):
        return "forged"
    now = services.clock()
    if channel.expires_at is not None and channel.expires_at <= now:
        return "stale"
    if headers.get("x-goog-resource-state") == "sync":
        return "sync"
    with Work(services, channel.tenant_id) as work:
        if not still(work.session, channel.connection_id):
            return "stale"
        to_be_read(work.session, channel.connection_id, now)
        work.put(calendars_converge(channel.tenant_id, channel.connection_id, now + GATHER))
    return "stored"
