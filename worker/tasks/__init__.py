"""What each kind of job does: thin - read, call, write. Knows no web and starts nothing by itself."""

from worker import jobs
from worker.task import Handler
from worker.tasks import (
    bulletins,
    calendars,
    checks,
    connections,
    deletions,
    exports,
    forms,
    leads,
    policies,
    reading,
    retention,
    revocations,
    upkeep,
)

HANDLERS: dict[str, Handler] = {
    jobs.FORMS_DISCOVER: forms.discover,
    jobs.LEADS_FETCH: leads.fetch,
    jobs.LEADS_CATCH_UP: reading.catch_up,
    jobs.LEADS_BACKFILL: reading.backfill,
    jobs.LEADS_CHECK: checks.check,
    jobs.LEADS_SWEEP: leads.sweep,
    jobs.CONNECTIONS_CHECK: connections.check,
    jobs.CONNECTIONS_CHECK_ALL: connections.check_all,
    jobs.CONNECTIONS_REVOKE: revocations.revoke,
    jobs.CONNECTIONS_SWEEP: connections.sweep,
    jobs.DELETIONS_RUN: deletions.run,
    jobs.DELETIONS_SWEEP: deletions.sweep,
    jobs.EXPORTS_RUN: exports.run,
    jobs.EXPORTS_SWEEP: exports.sweep,
    jobs.POLICIES_ANNOUNCE: policies.announce_to_all,
    jobs.CALENDARS_CONVERGE: calendars.converge,
    jobs.CALENDARS_WATCH: calendars.watch,
    jobs.CALENDARS_SWEEP: calendars.sweep,
    jobs.BULLETINS_START: bulletins.start,
    jobs.BULLETINS_SEND: bulletins.send,
    jobs.BULLETINS_SETTLE: bulletins.settle,
    jobs.BULLETINS_SWEEP: bulletins.sweep,
    jobs.DEVICES_PRUNE: bulletins.prune,
    jobs.RETENTION_RUN: retention.run,
    jobs.RETENTION_SWEEP: retention.sweep,
    jobs.CANARY: upkeep.sing,
    jobs.LEDGER_PRUNE: upkeep.prune,
}
