"""Links by which a person may connect an account, and the states of those who followed one; only hashes are stored."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import orjson
from sqlalchemy import Index, UniqueConstraint, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Id, Instant, Key, Sealed, Word, new_id, short_binary, table_args
from models.host import digest
from models.tenancy import TenantScoped, same_tenant
from models.vault import Vault

LINK_LIVES = timedelta(days=3)
STATE_LIVES = timedelta(minutes=30)


class ConnectLink(TenantScoped, Base):
    """A link; spent by the first grant that is stored. `user` is who was meant at the host, sealed."""

    __tablename__ = "connect_links"
    __table_args__ = table_args(UniqueConstraint("tenant_id", "id"))

    id: Mapped[Key]
    integration: Mapped[Word]
    user: Mapped[Sealed | None]
    digest: Mapped[bytes] = mapped_column(short_binary(32), unique=True)
    created_at: Mapped[Instant]
    expires_at: Mapped[Instant]
    used_at: Mapped[Instant | None]


class ConnectState(TenantScoped, Base):
    """One visit to a provider's consent page: `state` and browser as hashes; PKCE verifier and the link, sealed."""

    __tablename__ = "connect_states"
    __table_args__ = table_args(
        same_tenant("link_id", "connect_links"), Index("ix_connect_states_expires_at", "expires_at")
    )

    id: Mapped[Key]
    link_id: Mapped[Id]
    integration: Mapped[Word]
    digest: Mapped[bytes] = mapped_column(short_binary(32), unique=True)
    browser: Mapped[bytes] = mapped_column(short_binary(32))
    kept: Mapped[Sealed]
    created_at: Mapped[Instant]
    expires_at: Mapped[Instant]
    used_at: Mapped[Instant | None]


@dataclass(frozen=True, slots=True)
class Visit:
    """A person who came back from the consent page: for which tenant and link, and what was kept meanwhile."""

    tenant_id: str
    link_id: str
    integration: str
    verifier: str | None = field(repr=False)
    link: str = field(repr=False)


def add_link(
    session: Session, vault: Vault, *, tenant_id: str, integration: str, user: str | None, now: datetime
) -> tuple[ConnectLink, str]:
    """(row, the link's secret, which is not seen again)."""
    secret = secrets.token_urlsafe(32)
    row = ConnectLink(id=new_id(), tenant_id=tenant_id, integration=integration, digest=digest(secret), created_at=now,
                      expires_at=now + LINK_LIVES)  # fmt: skip
    if user is not None:
        keyring = vault.keyring(session, tenant_id, tenant_id, now)
        row.user = keyring.seal(user.encode(), table="connect_links", row=row.id, column="user")
    session.add(row)
    session.flush()
    return row, secret


def live_link(session: Session, secret: str, now: datetime) -> ConnectLink | None:
    """The link, if it is neither spent nor expired (system session)."""
    return session.scalars(
        select(ConnectLink).where(
            ConnectLink.digest == digest(secret), ConnectLink.used_at.is_(None), ConnectLink.expires_at > now
        )
    ).one_or_none()


def begin_visit(
    session: Session, vault: Vault, link: ConnectLink, *, state: str, browser: str, verifier: str | None, secret: str,
    now: datetime,
) -> None:  # fmt: skip
    """Remember who is sent to the provider (a session of the link's tenant). `secret` is the link's own."""
    row_id, keyring = new_id(), vault.keyring(session, link.tenant_id, link.tenant_id, now)
    kept = keyring.seal(orjson.dumps([verifier, secret]), table="connect_states", row=row_id, column="kept")
    session.add(
        ConnectState(id=row_id, tenant_id=link.tenant_id, link_id=link.id, integration=link.integration,
                     digest=digest(state), browser=digest(browser), kept=kept, created_at=now,
                     expires_at=now + STATE_LIVES)
    )  # fmt: skip
    session.flush()


def end_visit(
    session: Session, vault: Vault, *, state: str, browser: str | None, integration: str, now: datetime
) -> Visit | None:
    """Spend a state (system session): one winner, in the browser it was made for, at its integration; else None."""
    if browser is None:
        return None
    spent = session.execute(
        update(ConnectState)
        .where(
            ConnectState.digest == digest(state), ConnectState.browser == digest(browser),
            ConnectState.integration == integration, ConnectState.used_at.is_(None), ConnectState.expires_at > now,
        )
        .values(used_at=now)
        .execution_options(synchronize_session=False)
    )  # fmt: skip
    if spent.rowcount != 1:  # type: ignore[attr-defined]
        return None
    row = session.scalars(select(ConnectState).where(ConnectState.digest == digest(state))).one()
    keyring = vault.existing(session, row.tenant_id, row.tenant_id)
    if keyring is None:
        return None
    verifier, secret = orjson.loads(keyring.unseal(row.kept, table="connect_states", row=row.id, column="kept"))
    return Visit(row.tenant_id, row.link_id, row.integration, verifier, secret)


def spend_link(session: Session, link_id: str, now: datetime) -> bool:
    """The link has done its work; False when it was spent already or has expired: nothing may be stored for it."""
    spent = session.execute(
        update(ConnectLink)
        .where(ConnectLink.id == link_id, ConnectLink.used_at.is_(None), ConnectLink.expires_at > now)
        .values(used_at=now)
        .execution_options(synchronize_session=False)
    )
    return bool(spent.rowcount == 1)  # type: ignore[attr-defined]
