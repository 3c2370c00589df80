"""`bulletins.prune`: what is kept of a bulletin that is over goes in its time, some rows a transaction: its pushes, whose users
keep an entry in their feeds, and at last the entries and the bulletin itself."""

import structlog

from models import bulletin as bulletins
from models.bulletin import KEPT, PUSHES_KEPT, Bulletin
from models.feed_read import fold, forget
from worker import jobs
from worker.task import Ticket
from worker.work import Work

log = structlog.get_logger(__name__)

PRUNED_AT_ONCE = 1_000
FOUND_AT_ONCE = 5_000


def begin(ticket: Ticket) -> None:
    """A job of its tenant for each bulletin of which something is to go; what is left is left for the next time."""
    with ticket.work() as work:
        found = bulletins.old(work.session, ticket.now(), limit=FOUND_AT_ONCE)
        work.put(*(jobs.bulletins_prune(tenant_id, one) for tenant_id, one in sorted(found)))


def prune(ticket: Ticket) -> None:
    """Until nothing of it is due."""
    bulletin_id, total = str(ticket.run.args["bulletin"]), 0
    while True:
        with ticket.work() as work:
            row = bulletins.locked(work.session, bulletin_id)
            gone = _some(ticket, work, row) if row is not None else 0
            total += gone
            if gone < PRUNED_AT_ONCE:
                ticket.finish(work)
                break
    if total:
        log.info("housekeeping", table="pushes", bulletin=bulletin_id, rows=total)


def _some(ticket: Ticket, work: Work, row: Bulletin) -> int:
    """Rows that went; fewer than could have gone when it is done for now."""
    now = ticket.now()
    if row.prune_at is None or row.prune_at > now or row.ended_at is None:
        return 0
    if now < row.ended_at + PUSHES_KEPT:
        row.prune_at = row.ended_at + PUSHES_KEPT
        return 0
    gone = fold(work.session, row.tenant_id, row.id, limit=PRUNED_AT_ONCE)
    if gone == PRUNED_AT_ONCE:
        return gone
    if row.is_test or row.ended_at + KEPT <= now:
        return forget(work.session, row.tenant_id, row.id, limit=PRUNED_AT_ONCE)
    row.prune_at = row.ended_at + KEPT
    return gone
