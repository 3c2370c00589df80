"""A job run in this process, now, by the road that every job takes; no worker is told of it, and no Redis is needed."""

from dataclasses import replace
from typing import Any

from sqlalchemy import select

from models.job import Job, NewJob
from models.tenancy import system_session
from worker.app import create_app
from worker.services import Services
from worker.tasks import HANDLERS
from worker.work import Work


def run_here(services: Services, job: NewJob) -> None:
    """Store the job, or find the open one with its key, and run it once. It may end as every run may: look at the rows."""
    alone = replace(services, gates={})
    with Work(alone, job.tenant_id) as work:
        work.put(job)
    with system_session(services.database, reads_only=True) as session:
        query = select(Job.id).where(Job.tenant_id == job.tenant_id, Job.open_key == (job.key or job.id))
        job_id = session.scalars(query).one()
    task: Any = create_app(alone, HANDLERS).tasks[job.kind]
    task.apply(task_id=job_id, headers={"tenant": job.tenant_id}, routing_key=job.lane, throw=True)
