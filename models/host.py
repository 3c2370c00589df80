"""Who may ask: API keys of the platform and of tenants, one-time links and browser sessions; only hashes are stored."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, String, Uuid, or_, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Id, Instant, Json, Key, Word, new_id, short_binary, table_args

SCOPES = (
    "leads:read",
    "leads:write",
    "calendars:read",
    "calendars:write",
    "connections:read",
    "connections:write",
    "jobs:read",
    "jobs:write",
    "events:read",
    "deletions:read",
    "deletions:write",
    "bulletins:read",
    "bulletins:write",
    "rights:read",
    "rights:write",
)
EVERY_SCOPE = ("*",)
KEY = "key:"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a credential speaks for: a tenant, or the platform (`tenant_id` None)."""

    tenant_id: str | None
    scopes: tuple[str, ...]
    credential: str

    @property
    def key_id(self) -> str:
        """The id of its key."""
        return self.credential.removeprefix(KEY)

    def may(self, scope: str) -> bool:
        """Whether this caller was given a scope."""
        return "*" in self.scopes or scope in self.scopes


class ApiKey(Base):
    """A Bearer key. A platform key has no tenant; the key itself is shown once and stored as a SHA-256."""

    __tablename__ = "api_keys"
    __table_args__ = table_args()

    id: Mapped[Key]
    tenant_id: Mapped[str | None] = mapped_column(Uuid(as_uuid=False), ForeignKey("tenants.id"))
    digest: Mapped[bytes] = mapped_column(short_binary(32), unique=True)
    hint: Mapped[str] = mapped_column(String(8))
    scopes: Mapped[Json]
    created_at: Mapped[Instant]
    expires_at: Mapped[Instant | None]
    revoked_at: Mapped[Instant | None]


class SignIn(Base):
    """A one-time link (`link`) or a browser session (`session`); `key_id` is the key that opened it, if one did."""

    __tablename__ = "sign_ins"
    __table_args__ = table_args()

    id: Mapped[Key]
    tenant_id: Mapped[str | None] = mapped_column(Uuid(as_uuid=False), ForeignKey("tenants.id"))
    kind: Mapped[Word]
    digest: Mapped[bytes] = mapped_column(short_binary(32), unique=True)
    created_at: Mapped[Instant]
    expires_at: Mapped[Instant]
    used_at: Mapped[Instant | None]
    key_id: Mapped[Id | None]

    @property
    def credential(self) -> str:
        """What a deletion knows who asked for it and who agreed by: a key is the same one here and at the API."""
        return f"sign_in:{self.id}" if self.key_id is None else f"{KEY}{self.key_id}"


def digest(secret: str) -> bytes:
    """SHA-256. Our secrets are 256 random bits, so a slow hash would protect nothing more."""
    return hashlib.sha256(secret.encode()).digest()


def add_key(
    session: Session,
    *,
    tenant_id: str | None,
    scopes: tuple[str, ...],
    now: datetime,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make a key (system session): (row, the key in the clear, never to be seen again)."""
    secret = ("troth_" if tenant_id else "troth_platform_") + secrets.token_urlsafe(32)
    row = ApiKey(
        id=new_id(), tenant_id=tenant_id, digest=digest(secret), hint=secret[-4:], scopes=list(scopes),
        created_at=now, expires_at=expires_at,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row, secret


def caller_of(session: Session, secret: str, now: datetime) -> Caller | None:
    """Whose key this is, if it is one that is neither revoked nor expired (system session)."""
    row = session.scalars(
        select(ApiKey).where(
            ApiKey.digest == digest(secret),
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now),
        )
    ).one_or_none()
    return None if row is None else Caller(row.tenant_id, tuple(row.scopes), f"{KEY}{row.id}")


def add_sign_in(
    session: Session, *, kind: str, tenant_id: str | None, now: datetime, lives: timedelta, key_id: str | None = None
) -> str:
    """Make a one-time link's or a session's secret (system session)."""
    secret = secrets.token_urlsafe(32)
    session.add(
        SignIn(
            id=new_id(),
            tenant_id=tenant_id,
            kind=kind,
            digest=digest(secret),
            created_at=now,
            expires_at=now + lives,
            key_id=key_id,
        )
    )
    session.flush()
    return secret


def use_link(session: Session, secret: str, now: datetime) -> SignIn | None:
    """Spend a one-time link; None when it is unknown, expired or spent already (one winner among many)."""
    spent = session.execute(
        update(SignIn)
        .where(
            SignIn.digest == digest(secret), SignIn.kind == "link", SignIn.used_at.is_(None), SignIn.expires_at > now
        )
        .values(used_at=now)
        .execution_options(synchronize_session=False)
    )
    if spent.rowcount != 1:  # type: ignore[attr-defined]
        return None
    return session.scalars(select(SignIn).where(SignIn.digest == digest(secret))).one()


def session_of(session: Session, secret: str, now: datetime) -> SignIn | None:
    """The browser session of a cookie, if it still lives."""
    return session.scalars(
        select(SignIn).where(SignIn.digest == digest(secret), SignIn.kind == "session", SignIn.expires_at > now)
    ).one_or_none()
