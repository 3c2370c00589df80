"""Where a worker's threads meet the ledger and the gate: claims in shared transactions, and a clerk for what is over.

A thread waits for its claim. It does not wait for the end of a job that wrote nothing else, nor for the gate: those it
leaves with the clerk, who writes them in groups. Whatever the clerk could not write, the lease and the reconciler mend.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import redis
import structlog
from sqlalchemy.exc import DBAPIError

from models.run import Ask, LeaseLost, Run, claim_all, finish_all
from models.tenancy import ledger_connection
from worker.jobs import ALTHOUGH_RESTRICTED, LEASE
from worker.lease import Keeper
from worker.services import Services
from worker.together import Together
from worker.work import publish

log = structlog.get_logger(__name__)

MOST_AT_ONCE = 200
GATHER = 0.025
"""Seconds in which the clerk lets more come before he writes: a group costs as much as one. He writes at once when so many
have come that the gate might run dry for want of his word (`Desk.__init__`)."""
PATIENCE = 0.005
"""Seconds that a claim may wait for others when one was made just before it."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """A message that was dealt with. `run` is the run whose end is still to be written, if there is one."""

    lane: str
    job_id: str
    tenant_id: str
    run: Run | None = None


class Desk:
    """One per process. Its statements name job, tenant and kind of each message, so a wrong tag claims nothing."""

    def __init__(self, services: Services, keeper: Keeper, *, gather: float = GATHER) -> None:
        self._services = services
        self._keeper = keeper
        self._gather = gather
        # As many threads as a worker has beyond its concurrency may wait here while all jobs run; fewer make no crowd.
        crowd = max(1, keeper.concurrency // 4)
        self._claims: Together[Ask, Run | None] = Together(self._claim, crowd=crowd, patience=PATIENCE)
        self._leaving: SimpleQueue[Leaving | None] = SimpleQueue()
        # So many ends may be held back: the gate keeps twice the concurrency in Celery's queue, so that does not run dry,
        # and no tenant waits with all that it may have in flight.
        self._enough = min(keeper.concurrency, services.settings.tenant_jobs_in_flight or keeper.concurrency) // 2
        self._clerk: threading.Thread | None = None
        self._pressed = threading.Event()

    def claim(self, ask: Ask) -> Run | None:
        """The run of a job, or None when there is nothing to take."""
        return self._claims.do(ask)

    def leave(self, leaving: Leaving) -> None:
        """A message was dealt with, whatever came of it: end its run if need be, and make room in the gate."""
        if self._clerk is None:
            self._write([leaving])
        else:
            self._leaving.put(leaving)
            if self._leaving.qsize() >= self._enough:
                self._pressed.set()

    def open(self) -> None:
        """From now on a thread of its own does the writing."""
        self._clerk = threading.Thread(target=self._work, name="clerk", daemon=True)
        self._clerk.start()

    def close(self) -> None:
        """Write what has been left so far, and end the thread."""
        if self._clerk is not None:
            self._leaving.put(None)
            self._pressed.set()
            self._clerk.join(timeout=10)
            self._clerk = None

    def _claim(self, asks: Sequence[Ask]) -> list[Run | None]:
        with ledger_connection(self._services.database) as connection:
            return claim_all(connection, asks, now=self._services.clock(), lease=LEASE, worker=self._keeper.name,
                             anyway=ALTHOUGH_RESTRICTED)  # fmt: skip

    def _work(self) -> None:
        while (first := self._leaving.get()) is not None:
            group = [first]
            self._pressed.wait(self._gather)
            self._pressed.clear()
            try:
                while len(group) < MOST_AT_ONCE:
                    following = self._leaving.get_nowait()
                    if following is None:
                        self._leaving.put(None)  # for the next turn, after this group
                        break
                    group.append(following)
            except Empty:
                pass
            self._write(group)

    def _write(self, group: Sequence[Leaving]) -> None:
        runs = [leaving.run for leaving in group if leaving.run is not None]
        if runs:
            self._end(runs)
        for lane in {leaving.lane for leaving in group} & self._services.gates.keys():
            ended = [(leaving.job_id, leaving.tenant_id) for leaving in group if leaving.lane == lane]
            try:
                self._services.gates[lane].finish_all(ended)
            except redis.RedisError as error:
                log.warning("gate_away", error=type(error).__name__)

    def _end(self, runs: Sequence[Run]) -> None:
        try:
            with ledger_connection(self._services.database) as connection:
                outcomes = finish_all(connection, runs, self._services.clock())
        except DBAPIError as error:
            log.warning("ends_not_written", jobs=len(runs), error=type(error.orig).__name__)
            return
        finally:
            for run in runs:
                self._keeper.release(run)
        messages = [outcome for outcome in outcomes if outcome is not None and not isinstance(outcome, LeaseLost)]
        if messages:
            publish(self._services, messages)
        lost = sum(isinstance(outcome, LeaseLost) for outcome in outcomes)
        if lost:
            log.warning("leases_lost", jobs=lost)
