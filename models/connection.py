"""A tenant's grant at a provider: the account, its state, and its tokens, which only the vault can read."""

from datetime import datetime

import orjson
from sqlalchemy import Index, String, UniqueConstraint, bindparam, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, ExternalId, Instant, Json, Key, Sealed, Sentence, Word, new_id, table_args
from models.tenancy import TenantScoped
from models.vault import Keyring, Vault

ACTIVE, NEEDS_RECONNECT = "active", "needs_reconnect"
# States in which a provider's notices are still taken in: what arrives while a token is dead waits for the new one.
LISTENING = (ACTIVE, NEEDS_RECONNECT)


class AccountClaimed(Exception):
    """Another tenant has this account connected. It is never moved silently."""


class Connection(TenantScoped, Base):
    """One account of one tenant at one integration.

    `claim` is `integration:external_id` while the connection lives and NULL afterwards; being unique over all tenants,
    it makes a page that two tenants want a visible conflict. `health_*` say what only a person can mend.
    """

    __tablename__ = "connections"
    __table_args__ = table_args(
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "integration", "external_id"),
        Index("ix_connections_external_id", "integration", "external_id"),
    )

    id: Mapped[Key]
    integration: Mapped[Word]
    external_id: Mapped[ExternalId]
    name: Mapped[str] = mapped_column(String(190))
    status: Mapped[Word]
    scopes: Mapped[Json]
    claim: Mapped[str | None] = mapped_column(String(230), unique=True)
    tokens: Mapped[Sealed | None]
    health_code: Mapped[Word | None]
    health_sentence: Mapped[Sentence | None]
    health_fix: Mapped[Sentence | None]
    health_since: Mapped[Instant | None]
    created_at: Mapped[Instant]
    updated_at: Mapped[Instant]


def import_connection(
    session: Session,
    vault: Vault,
    *,
    tenant_id: str,
    integration: str,
    external_id: str,
    name: str,
    tokens: dict[str, str],
    scopes: list[str],
    now: datetime,
) -> tuple[Connection, bool]:
    """Store a grant the host already holds; (connection, created). A known account gets the new tokens and is active again."""
    row = session.scalars(
        select(Connection).where(
            Connection.tenant_id == tenant_id,
            Connection.integration == integration,
            Connection.external_id == external_id,
        )
    ).one_or_none()
    created = row is None
    if row is None:
        row = Connection(
            id=new_id(), tenant_id=tenant_id, integration=integration, external_id=external_id, created_at=now
        )
        session.add(row)
    row.name, row.scopes, row.status, row.updated_at = name, scopes, ACTIVE, now
    row.claim = f"{integration}:{external_id}"
    row.health_code = row.health_sentence = row.health_fix = row.health_since = None
    keyring = vault.keyring(session, tenant_id, row.id, now)
    row.tokens = seal_tokens(keyring, row.id, tokens)
    session.flush()
    return row, created


def claimed_elsewhere(session: Session, *, tenant_id: str, integration: str, external_id: str) -> bool:
    """Whether another tenant has this account (asked in a system session)."""
    owner = session.scalar(select(Connection.tenant_id).where(Connection.claim == f"{integration}:{external_id}"))
    return owner is not None and owner != tenant_id


def seal_tokens(keyring: Keyring, connection_id: str, tokens: dict[str, str]) -> bytes:
    """Tokens as one ciphertext, bound to their row."""
    return keyring.seal(orjson.dumps(tokens), table="connections", row=connection_id, column="tokens")


def read_tokens(keyring: Keyring, connection: Connection) -> dict[str, str]:
    """The tokens of a connection; empty when they have been destroyed."""
    if connection.tokens is None:
        return {}
    tokens: dict[str, str] = orjson.loads(
        keyring.unseal(connection.tokens, table="connections", row=connection.id, column="tokens")
    )
    return tokens


_OWNERS = select(Connection.external_id, Connection.tenant_id, Connection.id).where(
    Connection.integration == bindparam("integration"),
    Connection.external_id.in_(bindparam("accounts", expanding=True)),
    Connection.status.in_(LISTENING),
    Connection.claim.is_not(None),
)


def owners(session: Session, integration: str, accounts: list[str]) -> dict[str, tuple[str, str]]:
    """account -> (tenant id, connection id), for the accounts that someone has connected (system session)."""
    if not accounts:
        return {}
    rows = session.connection().execute(_OWNERS, {"integration": integration, "accounts": accounts})
    return {account: (tenant_id, connection_id) for account, tenant_id, connection_id in rows}


def needs_person(connection: Connection, *, code: str, sentence: str, fix: str, now: datetime) -> bool:
    """Mark that only a person can mend this connection; False when it was known already."""
    if connection.status == NEEDS_RECONNECT:
        return False
    connection.status, connection.updated_at = NEEDS_RECONNECT, now
    connection.health_code, connection.health_sentence, connection.health_fix = (code, sentence, fix)
    connection.health_since = now
    return True
