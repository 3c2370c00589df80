"""How many calls a provider lets us make: token buckets in Redis, shared by all workers; it knows no provider.

A bucket that Redis has lost is full again: the provider's own limit still stands behind it. Errors are redis-py's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files

from redis import Redis

_SCRIPT = files("worker").joinpath("lua", "quota.lua").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Bucket:
    """`per_minute` calls in the long run, and up to `burst` at once. `name` holds ids and hashes alone."""

    name: str
    per_minute: float
    burst: int

    @property
    def fills_in(self) -> timedelta:
        """How long an empty one takes."""
        return timedelta(minutes=self.burst / self.per_minute)


def within(name: str, per_minute: int) -> Bucket:
    """Four fifths of what is allowed in the long run, and the fifth at once: no minute sees more than is allowed."""
    return Bucket(name, per_minute * 0.8, max(1, per_minute // 5))


class Quota:
    """Buckets by name. `clock` gives seconds."""

    def __init__(self, redis: Redis, *, clock: Callable[[], float], prefix: str = "troth:quota:") -> None:
        self._redis = redis
        self._take = redis.register_script(_SCRIPT)
        self._clock = clock
        self._prefix = prefix

    def take(self, buckets: Sequence[Bucket], wanted: int, *, least: int = 1) -> tuple[int, timedelta]:
        """(how many of the `wanted` calls may be made now, how long until the next ask is worth it).

        None are given as long as fewer than `least` could be: small requests cost as much as large ones.
        """
        if not buckets or wanted < 1:
            return wanted, timedelta(0)
        values: list[float] = [self._clock(), wanted, min(least, wanted)]
        for bucket in buckets:
            values += [bucket.per_minute / 60, bucket.burst]
        granted, wait = self._take(keys=[self._prefix + bucket.name for bucket in buckets], args=values)
        return int(granted), timedelta(milliseconds=int(wait))

    def give_back(self, bucket: Bucket, number: int) -> None:
        """So many calls were taken and not made."""
        args = [self._clock(), -number, -number, bucket.per_minute / 60, bucket.burst]
        self._take(keys=[self._prefix + bucket.name], args=args)

    def shut(self, bucket: Bucket, wait: timedelta) -> None:
        """The provider wants no call at all for so long."""
        key, until = self._prefix + bucket.name, self._clock() + wait.total_seconds()
        self._redis.hset(key, "shut", str(until))
        self._redis.expire(key, wait + timedelta(minutes=1))
