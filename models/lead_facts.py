"""What is to be known of leads as a crowd: who is one person, how many a day brought, how long a form was quiet."""

from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime, timedelta
from itertools import pairwise
from uuid import UUID

from sqlalchemy import Column, Connection, String, Table, bindparam, cast, func, or_, select, update
from sqlalchemy.orm import Session

from models.lead import Lead, Stored
from models.statements import as_json, given_rows, rows_by
from models.tenancy import check_scope

_LEADS: Table = Lead.__table__  # type: ignore[assignment]
QUIET_WINDOW = timedelta(days=28)
LEAST_LEADS, TIMES_LONGEST, LEAST_SILENCE = 10, 3, timedelta(days=2)
_MOST_LOOKED_AT = 2_000


def mark_duplicates(session: Session, tenant_id: str, stored: Sequence[Stored]) -> int:
    """Leads of a person whom the tenant knew before point at the tenant's first lead of that person; how many.

    Test leads neither point nor are pointed at. Call it when the tenant's feed is locked (`models.feed.emit`): of two
    runs that store the same person at once the second one sees the first.
    """
    check_scope(session, (tenant_id,))
    real = [lead for lead in stored if not lead.is_test]
    by_email = _firsts(session, _LEADS.c.email_hash, tenant_id, {lead.email_hash for lead in real})
    by_phone = _firsts(session, _LEADS.c.phone_hash, tenant_id, {lead.phone_hash for lead in real})
    marks: dict[str, str] = {}
    for lead in sorted(real, key=lambda lead: lead.id):
        first = min(by_email.get(lead.email_hash, lead.id), by_phone.get(lead.phone_hash, lead.id))
        if first != lead.id:
            marks[lead.id] = marks.get(first, first)
    _mark(session.connection(), tenant_id, marks)
    return len(marks)


def mark_again(session: Session, tenant_id: str, lead_id: str, hashes: Iterable[bytes | None]) -> None:
    """A lead was put right: who is one person is found anew for all leads that bear a hash it has or had, and for those that
    pointed at it. When the tenant's feed is locked, as `mark_duplicates`."""
    check_scope(session, (tenant_id,))
    marks = sorted(filter(None, set(hashes)))
    alike = or_(_LEADS.c.id == lead_id, _LEADS.c.duplicate_of == lead_id, _LEADS.c.email_hash.in_(marks),
                _LEADS.c.phone_hash.in_(marks))  # fmt: skip
    query = select(Lead).where(alike, Lead.restricted.is_(None)).order_by(Lead.id).with_for_update()
    leads = session.scalars(query).all()
    mine = (_LEADS.c.tenant_id == tenant_id, _LEADS.c.id.in_([lead.id for lead in leads]))
    session.connection().execute(update(_LEADS).where(*mine).values(duplicate_of=None))
    mark_duplicates(session, tenant_id, [Stored.of(lead) for lead in leads])
    for lead in leads:
        session.refresh(lead, ["duplicate_of"])


def _mark(connection: Connection, tenant_id: str, marks: Mapping[str, str]) -> None:
    """lead -> the person's first lead."""
    if not marks:
        return
    if connection.dialect.name == "postgresql":
        rows = as_json(_LEADS, [{"id": lead, "duplicate_of": first} for lead, first in marks.items()])
        connection.execute(_MARK_GIVEN, {"rows": rows})
    else:
        connection.execute(_MARK, [{"tenant": tenant_id, "lead": lead, "to": to} for lead, to in marks.items()])


_MARK = (
    update(_LEADS)
    .where(_LEADS.c.tenant_id == bindparam("tenant"), _LEADS.c.id == bindparam("lead"))
    .values(duplicate_of=bindparam("to"))
)
_GIVEN = given_rows(_LEADS.c.id, _LEADS.c.duplicate_of)
# By the key alone (see `rows_by`): whose rows they are is for the table's policy to see, as always.
_MARK_GIVEN = update(_LEADS).where(_LEADS.c.id == _GIVEN.c.id).values(duplicate_of=_GIVEN.c.duplicate_of)


def _firsts(
    session: Session, column: Column[bytes | None], tenant_id: str, hashes: Set[bytes | None]
) -> dict[bytes | None, str]:
    """hash of a person -> the tenant's first lead that has it in this column, where there is more than one."""
    values = sorted(filter(None, hashes))
    if not values:
        return {}
    connection = session.connection()
    # As text: PostgreSQL has no least uuid before its version 18.
    first = cast(func.coalesce(_LEADS.c.duplicate_of, _LEADS.c.id), String(36)).label("first")
    mine = (_LEADS.c.tenant_id == tenant_id, _LEADS.c.is_test.is_(False))
    found = rows_by(connection, column, values, column.label("hash"), first, where=mine).subquery()
    rows = connection.execute(
        select(found.c.hash, func.min(found.c.first)).group_by(found.c.hash).having(func.count() > 1)
    )
    return {bytes(hashed): str(UUID(lead)) for hashed, lead in rows}


def counts_of(
    session: Session, form_external_ids: Iterable[str], start: datetime, end: datetime
) -> dict[str, tuple[int, int]]:
    """form -> (leads made in [start, end) that are here, those of them that the host acknowledged), without test leads."""
    query = (
        select(Lead.form_external_id, func.count(), func.count(Lead.acknowledged_at))
        .where(
            Lead.form_external_id.in_(list(form_external_ids)),
            Lead.created_at >= start,
            Lead.created_at < end,
            Lead.is_test.is_(False),
        )
        .group_by(Lead.form_external_id)
    )
    return {str(form): (received, told) for form, received, told in session.execute(query)}


def times_of(session: Session, form_external_id: str, now: datetime) -> list[datetime]:
    """When a form's leads of the last weeks were made, oldest first; the newest thousands of them."""
    query = (
        select(Lead.created_at)
        .where(
            Lead.form_external_id == form_external_id, Lead.created_at >= now - QUIET_WINDOW, Lead.is_test.is_(False)
        )
        .order_by(Lead.created_at.desc())
        .limit(_MOST_LOOKED_AT)
    )
    return sorted(session.scalars(query))


def silence(times: Sequence[datetime], now: datetime) -> datetime | None:
    """Since when a form is too quiet for what it was (its last lead), by the sorted times of its leads; None: it is not.

    It had ten leads at least, and is quiet for more than three times its longest pause between two, and than two days.
    """
    if len(times) < LEAST_LEADS:
        return None
    longest = max(later - earlier for earlier, later in pairwise(times))
    return times[-1] if now - times[-1] > max(longest * TIMES_LONGEST, LEAST_SILENCE) else None


def name_form(session: Session, tenant_id: str, form_external_id: str, name: str) -> None:
    """Leads that came before their form was known get its name."""
    check_scope(session, (tenant_id,))
    session.connection().execute(
        update(_LEADS)
        .where(
            _LEADS.c.tenant_id == tenant_id, _LEADS.c.form_external_id == form_external_id, _LEADS.c.form_name.is_(None)
        )
        .values(form_name=name[:190])
    )
