"""Deletions after a backup was restored: what had been erased is back, and has to go again before anybody works on it.

The ledger of deletions is in the backup too, as old as it is; so it is written to a file beside the backups, which holds ids
of ours, keyed hashes and instants, and no person.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import DateTime, LargeBinary, Table, select
from sqlalchemy.orm import Session

from models.base import UtcDateTime
from models.connection import REVOKED, Connection, drop_tokens
from models.deletion import RUNNING, STEP_PENDING, Deletion, DeletionStep
from models.erasure import step_names, target_of
from models.tenant import Tenant
from models.tombstone import Tombstone, bury
from models.vault import Vault

_DELETIONS: Table = Deletion.__table__  # type: ignore[assignment]
_TOMBSTONES: Table = Tombstone.__table__  # type: ignore[assignment]


def lines(session: Session) -> Iterator[bytes]:
    """A JSON line for each deletion that was begun, with its tombstones (system session)."""
    begun = select(_DELETIONS).where(_DELETIONS.c.frozen_at.is_not(None)).order_by(_DELETIONS.c.id)
    for row in session.execute(begun).mappings().all():
        marks = select(_TOMBSTONES.c.mark, _TOMBSTONES.c.until).where(_TOMBSTONES.c.deletion_id == row["id"])
        dead = {bytes(mark).hex(): until.isoformat() for mark, until in session.execute(marks)}
        yield orjson.dumps({"deletion": {name: _out(value) for name, value in row.items()}, "tombstones": dead})


def _out(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def read_line(line: bytes) -> tuple[dict[str, Any], dict[bytes, datetime]]:
    """(columns of a deletion, mark -> until); ValueError for what is no such line."""
    try:
        found = orjson.loads(line)
        values = {column.name: _in(column, found["deletion"].get(column.name)) for column in _DELETIONS.c}
        dead = {bytes.fromhex(mark): datetime.fromisoformat(until) for mark, until in found["tombstones"].items()}
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no line of `troth deletions export` ({type(error).__name__})") from None
    return values, dead


def _in(column: Any, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(column.type, UtcDateTime | DateTime):
        return datetime.fromisoformat(value)
    return bytes.fromhex(value) if isinstance(column.type, LargeBinary) else value


def bring_back(session: Session, values: Mapping[str, Any], dead: Mapping[bytes, datetime], now: datetime) -> bool:
    """Store a deletion that the backup does not know (system session); False when what it was about is not there either."""
    if session.get(Tenant, values["tenant_id"]) is None:
        return False
    if values["connection_id"] is not None and session.get(Connection, values["connection_id"]) is None:
        return False
    if session.get(Deletion, values["id"]) is None:
        row = Deletion(**values)
        row.part_of = None
        session.add(row)
        session.flush()
        session.add_all(
            DeletionStep(tenant_id=row.tenant_id, deletion_id=row.id, position=position, name=name, status=STEP_PENDING,
                         updated_at=now)
            for position, name in enumerate(step_names(row.kind), start=1)
        )  # fmt: skip
    bury(session, values["tenant_id"], dead, deletion_id=values["id"], now=now)
    return True


def arm_again(session: Session, vault: Vault, row: Deletion, now: datetime) -> None:
    """Let a deletion that was begun run once more (a session of its tenant): its connections are closed, their grants gone."""
    target = target_of(session, row.tenant_id, row, row.requested_at)
    query = select(Connection).where(Connection.id.in_(target.connection_ids)).with_for_update()
    for connection in session.scalars(query):
        drop_tokens(session, vault, connection)
        connection.status, connection.claim, connection.updated_at = REVOKED, None, now
        connection.check_at, connection.closed_at = None, connection.closed_at or row.requested_at
    row.status, row.moved_at, row.act_at = RUNNING, now, now
    row.verified_at = row.rescanned_at = None
    session.flush()
