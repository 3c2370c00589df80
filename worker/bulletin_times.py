"""When a device gets a bulletin: at once, at an instant, or by the clock on its own wall; not in its night, if so asked."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

QUIET_FROM, QUIET_UNTIL = time(21), time(8)
EARLIEST, LATEST = timedelta(hours=14), timedelta(hours=12)
"""The first and the last wall on earth to show an hour: UTC+14 and UTC-12."""


@dataclass(frozen=True, slots=True)
class Times:
    """Of one bulletin. `zone` is the tenant's, for devices that told none."""

    now: datetime
    zone: str
    send_at: datetime | None = None
    local_at: str | None = None
    respect_quiet_hours: bool = False
    _known: dict[tuple[str, datetime], datetime] = field(default_factory=dict)

    def due(self, zone: str | None, earliest: datetime | None = None) -> datetime:
        """The instant for a device of a time zone; one that has passed is now, or `earliest` where its turn comes later."""
        key = zone or self.zone, max(earliest or self.now, self.now)
        if key not in self._known:
            self._known[key] = self._due(_zone(key[0]), key[1])
        return self._known[key]

    def _due(self, zone: ZoneInfo, earliest: datetime) -> datetime:
        at = self.send_at or self.now
        if self.local_at is not None:
            at = datetime.fromisoformat(self.local_at).replace(tzinfo=zone)
        at = max(at.astimezone(UTC), earliest)
        if not self.respect_quiet_hours:
            return at
        there = at.astimezone(zone)
        if QUIET_UNTIL <= there.time() < QUIET_FROM:
            return at
        day = there.date() + timedelta(days=there.time() >= QUIET_FROM)
        return datetime.combine(day, QUIET_UNTIL, zone).astimezone(UTC)


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def starts_at(now: datetime, send_at: datetime | None, local_at: str | None) -> datetime:
    """When recipients are fixed: before the first of them is due."""
    if local_at is None:
        return max(now, send_at or now)
    return max(now, datetime.fromisoformat(local_at).replace(tzinfo=UTC) - EARLIEST)


def is_over_everywhere(local_at: str, now: datetime) -> bool:
    """Whether the last wall on earth has shown this hour."""
    return datetime.fromisoformat(local_at).replace(tzinfo=UTC) + LATEST < now


def pace(number: int, per_minute: float | None) -> timedelta:
    """How long after the start the device with this number may be sent to."""
    return timedelta(minutes=number / per_minute) if per_minute else timedelta()
