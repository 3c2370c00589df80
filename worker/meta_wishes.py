"""A person asks Facebook that what was acquired through them is deleted: which connections that is about, and the requests
that it opens. Meta's callback and its lists of ids come here alike."""

from collections import defaultdict
from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, and_, select

from integrations.facebook_leads import FACEBOOK_LEADS
from models.connection import LIVING, REVOKING, Connection
from models.deletion import ASKED_BY_PERSON, OPEN, Deletion, new_code
from models.grant import held_by, marks_of
from models.revocation import begin_revocation
from models.tenancy import SYSTEM, system_session
from worker.jobs import connections_revoke
from worker.services import Services
from worker.work import Work

Known = list[tuple[str, str]]
"""(tenant id, connection id)"""


def granted_by(services: Services, user_id: str) -> Known:
    """Every connection that this person granted, also those that were disconnected and are not erased yet; `user_id` is
    the app's own id of the person."""
    with system_session(services.database, reads_only=True) as session:
        if services.vault.existing(session, SYSTEM, SYSTEM) is None:
            return []  # nobody was ever marked
        marks = marks_of(session, services.vault, FACEBOOK_LEADS.name, [user_id], services.clock())
        return held_by(session, marks)


def living(services: Services, known: Known) -> Known:
    """Those that were not disconnected yet."""
    with system_session(services.database, reads_only=True) as session:
        ids = [connection_id for _, connection_id in known]
        alive = set(session.scalars(select(Connection.id).where(Connection.id.in_(ids), Connection.status.in_(LIVING))))
    return [one for one in known if one[1] in alive]


def not_asked_yet(services: Services, known: Known) -> Known:
    """Those for which no request of a person is open."""
    ids = [connection_id for _, connection_id in known]
    with system_session(services.database, reads_only=True) as session:
        asked = set(session.scalars(select(Deletion.connection_id).where(_open_for(ids))))
    return [one for one in known if one[1] not in asked]


def ask_to_delete(services: Services, known: Known, requested_by: str) -> str:
    """Ask for the deletion of all of these; their confirmation code. A repetition changes nothing and gets the same code."""
    code = _asked_before(services, known) or new_code()
    for tenant_id, connection_id in known:
        close(services, tenant_id, connection_id, requested_by, code)
    return code


def close(services: Services, tenant_id: str, connection_id: str, requested_by: str, code: str | None) -> None:
    """Close a connection, and have its grant ended. With a `code` that asks for a request of its own, once."""
    now, undo = services.clock(), services.settings.undo
    with Work(services, tenant_id) as work:
        if code is None or not _has(work, connection_id, code):
            begin_revocation(work.session, connection_id, requested_by=requested_by, undo=undo, now=now, code=code)
        row = work.session.get_one(Connection, connection_id)
        if row.status == REVOKING:
            work.put(connections_revoke(tenant_id, connection_id))


def _has(work: Work, connection_id: str, code: str) -> bool:
    query = select(Deletion.id).where(Deletion.connection_id == connection_id, Deletion.confirmation_code == code)
    return work.session.scalars(query.limit(1)).one_or_none() is not None


def _asked_before(services: Services, known: Sequence[tuple[str, str]]) -> str | None:
    """The code of a request that is open and covers all of these: this one is its repetition."""
    covers: dict[str, set[str]] = defaultdict(set)
    ids = {connection_id for _, connection_id in known}
    query = select(Deletion.confirmation_code, Deletion.connection_id).where(_open_for(ids))
    with system_session(services.database, reads_only=True) as session:
        for code, connection_id in session.execute(query.order_by(Deletion.id)):
            covers[code].add(str(connection_id))
    return next((code for code, covered in covers.items() if covered >= ids), None)


def _open_for(ids: Collection[str]) -> ColumnElement[bool]:
    return and_(Deletion.connection_id.in_(ids), Deletion.requested_by.in_(ASKED_BY_PERSON), Deletion.status.in_(OPEN))
