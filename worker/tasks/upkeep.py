"""Troth's own work: proving that jobs run, and letting go of working papers (`models.housekeeping`)."""

import structlog

from models.housekeeping import HOUSEKEEPING, Paper, let_go
from worker.task import Ticket
from worker.tasks import bulletin_age

log = structlog.get_logger(__name__)

PRUNED_AT_ONCE = 1_000
MOST_BATCHES = 500
"""Of one table in one run: what is left then is left for the next one, six hours later."""


def sing(ticket: Ticket) -> None:
    """The canary: that this row ends up done is the proof that the whole road from beat to worker is open."""
    with ticket.work() as work:
        ticket.finish(work)


def prune(ticket: Ticket) -> None:
    """Every built-in rule in bounded batches, and a job for each old bulletin; none while the operator's switch is off."""
    if not ticket.services.settings.retention:
        return
    bulletin_age.begin(ticket)
    for paper in HOUSEKEEPING:
        gone = _prune(ticket, paper)
        if gone:
            log.info("housekeeping", table=paper.table.name, rows=gone)


def _prune(ticket: Ticket, paper: Paper) -> int:
    total = 0
    for _ in range(MOST_BATCHES):
        with ticket.work() as work:
            gone = let_go(work.session, paper, ticket.now(), limit=PRUNED_AT_ONCE)
        total += gone
        if gone < PRUNED_AT_ONCE:
            break
    return total
