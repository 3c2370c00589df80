"""Looks at grants: whose time has come, and when the next ones come; it asks no provider and judges nothing.

A sweep takes rows out of the order of their ids, so it waits for nobody: one that is held has its turn at the next sweep.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.orm import Session

from models.connection import LISTENING, Connection

_CONNECTIONS: Table = Connection.__table__  # type: ignore[assignment]
_OPEN = _CONNECTIONS.c.status.in_(LISTENING)
_NAMES = select(_CONNECTIONS.c.id, _CONNECTIONS.c.tenant_id, _CONNECTIONS.c.integration).where(_OPEN)


class Due(NamedTuple):
    """A connection that is to be looked at."""

    connection_id: str
    tenant_id: str
    integration: str


def due_looks(session: Session, integrations: Collection[str], now: datetime, *, limit: int) -> list[Due]:
    """Whose time has come, longest overdue first, held until the transaction ends (system session)."""
    query = (
        _NAMES.where(_CONNECTIONS.c.check_at <= now, _CONNECTIONS.c.integration.in_(integrations))
        .order_by(_CONNECTIONS.c.check_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [Due(*row) for row in session.connection().execute(query)]


def siblings(session: Session, tenant_ids: Collection[str], integrations: Collection[str]) -> list[Due]:
    """All connections of these tenants at these integrations, held until the transaction ends (system session)."""
    if not tenant_ids:
        return []
    query = _NAMES.where(
        _CONNECTIONS.c.tenant_id.in_(tenant_ids),
        _CONNECTIONS.c.integration.in_(integrations),
        _CONNECTIONS.c.check_at.is_not(None),
    ).with_for_update(skip_locked=True)
    return [Due(*row) for row in session.connection().execute(query)]


_SET_NEXT = update(_CONNECTIONS).where(_CONNECTIONS.c.id == bindparam("connection")).values(check_at=bindparam("at"))


def set_next(session: Session, looks: Mapping[str, datetime]) -> None:
    """connection id -> when its next look comes; the rows are held (system session)."""
    if looks:
        rows = [{"connection": connection_id, "at": at} for connection_id, at in looks.items()]
        session.connection().execute(_SET_NEXT, rows)


def looks_left(
    session: Session, integration: str, *, every: timedelta, after: str | None, limit: int
) -> tuple[list[Connection], str | None]:
    """Of the tenant's next `limit` connections behind the id `after`: those to be looked at now, or their looks would be
    further apart than `every`; and the id to go on behind, None at the end."""
    query = select(Connection).where(
        Connection.integration == integration, Connection.status.in_(LISTENING), Connection.tokens.is_not(None)
    )
    if after is not None:
        query = query.where(Connection.id > after)
    rows = session.scalars(query.order_by(Connection.id).limit(limit)).all()
    return [row for row in rows if _is_left(row, every)], rows[-1].id if len(rows) == limit else None


def _is_left(row: Connection, every: timedelta) -> bool:
    return row.checked_at is None or (row.check_at is not None and row.checked_at < row.check_at - every)
