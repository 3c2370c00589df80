"""The end of connections, closed at once in one transaction, and whatever asks for it; a grant is destroyed when its provider
has been told."""

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import inbox
from models.calendar import REMOVE, calendar_of
from models.connection import LIVING, REVOKED, REVOKING, Connection, described, drop_tokens
from models.deletion import (
    COMPLETED,
    CONNECTION,
    DESTROY_TOKENS,
    GRANT_STEPS,
    INTEGRATION,
    OPEN,
    PROVIDER_STEPS,
    STEP_DONE,
    TENANT,
    Deletion,
    Wish,
    deletion_of,
    end_step,
    request_deletion,
)
from models.erasure import ask
from models.feed import CONNECTION_REVOKED, emit
from models.job import cancel_connection
from models.tenant import Tenant
from models.vault import Vault


def begin_revocation(
    session: Session, connection_id: str, *, requested_by: str, undo: timedelta, now: datetime, code: str | None = None,
    requester: bytes | None = None, part_of: str | None = None,
) -> tuple[Deletion, bool] | None:  # fmt: skip
    """Close a connection (a session of its tenant, or a system session); (its deletion, whether this call closed it).

    None when there is no such connection. A closed one stays closed; a `code` asks for a request of its own; `part_of` is
    the wider request that this one only ends a grant for. From the commit on nothing is written for it any more: whoever
    writes looks at its state in the same transaction (`models.connection.still`, `owners`), and its jobs that have not
    begun are cancelled.
    """
    row = session.get(Connection, connection_id, with_for_update=True, populate_existing=True)
    if row is None:
        return None
    known = deletion_of(session, row.id)
    is_closed = row.status in (REVOKING, REVOKED)
    if is_closed and known is not None and code is None:
        return known, False
    wish = Wish(CONNECTION, requested_by, connection_id=row.id, integration=row.integration, requester=requester,
                code=code, part_of=part_of)  # fmt: skip
    tenant = session.get_one(Tenant, row.tenant_id)
    if is_closed:
        return ask(session, tenant=tenant, wish=wish, undo=undo, now=now), False
    row.status, row.updated_at, row.closed_at, row.check_at = REVOKING, now, now, None
    session.flush()
    cancel_connection(session, row.tenant_id, row.id, now)
    inbox.close(session, tenant_id=row.tenant_id, connection_id=row.id)
    steps = _grant_steps(session, row.id)
    if part_of is None:
        return ask(session, tenant=tenant, wish=wish, undo=undo, now=now, grant_steps=steps), True
    part = request_deletion(session, tenant=tenant, wish=wish, steps=steps, undo=undo, now=now)
    part.act_at = None  # the wider request looks after it
    return part, True


def _grant_steps(session: Session, connection_id: str) -> tuple[str, ...]:
    calendar = calendar_of(session, connection_id)
    removes = calendar is not None and calendar.external_id is not None and calendar.on_revoke == REMOVE
    return PROVIDER_STEPS if removes else GRANT_STEPS


def request_erasure(
    session: Session, *, tenant: Tenant, wish: Wish, undo: timedelta, now: datetime
) -> tuple[Deletion, list[str]]:
    """Any scope (a session of the tenant): (the request, the connections that are to be revoked now).

    Grants end at once, whatever becomes of the request. One that is open for the same connection is the answer to a second.
    """
    if wish.kind == CONNECTION and wish.connection_id is not None:
        begun = begin_revocation(session, wish.connection_id, requested_by=wish.requested_by, undo=undo, now=now,
                                 requester=wish.requester)  # fmt: skip
        if begun is not None and (begun[1] or (begun[0].status in OPEN and begun[0].part_of is None)):
            return begun[0], [wish.connection_id]
        row = session.get_one(Connection, wish.connection_id)
        wish = replace(wish, integration=row.integration)
        return ask(session, tenant=tenant, wish=wish, undo=undo, now=now), []
    asked = ask(session, tenant=tenant, wish=wish, undo=undo, now=now)
    closed = close_all(session, asked, now) if wish.kind in (INTEGRATION, TENANT) else []
    return asked, closed


def close_all(session: Session, asked: Deletion, now: datetime) -> list[str]:
    """Close every living connection that a request covers: those that were closed now are to be revoked."""
    living = select(Connection.id).where(Connection.status.in_(LIVING)).order_by(Connection.id)
    if asked.kind == INTEGRATION:
        living = living.where(Connection.integration == asked.integration, Connection.created_at <= asked.requested_at)
    ids = list(session.scalars(living))
    for one in ids:
        begin_revocation(session, one, requested_by=asked.requested_by, undo=timedelta(0), now=now, part_of=asked.id)
    return ids


def end_revocation(session: Session, vault: Vault, connection: Connection, now: datetime) -> None:
    """Destroy what the grant left here, and give the account free. What was acquired waits for its deletion, and so do
    the holders' hashes: their own request to delete may still come."""
    drop_tokens(session, vault, connection)
    connection.status, connection.claim, connection.updated_at = REVOKED, None, now
    connection.health_code = connection.health_sentence = connection.health_fix = connection.health_since = None
    session.flush()
    asked = deletion_of(session, connection.id)
    if asked is not None:
        end_step(session, asked.id, DESTROY_TOKENS, STEP_DONE, None, now)
        if asked.part_of is not None:
            asked.status, asked.completed_at = COMPLETED, now
    emit(session, connection.tenant_id, [(CONNECTION_REVOKED, described(connection))], now)
