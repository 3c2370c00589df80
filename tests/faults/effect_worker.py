"""A worker with one more kind of job, whose effect can be counted: a row in `effects`, in the job's own transaction."""

import sys

from sqlalchemy import text

from worker.app import create_app, run_worker
from worker.services import build
from worker.settings import read_settings
from worker.task import Ticket
from worker.tasks import HANDLERS

EFFECT = "faults.effect"
TABLE = "CREATE TABLE effects (job_id VARCHAR(36) NOT NULL, note VARCHAR(10))"
_INSERT = text("INSERT INTO effects (job_id) VALUES (:job)")


def leave_effect(ticket: Ticket) -> None:
    """Nothing keeps a second row out but the ledger's fence."""
    with ticket.work() as work:
        work.session.execute(_INSERT, {"job": ticket.run.job_id})
        ticket.finish(work)


if __name__ == "__main__":
    run_worker(create_app(build(read_settings()), {**HANDLERS, EFFECT: leave_effect}, concurrency=8), name=sys.argv[1])
