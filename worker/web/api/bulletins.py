"""`/v1/bulletins`: compose, preview, send, watch and cancel a tenant's announcements."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator
from sqlalchemy.orm import Session
from starlette.responses import Response

from integrations.push.message import plain, sanitised
from models import push as pushes
from models.bulletin import (
    CANCELLED,
    OPEN,
    SCHEDULED,
    STARTING,
    Audience,
    Bulletin,
    Content,
    NewBulletin,
    add,
    audience_of,
    bulletins_page,
    content_of,
    end,
    locked,
)
from models.feed_read import openings
from models.push import Counts, counts, zones_of
from models.tenancy import tenant_session
from models.vault import Keyring
from worker.jobs import bulletins_settle, bulletins_start
from worker.services import Services
from worker.web.api.devices import Locale, Tag
from worker.web.api.fields import Instant, Line, Wish
from worker.web.api.paging import Cursor, Limit, Page, known_id, page_of, read_cursor
from worker.web.bulletin_wishes import check_reach, on_a_lock_screen, reach, span, timed
from worker.web.callers import Access, Parts, tenant_access
from worker.web.once import Asked, once
from worker.web.problems import Problem, not_found
from worker.work import Work

router = APIRouter(prefix="/v1/bulletins", tags=["bulletins"])
Reader = Annotated[Access, Depends(tenant_access("bulletins:read"))]
Writer = Annotated[Access, Depends(tenant_access("bulletins:write"))]


def _local(value: str) -> str:
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        at = None
    if at is None or at.tzinfo is not None or not 1970 < at.year < 2200:
        raise ValueError("Write the hour on the recipients' walls as 2026-12-01T09:00, without a zone.")
    return at.isoformat()


def _readable(value: str) -> str:
    if not plain(value):
        raise ValueError("Nothing is left of it once its markup is sanitised.")
    return value


Link = Annotated[str, StringConstraints(max_length=500, pattern=r"^https?://[!-~]+$")]
SecureLink = Annotated[str, StringConstraints(max_length=500, pattern=r"^https://[!-~]+$")]
LocalAt = Annotated[str, StringConstraints(max_length=19), AfterValidator(_local)]
Body = Annotated[
    str, StringConstraints(min_length=1, max_length=10_000, pattern=r"^[^\x00]*$"), AfterValidator(_readable)
]


class Words(Wish):
    """A title, and a text that may hold light markup: b i em strong u a p br ul ol li."""

    title: Line
    body: Body


class AudienceWish(Wish):
    """Whom it is for: all, the devices with any of the tags, or users of the host."""

    all: Literal[True] | None = None
    tags: Annotated[list[Tag], Field(min_length=1, max_length=50)] | None = None
    users: Annotated[list[Line], Field(min_length=1, max_length=1_000)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> "AudienceWish":
        if sum(one is not None for one in (self.all, self.tags, self.users)) != 1:
            raise ValueError("Send one of all, tags and users.")
        return self

    def read(self) -> Audience:
        """As the models know it."""
        kind = "all" if self.all else "tags" if self.tags else "users"
        return Audience(kind, tuple(self.tags or ()), tuple(self.users or ()))


class BulletinWish(Words):
    """An announcement. At once, at `send_at`, or when the clock on each recipient's wall shows `local_at`. A device whose time
    would be at night (21:00 to 8:00) gets it at 8:00 with `respect_quiet_hours`. `per_minute` spreads it. `is_test`: to the
    users named, in no feed and no list."""

    url: Link | None = None
    image_url: SecureLink | None = None
    variants: Annotated[dict[Locale, Words], Field(max_length=50)] = Field(default_factory=dict)
    audience: AudienceWish
    send_at: Instant | None = None
    local_at: LocalAt | None = None
    expires_at: Instant | None = None
    respect_quiet_hours: bool = False
    priority: Literal["normal", "high"] = "normal"
    per_minute: Annotated[int, Field(ge=1, le=600_000)] | None = None
    is_test: bool = False

    def read(self, now: datetime) -> NewBulletin:
        """Checked and sanitised; a problem for times that make no sense."""
        variants = {name: {"title": it.title, "body": sanitised(it.body)} for name, it in self.variants.items()}
        content = Content(self.title, sanitised(self.body), self.url, self.image_url, variants)
        return timed(
            content, self.audience.read(), now, send_at=self.send_at, local_at=self.local_at,
            expires_at=self.expires_at, is_test=self.is_test, priority=self.priority,
            respect_quiet_hours=self.respect_quiet_hours, per_minute=self.per_minute,
        )  # fmt: skip


class CountsShown(BaseModel):
    """How it stands. `sent`: the provider took it, which is not that somebody saw it; `opened`: the host said who read it.
    `removed`: the device was dead, and is gone. `reasons`: of what failed or waits for another try."""

    recipients: int
    devices: int
    sent: int
    failed: int
    removed: int
    expired: int
    cancelled: int
    pending: int
    opted_out: int
    restricted: int
    opened: int
    reasons: dict[str, int]


class BulletinShown(BaseModel):
    """A bulletin. `audience` names users until its recipients are fixed; `sentence` says why it was stopped, or why there was
    nobody to send it to."""

    id: str
    title: str
    body: str
    url: str | None
    image_url: str | None
    variants: dict[str, dict[str, str]]
    audience: dict[str, Any]
    status: str
    is_test: bool
    priority: str
    respect_quiet_hours: bool
    per_minute: int | None
    send_at: datetime | None
    local_at: str | None
    expires_at: datetime
    created_at: datetime
    ended_at: datetime | None
    sentence: str | None
    counts: CountsShown


class Screen(BaseModel):
    """What a lock screen shows. `is_shortened`: the whole text is in the feed only."""

    locale: str | None
    title: str
    text: str
    is_shortened: bool


class PreviewShown(BaseModel):
    """Whom it is for and what they would see; nothing was stored or sent. `opted_out` and `restricted`: devices among these
    that are not pushed to."""

    recipients: int
    devices: int
    fcm: int
    webpush: int
    opted_out: int
    restricted: int
    screens: list[Screen]
    first_at: datetime
    last_at: datetime
    warnings: list[str]


@router.post("", status_code=202, response_model=BulletinShown)
def create(wish: BulletinWish, access: Writer, services: Parts, ask: Asked) -> Response:
    """Announce. Its recipients are fixed when it starts."""
    new = wish.read(services.clock())

    def effect(work: Work) -> BulletinShown:
        return shown(work.session, *begin(work, services, access.tenant_id, new))

    return once(services, access, ask, 202, effect)


def begin(work: Work, services: Services, tenant_id: str, new: NewBulletin) -> tuple[Bulletin, Keyring]:
    """Store a bulletin with the job that starts it; a problem when it would reach nobody."""
    now = services.clock()
    check_reach(work.session, services, tenant_id, new, now)
    keyring = services.vault.keyring(work.session, tenant_id, tenant_id, now)
    row = add(work.session, keyring, new, tenant_id=tenant_id, now=now)
    work.put(bulletins_start(tenant_id, row.id, row.starts_at))
    return row, keyring


@router.post("/preview")
def preview(wish: BulletinWish, access: Writer, services: Parts) -> PreviewShown:
    """Whom a bulletin would reach now and what they would see."""
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        return previewed(session, services, access.tenant_id, wish.read(services.clock()))


@router.post("/{bulletin_id}/preview")
def preview_one(bulletin_id: str, access: Reader, services: Parts) -> PreviewShown:
    """The same of a stored one. A problem when it was for users and has begun: it names them no more."""
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        row, keyring = one_of(session, services, access.tenant_id, bulletin_id)
        audience = audience_of(keyring, row)
        if audience.kind == "users" and row.status not in (SCHEDULED, STARTING):
            raise Problem("wrong-state", "The users whom it named are not kept; its counts say whom it reached.")
        new = NewBulletin(content_of(keyring, row), audience, row.starts_at, row.expires_at, row.is_test,
                          row.priority, row.respect_quiet_hours, row.per_minute, row.send_at, row.local_at)  # fmt: skip
        return previewed(session, services, access.tenant_id, new)


@router.get("")
def listed(access: Reader, services: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[BulletinShown]:
    """The tenant's bulletins, newest first."""
    before = read_cursor("bulletins", cursor)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        rows = bulletins_page(session, before=before, limit=limit + 1)
        keyring = services.vault.existing(session, access.tenant_id, access.tenant_id)
        found = {row.id: shown(session, row, keyring) for row in rows[:limit]} if keyring is not None else {}
    return page_of("bulletins", rows, limit, id_of=lambda row: row.id, show=lambda row: found[row.id])


@router.get("/{bulletin_id}")
def one(bulletin_id: str, access: Reader, services: Parts) -> BulletinShown:
    """One bulletin, with its counts as they are now."""
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        return shown(session, *one_of(session, services, access.tenant_id, bulletin_id))


@router.post("/{bulletin_id}/cancel", response_model=BulletinShown)
def cancel(bulletin_id: str, access: Writer, services: Parts, ask: Asked) -> Response:
    """Stop it: what was not sent yet is not sent, but for the few that are on their way. What was sent stays sent."""
    known_id(bulletin_id)

    def effect(work: Work) -> BulletinShown:
        row, keyring = one_of(work.session, services, access.tenant_id, bulletin_id)
        take_back(work, services, row.id)
        return shown(work.session, row, keyring)

    return once(services, access, ask, 200, effect)


def take_back(work: Work, services: Services, bulletin_id: str) -> None:
    """Cancel; repeating it changes nothing. A problem when it is over."""
    row = locked(work.session, bulletin_id)
    if row is None:
        raise not_found()
    if row.status == CANCELLED:
        return
    if row.status not in OPEN:
        raise Problem("wrong-state", "This bulletin is over; nothing of it is left to be cancelled.")
    end(row, CANCELLED, services.clock())
    work.put(bulletins_settle(row.tenant_id, row.id))
    work.session.flush()


def one_of(session: Session, services: Services, tenant_id: str, bulletin_id: str) -> tuple[Bulletin, Keyring]:
    """The tenant's bulletin and the key to it; what is not this tenant's is not found."""
    row = session.get(Bulletin, known_id(bulletin_id))
    keyring = services.vault.existing(session, tenant_id, tenant_id)
    if row is None or keyring is None or row.tenant_id != tenant_id:
        raise not_found()
    return row, keyring


def previewed(session: Session, services: Services, tenant_id: str, new: NewBulletin) -> PreviewShown:
    """Counted now."""
    found = reach(session, services, tenant_id, new.audience)
    first, last = span(session, tenant_id, new, zones_of(session, tenant_id), found.devices,
                       services.clock())  # fmt: skip
    screens = [
        Screen(locale=locale or None, title=title, text=text, is_shortened=cut)
        for locale, (title, text, cut) in on_a_lock_screen(new.content).items()
    ]
    return PreviewShown(
        recipients=found.recipients, devices=found.devices, fcm=found.fcm, webpush=found.webpush,
        opted_out=found.opted_out, restricted=found.restricted, screens=screens, first_at=first, last_at=last,
        warnings=_warnings(services, new, found.fcm, found.webpush, screens, last),
    )  # fmt: skip


def _warnings(
    services: Services, new: NewBulletin, fcm: int, webpush: int, screens: list[Screen], last: datetime
) -> list[str]:
    told = []
    if not fcm + webpush:
        told.append("No device is registered for this audience.")
    if fcm and services.pushes.channel("fid") is None:
        told.append("Firebase is turned off here: its devices will not be reached.")
    if webpush and services.pushes.channel("webpush") is None:
        told.append("Web Push is turned off here: browsers will not be reached.")
    if any(screen.is_shortened for screen in screens):
        told.append("The text is longer than a lock screen takes; it is shortened there, and whole in the feed.")
    if last >= new.expires_at:
        told.append("It expires before it is time for some of the devices.")
    return told


def shown(session: Session, row: Bulletin, keyring: Keyring) -> BulletinShown:
    """A bulletin in the clear."""
    content, audience = content_of(keyring, row), audience_of(keyring, row)
    whom = {"all": True} if audience.kind == "all" else {audience.kind: list(getattr(audience, audience.kind))}
    return BulletinShown(
        id=row.id, title=content.title, body=content.body, url=content.url, image_url=content.image_url,
        variants=content.variants, audience=whom, status=row.status, is_test=row.is_test, priority=row.priority,
        respect_quiet_hours=row.respect_quiet_hours, per_minute=row.per_minute, send_at=row.send_at,
        local_at=row.local_at, expires_at=row.expires_at, created_at=row.created_at, ended_at=row.ended_at,
        sentence=row.sentence, counts=counted(session, row),
    )  # fmt: skip


def counted(session: Session, row: Bulletin) -> CountsShown:
    """From its rows while it is under way, and as it ended afterwards."""
    found = Counts(**row.counts) if row.counts is not None else counts(session, row.tenant_id, row.id)
    return CountsShown(
        recipients=row.recipients, devices=row.devices, sent=found.number(pushes.SENT),
        failed=found.number(pushes.FAILED), removed=found.number(pushes.REMOVED), expired=found.number(pushes.EXPIRED),
        cancelled=found.number(pushes.CANCELLED), pending=found.number(*pushes.OPEN),
        opted_out=found.number(pushes.OPTED_OUT), restricted=found.number(pushes.RESTRICTED),
        opened=openings(session, row.id), reasons=dict(found.reasons),
    )  # fmt: skip
