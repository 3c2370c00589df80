"""A tenant's deletions as pages: what is asked for, by when, how far it is, and its proof; what people do is elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson
from fastapi import APIRouter
from sqlalchemy import case, func, select
from sqlalchemy.orm import Session
from starlette.responses import Response

from models.connection import ERASED_ACCOUNT
from models.deletion import (
    ASKED_BY_PERSON,
    HELD,
    HOLD_REASONS,
    NOT_BEGUN,
    STEP_PENDING,
    Deletion,
    DeletionStep,
    parts_of,
    steps_of,
)
from models.receipt import document, newest_of
from models.tenancy import tenant_session
from models.tenant import Tenant
from models.watch import ALARMS, OVERDUE, alarm_of, is_stalled
from models.workdays import working_days_left
from worker.grants import BY_NAME
from worker.services import Services
from worker.web.admin.connections import seen
from worker.web.admin.rendering import page
from worker.web.admin.visitors import AtDesk, Visitor, mark_of
from worker.web.api.paging import Cursor, cursor_to, known_id, read_cursor
from worker.web.callers import Parts
from worker.web.connection_health import connections_page
from worker.web.deletion_page import HOLD_WORDS, OUTCOME_WORDS, STATUS_WORDS, STEP_WORDS, last_day, what_of
from worker.web.problems import not_found

router = APIRouter(prefix="/admin/deletions")
ROWS: Final = 50
WAYS: Final = {
    "api": "by the API",
    "admin": "on these pages",
    "cli": "by the operators",
    "retention_rule": "by a retention rule",
    "meta_deletion": "by the person, at Facebook",
    "meta_list": "by the person, at Facebook",
    "meta_deauthorize": "by taking the access away at Facebook",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A deletion in words, and what may be done with it now."""

    row: Deletion
    alarm: str
    due_on: str
    days_left: int
    done: int
    steps: int

    @property
    def what(self) -> str:
        """What it is about."""
        return what_of(self.row)

    @property
    def words(self) -> str:
        """Its state, for people."""
        return STATUS_WORDS[self.row.status]

    @property
    def way(self) -> str:
        """How it was asked for."""
        return WAYS.get(self.row.requested_by, self.row.requested_by.replace("_", " "))

    @property
    def held(self) -> str | None:
        """Why it may lawfully wait."""
        return HOLD_WORDS.get(self.row.hold_reason or "")

    @property
    def is_open(self) -> bool:
        """Whether it has not begun, and can be held."""
        return self.row.status in NOT_BEGUN

    @property
    def is_held(self) -> bool:
        """Whether there is a hold to release."""
        return self.row.status == HELD

    @property
    def lacks_approval(self) -> bool:
        """Whether a second person has to agree."""
        return self.is_open and self.row.needs_approval and self.row.approved_at is None

    @property
    def can_be_cancelled(self) -> bool:
        """Whether the tenant may take it back."""
        return self.is_open and self.row.requested_by not in ASKED_BY_PERSON


@router.get("")
def deletions(services: Parts, desk: AtDesk, cursor: Cursor = None) -> Response:
    """The tenant's deletions, the newest first, and the form to ask for one."""
    before = read_cursor("deletions", cursor)
    query = select(Deletion).where(Deletion.part_of.is_(None)).order_by(Deletion.id.desc()).limit(ROWS + 1)
    with tenant_session(services.database, desk.tenant.id, reads_only=True) as session:
        rows = session.scalars(query if before is None else query.where(Deletion.id < before)).all()
        shown = asked(session, rows[:ROWS], desk.tenant, services.clock())
        kept = [row for row in connections_page(session) if row.external_id != ERASED_ACCOUNT]
        connections = seen(session, services, kept)
    following = desk.address("/admin/deletions", {"cursor": cursor_to("deletions", rows[ROWS - 1].id)}) \
        if len(rows) > ROWS else None  # fmt: skip
    return page(
        "deletions.html", desk=desk, deletions=shown, connections=connections, integrations=list(BY_NAME.values()),
        following=following, is_later=cursor is not None,
    )  # fmt: skip


@router.get("/{deletion_id}")
def deletion(deletion_id: str, services: Parts, desk: AtDesk, visitor: Visitor) -> Response:
    """One deletion: its steps, its days, what the host attested, and its newest receipt."""
    with tenant_session(services.database, desk.tenant.id, reads_only=True) as session:
        query = select(Deletion).where(Deletion.id == known_id(deletion_id), Deletion.part_of.is_(None))
        row = session.scalars(query).one_or_none()
        if row is None:
            raise not_found()
        (shown,) = asked(session, [row], desk.tenant, services.clock())
        steps = [step for part in parts_of(session, row.id) for step in steps_of(session, part.id)]
        steps += steps_of(session, row.id)
        receipt = newest_of(session, row.id)
        is_own = _is_own(session, services, row, visitor)
    text = None if receipt is None else orjson.dumps(document(receipt), option=orjson.OPT_INDENT_2).decode()
    return page(
        "deletion_steps.html", desk=desk, one=shown, steps=steps, receipt=text, is_own=is_own, step_words=STEP_WORDS,
        outcomes=OUTCOME_WORDS, reasons={one: HOLD_WORDS[one] for one in HOLD_REASONS},
        acks=[{**ack, "at": datetime.fromisoformat(ack["at"])} for ack in row.acks or ()],
    )  # fmt: skip


def asked(session: Session, rows: Sequence[Deletion], tenant: Tenant, now: datetime) -> list[Asked]:
    """Deletions of one tenant in words."""
    is_over = case((DeletionStep.status == STEP_PENDING, 0), else_=1)
    query = select(DeletionStep.deletion_id, func.sum(is_over), func.count()).group_by(DeletionStep.deletion_id)
    found = session.execute(query.where(DeletionStep.deletion_id.in_([row.id for row in rows]))) if rows else ()
    steps = {one: (int(over), all_) for one, over, all_ in found}
    return [
        Asked(
            row, _alarm(row, now), last_day(row.promise_due_at, tenant.timezone),
            working_days_left(now, row.promise_due_at, country=tenant.country, subdivision=tenant.subdivision,
                              zone=tenant.timezone, work_week=tenant.work_week),
            *steps.get(row.id, (0, 0)),
        )
        for row in rows
    ]  # fmt: skip


def _alarm(row: Deletion, now: datetime) -> str:
    """The loudest thing that there is to say, as it is now: a sweep may not have told of it yet."""
    level = alarm_of(row, now)
    if level >= OVERDUE:
        return "Overdue"
    if is_stalled(row, now):
        return "Stands still"
    return "Late" if level == len(ALARMS) else "Due soon" if level else ""


def _is_own(session: Session, services: Services, row: Deletion, visitor: Visitor) -> bool:
    hashes = services.vault.existing(session, row.tenant_id, row.tenant_id)
    return hashes is not None and row.requester == mark_of(hashes, visitor)
