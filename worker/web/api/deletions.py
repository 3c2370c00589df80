"""`/v1/deletions`: what is to be deleted for a tenant, by when, and how far it is. `deletion_wishes` asks and decides."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.deletion import Deletion, DeletionStep
from models.tenancy import tenant_session
from models.tenant import Tenant
from models.workdays import working_days_left
from worker.web.api.paging import Cursor, Limit, Page, known_id, page_of, read_cursor
from worker.web.callers import Access, Parts, tenant_access
from worker.web.problems import not_found

router = APIRouter(prefix="/v1/deletions", tags=["deletions"])
Reader = Annotated[Access, Depends(tenant_access("connections:read"))]


class ScopeShown(BaseModel):
    """What is to be deleted: all that came through a connection or an integration, of a person, or of the tenant; or leads
    that were `idle` since an instant, by a retention rule."""

    model_config = ConfigDict(from_attributes=True)

    kind: str
    connection_id: str | None
    integration: str | None
    rule_id: str | None = None
    idle_since: datetime | None = None


class LeadsTaken(BaseModel):
    """The leads of a person, or those that a rule found idle, as they were at the freeze: what the host's half is about."""

    lead_ids: list[str]


class StepShown(BaseModel):
    """A step and its outcome: pending, done, skipped or failed. `before`, `deleted`, `after` count rows where it has any."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    status: str
    sentence: str | None
    before: int | None
    deleted: int | None
    after: int | None


class SkippedShown(BaseModel):
    """A day that did not count as a working day, and why."""

    day: str
    why: str


class DeletionShown(BaseModel):
    """A deletion. `promise_due_at` is what people were told, `safe_due_at` what Troth works towards.

    `working_days_left` are whole working days of the tenant, after today, in which it may still be done.
    """

    id: str
    confirmation_code: str
    status: str
    scope: ScopeShown
    requested_by: str
    requested_at: datetime
    undo_until: datetime
    safe_due_at: datetime
    promise_due_at: datetime
    working_days_left: int
    needs_approval: bool
    approved_at: datetime | None
    hold_reason: str | None
    urgent: bool
    calendar: str | None
    skipped: list[SkippedShown]
    frozen_at: datetime | None
    verified_at: datetime | None
    acknowledged_at: datetime | None
    completed_at: datetime | None
    steps: list[StepShown]


@router.get("")
def listed(access: Reader, services: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[DeletionShown]:
    """The tenant's deletions, in the order they were asked for."""
    after = read_cursor("deletions", cursor)
    query = select(Deletion).where(Deletion.part_of.is_(None)).order_by(Deletion.id).limit(limit + 1)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        rows = session.scalars(query if after is None else query.where(Deletion.id > after)).all()
        shown = shown_deletions(session, rows[:limit], services.clock())
    return page_of("deletions", rows, limit, id_of=lambda row: row.id, show=lambda row: shown[row.id])


@router.get("/{deletion_id}")
def one(deletion_id: str, access: Reader, services: Parts) -> DeletionShown:
    """One deletion."""
    known_id(deletion_id)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        row = session.scalars(select(Deletion).where(Deletion.id == deletion_id)).one_or_none()
        if row is None:
            raise not_found()
        return shown_deletions(session, [row], services.clock())[row.id]


@router.get("/{deletion_id}/leads")
def leads(deletion_id: str, access: Reader, services: Parts) -> LeadsTaken:
    """Which leads it takes, where it is about single ones; the event names the first hundred."""
    known_id(deletion_id)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        row = session.scalars(select(Deletion).where(Deletion.id == deletion_id)).one_or_none()
    if row is None:
        raise not_found()
    return LeadsTaken(lead_ids=row.found or [])


def shown_deletions(session: Session, rows: Sequence[Deletion], now: datetime) -> dict[str, DeletionShown]:
    """id -> a deletion with its steps, for deletions of one tenant."""
    if not rows:
        return {}
    tenant = session.get_one(Tenant, rows[0].tenant_id)
    steps: dict[str, list[DeletionStep]] = defaultdict(list)
    query = select(DeletionStep).where(DeletionStep.deletion_id.in_([row.id for row in rows]))
    for step in session.scalars(query.order_by(DeletionStep.position)):
        steps[step.deletion_id].append(step)
    return {row.id: _shown(row, steps[row.id], tenant, now) for row in rows}


def _shown(row: Deletion, steps: Sequence[DeletionStep], tenant: Tenant, now: datetime) -> DeletionShown:
    return DeletionShown(
        id=row.id,
        confirmation_code=row.confirmation_code,
        status=row.status,
        scope=ScopeShown.model_validate(row),
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        undo_until=row.undo_until,
        safe_due_at=row.safe_due_at,
        promise_due_at=row.promise_due_at,
        working_days_left=working_days_left(
            now,
            row.promise_due_at,
            country=tenant.country,
            subdivision=tenant.subdivision,
            zone=tenant.timezone,
            work_week=tenant.work_week,
        ),
        needs_approval=row.needs_approval,
        approved_at=row.approved_at,
        hold_reason=row.hold_reason,
        urgent=row.urgent,
        calendar=row.calendar,
        skipped=[SkippedShown(**one) for one in row.skipped or ()],
        frozen_at=row.frozen_at,
        verified_at=row.verified_at,
        acknowledged_at=row.acknowledged_at,
        completed_at=row.completed_at,
        steps=[StepShown.model_validate(step) for step in steps],
    )
