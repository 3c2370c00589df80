"""What each kind of job does: thin - read, call, write. Knows no web and starts nothing by itself."""

from worker import jobs
from worker.task import Handler
from worker.tasks import connections, leads, upkeep

HANDLERS: dict[str, Handler] = {
    jobs.LEADS_FETCH: leads.fetch,
    jobs.CONNECTIONS_CHECK: connections.check,
    jobs.CONNECTIONS_REVOKE: connections.revoke,
    jobs.CONNECTIONS_SWEEP: connections.sweep,
    jobs.CANARY: upkeep.sing,
    jobs.LEDGER_PRUNE: upkeep.prune,
}
