"""How a tenant's connections are, in sentences, and how much waits for each; for the API and for the pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.calendar_event import PENDING as WISHED
from models.calendar_event import counts_of
from models.connection import Connection
from models.inbox import PENDING, InboxEvent


@dataclass(frozen=True, slots=True)
class Health:
    """`sentence` says what is wrong, `fix` what a person can do (both None when all is well).

    `waiting` counts the provider's notices, and the host's wishes, that were taken in and are not dealt with yet, whatever
    they wait for.
    """

    sentence: str | None
    fix: str | None
    since: datetime | None
    waiting: int


def connections_page(session: Session, *, after: str | None = None, limit: int = 100) -> list[Connection]:
    """The tenant's connections in the order they were made."""
    query = select(Connection).order_by(Connection.id).limit(limit)
    return list(session.scalars(query if after is None else query.where(Connection.id > after)))


def healths(session: Session, connections: Sequence[Connection]) -> dict[str, Health]:
    """connection id -> its health."""
    ids = [row.id for row in connections]
    waiting: dict[str, int] = {}
    if ids:
        query = (
            select(InboxEvent.connection_id, func.count())
            .where(InboxEvent.connection_id.in_(ids), InboxEvent.state == PENDING)
            .group_by(InboxEvent.connection_id)
        )
        waiting = {connection: count for connection, count in session.execute(query)}
        waiting |= {
            connection: states[WISHED] for connection, states in counts_of(session, ids).items() if WISHED in states
        }
    return {
        row.id: Health(row.health_sentence, row.health_fix, row.health_since, waiting.get(row.id, 0))
        for row in connections
    }
