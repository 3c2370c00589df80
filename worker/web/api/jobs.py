"""`/v1/jobs`: the tenant's part of the ledger, and a person's two decisions about a job: run it again, or drop it."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from models.job import CANCELLED, DEAD, DOUBT, QUEUED, WAITING, Job, Message
from models.tenancy import tenant_session
from worker.web.api.paging import Cursor, Limit, Page, known_id, page_of, read_cursor
from worker.web.callers import Access, Parts, tenant_access
from worker.web.once import Asked, once
from worker.web.problems import Problem, not_found
from worker.work import Work

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
Reader = Annotated[Access, Depends(tenant_access("jobs:read"))]
Writer = Annotated[Access, Depends(tenant_access("jobs:write"))]

State = Literal["waiting", "queued", "running", "done", "dead", "cancelled"]


class JobError(BaseModel):
    """Why the last run did not end well."""

    kind: str = Field(serialization_alias="class")
    sentence: str | None


class JobShown(BaseModel):
    """A job."""

    id: str
    kind: str
    state: str
    lane: str
    connection_id: str | None
    due_at: datetime
    attempts: int
    error: JobError | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


def _shown(row: Job) -> JobShown:
    return JobShown(
        id=row.id,
        kind=row.kind,
        state=row.state,
        lane=row.lane,
        connection_id=row.connection_id,
        due_at=row.due_at,
        attempts=row.attempts,
        error=JobError(kind=row.error_kind, sentence=row.error_sentence) if row.error_kind else None,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


@router.get("")
def listed(
    access: Reader,
    services: Parts,
    state: Annotated[State | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[JobShown]:
    """The tenant's jobs, newest first."""
    before = read_cursor("jobs", cursor)
    query = select(Job).order_by(Job.id.desc()).limit(limit + 1)
    query = query if state is None else query.where(Job.state == state)
    query = query if before is None else query.where(Job.id < before)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        rows = list(session.scalars(query))
    return page_of("jobs", rows, limit, id_of=lambda row: row.id, show=_shown)


@router.get("/{job_id}")
def one(job_id: str, access: Reader, services: Parts) -> JobShown:
    """One job."""
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        return _shown(_job(session, job_id))


@router.post("/{job_id}/retry", response_model=JobShown)
def retry(job_id: str, access: Writer, services: Parts, ask: Asked) -> Response:
    """Run a dead job again, from its first attempt."""

    def effect(work: Work) -> JobShown:
        job = _job(work.session, job_id, locked=True)
        if job.state != DEAD:
            raise Problem("wrong-state", "Only a dead job can be retried; the others run by themselves or have ended.")
        if work.session.scalar(select(Job.id).where(Job.open_key == job.key)) is not None:
            raise Problem("wrong-state", "A newer job for the same work is waiting already; this one is not needed.")
        job.state, job.open_key, job.attempts = QUEUED, job.key, 0
        job.due_at = services.clock()
        job.wake_at, job.finished_at = job.due_at + DOUBT, None
        work.session.flush()
        work.publish_if(Message(job.id, job.tenant_id, job.kind, job.lane, 1))
        return _shown(job)

    return once(services, access, ask, 200, effect)


@router.post("/{job_id}/cancel", response_model=JobShown)
def cancel(job_id: str, access: Writer, services: Parts, ask: Asked) -> Response:
    """Drop a job that has not begun, or that is dead."""

    def effect(work: Work) -> JobShown:
        job = _job(work.session, job_id, locked=True)
        if job.state not in (WAITING, QUEUED, DEAD, CANCELLED):
            raise Problem("wrong-state", "The job is running or done, and cannot be cancelled any more.")
        if job.state != CANCELLED:
            job.state, job.open_key, job.wake_at, job.finished_at = CANCELLED, None, None, services.clock()
        work.session.flush()
        return _shown(job)

    return once(services, access, ask, 200, effect)


def _job(session: Session, job_id: str, *, locked: bool = False) -> Job:
    query = select(Job).where(Job.id == known_id(job_id))
    row = session.scalars(query.with_for_update() if locked else query).one_or_none()
    if row is None:
        raise not_found()
    return row
