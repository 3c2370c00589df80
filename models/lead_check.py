"""The daily lines of leads beside the provider's: written anew when counted anew; it counts nothing itself."""

from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from models.base import new_id
from models.form import GREEN, RED, LeadCheck

MOST_NAMED = 100
"""A line names so many missing leads at most."""


def write_check(
    session: Session, *, tenant_id: str, form_id: str, day: date, provider: int, received: int, acknowledged: int,
    missing: Sequence[str], now: datetime,
) -> LeadCheck:  # fmt: skip
    """A form's line of a day; red while leads are missing."""
    query = select(LeadCheck).where(LeadCheck.form_id == form_id, LeadCheck.day == day)
    line = session.scalars(query).one_or_none()
    if line is None:
        line = LeadCheck(id=new_id(), tenant_id=tenant_id, form_id=form_id, day=day)
        session.add(line)
    line.provider, line.received, line.acknowledged = provider, received, acknowledged
    line.missing, line.status, line.checked_at = list(missing[:MOST_NAMED]), RED if missing else GREEN, now
    session.flush()
    return line


def open_checks(session: Session, form_ids: Sequence[str], since: date) -> list[LeadCheck]:
    """Lines from a day on that are red, or whose leads the host has not acknowledged all."""
    is_open = or_(LeadCheck.status == RED, LeadCheck.acknowledged < LeadCheck.received)
    query = select(LeadCheck).where(LeadCheck.form_id.in_(form_ids), LeadCheck.day >= since, is_open)
    return list(session.scalars(query.order_by(LeadCheck.day, LeadCheck.id)))
