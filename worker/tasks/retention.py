"""`retention.sweep`: the rules whose time has come, a job each, so that the gate lets tenants take turns. `retention.run`: look
at one rule, and take its next step."""

from datetime import timedelta

import structlog

from models.idleness import advance, survey
from models.retention import RetentionRule, due_rules
from worker.jobs import deletions_run, retention_run
from worker.task import Ticket

log = structlog.get_logger(__name__)

SWEPT_AT_ONCE = 200
AGAIN = timedelta(minutes=30)
"""A look that never happened is tried again after so long."""


def sweep(ticket: Ticket) -> None:
    """Every rule whose time has come."""
    while ticket.services.settings.retention:
        with ticket.work() as work:
            now = ticket.now()
            found = due_rules(work.session, now, again_at=now + AGAIN, limit=SWEPT_AT_ONCE)
            work.put(*(retention_run(tenant_id, rule_id) for tenant_id, rule_id in sorted(found)))
            if len(found) < SWEPT_AT_ONCE:
                ticket.finish(work)
                return


def run(ticket: Ticket) -> None:
    """Count in a transaction that holds no lock, then decide by what the rule is when it is locked."""
    if not ticket.services.settings.retention:
        return
    rule_id = str(ticket.run.args["rule"])
    with ticket.work(reads_only=True) as work:
        seen = work.session.get(RetentionRule, rule_id)
        found = None if seen is None else survey(work.session, seen, ticket.now())
    with ticket.work() as work:
        rule, now = work.session.get(RetentionRule, rule_id, with_for_update=True), ticket.now()
        if rule is not None and seen is not None and found is not None and _is_same(seen, rule):
            opened = advance(work.session, rule, found, now)
            log.info("retention_looked", rule=rule.id, leads=found.leads, deletion=opened and opened.id)
            if opened is not None:
                work.put(deletions_run(opened.tenant_id, opened.id))
        ticket.finish(work)


def _is_same(seen: RetentionRule, rule: RetentionRule) -> bool:
    """Whether nobody changed the rule while it was counted; else the next look decides."""
    return (seen.after_days, seen.armed_at, seen.idle_since) == (rule.after_days, rule.armed_at, rule.idle_since)
