"""The signs of life of one worker process: leases of running jobs are renewed, and the gates learn how many hands there are."""

import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from models.run import Run, renew
from models.tenancy import system_session
from worker.jobs import LANES, LEASE
from worker.services import Services

log = structlog.get_logger(__name__)

EVERY = timedelta(seconds=5)


@dataclass(slots=True)
class Keeper:
    """Holds the runs that are under way in this process, and keeps their leases from running out."""

    services: Services
    concurrency: int
    lanes: Sequence[str] = LANES
    name: str = field(default_factory=lambda: f"{socket.gethostname()[:40]}:{os.getpid()}")
    _runs: dict[tuple[str, int], Run] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def hold(self, run: Run) -> None:
        """This run has begun."""
        self._runs[run.job_id, run.fence] = run

    def release(self, run: Run) -> None:
        """This run is over, however it ended."""
        self._runs.pop((run.job_id, run.fence), None)

    def start(self) -> None:
        """Begin the signs of life, at once and then every few seconds."""
        self._thread = threading.Thread(target=self._loop, name="keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """The process is leaving."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _loop(self) -> None:
        self.beat()
        while not self._stop.wait(EVERY.total_seconds()):
            self.beat()

    def beat(self) -> None:
        """One sign of life. A failure is only logged: the next one comes, and a lease outlives three of them."""
        runs: Sequence[Run] = list(self._runs.values())
        try:
            if runs:
                with system_session(self.services.database) as session:
                    renew(session, runs, self.services.clock() + LEASE)
            until = self.services.clock() + LEASE
            for run in runs:
                self.services.gates[run.lane].claimed(run.job_id, lease_until=until.timestamp())
            for gate in (self.services.gates[lane] for lane in self.lanes):
                gate.announce(self.name, self.concurrency, ttl=3 * EVERY.total_seconds())
                gate.move()
        except Exception as error:  # the thread must outlive whatever breaks here
            log.warning("keeper_failed", error=type(error).__name__)
