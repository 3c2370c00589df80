"""`policies.announce`: tell every tenant's host of a platform's notice; a run that is killed is followed by one that tells the
others, and nobody is told twice."""

import structlog

from models.policy_notice import BY_PLATFORM, PolicyNotice, Words, announce
from models.tenant import ACTIVE_TENANT, tenants
from worker.task import Ticket

log = structlog.get_logger(__name__)

TOLD_AT_ONCE = 100


def announce_to_all(ticket: Ticket) -> None:
    """A page of tenants in a transaction."""
    after: str | None = None
    number = 0
    while True:
        with ticket.work() as work:
            session, now = work.session, ticket.now()
            notice = session.get_one(PolicyNotice, str(ticket.run.args["notice"]))
            words = Words(notice.version, notice.effective_at, notice.url, notice.summary)
            found = tenants(session, after=after, limit=TOLD_AT_ONCE)
            for tenant in found:
                if tenant.status == ACTIVE_TENANT:
                    hashes = ticket.services.vault.keyring(session, tenant.id, tenant.id, now)
                    announce(session, hashes, tenant.id, words, origin=BY_PLATFORM, users=(), now=now)
                    number += 1
            if len(found) < TOLD_AT_ONCE:
                ticket.finish(work)
                break
            after = found[-1].id
    log.info("policy_announced", notice=notice.id, tenants=number)
