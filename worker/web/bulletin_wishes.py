"""A bulletin as somebody wishes it, checked and counted, for the API and the pages alike; it stores and sends nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from integrations.push.message import plain, shortened
from models.bulletin import Audience, Content, NewBulletin
from models.device import KINDS, WEBPUSH, known_tags
from models.push import OPTED_OUT, RESTRICTED, chosen_by, counted
from models.tenant import ACTIVE_TENANT, Tenant
from worker.bulletin_times import Times, is_over_everywhere, pace, starts_at
from worker.push_pace import alone
from worker.services import Services
from worker.web.problems import Problem

USUAL_LIFE: Final = timedelta(days=7)
LONGEST_AHEAD, LONGEST_LIFE = timedelta(days=366), timedelta(days=28)
SHOWN_BYTES: Final = 2_200
"""About what a lock screen's text may take beside title and links; the feed has the whole."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Whom a bulletin is for now: people, and devices by what they are reached by; those whose people want no pushes, or are
    restricted, are among them and not pushed to."""

    recipients: int
    fcm: int
    webpush: int
    opted_out: int
    restricted: int

    @property
    def devices(self) -> int:
        """All of them."""
        return self.fcm + self.webpush


def wrong(field: str, problem: str) -> Problem:
    """A 422 about one field."""
    return Problem("invalid", problem, errors=[{"field": f"body.{field}", "problem": problem}])


def timed(
    content: Content, audience: Audience, now: datetime, *, send_at: datetime | None, local_at: str | None,
    expires_at: datetime | None, is_test: bool, priority: str, respect_quiet_hours: bool, per_minute: int | None,
) -> NewBulletin:  # fmt: skip
    """The wish with its times, which are checked; a problem otherwise."""
    if send_at is not None and local_at is not None:
        raise wrong("local_at", "Send send_at or local_at, not both.")
    if send_at is not None and send_at < now - timedelta(minutes=1):
        raise wrong("send_at", "This instant has passed; leave send_at out to send at once.")
    if local_at is not None and is_over_everywhere(local_at, now):
        raise wrong("local_at", "This hour has passed everywhere; leave local_at out to send at once.")
    begins = starts_at(now, send_at, local_at)
    if begins > now + LONGEST_AHEAD:
        raise wrong("send_at" if send_at is not None else "local_at", "Choose a time within the next year.")
    ends = expires_at or begins + USUAL_LIFE
    if ends <= begins or ends > begins + LONGEST_LIFE + timedelta(days=2):
        raise wrong("expires_at", "It must be after the sending, and within four weeks of it.")
    if is_test and audience.kind != "users":
        raise wrong("is_test", "A test goes to users: name yourself in audience.users.")
    return NewBulletin(
        content, audience, begins, ends, is_test, priority, respect_quiet_hours, per_minute, send_at, local_at
    )


def reach(session: Session, services: Services, tenant_id: str, audience: Audience) -> Reach:
    """Counted now; a problem for tags that no device has."""
    unknown = sorted(set(audience.tags) - known_tags(session, audience.tags))
    if unknown:
        at = ", ".join(f"audience.tags[{audience.tags.index(tag)}]" for tag in unknown)
        raise wrong("audience.tags", f"No device has the tag at {at}: mend it, or register devices with it first.")
    keyring = services.vault.existing(session, tenant_id, tenant_id)
    found = counted(session, chosen_by(audience, tenant_id, keyring))
    fcm = sum(found.get(kind, 0) for kind in KINDS if kind != WEBPUSH)
    return Reach(found["recipients"], fcm, found.get(WEBPUSH, 0), found.get(OPTED_OUT, 0), found.get(RESTRICTED, 0))


def check_reach(session: Session, services: Services, tenant_id: str, new: NewBulletin, now: datetime) -> Reach:
    """`reach`; a problem when nobody would get it, nothing can be sent, or the tenant is being erased."""
    if not services.pushes.is_on:
        raise Problem("turned-off", f"Nothing can be pushed here: set {' or '.join(services.settings.push.missing)}.")
    if session.scalars(select(Tenant.status).where(Tenant.id == tenant_id)).one() != ACTIVE_TENANT:
        raise Problem("being-erased", "This tenant is being erased; nothing can be added to it.")
    found = reach(session, services, tenant_id, new.audience)
    if new.audience.kind != "users" and found.devices == 0 and new.starts_at <= now:
        raise wrong("audience", "This is an audience of nobody: no device is registered for it.")
    return found


def span(
    session: Session, tenant_id: str, new: NewBulletin, zones: Sequence[str | None], devices: int, now: datetime
) -> tuple[datetime, datetime]:
    """The first and the last instant at which one of so many devices of these zones would get it."""
    tenant = session.get_one(Tenant, tenant_id)
    times = Times(now, tenant.timezone, new.send_at, new.local_at, new.respect_quiet_hours)
    last = now + pace(max(devices - 1, 0), alone(new.per_minute, tenant.pushes_per_minute))
    some = zones or [None]
    return min(times.due(one) for one in some), max(times.due(one, last) for one in some)


def on_a_lock_screen(content: Content) -> dict[str, tuple[str, str, bool]]:
    """locale ("" for the words themselves) -> title, text, and whether it was cut."""
    shown: dict[str, tuple[str, str, bool]] = {}
    for locale in ("", *sorted(content.variants)):
        title, body = content.words(locale)
        text = plain(body)
        cut = shortened(text, SHOWN_BYTES)
        shown[locale] = title, cut, cut != text
    return shown
