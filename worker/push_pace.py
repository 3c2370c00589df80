"""How many pushes a run may claim: within the quota of the Firebase project, and at the pace that its tenant asked for.

Both are buckets in Redis, so that bulletins, tenants and workers see each other. While Redis is away nothing is held back: the
limits of the push services, and the pauses that they ask for, still stand.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

import structlog
from redis import RedisError
from sqlalchemy.orm import Session

from models import push_chunk as pushes
from models.database import Database
from models.device import WEBPUSH
from models.push_chunk import Chunk, Claimed
from models.tenancy import tenant_session
from models.tenant import pushes_per_minute
from worker.quota import Bucket, Quota, within

log = structlog.get_logger(__name__)

LOOK_EVERY: Final = timedelta(seconds=5)
"""How long a process goes by the pace that it has read of a tenant."""
LEAST: Final = 100
"""Fewer are not worth a run, unless a bucket never holds more."""


def alone(bulletin: int | None, tenant: int | None) -> float | None:
    """Messages a minute of a bulletin that has its tenant's pace for itself; None: all at once."""
    paces = [float(bulletin)] if bulletin else []
    return min([*paces, within("", tenant).per_minute] if tenant else paces, default=None)


class Allowance:
    """What one run may still claim. Whatever is not claimed goes on waiting: it is no attempt."""

    def __init__(self, granted: int, more_at: datetime | None) -> None:
        self.left, self.fcm = granted, 0
        self._more_at = more_at

    @property
    def until(self) -> datetime | None:
        """Until when the run has to wait for more; None: it does not."""
        return None if self.left else self._more_at

    def claim(self, session: Session, chunk: Chunk, now: datetime, *, limit: int) -> list[Claimed]:
        """`models.push_chunk.claim`, of no more than is left."""
        found = pushes.claim(session, chunk, now, limit=min(limit, self.left)) if self.left else []
        self.left -= len(found)
        self.fcm += sum([one.kind != WEBPUSH for one in found])
        return found


class Paces:
    """Of one process. Safe to share between threads: what two of them read at once is the same."""

    def __init__(self, quota: Quota, clock: Callable[[], datetime], project: Bucket | None) -> None:
        self._quota, self._clock, self._project = quota, clock, project
        self._read: dict[str, tuple[datetime, int | None]] = {}

    @contextmanager
    def allow(self, database: Database, tenant_id: str, wanted: int) -> Iterator[Allowance]:
        """Up to `wanted` pushes for a run of this tenant, asked for once. By which way each goes is known when it is claimed:
        what was not used is given back at the end; after an error, time alone fills the buckets."""
        pace = self._pace(database, tenant_id)
        tenant = within(f"pushes:{tenant_id}", pace) if pace is not None else None
        buckets = [bucket for bucket in (self._project, tenant) if bucket is not None]
        try:
            granted, wait = self._quota.take(buckets, wanted, least=LEAST)
        except RedisError as error:
            log.warning("pushes_not_paced", error=type(error).__name__)
            buckets, granted, wait = [], wanted, timedelta(0)
        allowance = Allowance(granted, self._more_at(buckets, wait) if granted < wanted else None)
        yield allowance
        for bucket in buckets:
            unused = granted - allowance.fcm if bucket is self._project else allowance.left
            if unused:
                self._give_back(bucket, unused)

    def _more_at(self, buckets: Sequence[Bucket], wait: timedelta) -> datetime:
        """Before the buckets run over, and not when all others come too."""
        fills_in = max(bucket.fills_in for bucket in buckets)
        return self._clock() + max(wait, fills_in * random.uniform(0.5, 1))  # noqa: S311 - spreads load, guards nothing

    def _give_back(self, bucket: Bucket, number: int) -> None:
        try:
            self._quota.give_back(bucket, number)
        except RedisError as error:
            log.warning("pushes_not_given_back", error=type(error).__name__)

    def _pace(self, database: Database, tenant_id: str) -> int | None:
        now = self._clock()
        found = self._read.get(tenant_id)
        if found is None or now - found[0] >= LOOK_EVERY:
            with tenant_session(database, tenant_id, reads_only=True) as session:
                found = self._read[tenant_id] = now, pushes_per_minute(session, tenant_id)
        return found[1]
