"""What each kind of job does: thin - read, call, write. Knows no web and starts nothing by itself."""

from worker import jobs
from worker.task import Handler
from worker.tasks import leads, upkeep

HANDLERS: dict[str, Handler] = {
    jobs.LEADS_FETCH: leads.fetch,
    jobs.CANARY: upkeep.sing,
    jobs.LEDGER_PRUNE: upkeep.prune,
}
