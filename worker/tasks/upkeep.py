"""Troth's own work: proving that jobs run, and forgetting what has ended long ago."""

from datetime import timedelta

from models.connect_link import prune_links
from models.job import prune as prune_jobs
from models.tenancy import SYSTEM
from worker.task import Ticket

LEDGER_KEEPS = timedelta(days=30)
TICKS_KEPT = timedelta(days=1)
"""Ticks come by the minute, say nothing once they are done, and are looked through by who asks for the last canary."""
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
            ticks = prune_jobs(work.session, ticket.now() - TICKS_KEPT, limit=PRUNED_AT_ONCE, tenant_id=SYSTEM)
            if max(gone, ticks) < PRUNED_AT_ONCE:
                prune_links(work.session, before)
                ticket.finish(work)
                return
