"""One typed function per kind of job: the only place where the names of jobs are written."""

from datetime import datetime, timedelta
from typing import Final

from models.job import NewJob
from models.tenancy import SYSTEM

INTERACTIVE: Final = "interactive"
"""Work a person waits for: leads, refreshes."""
BULK: Final = "bulk"
"""Work nobody waits for: backfills, pushes, erasures."""
LANES: Final = (INTERACTIVE, BULK)

LEASE: Final = timedelta(seconds=20)
"""How long a claim holds without a sign of life; a worker at work renews all of its leases every few seconds."""
MOST_ATTEMPTS: Final = 12
"""After so many attempts a job is dead: kept, and replayed only by a person."""

LEADS_FETCH: Final = "leads.fetch"
CANARY: Final = "canary.sing"


def leads_fetch(tenant_id: str, connection_id: str) -> NewJob:
    """Read every pending lead of one page from Meta."""
    return NewJob(tenant_id, LEADS_FETCH, INTERACTIVE, key=f"{LEADS_FETCH}:{connection_id}", connection_id=connection_id)


def canary(slot: datetime) -> NewJob:
    """Prove that a job can run: health looks at when the last one did."""
    return NewJob(SYSTEM, CANARY, INTERACTIVE, key=f"{CANARY}:{slot:%Y%m%dT%H%M%S}")
