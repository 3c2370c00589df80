"""One refresh at a time: whoever has the lease of a connection's tokens calls the provider, and the others read the row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import randbits

from sqlalchemy import or_, update
from sqlalchemy.orm import Session

from models.connection import LISTENING, Connection, read_tokens, seal_tokens
from models.vault import Vault

LEASE = timedelta(seconds=40)
"""Longer than a refresh can take: connecting and reading time out before it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to refresh, for as long as the lease holds. `tokens` are those to refresh."""

    connection_id: str
    fence: int
    tokens: Mapping[str, str] = field(repr=False)


def take_turn(
    session: Session, vault: Vault, connection: Connection, now: datetime, *, lease: timedelta = LEASE
) -> Turn | None:
    """The turn, or None when another process has it, or has refreshed since `connection` was read: read it again."""
    fence = randbits(62)
    took = session.execute(
        update(Connection)
        .where(
            Connection.id == connection.id,
            Connection.status.in_(LISTENING),
            Connection.token_version == connection.token_version,
            Connection.tokens.is_not(None),  # destroyed since: that is no new version
            or_(Connection.refresh_until.is_(None), Connection.refresh_until <= now),
        )
        .values(refresh_by=fence, refresh_until=now + lease)
        .execution_options(synchronize_session=False)
    )
    if took.rowcount != 1:  # type: ignore[attr-defined]
        return None
    return Turn(connection.id, fence, read_tokens(session, vault, connection))


def store_refreshed(
    session: Session,
    vault: Vault,
    turn: Turn,
    *,
    tokens: Mapping[str, str],
    expires_at: datetime | None,
    scopes: Sequence[str] | None,
    now: datetime,
) -> bool:
    """Store what a refresh gave and end the turn; False when it was over: a new grant came, or another took the turn."""
    row = session.get(Connection, turn.connection_id, with_for_update=True, populate_existing=True)
    if row is None or row.refresh_by != turn.fence or row.grant_id is None:
        return False
    keyring = vault.existing(session, row.tenant_id, row.grant_id)
    if keyring is None:
        return False
    row.tokens = seal_tokens(keyring, row.id, dict(tokens))
    row.token_expires_at, row.token_version = expires_at, row.token_version + 1
    row.scopes = row.scopes if scopes is None else list(scopes)
    row.refresh_by = row.refresh_until = None
    row.updated_at = row.checked_at = now
    session.flush()
    return True


def end_turn(session: Session, turn: Turn) -> None:
    """Give the turn back without a result."""
    session.execute(
        update(Connection)
        .where(Connection.id == turn.connection_id, Connection.refresh_by == turn.fence)
        .values(refresh_by=None, refresh_until=None)
        .execution_options(synchronize_session=False)
    )
