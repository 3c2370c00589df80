"""Pauses that providers ask for, kept in Redis so that every process keeps them; it knows no provider.

A pause that Redis has lost, or cannot tell of, is kept by the process that was asked for it, and by those that knew of it.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from redis import Redis, RedisError

log = structlog.get_logger(__name__)

LOOK_EVERY = timedelta(seconds=1)


class Pauses:
    """By names of ours. Safe to share between threads: what two of them write at once are instants of the same kind."""

    def __init__(self, redis: Redis, clock: Callable[[], datetime], *, prefix: str) -> None:
        self._redis, self._clock, self._prefix = redis, clock, prefix
        self._until: dict[str, datetime] = {}
        self._looked: dict[str, datetime] = {}

    def pause(self, name: str, until: datetime) -> None:
        """Nothing by this name until then; a longer pause stays."""
        now = self._clock()
        self._look(name, now)
        if until > max(now, self._until.get(name, now)):
            self._until[name] = until
            try:
                self._redis.set(self._prefix + name, until.isoformat(), px=until - now)
            except RedisError as error:
                log.warning("pause_not_shared", name=name, error=type(error).__name__)

    def until(self, name: str) -> datetime | None:
        """The end of a pause that is under way; None: there is none. Others' pauses are seen within a second."""
        now = self._clock()
        if now - self._looked.get(name, now - LOOK_EVERY) >= LOOK_EVERY:
            self._look(name, now)
        found = self._until.get(name)
        return found if found is not None and found > now else None

    def _look(self, name: str, now: datetime) -> None:
        self._looked[name] = now
        try:
            told = self._redis.get(self._prefix + name)
        except RedisError:
            return
        if isinstance(told, bytes):
            until = datetime.fromisoformat(told.decode()).astimezone(UTC)
            self._until[name] = max(until, self._until.get(name, until))
