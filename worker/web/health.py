"""`/healthz`, `/readyz` and `/metrics`: for the machines that watch this process; no key, and nothing of any tenant."""

from datetime import datetime
from typing import Any

import orjson
import redis
from fastapi import APIRouter, Request
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import PlainTextResponse, Response

from models.job import DONE, Job
from models.revision import current, head
from models.tally import late
from models.tenancy import SYSTEM, system_session
from worker.jobs import CANARY
from worker.services import Services
from worker.web.callers import Parts

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
def healthz() -> Response:
    """The process is up and answers; nothing else is asked."""
    return PlainTextResponse("ok")


@router.get("/readyz")
def readyz(services: Parts) -> Response:
    """200 when a webhook would be stored: the database answers and has our schema. Redis may be away; jobs then wait.

    The ages (seconds) are of the newest beat tick and of the last canary job that ran; None when there is none. Late
    deletions are shown, and leave the process ready: webhooks must still be taken in, and no restart would erase anything.
    """
    found: dict[str, Any] = {"redis": _redis(services)}
    try:
        have = current(services.database)
        found["database"] = "ok" if have == head() else "schema is not at head: run `troth migrate`"
        if have is not None:
            found |= _ages(services)
        if found["database"] == "ok":
            found |= _late(services)
    except (SQLAlchemyError, TimeoutError):
        found["database"] = "away"
    ready = found["database"] == "ok"
    body = {"status": "ready" if ready else "not ready", **found}
    headers = {} if ready else {"retry-after": "5"}
    return Response(orjson.dumps(body), 200 if ready else 503, headers, media_type="application/json")


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Prometheus text."""
    text: bytes = request.app.state.metrics.text()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _redis(services: Services) -> str:
    try:
        services.redis.ping()
    except redis.RedisError:
        return "away"
    return "ok"


def _ages(services: Services) -> dict[str, float | None]:
    now = services.clock()
    ticks = select(Job.created_at).where(Job.tenant_id == SYSTEM, Job.kind == CANARY)
    songs = select(Job.finished_at).where(Job.tenant_id == SYSTEM, Job.kind == CANARY, Job.state == DONE)
    with system_session(services.database, reads_only=True) as session:
        tick = session.scalar(ticks.order_by(Job.created_at.desc()).limit(1))
        song = session.scalar(songs.order_by(Job.finished_at.desc()).limit(1))
    return {"beat_age_seconds": _age(now, tick), "canary_age_seconds": _age(now, song)}


def _late(services: Services) -> dict[str, int]:
    with system_session(services.database, reads_only=True) as session:
        found = late(session, services.clock())
    return {"deletions_overdue": found.overdue, "deletions_stalled": found.stalled}


def _age(now: datetime, then: datetime | None) -> float | None:
    return None if then is None else round((now - then).total_seconds(), 1)
