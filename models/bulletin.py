"""Bulletins: what a tenant announces, to whom, and until when. Its words and its audience are sealed; it sends nothing.

scheduled --starts_at--> starting --recipients fixed--> sending --nothing left--> completed
    '----------------------- cancelled by a person, or stopped because the provider calls it invalid
"""

from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Index, String, Table, UniqueConstraint, and_, bindparam, literal_column, or_, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Id, Instant, Json, Key, Sealed, Sentence, Word, new_id, short_binary, table_args
from models.tenancy import TenantScoped, same_tenant
from models.vault import Keyring, VaultError

PUSHES_KEPT, KEPT = timedelta(days=30), timedelta(days=365)
"""How long after the end: what became of each device, and the bulletin with its place in people's feeds."""
SCHEDULED, STARTING, SENDING = "scheduled", "starting", "sending"
COMPLETED, CANCELLED, STOPPED = "completed", "cancelled", "stopped"
OPEN = (SCHEDULED, STARTING, SENDING)


class Bulletin(TenantScoped, Base):
    """One announcement. `starts_at` is when its recipients are fixed; `local_at` the wall clock by which each then gets it.

    `content` is sealed JSON {title, body, url, image_url, variants{locale{title, body}}}, `audience` {kind, tags, users}, whose
    users go when the recipients are fixed: from then on its pushes say who was meant.
    `after` is the last device whose push is written, `chunks` how many jobs have not ended yet; `counts` is how it ended;
    `wake_at` when to look at it again, and `prune_at`, once it is over, when something of it goes.
    """

    __tablename__ = "bulletins"
    __table_args__ = table_args(
        UniqueConstraint("tenant_id", "id"),
        Index("ix_bulletins_wake_at", "wake_at"),
        Index("ix_bulletins_prune_at", "prune_at"),
    )

    id: Mapped[Key]
    content: Mapped[Sealed]
    audience: Mapped[Sealed]
    status: Mapped[Word]
    is_test: Mapped[bool]
    priority: Mapped[Word]
    respect_quiet_hours: Mapped[bool]
    per_minute: Mapped[int | None]
    send_at: Mapped[Instant | None]
    local_at: Mapped[str | None] = mapped_column(String(19))
    starts_at: Mapped[Instant]
    expires_at: Mapped[Instant]
    created_at: Mapped[Instant]
    fixed_at: Mapped[Instant | None]
    ended_at: Mapped[Instant | None]
    wake_at: Mapped[Instant | None]
    prune_at: Mapped[Instant | None]
    after: Mapped[Id | None]
    chunks: Mapped[int] = mapped_column(default=0)
    devices: Mapped[int] = mapped_column(default=0)
    recipients: Mapped[int] = mapped_column(default=0)
    counts: Mapped[Json | None]
    sentence: Mapped[Sentence | None]


class FeedRead(TenantScoped, Base):
    """A bulletin in a user's feed: when it was read, as the host reports it; None where it was not, and its pushes are gone."""

    __tablename__ = "feed_reads"
    __table_args__ = table_args(
        same_tenant("bulletin_id", "bulletins"),
        UniqueConstraint("tenant_id", "bulletin_id", "user_hash"),
        Index("ix_feed_reads_user", "tenant_id", "user_hash"),
    )

    id: Mapped[Key]
    bulletin_id: Mapped[Id]
    user_hash: Mapped[bytes] = mapped_column(short_binary(16))
    read_at: Mapped[Instant | None]


@dataclass(frozen=True, slots=True)
class Content:
    """What people read. `body` may hold the light markup that the host's people may write; it is sanitised already."""

    title: str
    body: str
    url: str | None = None
    image_url: str | None = None
    variants: dict[str, dict[str, str]] = field(default_factory=dict)

    def words(self, locale: str | None) -> tuple[str, str]:
        """(title, body): the variant of `de-AT`, else of `de`, else the words themselves."""
        asked = (locale or "").replace("_", "-").lower()
        for one in (asked, asked.partition("-")[0]):
            found = next((name for name in self.variants if name.lower() == one), None)
            if one and found is not None:
                return self.variants[found]["title"], self.variants[found]["body"]
        return self.title, self.body


@dataclass(frozen=True, slots=True)
class Audience:
    """`kind` is all, tags (any of them) or users (the host's ids)."""

    kind: str
    tags: tuple[str, ...] = ()
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewBulletin:
    """A checked wish. `starts_at` is never later than the first device's time."""

    content: Content = field(repr=False)
    audience: Audience = field(repr=False)
    starts_at: datetime
    expires_at: datetime
    is_test: bool = False
    priority: str = "normal"
    respect_quiet_hours: bool = False
    per_minute: int | None = None
    send_at: datetime | None = None
    local_at: str | None = None


_BULLETINS: Table = Bulletin.__table__  # type: ignore[assignment]


def add(session: Session, keyring: Keyring, new: NewBulletin, *, tenant_id: str, now: datetime) -> Bulletin:
    """Store a bulletin; the caller puts the job that starts it."""
    row = Bulletin(
        id=new_id(), tenant_id=tenant_id, status=SCHEDULED, is_test=new.is_test, priority=new.priority,
        respect_quiet_hours=new.respect_quiet_hours, per_minute=new.per_minute, send_at=new.send_at,
        local_at=new.local_at, starts_at=new.starts_at, expires_at=new.expires_at, created_at=now,
        wake_at=new.starts_at,
    )  # fmt: skip
    content = {name: getattr(new.content, name) for name in ("title", "body", "url", "image_url", "variants")}
    row.content = keyring.seal(orjson.dumps(content), table="bulletins", row=row.id, column="content")
    _seal_audience(keyring, row, new.audience)
    session.add(row)
    session.flush()
    return row


def content_of(keyring: Keyring, row: "Bulletin | Announced") -> Content:
    """Its words in the clear."""
    return Content(**_opened(keyring, row, "content"))


def audience_of(keyring: Keyring, row: Bulletin) -> Audience:
    """Whom it is for, in the clear."""
    found = _opened(keyring, row, "audience")
    return Audience(found["kind"], tuple(found["tags"]), tuple(found["users"]))


def forget_users(keyring: Keyring, row: Bulletin) -> None:
    """Its names are needed no more; that it was for users stays. One that does not open tells nobody's name."""
    try:
        audience = audience_of(keyring, row)
    except VaultError:
        return
    if audience.users:
        _seal_audience(keyring, row, replace(audience, users=()))


def _seal_audience(keyring: Keyring, row: Bulletin, audience: Audience) -> None:
    row.audience = keyring.seal(orjson.dumps(asdict(audience)), table="bulletins", row=row.id, column="audience")


def _opened(keyring: Keyring, row: "Bulletin | Announced", column: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(
        keyring.unseal(getattr(row, column), table="bulletins", row=row.id, column=column)
    )
    return found


def locked(session: Session, bulletin_id: str) -> Bulletin | None:
    """The tenant's bulletin, kept from others until the commit."""
    return session.get(Bulletin, bulletin_id, with_for_update=True, populate_existing=True)


class Announced(NamedTuple):
    """A bulletin as who sends it needs it, its words still sealed."""

    id: str
    status: str
    expires_at: datetime
    priority: str
    content: bytes


_THIS = and_(_BULLETINS.c.tenant_id == bindparam("tenant"), _BULLETINS.c.id == bindparam("bulletin"))
_ANNOUNCED = select(*(_BULLETINS.c[name] for name in Announced._fields)).where(_THIS)
_ONE_FEWER = update(_BULLETINS).where(_THIS).values(chunks=_BULLETINS.c.chunks - literal_column("1"))
_ONE_OF_SOME = _ONE_FEWER.where(or_(_BULLETINS.c.chunks > literal_column("1"), _BULLETINS.c.fixed_at.is_(None)))


def announced(session: Session, tenant_id: str, bulletin_id: str) -> Announced | None:
    """A bulletin as it is in this moment."""
    found = session.connection().execute(_ANNOUNCED, {"tenant": tenant_id, "bulletin": bulletin_id}).one_or_none()
    return None if found is None else Announced._make(found)


def chunk_ended(session: Session, tenant_id: str, bulletin_id: str) -> bool:
    """One job fewer, in the transaction of its end; whether it was the last of a bulletin whose recipients are fixed."""
    connection, this = session.connection(), {"tenant": tenant_id, "bulletin": bulletin_id}
    if connection.execute(_ONE_OF_SOME, this).rowcount:
        return False
    return connection.execute(_ONE_FEWER, this).rowcount == 1  # none: the bulletin is gone


def end(row: Bulletin, status: str, now: datetime, sentence: str | None = None) -> None:
    """Nothing more of it will be sent; what was not is still to be marked (`models.push.close`)."""
    row.status, row.ended_at, row.sentence, row.wake_at = status, now, sentence, now


def bulletins_page(session: Session, *, before: str | None = None, limit: int = 100) -> list[Bulletin]:
    """The tenant's bulletins, newest first, without test sends."""
    query = select(Bulletin).where(Bulletin.is_test.is_(False)).order_by(Bulletin.id.desc()).limit(limit)
    return list(session.scalars(query if before is None else query.where(Bulletin.id < before)))


def due(session: Session, now: datetime, *, limit: int) -> list[tuple[str, str, str]]:
    """(tenant, id, status) of bulletins whose time to be looked at has come (system session)."""
    query = select(Bulletin.tenant_id, Bulletin.id, Bulletin.status).where(Bulletin.wake_at <= now)
    return [
        (tenant, one, status) for tenant, one, status in session.execute(query.order_by(Bulletin.wake_at).limit(limit))
    ]


def old(session: Session, now: datetime, *, limit: int) -> list[tuple[str, str]]:
    """(tenant, id) of bulletins of which something is to go (system session)."""
    query = select(Bulletin.tenant_id, Bulletin.id).where(Bulletin.prune_at <= now).order_by(Bulletin.prune_at)
    return [(tenant, one) for tenant, one in session.execute(query.limit(limit))]
