"""What a provider granted becomes a connection: new, or the known one with fresh tokens. It calls no provider."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from models.base import new_id
from models.connection import (
    ACTIVE,
    LIVING,
    NEEDS_RECONNECT,
    PENDING,
    REVOKING,
    Connection,
    Holder,
    described,
    drop_tokens,
    is_well,
    needs_person,
    seal_account,
    seal_tokens,
)
from models.feed import CONNECTION_CREATED, CONNECTION_RECOVERED, emit
from models.tenancy import SYSTEM
from models.vault import Vault

CLAIMED_ELSEWHERE = "claimed_elsewhere"


class BeingRevoked(Exception):
    """The account's connection is being revoked: its old grant must be gone before a new one is stored."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a grant cannot be used, in words that may be shown."""

    code: str
    sentence: str
    fix: str


@dataclass(frozen=True, slots=True)
class NewGrant:
    """An account and what opens it.

    `key` is what the row knows it by: the id of a page, the keyed hash of a person. `may_be_shared`: several tenants may
    have it. `marks` are the holders' keyed hashes (`marks_of`). `claimed_elsewhere`: another tenant has this account.
    """

    integration: str
    key: str
    external_id: str = field(repr=False)
    name: str = field(repr=False)
    tokens: Mapping[str, str] = field(repr=False)
    scopes: Sequence[str] = ()
    expires_at: datetime | None = None
    marks: Sequence[bytes] = ()
    check_at: datetime | None = None
    may_be_shared: bool = False
    claimed_elsewhere: bool = False
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a grant. `recovered`: it needed a person before, and is well now."""

    connection: Connection
    created: bool
    recovered: bool


def marks_of(session: Session, vault: Vault, integration: str, names: Sequence[str], now: datetime) -> list[bytes]:
    """Keyed hashes of a provider's names for a person, the same for every tenant (system session)."""
    keyring = vault.keyring(session, SYSTEM, SYSTEM, now)
    return sorted({keyring.fingerprint(f"{integration}:{name.lower()}") for name in names if name})


def store_grant(session: Session, vault: Vault, grant: NewGrant, *, tenant_id: str, now: datetime) -> Stored:
    """Store a grant. A known account keeps its connection, and with it every mapping; its old tokens are destroyed.

    Raises BeingRevoked, or IntegrityError when a rival stored the same account at this moment (try again).
    """
    row = _living(session, grant.integration, grant.key)
    if row is not None and row.status == REVOKING:
        raise BeingRevoked
    created, before = row is None, row.status if row is not None else None
    # Word of another owner may be late: what lives here has the account, whatever was heard before.
    waits = grant.claimed_elsewhere and before in (None, PENDING)
    if row is None:
        row = Connection(id=new_id(), tenant_id=tenant_id, integration=grant.integration, external_id=grant.key,
                         status=PENDING, token_version=0, created_at=now)  # fmt: skip
        session.add(row)
    row.scopes, row.updated_at = list(grant.scopes), now
    row.claim = f"{grant.integration}:{grant.key}"
    if grant.may_be_shared or waits:
        row.claim += f":{tenant_id}"
    row.account = seal_account(vault.keyring(session, tenant_id, row.id, now), row.id, grant.external_id, grant.name)
    session.flush()
    if waits:
        _wait_for_the_other(row, now)
    else:
        _take_tokens(session, vault, row, grant, now)
    session.flush()
    recovered = before in (PENDING, NEEDS_RECONNECT) and row.status == ACTIVE and grant.trouble is None
    if created:
        emit(session, tenant_id, [(CONNECTION_CREATED, described(row))], now)
    elif recovered:
        emit(session, tenant_id, [(CONNECTION_RECOVERED, described(row))], now)
    if grant.trouble is not None and not waits:  # told after it is known that there is a connection
        needs_person(session, row, code=grant.trouble.code, sentence=grant.trouble.sentence, fix=grant.trouble.fix,
                     now=now)  # fmt: skip
    return Stored(row, created, recovered)


def hold(session: Session, connection: Connection, marks: Sequence[bytes]) -> None:
    """Remember who is behind a connection's grant, instead of who was."""
    known = set(holders_of(session, connection))
    if known - set(marks):
        session.execute(delete(Holder).where(Holder.connection_id == connection.id, Holder.mark.not_in(marks)))
    session.add_all(
        Holder(tenant_id=connection.tenant_id, connection_id=connection.id, mark=mark) for mark in set(marks) - known
    )


def holders_of(session: Session, connection: Connection) -> list[bytes]:
    """The marks of who is behind a connection's grant."""
    return sorted(session.scalars(select(Holder.mark).where(Holder.connection_id == connection.id)))


def held_by(session: Session, marks: Sequence[bytes], *, states: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """(tenant id, connection id) of every connection that one of these persons granted, in these states (system session).

    With `states` only those that hold tokens: a grant that lives.
    """
    if not marks:
        return []
    query = (
        select(Connection.tenant_id, Connection.id)
        .join(Holder, Holder.connection_id == Connection.id)
        .where(Holder.mark.in_(marks))
        .distinct()
        .order_by(Connection.id)
    )
    if states is not None:
        query = query.where(Connection.status.in_(states), Connection.tokens.is_not(None))
    return [(tenant_id, connection_id) for tenant_id, connection_id in session.execute(query)]


def _living(session: Session, integration: str, key: str) -> Connection | None:
    return session.scalars(
        select(Connection)
        .where(Connection.integration == integration, Connection.external_id == key, Connection.status.in_(LIVING))
        .with_for_update()
    ).one_or_none()


def _wait_for_the_other(row: Connection, now: datetime) -> None:
    row.status, row.health_code, row.health_since = PENDING, CLAIMED_ELSEWHERE, now
    row.health_sentence = "This account is connected to another customer of this service."
    row.health_fix = "Have it disconnected there, then open a new connect link here."


def _take_tokens(session: Session, vault: Vault, row: Connection, grant: NewGrant, now: datetime) -> None:
    drop_tokens(session, vault, row)
    row.grant_id = new_id()
    row.tokens = seal_tokens(vault.keyring(session, row.tenant_id, row.grant_id, now), row.id, dict(grant.tokens))
    row.token_expires_at, row.token_version = grant.expires_at, row.token_version + 1
    row.granted_at, row.check_at = now, grant.check_at
    hold(session, row, grant.marks)
    if grant.trouble is None or row.status == PENDING:
        is_well(row, now)
