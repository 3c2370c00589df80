"""Troth's own work: proving that jobs run, and forgetting what has ended long ago."""

from datetime import timedelta

from models.connect_link import prune_links
from models.job import prune as prune_jobs
from worker.task import Ticket

LEDGER_KEEPS = timedelta(days=30)
PRUNED_AT_ONCE = 1_000


def sing(ticket: Ticket) -> None:
    """The canary: that this row ends up done is the proof that the whole road from beat to worker is open."""
    with ticket.work() as work:
        ticket.finish(work)


def prune(ticket: Ticket) -> None:
    """Drop jobs that were done or cancelled a month ago, and links as old; dead jobs stay until dealt with."""
    before = ticket.now() - LEDGER_KEEPS
    while True:
        with ticket.work() as work:
            gone = prune_jobs(work.session, before, limit=PRUNED_AT_ONCE)
            if gone < PRUNED_AT_ONCE:
                prune_links(work.session, before)
                ticket.finish(work)
                return
