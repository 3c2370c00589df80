"""A tenant's grant at a provider: the account, its state and its health. Tokens are sealed; only the vault reads them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

import orjson
from sqlalchemy import BigInteger, Index, String, UniqueConstraint, bindparam, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, ExternalId, Id, Instant, Json, Key, Sealed, Sentence, Word, short_binary, table_args
from models.feed import CONNECTION_NEEDS_RECONNECT, emit
from models.tenancy import TenantScoped, same_tenant
from models.vault import Keyring, Vault

PENDING, ACTIVE, NEEDS_RECONNECT = "pending", "active", "needs_reconnect"
REVOKING, REVOKED = "revoking", "revoked"
# States in which a provider's notices are still taken in: what arrives while a token is dead waits for the new one.
LISTENING = (ACTIVE, NEEDS_RECONNECT)
LIVING = (PENDING, ACTIVE, NEEDS_RECONNECT, REVOKING)
ERASED_ACCOUNT = "erased"
"""What stands for the provider's id of an account whose data has been erased."""


class Connection(TenantScoped, Base):
    """One account of one tenant at one integration, from the first grant until it is revoked; then a new one begins.

    `external_id` is the provider's id of the account, or, where the account is a person, a keyed hash of it. `account` is
    both id and name, sealed with the connection's own data key, as are leads. Tokens are sealed with another one,
    `grant_id`, made anew for each grant: it is destroyed with the grant, while leads wait for their own erasure.
    `claim` names the account while the connection lives, is NULL afterwards, and is unique over all tenants: a page that
    two tenants want is a visible conflict. `health_*` say what only a person can mend. `refresh_*` is the lease of the one
    process that refreshes the tokens, `token_version` counts what it stored. `check_at` is when it is looked at next.
    `closed_at` is when it began to be revoked; what was made up to `tombstoned_at` may have been erased (`models.tombstone`).
    """

    __tablename__ = "connections"
    __table_args__ = table_args(
        UniqueConstraint("tenant_id", "id"),
        Index("ix_connections_external_id", "integration", "external_id"),
        Index("ix_connections_check_at", "check_at"),
    )

    id: Mapped[Key]
    integration: Mapped[Word]
    external_id: Mapped[ExternalId]
    account: Mapped[Sealed | None]
    status: Mapped[Word]
    scopes: Mapped[Json]
    claim: Mapped[str | None] = mapped_column(String(300), unique=True)
    grant_id: Mapped[Id | None]
    granted_at: Mapped[Instant | None]
    tokens: Mapped[Sealed | None]
    token_expires_at: Mapped[Instant | None]
    token_version: Mapped[int] = mapped_column(default=0)
    refresh_by: Mapped[int | None] = mapped_column(BigInteger)
    refresh_until: Mapped[Instant | None]
    health_code: Mapped[Word | None]
    health_sentence: Mapped[Sentence | None]
    health_fix: Mapped[Sentence | None]
    health_since: Mapped[Instant | None]
    checked_at: Mapped[Instant | None]
    check_at: Mapped[Instant | None]
    closed_at: Mapped[Instant | None]
    tombstoned_at: Mapped[Instant | None]
    created_at: Mapped[Instant]
    updated_at: Mapped[Instant]


class Holder(TenantScoped, Base):
    """A person behind a connection's grant, as a keyed hash: to find all that one person granted, and not who it is."""

    __tablename__ = "holders"
    __table_args__ = table_args(same_tenant("connection_id", "connections"), Index("ix_holders_mark", "mark"))

    connection_id: Mapped[Id] = mapped_column(primary_key=True)
    mark: Mapped[bytes] = mapped_column(short_binary(16), primary_key=True)


class Owner(NamedTuple):
    """Who has an account, by which connection, and since when. What was made up to `tombstoned_at` may have been erased."""

    tenant_id: str
    connection_id: str
    since: datetime
    tombstoned_at: datetime | None = None


class AccountName(NamedTuple):
    """What an account is called. None: its data key has been destroyed."""

    external_id: str | None
    name: str | None


def claimed_elsewhere(session: Session, *, tenant_id: str, integration: str, external_id: str) -> bool:
    """Whether another tenant has this account (asked in a system session)."""
    owner = session.scalar(select(Connection.tenant_id).where(Connection.claim == f"{integration}:{external_id}"))
    return owner is not None and owner != tenant_id


def seal_account(keyring: Keyring, connection_id: str, external_id: str, name: str) -> bytes:
    """Id and name as one ciphertext, bound to their row."""
    return keyring.seal(orjson.dumps([external_id, name]), table="connections", row=connection_id, column="account")


def account_names(session: Session, vault: Vault, connections: Sequence[Connection]) -> dict[str, AccountName]:
    """connection id -> what its account is called, for connections of one tenant."""
    if not connections:
        return {}
    # An account of before schema 0002 has no sealed name; its id is that of a page.
    found = {
        row.id: AccountName(None, None)
        if row.account or row.external_id == ERASED_ACCOUNT
        else AccountName(row.external_id, row.external_id)
        for row in connections
    }
    keyrings = vault.keyrings(session, connections[0].tenant_id, list(found))
    for row in connections:
        if row.account is not None and row.id in keyrings:
            opened = keyrings[row.id].unseal(row.account, table="connections", row=row.id, column="account")
            found[row.id] = AccountName(*orjson.loads(opened))
    return found


def seal_tokens(keyring: Keyring, connection_id: str, tokens: dict[str, str]) -> bytes:
    """Tokens as one ciphertext, bound to their row; `keyring` is that of the grant."""
    return keyring.seal(orjson.dumps(tokens), table="connections", row=connection_id, column="tokens")


def read_tokens(session: Session, vault: Vault, connection: Connection) -> dict[str, str]:
    """The tokens of a connection; empty when they have been destroyed."""
    return tokens_of(session, vault, [connection]).get(connection.id, {})


def tokens_of(session: Session, vault: Vault, connections: Sequence[Connection]) -> dict[str, dict[str, str]]:
    """connection id -> its tokens, for connections of one tenant; without those whose tokens have been destroyed."""
    # Before schema 0002 a grant had no key of its own.
    sealed = {row.grant_id or row.id: row for row in connections if row.tokens is not None}
    keyrings = vault.keyrings(session, connections[0].tenant_id, list(sealed)) if sealed else {}
    return {
        row.id: orjson.loads(keyrings[scope].unseal(row.tokens, table="connections", row=row.id, column="tokens"))
        for scope, row in sealed.items()
        if scope in keyrings and row.tokens is not None
    }


def drop_tokens(session: Session, vault: Vault, connection: Connection) -> None:
    """Destroy the tokens and the data key that sealed them: no copy of the row, wherever it lies, can be read again."""
    if connection.grant_id is not None:
        vault.destroy(session, connection.tenant_id, connection.grant_id)
    connection.tokens = connection.grant_id = connection.token_expires_at = None
    connection.refresh_by = connection.refresh_until = None


_OWNERS = (
    select(Connection.external_id, Connection.tenant_id, Connection.id, Connection.created_at, Connection.tombstoned_at)
    .where(
        Connection.integration == bindparam("integration"),
        Connection.external_id.in_(bindparam("accounts", expanding=True)),
        Connection.status.in_(LISTENING),
        Connection.claim.is_not(None),
    )
    .with_for_update(read=True)
)


def owners(session: Session, integration: str, accounts: list[str]) -> dict[str, Owner]:
    """account -> who has it, for the accounts that someone has connected (system session).

    Their rows stay as they are until the transaction ends: a revocation waits for those who have looked before it.
    """
    if not accounts:
        return {}
    rows = session.connection().execute(_OWNERS, {"integration": integration, "accounts": accounts})
    return {account: Owner(tenant, connection, since, erased) for account, tenant, connection, since, erased in rows}


def all_owners(session: Session, integration: str, accounts: Sequence[str]) -> dict[str, list[Owner]]:
    """account -> everybody who ever had it, in the order in which they came to have it (system session)."""
    query = (
        select(Connection.external_id, Connection.tenant_id, Connection.id, Connection.created_at)
        .where(
            Connection.integration == integration,
            Connection.external_id.in_(accounts),
            Connection.granted_at.is_not(None),  # else it has only ever waited for another tenant
        )
        .order_by(Connection.created_at, Connection.id)
    )
    found: dict[str, list[Owner]] = {}
    for account, tenant_id, connection_id, since in session.execute(query):
        found.setdefault(account, []).append(Owner(tenant_id, connection_id, since))
    return found


def still(session: Session, connection_id: str, states: Sequence[str] = LISTENING) -> bool:
    """Whether a connection is in one of these states, and stays so until this transaction ends. Ask before you write."""
    status = session.scalars(
        select(Connection.status).where(Connection.id == connection_id).with_for_update(read=True)
    ).one_or_none()
    return status in states


def hold_open(session: Session, connection_ids: Collection[str]) -> list[Connection]:
    """Those of these connections that are open, in the order of their ids: they stay so until this transaction ends."""
    query = select(Connection).where(Connection.id.in_(connection_ids)).order_by(Connection.id).with_for_update()
    return [row for row in session.scalars(query) if row.status in LISTENING] if connection_ids else []


def needs_person(
    session: Session, connection: Connection, *, code: str, sentence: str, fix: str, now: datetime
) -> bool:
    """Mark that only a person can mend this connection, and tell the host; False when it was known already.

    A connection that is closed, or that waits for another tenant, stays what it is.
    """
    if connection.status not in LISTENING:
        return False
    is_news = connection.status != NEEDS_RECONNECT
    if not is_news and connection.health_code == code:
        return False
    connection.status, connection.updated_at = NEEDS_RECONNECT, now
    connection.health_code, connection.health_sentence, connection.health_fix = (code, sentence, fix)
    connection.health_since = now if is_news else connection.health_since
    if is_news:
        emit(session, connection.tenant_id, [(CONNECTION_NEEDS_RECONNECT, described(connection))], now)
    return is_news


def is_well(connection: Connection, now: datetime) -> None:
    """Nothing hinders it any more."""
    connection.status, connection.updated_at = ACTIVE, now
    connection.health_code = connection.health_sentence = connection.health_fix = connection.health_since = None


def described(connection: Connection) -> dict[str, str | None]:
    """What an event says of a connection: ids and words of ours."""
    return {
        "connection_id": connection.id,
        "integration": connection.integration,
        "status": connection.status,
        "code": connection.health_code,
    }
