"""`/v1/leads/latency`: how long leads take from Meta's instant to us, and from us to the host's word; numbers only."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel
from sqlalchemy import select

from models.lead import Lead
from models.tenancy import tenant_session
from worker.web.api.leads import Reader
from worker.web.callers import Parts

router = APIRouter(prefix="/v1/leads", tags=["leads"])
MOST: Final = 10_000


class Percentiles(BaseModel):
    """Seconds within which half, 95 % and 99 % of the leads were there; null without any."""

    p50: float | None
    p95: float | None
    p99: float | None


class Latency(BaseModel):
    """Of the newest leads, 10,000 at most, that came in these days by themselves: without backfills and test leads.

    `created` is Meta's instant, `received` when we heard of it, `acknowledged` when the host said that it has the lead.
    """

    days: int
    leads: int
    acknowledged: int
    created_to_received: Percentiles
    received_to_acknowledged: Percentiles
    created_to_acknowledged: Percentiles


@router.get("/latency")
def measured(access: Reader, services: Parts, days: Annotated[int, Query(ge=1, le=90)] = 7) -> Latency:
    """How fast leads were."""
    since = services.clock() - timedelta(days=days)
    # The newest by id, so that it costs the same for a tenant with millions; the rest is left out here.
    newest = select(
        Lead.created_at, Lead.received_at, Lead.acknowledged_at, Lead.is_test, Lead.source
    ).order_by(Lead.id.desc()).limit(MOST)  # fmt: skip
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        rows = [
            (created, received, acknowledged)
            for created, received, acknowledged, is_test, source in session.execute(newest)
            if received >= since and not is_test and source != "backfill"
        ]
    had = [(created, received, acknowledged) for created, received, acknowledged in rows if acknowledged is not None]
    return Latency(
        days=days,
        leads=len(rows),
        acknowledged=len(had),
        created_to_received=percentiles([_seconds(row[0], row[1]) for row in rows]),
        received_to_acknowledged=percentiles([_seconds(row[1], row[2]) for row in had]),
        created_to_acknowledged=percentiles([_seconds(row[0], row[2]) for row in had]),
    )


def _seconds(begin: datetime, end: datetime) -> float:
    return round((end - begin).total_seconds(), 3)


def percentiles(seconds: Sequence[float]) -> Percentiles:
    """By nearest rank: each is one that was measured."""
    ordered = sorted(seconds)

    def rank(share: float) -> float | None:
        return ordered[ceil(share * len(ordered)) - 1] if ordered else None

    return Percentiles(p50=rank(0.5), p95=rank(0.95), p99=rank(0.99))
