"""Where a worker's threads meet the ledger: claims, and ends that write nothing else, in shared transactions."""

from collections.abc import Sequence

from models.job import Message
from models.run import Ask, LeaseLost, Run, claim_all, finish_all
from models.tenancy import ledger_connection
from worker.jobs import LEASE
from worker.services import Services
from worker.together import Together
from worker.work import publish


class Desk:
    """One per process. A group of one tenant is served inside that tenant's scope, a mixed one inside the system's."""

    def __init__(self, services: Services, worker: str) -> None:
        self._services = services
        self._worker = worker
        self._claims: Together[Ask, Run | None] = Together(self._claim)
        self._ends: Together[Run, Message | LeaseLost | None] = Together(self._finish)

    def claim(self, ask: Ask) -> Run | None:
        """The run of a job, or None when there is nothing to take."""
        return self._claims.do(ask)

    def finish(self, run: Run) -> None:
        """The job is done, or queued once more for a trigger that came meanwhile. LeaseLost when it is another run's."""
        outcome = self._ends.do(run)
        if isinstance(outcome, LeaseLost):
            raise outcome
        if outcome is not None:
            publish(self._services, [outcome])

    def _claim(self, asks: Sequence[Ask]) -> list[Run | None]:
        with ledger_connection(self._services.database, _one_tenant(asks)) as connection:
            return claim_all(connection, asks, now=self._services.clock(), lease=LEASE, worker=self._worker)

    def _finish(self, runs: Sequence[Run]) -> list[Message | LeaseLost | None]:
        with ledger_connection(self._services.database, _one_tenant(runs)) as connection:
            return finish_all(connection, runs, self._services.clock())


def _one_tenant(items: Sequence[Ask] | Sequence[Run]) -> str | None:
    tenants = {item.tenant_id for item in items}
    return tenants.pop() if len(tenants) == 1 else None
