"""How promises with a clock are kept: kept, due and broken, counted from rows whoever wrote or did not write them.

A tenant's session counts that tenant's, a system session everybody's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.orm import Session

from models.connection import ACTIVE, Connection
from models.deletion import (
    ASKED_BY_PERSON,
    COMPLETED,
    CONNECTION,
    DESTROY_TOKENS,
    IDLE,
    INTEGRATION,
    OPEN,
    STEP_DONE,
    SUBJECT,
    TENANT,
    Deletion,
    DeletionStep,
)
from models.form import GREEN, RED, Form, LeadCheck
from models.tenant import Tenant

LOOKS_BACK: Final = timedelta(days=90)
"""What is over is counted for so long; what is open is counted however old it is."""
GRANT_ENDS_WITHIN: Final = timedelta(days=2, hours=1)
"""A provider that does not answer is waited for two days; the last try comes within an hour after them."""
CHECKED_DAYS: Final = 2
"""The line of yesterday is written in the course of today, so that the last line may be that of the day before."""
LOOKED_AT_WITHIN: Final = timedelta(minutes=15)
"""The sweep comes every minute; a deletion that has waited so long for it waits for a beat or a worker that is dead."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Of one promise: kept in time; open with time left; not kept, be it open or done too late."""

    kept: int = 0
    due: int = 0
    broken: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.kept + other.kept, self.due + other.due, self.broken + other.broken)


class Late(NamedTuple):
    """Open deletions past what was promised, and those that nobody has looked at although their time had come."""

    overdue: int
    stalled: int


class _Asked(NamedTuple):
    """What a request to delete is told apart by."""

    kind: str
    integration: str | None
    requested_by: str
    urgent: bool


def _of_grants(integration: str) -> Callable[[_Asked], bool]:
    return lambda asked: asked.kind in (CONNECTION, INTEGRATION) and asked.integration == integration


_DELETIONS: Final[dict[str, Callable[[_Asked], bool]]] = {
    "deletions": lambda _: True,
    "facebook_deletions": _of_grants("facebook_leads"),
    "google_deletions": _of_grants("google_calendar"),
    "person_deletions": lambda asked: asked.kind == SUBJECT,
    "idle_deletions": lambda asked: asked.kind == IDLE,
    "tenant_deletions": lambda asked: asked.kind == TENANT,
    "urgent_deletions": lambda asked: asked.urgent,
    "meta_deletions": lambda asked: asked.requested_by in ASKED_BY_PERSON,
}
NAMES: Final = (*_DELETIONS, "grants_ended", "lead_checks")


def tallies(session: Session, now: datetime) -> dict[str, Tally]:
    """Each of `NAMES`, counted now."""
    return {**_deletions(session, now), "grants_ended": _grants(session, now), "lead_checks": _checks(session, now)}


def late(session: Session, now: datetime) -> Late:
    """Read from the rows alone: it is as true when beat, workers and Redis are all dead."""
    # Each look sets the next one for the due date or, past it, within a day (`models.watch`): what is overdue is in this
    # range of the index, however many wait.
    soon = Deletion.act_at <= now + timedelta(days=1)
    overdue = select(func.count()).where(soon, Deletion.status.in_(OPEN), Deletion.promise_due_at <= now)
    stalled = select(func.count()).where(Deletion.act_at < now - LOOKED_AT_WITHIN)
    return Late(session.scalar(overdue.select_from(Deletion)) or 0, session.scalar(stalled.select_from(Deletion)) or 0)


def _counted(now: datetime) -> ColumnElement[bool]:
    return or_(Deletion.status.in_(OPEN), Deletion.requested_at >= now - LOOKS_BACK)


def _deletions(session: Session, now: datetime) -> dict[str, Tally]:
    """By completion, which a restored backup that is erased again does not move. What was cancelled was promised nothing."""
    is_open, done = Deletion.status.in_(OPEN), Deletion.status == COMPLETED
    kept = and_(done, Deletion.completed_at <= Deletion.promise_due_at)
    due = and_(is_open, Deletion.promise_due_at > now)
    broken = or_(and_(is_open, Deletion.promise_due_at <= now),
                 and_(done, Deletion.completed_at > Deletion.promise_due_at))  # fmt: skip
    told_apart = (Deletion.kind, Deletion.integration, Deletion.requested_by, Deletion.urgent)
    query = (
        select(*told_apart, *(func.sum(case((state, 1), else_=0)) for state in (kept, due, broken)))
        .where(Deletion.part_of.is_(None), _counted(now))
        .group_by(*told_apart)
    )
    found = dict.fromkeys(_DELETIONS, Tally())
    for *asked, number_kept, number_due, number_broken in session.execute(query):
        for name, is_about in _DELETIONS.items():
            if is_about(_Asked(*asked)):
                found[name] += Tally(int(number_kept), int(number_due), int(number_broken))
    return found


def _grants(session: Session, now: datetime) -> Tally:
    """Every connection that was closed: when its tokens and their key were destroyed here."""
    its_deletion = (Deletion.tenant_id == DeletionStep.tenant_id) & (Deletion.id == DeletionStep.deletion_id)
    is_counted, is_done = and_(DeletionStep.name == DESTROY_TOKENS, _counted(now)), DeletionStep.status == STEP_DONE
    in_time = (Deletion.requested_at >= now - GRANT_ENDS_WITHIN).label("in_time")
    waiting = select(in_time, func.count()).join(DeletionStep, its_deletion).where(is_counted, ~is_done)
    number = {bool(is_due): count for is_due, count in session.execute(waiting.group_by("in_time"))}
    # The databases have no common way to add days to an instant.
    ended = select(Deletion.requested_at, DeletionStep.updated_at).join(DeletionStep, its_deletion)
    was_late = [at - asked_at > GRANT_ENDS_WITHIN for asked_at, at in session.execute(ended.where(is_counted, is_done))]
    return Tally(was_late.count(False), number.get(True, 0), number.get(False, 0) + was_late.count(True))


def _checks(session: Session, now: datetime) -> Tally:
    """Green and red lines of the last days, and forms whose line is being counted."""
    since = (now - timedelta(days=CHECKED_DAYS)).date()
    # By way of the tenants, so that the index on (tenant, day) serves a system session, too.
    lines = (
        select(LeadCheck.status, func.count())
        .join(Tenant, Tenant.id == LeadCheck.tenant_id)
        .where(LeadCheck.day >= since)
        .group_by(LeadCheck.status)
    )
    number: dict[str, int] = {status: count for status, count in session.execute(lines)}
    due = (
        select(func.count())
        .select_from(Form)
        .join(Connection, (Connection.tenant_id == Form.tenant_id) & (Connection.id == Form.connection_id))
        .where(Form.check_due_at <= now, Form.gone_at.is_(None), Connection.status == ACTIVE)
    )
    return Tally(number.get(GREEN, 0), session.scalar(due) or 0, number.get(RED, 0))
