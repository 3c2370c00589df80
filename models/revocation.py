"""The end of a connection: closed at once in one transaction, its grant destroyed when the provider has been told."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from models import inbox
from models.connection import REVOKED, REVOKING, Connection, described, drop_tokens
from models.deletion import Deletion, deletion_of, request_deletion
from models.feed import CONNECTION_REVOKED, emit
from models.job import cancel_connection
from models.tenant import Tenant
from models.vault import Vault

STOP_NOTICES, REVOKE_GRANT, DESTROY_TOKENS = "stop_notices", "revoke_grant", "destroy_tokens"
STEPS = (STOP_NOTICES, REVOKE_GRANT, DESTROY_TOKENS)


def begin_revocation(
    session: Session, connection_id: str, *, requested_by: str, undo: timedelta, now: datetime, code: str | None = None
) -> tuple[Deletion, bool] | None:
    """Close a connection (a session of its tenant, or a system session); (its deletion, whether this call closed it).

    None when there is no such connection. A closed one stays closed; a `code` asks for a request of its own. From the
    commit on nothing is written for it any more: whoever writes looks at its state in the same transaction
    (`models.connection.still`, `owners`), and its jobs that have not begun are cancelled, with
    the notices that waited for them.
    """
    row = session.get(Connection, connection_id, with_for_update=True, populate_existing=True)
    if row is None:
        return None
    known = deletion_of(session, row.id)
    is_closed = row.status in (REVOKING, REVOKED)
    if is_closed and known is not None and code is None:
        return known, False
    if is_closed:
        return _ask(session, row, (), requested_by, undo, now, code), False
    row.status, row.updated_at, row.check_at = REVOKING, now, None
    session.flush()
    cancel_connection(session, row.tenant_id, row.id, now)
    inbox.close(session, tenant_id=row.tenant_id, connection_id=row.id)
    return _ask(session, row, STEPS, requested_by, undo, now, code), True


def _ask(
    session: Session,
    row: Connection,
    steps: Sequence[str],
    requested_by: str,
    undo: timedelta,
    now: datetime,
    code: str | None,
) -> Deletion:
    tenant = session.get_one(Tenant, row.tenant_id)
    return request_deletion(session, tenant=tenant, connection_id=row.id, integration=row.integration,
                            requested_by=requested_by, steps=steps, undo=undo, now=now, code=code)  # fmt: skip


def end_revocation(session: Session, vault: Vault, connection: Connection, now: datetime) -> None:
    """Destroy what the grant left here, and give the account free. What was acquired waits for its deletion, and so do
    the holders' hashes: their own request to delete may still come."""
    drop_tokens(session, vault, connection)
    connection.status, connection.claim, connection.updated_at = REVOKED, None, now
    connection.health_code = connection.health_sentence = connection.health_fix = connection.health_since = None
    session.flush()
    emit(session, connection.tenant_id, [(CONNECTION_REVOKED, described(connection))], now)
