"""How far a form's leads have been read: catch-ups from the proven point, backfills from a wished one; it asks nobody.

A provider tells of a lead late now and then, so that a reading proves nothing about its own last minutes (`LATE`), and
the next one begins a little before the proven point (`OVERLAP`). What is read twice is stored once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from models.connection import ACTIVE, Connection
from models.form import BACKFILL_DONE, Form

LATE, OVERLAP = timedelta(minutes=5), timedelta(minutes=15)


def begin_reading(form: Form, *, connected_at: datetime, next_at: datetime, now: datetime) -> None:
    """A catch-up begins, and is under way until `end_reading`. The next one is due at `next_at`, whatever this one takes.

    Set before and not after it, so that a gap found meanwhile (`models.form.read_all_soon`) is not forgotten.
    """
    # Never from before the connection: the page may have been another tenant's then.
    form.reading_since = max(connected_at, (form.proven_until or connected_at) - OVERLAP)
    form.reading_began_at, form.reading_after, form.read_due_at = now, None, next_at


def read_again(form: Form, now: datetime) -> None:
    """The provider forgot how far the reading was: from its newest lead again, with the same end."""
    form.reading_began_at, form.reading_after = now, None


def end_reading(form: Form) -> None:
    """All of it has been read: every lead that was made before the reading began is here."""
    if form.reading_began_at is not None:
        proven = form.reading_began_at - LATE
        form.proven_until = proven if form.proven_until is None else max(form.proven_until, proven)
    stop_reading(form)


def stop_reading(form: Form) -> None:
    """It is no longer under way, and proved nothing."""
    form.reading_since = form.reading_began_at = form.reading_after = None


def end_backfill(form: Form, sentence: str | None = None) -> None:
    """It is over: all of it has been read, or a sentence says why not."""
    form.backfill_after, form.backfill_state = None, BACKFILL_DONE
    form.backfill_sentence = sentence and sentence[:500]


def is_gone(form: Form, sentence: str, now: datetime) -> None:
    """The provider does not give its leads any more; it is read again when it is listed again."""
    stop_reading(form)
    form.gone_at, form.gone_sentence = now, sentence[:500]


@dataclass(frozen=True, slots=True)
class Due:
    """A connection, and what is due there. `seen_at`: when its forms were listed; None: never, or it has none."""

    tenant_id: str
    connection_id: str
    seen_at: datetime | None
    is_to_read: bool
    is_to_check: bool


def due_connections(
    session: Session, integration: str, *, after: str | None, limit: int, now: datetime
) -> Sequence[Due]:
    """The next connections that are well, by id, whatever is due there (system session)."""
    there = Form.gone_at.is_(None)
    reads = func.min(
        case((there & Form.reading_began_at.is_not(None), Form.reading_began_at), (there, Form.read_due_at))
    )
    checks = func.min(case((there, Form.check_due_at)))
    query = (
        select(Connection.tenant_id, Connection.id, func.max(Form.seen_at), reads, checks)
        .outerjoin(Form, (Form.tenant_id == Connection.tenant_id) & (Form.connection_id == Connection.id))
        .where(Connection.integration == integration, Connection.status == ACTIVE)
        .group_by(Connection.tenant_id, Connection.id)
        .order_by(Connection.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(Connection.id > after)
    return [
        Due(tenant, connection, seen, read is not None and read <= now, check is not None and check <= now)
        for tenant, connection, seen, read, check in session.execute(query)
    ]
