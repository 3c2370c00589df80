"""Setting a restriction and lifting it: a person's leads stay, sealed and unseen, and their devices are not pushed to; a
tenant's jobs wait. What waited goes on when it is lifted, and nothing of it is lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, false, func, or_, select, update
from sqlalchemy.orm import Session

from models.base import new_id
from models.connection import Connection
from models.device import DEVICES
from models.feed import LEAD_RECEIVED, RESTRICTION_LIFTED, RESTRICTION_SET, emit, hold_feed
from models.job import wake_due
from models.lead import CAME_RESTRICTED, RESTRICTED, Lead, Stored, described
from models.lead_facts import mark_duplicates
from models.restriction import TENANT, Restriction, restricted_by, restricted_marks

NAMED_TO_HOST = 100
"""An event names so many leads at most; the host asks the API for the rest."""
_LEADS: Table = Lead.__table__  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Freeze:
    """What is to be restricted: the tenant, or a person by look-up hashes, of which `user` is who they are at the host."""

    kind: str
    email: bytes | None = None
    phone: bytes | None = None
    user: bytes | None = None
    reason: str | None = None
    requester: bytes | None = None


def restrict(session: Session, tenant_id: str, wish: Freeze, now: datetime) -> Restriction:
    """From this commit on it is kept and not processed. One of the same scope that is in force already is it."""
    _let_writers_end(session, tenant_id)
    known = restricted_by(session, kind=wish.kind, email=wish.email, phone=wish.phone, user=wish.user)
    if known is not None:
        return known
    row = Restriction(id=new_id(), tenant_id=tenant_id, kind=wish.kind, email=wish.email, phone=wish.phone,
                      user=wish.user, reason=wish.reason, requester=wish.requester, created_at=now)  # fmt: skip
    session.add(row)
    session.flush()
    leads = _ids(session, row, _LEADS.c.restricted.is_(None))
    _mark(session, tenant_id, leads, RESTRICTED)
    emit(session, tenant_id, [(RESTRICTION_SET, _told(row, leads))], now)
    return row


def lift(session: Session, row: Restriction, now: datetime) -> int:
    """It is over: leads are seen again, those that came meanwhile are told of, a tenant's jobs that are due run. How many
    leads or jobs went on; again changes nothing."""
    if row.lifted_at is not None:
        return 0
    _let_writers_end(session, row.tenant_id)
    row.lifted_at = now
    session.flush()
    if row.kind == TENANT:
        number = wake_due(session, row.tenant_id, now)
        emit(session, row.tenant_id, [(RESTRICTION_LIFTED, _told(row, []))], now)
        return number
    free = _free(session, row)
    came = [lead for lead in free if lead.restricted == CAME_RESTRICTED]
    _mark(session, row.tenant_id, [lead.id for lead in free], None)
    told: list[tuple[str, dict[str, Any]]] = [(RESTRICTION_LIFTED, _told(row, [lead.id for lead in free]))]
    emit(session, row.tenant_id, [*told, *((LEAD_RECEIVED, described(lead, lead.connection_id)) for lead in came)], now)
    mark_duplicates(session, row.tenant_id, [Stored.of(lead) for lead in came])
    return len(free)


def leads_under(session: Session, row: Restriction) -> int:
    """How many leads are kept and not processed because of it (or of another one of the same person)."""
    query = select(func.count()).select_from(_LEADS).where(_persons(row), _LEADS.c.restricted.is_not(None))
    return session.connection().execute(query).scalar_one()


def devices_under(session: Session, row: Restriction) -> int:
    """How many devices are not pushed to because of it."""
    mine = and_(DEVICES.c.tenant_id == row.tenant_id, DEVICES.c.user_hash == row.user)
    query = select(func.count()).select_from(DEVICES).where(mine)
    return 0 if row.user is None else session.connection().execute(query).scalar_one()


def _let_writers_end(session: Session, tenant_id: str) -> None:
    """Those that store leads at this moment hold their connection: they end first, and who comes later sees what we wrote.

    InnoDB may undo us in favour of one of them (`models.database.past_deadlocks`): a lead refers to its connection.
    """
    session.scalars(select(Connection.id).order_by(Connection.id).with_for_update()).all()
    hold_feed(session, tenant_id)


def _persons(row: Restriction) -> ColumnElement[bool]:
    pairs = ((_LEADS.c.email_hash, row.email), (_LEADS.c.phone_hash, row.phone))
    mine = or_(false(), *(column == mark for column, mark in pairs if mark is not None))
    return (_LEADS.c.tenant_id == row.tenant_id) & mine


def _ids(session: Session, row: Restriction, *more: ColumnElement[bool]) -> list[str]:
    query = select(_LEADS.c.id).where(_persons(row), *more).order_by(_LEADS.c.id).with_for_update()
    return list(session.connection().execute(query).scalars())


def _free(session: Session, row: Restriction) -> list[Lead]:
    """Its leads that no other restriction keeps."""
    ids = _ids(session, row, _LEADS.c.restricted.is_not(None))
    leads = list(session.scalars(select(Lead).where(Lead.id.in_(ids)).order_by(Lead.id))) if ids else []
    marks = {mark for lead in leads for mark in (lead.email_hash, lead.phone_hash) if mark is not None}
    still = restricted_marks(session, row.tenant_id, marks)
    return [lead for lead in leads if not {lead.email_hash, lead.phone_hash} & still]


def _mark(session: Session, tenant_id: str, ids: Sequence[str], word: str | None) -> None:
    if ids:
        these = update(_LEADS).where(_LEADS.c.tenant_id == tenant_id, _LEADS.c.id.in_(ids))
        session.connection().execute(these.values(restricted=word))


def _told(row: Restriction, leads: Sequence[str]) -> dict[str, Any]:
    """What an event says of it: the host's own copies are to be kept and not processed, too."""
    return {"restriction_id": row.id, "scope": row.kind, "lead_ids": list(leads[:NAMED_TO_HOST])}
