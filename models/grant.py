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
from models.tombstone import newest
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
    """One grant; raises BeingRevoked, or as `store_grants`."""
    (stored,) = store_grants(session, vault, [grant], tenant_id=tenant_id, now=now)
    if isinstance(stored, BeingRevoked):
        raise stored
    return stored


def store_grants(
    session: Session, vault: Vault, grants: Sequence[NewGrant], *, tenant_id: str, now: datetime
) -> list[Stored | BeingRevoked]:
    """Store grants of one tenant, of different accounts; what became of each, in their order.

    A known account keeps its connection, and with it every mapping; its old tokens are destroyed. Raises IntegrityError
    when a rival stored one of the accounts at this moment (try again).
    """
    # All rows first, in the order of their ids: transactions that hold some of them wait for each other, but not in a ring.
    known = _living(session, grants)
    found: list[_Begun | BeingRevoked] = []
    for grant in grants:
        row = known.get((grant.integration, grant.key))
        if row is not None and row.status == REVOKING:
            found.append(BeingRevoked())
            continue
        before = None if row is None else row.status
        if row is None:
            row = Connection(id=new_id(), tenant_id=tenant_id, integration=grant.integration, external_id=grant.key,
                             status=PENDING, token_version=0, created_at=now,
                             tombstoned_at=newest(session, tenant_id))  # fmt: skip
            session.add(row)
            known[grant.integration, grant.key] = row
        begun = _Begun(grant, row, before)
        _write(session, vault, begun, now)
        found.append(begun)
    session.flush()
    _settle(session, tenant_id, [one for one in found if isinstance(one, _Begun)], now)
    return [one if isinstance(one, BeingRevoked) else one.stored for one in found]


@dataclass(frozen=True, slots=True)
class _Begun:
    """A grant and its row; `before` is the row's status until now, None for a new one."""

    grant: NewGrant
    row: Connection
    before: str | None

    @property
    def waits(self) -> bool:
        """For another tenant. Word of one may be late: what lives here has the account, whatever was heard before."""
        return self.grant.claimed_elsewhere and self.before in (None, PENDING)

    @property
    def stored(self) -> Stored:
        is_well = self.row.status == ACTIVE and self.grant.trouble is None
        return Stored(self.row, self.before is None, self.before in (PENDING, NEEDS_RECONNECT) and is_well)


def _write(session: Session, vault: Vault, begun: _Begun, now: datetime) -> None:
    """The row's own columns; what refers to the row comes when it is there."""
    grant, row = begun.grant, begun.row
    row.scopes, row.updated_at = list(grant.scopes), now
    row.claim = f"{grant.integration}:{grant.key}"
    if grant.may_be_shared or begun.waits:
        row.claim += f":{row.tenant_id}"
    make = vault.new_keyring if begun.before is None else vault.keyring
    row.account = seal_account(make(session, row.tenant_id, row.id, now), row.id, grant.external_id, grant.name)
    if begun.waits:
        _wait_for_the_other(row, now)
        return
    if begun.before == PENDING:
        row.created_at = now  # until now the account was another tenant's, and with it what came of it
    drop_tokens(session, vault, row)
    row.grant_id = new_id()
    row.tokens = seal_tokens(vault.new_keyring(session, row.tenant_id, row.grant_id, now), row.id, dict(grant.tokens))
    row.token_expires_at, row.token_version = grant.expires_at, row.token_version + 1
    row.granted_at, row.check_at = now, grant.check_at
    if grant.trouble is None:
        is_well(row, now)
    elif row.status == PENDING:
        row.status = ACTIVE  # until the trouble is told


def _settle(session: Session, tenant_id: str, begun: Sequence[_Begun], now: datetime) -> None:
    """Who is behind the grants, and what the host is told: first of the connections, then of their troubles."""
    for one in begun:
        if not one.waits:
            hold(session, one.row, one.grant.marks, is_new=one.before is None)
    session.flush()
    events = [(CONNECTION_CREATED, one.row) for one in begun if one.before is None]
    events += [(CONNECTION_RECOVERED, one.row) for one in begun if one.stored.recovered]
    emit(session, tenant_id, [(kind, described(row)) for kind, row in events], now)
    for one in begun:
        trouble = one.grant.trouble
        if trouble is not None and not one.waits:
            needs_person(session, one.row, code=trouble.code, sentence=trouble.sentence, fix=trouble.fix, now=now)
    session.flush()


def hold(session: Session, connection: Connection, marks: Sequence[bytes], *, is_new: bool = False) -> None:
    """Remember who is behind a connection's grant, instead of who was (`is_new`: nobody was)."""
    known = set() if is_new else set(holders_of(session, connection))
    if known - set(marks):
        session.execute(delete(Holder).where(Holder.connection_id == connection.id, Holder.mark.not_in(marks)))
    session.add_all(
        Holder(tenant_id=connection.tenant_id, connection_id=connection.id, mark=mark) for mark in set(marks) - known
    )


def holders_of(session: Session, connection: Connection) -> list[bytes]:
    """The marks of who is behind a connection's grant."""
    return sorted(session.scalars(select(Holder.mark).where(Holder.connection_id == connection.id)))


def hold_also(session: Session, connections: Sequence[Connection], marks: Mapping[str, Sequence[bytes]]) -> None:
    """connection id -> the marks of who was found behind its grant too. What is known already costs one question."""
    rows = session.execute(select(Holder.connection_id, Holder.mark).where(Holder.connection_id.in_(marks)))
    known = {(connection_id, mark) for connection_id, mark in rows} if marks else set()
    session.add_all(
        Holder(tenant_id=row.tenant_id, connection_id=row.id, mark=mark)
        for row in connections
        for mark in set(marks.get(row.id, ()))
        if (row.id, mark) not in known
    )


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


def _living(session: Session, grants: Sequence[NewGrant]) -> dict[tuple[str, str], Connection]:
    rows = session.scalars(
        select(Connection)
        .where(
            Connection.integration.in_({grant.integration for grant in grants}),
            Connection.external_id.in_([grant.key for grant in grants]),
            Connection.status.in_(LIVING),
        )
        .order_by(Connection.id)
        .with_for_update()
    )
    return {(row.integration, row.external_id): row for row in rows}


def _wait_for_the_other(row: Connection, now: datetime) -> None:
    row.status, row.health_code, row.health_since = PENDING, CLAIMED_ELSEWHERE, now
    row.health_sentence = "This account is connected to another customer of this service."
    row.health_fix = "Have it disconnected there, then open a new connect link here."
