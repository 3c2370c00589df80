"""What is to be known of leads as a crowd: who is one person, how many a day brought, how long a form was quiet."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from sqlalchemy import String, Table, bindparam, cast, func, select, union_all, update
from sqlalchemy.orm import Session

from models.lead import Lead, Stored
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
    real = [lead for lead in stored if not lead.is_test and lead.hashes]
    firsts = _firsts(session, tenant_id, sorted({one for lead in real for one in lead.hashes})) if real else {}
    marks: dict[str, str] = {}
    for lead in sorted(real, key=lambda lead: lead.id):
        first = min(firsts.get(one, lead.id) for one in lead.hashes)
        if first != lead.id:
            marks[lead.id] = marks.get(first, first)
    if marks:
        session.connection().execute(_MARK, [{"tenant": tenant_id, "lead": one, "to": to} for one, to in marks.items()])
    return len(marks)


_MARK = (
    update(_LEADS)
    .where(_LEADS.c.tenant_id == bindparam("tenant"), _LEADS.c.id == bindparam("lead"))
    .values(duplicate_of=bindparam("to"))
)


def _first_by(name: str) -> Any:
    # As text: PostgreSQL has no least uuid before its version 18.
    first = func.min(cast(func.coalesce(_LEADS.c.duplicate_of, _LEADS.c.id), String(36)))
    return (
        select(_LEADS.c[name], first)
        .where(
            _LEADS.c.tenant_id == bindparam("tenant"),
            _LEADS.c[name].in_(bindparam("hashes", expanding=True)),
            _LEADS.c.is_test.is_(False),
        )
        .group_by(_LEADS.c[name])
    )


_FIRSTS = union_all(_first_by("email_hash"), _first_by("phone_hash"))


def _firsts(session: Session, tenant_id: str, hashes: Sequence[bytes]) -> dict[bytes, str]:
    """hash of a person -> the tenant's first lead that has it."""
    rows = session.connection().execute(_FIRSTS, {"tenant": tenant_id, "hashes": hashes})
    return {bytes(hashed): str(UUID(first)) for hashed, first in rows}


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
