"""The fair gate of one lane: a waiting list per tenant in Redis, and a short Celery queue that is filled round robin.

It knows ids and tenants; it refuses to know what a job does, and it keeps nothing that the ledger does not have: all
of it may be wiped at any moment, and then `missing` tells the reconciler what to publish again. The rules themselves
are in lua/gate.lua, one atomic script call an operation. Errors are redis-py's (`redis.RedisError`).
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain, islice
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError

from models.job import Message
from worker.envelope import envelope

_SCRIPT = files("worker").joinpath("lua", "gate.lua").read_text("utf-8")
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()  # what EVALSHA calls it
_BATCH = 500
"""Jobs in one call: a script blocks Redis while it runs, and 500 jobs take it a few milliseconds."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is where, in jobs (and `tenants_waiting` in tenants)."""

    waiting: int
    tenants_waiting: int
    in_flight: int
    queued: int
    window: int


class Gate:
    """One lane's gate. Instants are seconds (float) of `clock`; every process of a deployment uses the same settings.

    `queue_key` is the exact Redis list that kombu pops from: the queue's name when `priority_steps` is `[0]` and there is
    no `global_keyprefix`. `window` is how long that list may become while no worker has announced itself. `tenant_cap`
    bounds a tenant's jobs in flight (0: no bound). An entry in flight that was sent `flight_ttl` seconds ago, or
    whose lease ended so long ago, no longer counts.
    """

    def __init__(
        self,
        redis: Redis,
        lane: str,
        *,
        prefix: str = "troth:",
        window: int = 16,
        tenant_cap: int = 0,
        flight_ttl: float = 60.0,
        queue_key: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if window < 1 or tenant_cap < 0 or flight_ttl <= 0:
            raise ValueError("window must be at least 1, tenant_cap not negative, flight_ttl positive")
        self.lane = lane
        self._redis = redis
        self._queue = queue_key or lane
        self._keys = f"{prefix}gate:{lane}:"
        self._cap, self._window = tenant_cap, window
        self._flight_ttl = flight_ttl
        self._clock = clock

    def publish(self, messages: Sequence[Message]) -> int:
        """Accept jobs; those that are already waiting here are skipped. Returns how many were accepted.

        With room in Celery's queue and nobody waiting a job goes straight in, else into its tenant's list.
        """
        unique = iter({message.job_id: message for message in messages}.values())
        accepted = 0
        while batch := list(islice(unique, _BATCH)):
            fields: list[str | bytes] = []
            for message in batch:
                if message.lane != self.lane:
                    raise ValueError(f"a job of the lane {message.lane} was given to the gate of {self.lane}")
                sealed = envelope(message.job_id, message.tenant_id, message.kind, self.lane, message.attempt)
                fields += (message.job_id, message.tenant_id, sealed)
            accepted += int(self._call("publish", *fields))
        return accepted

    def move(self) -> int:
        """Fill Celery's queue up to the window; returns how many jobs moved. Needed after pauses and lost workers only:
        `publish` and `finish` do the same on the way, so a call every second or so is enough."""
        return int(self._call("move"))

    def finish(self, job_id: str, tenant_id: str) -> int:
        """A message was dealt with, whatever came of it: its place in flight is free, and more may move (returns how
        many). Call it for refused messages too; one that is never finished counts until `flight_ttl` is over."""
        return self.finish_all([(job_id, tenant_id)])

    def finish_all(self, ended: Sequence[tuple[str, str]]) -> int:
        """`finish` for several (job id, tenant id) in one call."""
        return int(self._call("finish", *chain.from_iterable(ended)))

    def claimed(self, job_id: str, *, lease_until: float) -> None:
        """A worker has the job until then, so it is neither missing nor stale. Only long jobs need to say so."""
        self._redis.zadd(f"{self._keys}flight", {job_id: lease_until}, xx=True)

    def missing(self, job_ids: Sequence[str], *, moved_before: float) -> list[str]:
        """Which of these jobs, queued by the ledger, have no message: unknown here, or sent to Celery before that
        instant, gone from its list and not claimed (a worker died with it). About 1000 ids a call are fine."""
        if not job_ids:
            return []
        return [job_ids[position] for position in self._call("missing", moved_before, *job_ids)]

    def forget(self, job_ids: Sequence[str]) -> int:
        """Drop jobs that wait here; returns how many did. What Celery already has is refused by its claim."""
        return int(self._redis.hdel(f"{self._keys}body", *job_ids)) if job_ids else 0

    def forget_tenant(self, tenant_id: str) -> int:
        """Drop all that waits of a tenant, its weight and its pause; returns how many jobs were waiting."""
        return int(self._call("forget_tenant", tenant_id))

    def pause(self, tenant_id: str, until: float) -> None:
        """Serve nothing of this tenant before then (a provider's throttle); the last word counts, the past resumes."""
        self._call("pause", tenant_id, until)

    def set_weight(self, tenant_id: str, weight: int) -> None:
        """How many jobs of this tenant one turn moves; 1 is what everyone has."""
        if weight < 1:
            raise ValueError("a weight is at least 1")
        if weight == 1:
            self._redis.hdel(f"{self._keys}weight", tenant_id)
        else:
            self._redis.hset(f"{self._keys}weight", tenant_id, str(weight))

    def announce(self, worker_id: str, concurrency: int, *, ttl: float) -> int:
        """A worker of this lane is alive for `ttl` seconds more (concurrency 0: it leaves). Returns the new window:
        twice the concurrency of the live workers, or the constructor's when there is none."""
        return int(self._call("announce", worker_id, concurrency, self._clock() + ttl))

    def backlog(self) -> Backlog:
        """Counts for metrics and pages. Jobs that were forgotten one by one may keep their tenant counted for a while."""
        return Backlog(*map(int, self._call("backlog")))

    def _call(self, operation: str, *fields: str | bytes | float) -> Any:
        now = self._clock()
        stale = now - self._flight_ttl
        arguments = (self._queue, operation, self._keys, now, stale, self._cap, self._window, *fields)
        try:
            return self._redis.evalsha(_SHA, 1, *arguments)
        except NoScriptError:  # Redis was restarted or its scripts flushed; nothing has happened yet
            return self._redis.eval(_SCRIPT, 1, *arguments)
