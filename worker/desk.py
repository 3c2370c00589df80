"""Where a worker's threads meet the ledger: claims, and ends that write nothing else, in shared transactions."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection

from models.job import LeaseLost, Run
from models.run import Ask, claim_all, finish_all
from models.tenancy import system_connection, tenant_connection
from worker.jobs import LEASE
from worker.services import Services
from worker.together import Together


class Desk:
    """One per process. A group of one tenant is served inside that tenant's scope, a mixed one inside the system's."""

    def __init__(self, services: Services, worker: str) -> None:
        self._services = services
        self._worker = worker
        self._claims: Together[Ask, Run | None] = Together(self._claim)
        self._ends: Together[Run, bool] = Together(self._finish)

    def claim(self, ask: Ask) -> Run | None:
        """The run of a job, or None when there is nothing to take."""
        return self._claims.do(ask)

    def finish(self, run: Run) -> None:
        """The job is done. LeaseLost when it was given to another run meanwhile."""
        if not self._ends.do(run):
            raise LeaseLost(f"job {run.job_id} was taken over after claim {run.fence}")

    def _claim(self, asks: Sequence[Ask]) -> list[Run | None]:
        with self._scope(asks) as connection:
            return claim_all(connection, asks, now=self._services.clock(), lease=LEASE, worker=self._worker)

    def _finish(self, runs: Sequence[Run]) -> list[bool]:
        with self._scope(runs) as connection:
            return finish_all(connection, runs, self._services.clock())

    @contextmanager
    def _scope(self, of: Sequence[Ask] | Sequence[Run]) -> Iterator[Connection]:
        tenants = {item.tenant_id for item in of}
        database = self._services.database
        scope = tenant_connection(database, tenants.pop()) if len(tenants) == 1 else system_connection(database)
        with scope as connection:
            yield connection
