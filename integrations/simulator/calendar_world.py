"""Calendars, events and channels that Google holds, with a version for each change; knows no HTTP, and what may be written
is decided elsewhere.
"""

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import Any

from integrations.simulator.google_answers import GoogleFault, api_fault

Owner = tuple[str, str]
"""(project, sub of the account): what an app with calendar.app.created has made."""


@dataclass(slots=True)
class Event:
    """One event as Google tells it; `seq` is the place of its last change among all of its calendar's."""

    resource: dict[str, Any]
    seq: int

    @property
    def is_cancelled(self) -> bool:
        """Whether it was deleted."""
        return bool(self.resource["status"] == "cancelled")


@dataclass(slots=True)
class Calendar:
    """One secondary calendar. `events` are in the order of their last changes."""

    id: str
    owner: Owner
    resource: dict[str, Any]
    events: dict[str, Event] = field(default_factory=dict)
    seq: int = 0
    expired_before: int = 0
    """Sync tokens of before this place are worth nothing any more."""


@dataclass(slots=True)
class Channel:
    """Where notices of a calendar's changes go."""

    id: str
    calendar: str
    owner: Owner
    address: str
    token: str
    resource_id: str
    expires_at: datetime
    number: int = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """One message of a channel."""

    channel: Channel
    state: str
    number: int

    def headers(self) -> dict[str, str]:
        """As Google sends them."""
        found = {
            "X-Goog-Channel-ID": self.channel.id,
            "X-Goog-Message-Number": str(self.number),
            "X-Goog-Resource-ID": self.channel.resource_id,
            "X-Goog-Resource-State": self.state,
            "X-Goog-Resource-URI": f"https://www.googleapis.com/calendar/v3/calendars/{self.channel.calendar}/events?alt=json",
            "X-Goog-Channel-Expiration": self.channel.expires_at.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        }
        return found | ({"X-Goog-Channel-Token": self.channel.token} if self.channel.token else {})


class Quota:
    """Calls in a moving minute, a user's and the project's; 0: no limit."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.user = self.project = 0
        self.refused = 0
        self._clock = clock
        self._made: dict[str, deque[datetime]] = {}

    def charge(self, owner: Owner, units: int = 1) -> None:
        """One more call, of so many units; raises the 403 of the limit that it would pass."""
        for limit, name, reason in (
            (self.user, f"{owner[0]}/{owner[1]}", "userRateLimitExceeded"), (self.project, owner[0], "rateLimitExceeded")
        ):  # fmt: skip
            if not limit:
                continue
            made, now = self._made.setdefault(name, deque()), self._clock()
            while made and made[0] <= now - timedelta(minutes=1):
                made.popleft()
            if len(made) + units > limit:
                self.refused += 1
                raise api_fault(403, reason, "Rate Limit Exceeded")
            made.extend([now] * units)


class Calendars:
    """All of them. `notify` is given each notice; without one, notices go nowhere. `restores`: whether the update of a deleted
    event brings it back or is refused. `most_parts`: calls that a batch may have."""

    def __init__(self, clock: Callable[[], datetime], *, seed: int = 1) -> None:
        self.clock, self.seed = clock, seed
        self.calendars: dict[str, Calendar] = {}
        self.channels: dict[str, Channel] = {}
        self.quota = Quota(clock)
        self.notify: Callable[[Notice], None] | None = None
        self.restores = True
        self.empty_pages = False
        self.most_parts = 50
        self.calls = 0
        self.turn = RLock()
        self._made = 0

    def calendar(self, owner: Owner, calendar_id: str, *, is_wider: bool = False) -> Calendar:
        """One that this app has made for this account, or with a wider scope any of the account's; a 404 for every other."""
        found = self.calendars.get(calendar_id)
        if found is None or found.owner[1] != owner[1] or (found.owner != owner and not is_wider):
            raise api_fault(404, "notFound", "Not Found")
        return found

    def add_calendar(self, owner: Owner, summary: str, time_zone: str, **more: Any) -> Calendar:
        """A new one."""
        calendar_id = f"{self.digest('calendar')}@group.calendar.google.com"
        resource = {
            "kind": "calendar#calendar", "etag": self.etag(), "id": calendar_id, "summary": summary, "timeZone": time_zone,
            "conferenceProperties": {"allowedConferenceSolutionTypes": ["hangoutsMeet"]}, "dataOwner": owner[1], **more,
        }  # fmt: skip
        found = self.calendars[calendar_id] = Calendar(calendar_id, owner, resource)
        return found

    def remove_calendar(self, calendar: Calendar) -> None:
        """Gone, with everything in it and its channels."""
        del self.calendars[calendar.id]
        for channel in [it for it in self.channels.values() if it.calendar == calendar.id]:
            del self.channels[channel.id]

    def store(self, calendar: Calendar, resource: dict[str, Any]) -> dict[str, Any]:
        """Write an event as it is now: a new version, told to who watches."""
        calendar.seq += 1
        resource["etag"] = self.etag()
        resource["updated"] = instant(self.clock())
        # The last changed last.
        calendar.events.pop(resource["id"], None)
        calendar.events[resource["id"]] = Event(resource, calendar.seq)
        self._tell(calendar)
        return resource

    def cancel(self, calendar: Calendar, event: Event) -> None:
        """Delete an event, and with a master its exceptions. Its id stays taken."""
        resource = event.resource
        for other in [it for it in calendar.events.values() if it.resource.get("recurringEventId") == resource["id"]]:
            del calendar.events[other.resource["id"]]
        kept = ("kind", "id", "created", "recurringEventId", "originalStartTime", "iCalUID", "creator", "organizer", "start",
                "end", "eventType", "sequence", "summary", "htmlLink")  # fmt: skip
        self.store(calendar, {**{name: resource[name] for name in kept if name in resource}, "status": "cancelled"})

    def expire_sync_tokens(self, calendar: Calendar) -> None:
        """Every place that was given out is forgotten: 410."""
        calendar.expired_before = calendar.seq + 1
        calendar.seq += 1

    def _tell(self, calendar: Calendar) -> None:
        if self.notify is None:
            return
        now = self.clock()
        for channel in self.channels.values():
            if channel.calendar == calendar.id and channel.expires_at > now:
                self.say(channel, "exists")

    def say(self, channel: Channel, state: str) -> None:
        """One notice; the numbers grow, with gaps."""
        channel.number += 1 if state == "sync" else 1 + self._made % 3
        if self.notify is not None:
            self.notify(Notice(channel, state, channel.number))

    def etag(self) -> str:
        """A version that no other thing has."""
        self._made += 1
        return f'"{3_500_000_000_000_000 + self._made * 2_000}"'

    def digest(self, what: str) -> str:
        """Something like a random id."""
        self._made += 1
        return hashlib.blake2b(f"{what}:{self.seed}:{self._made}".encode(), digest_size=16).hexdigest()


def instant(at: datetime) -> str:
    """As Google writes them."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def gone(reason: str, message: str) -> GoogleFault:
    """A 410."""
    return api_fault(410, reason, message)
