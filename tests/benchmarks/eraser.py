"""A process that erases a connection as a worker does, alone or while a neighbour's leads come in on another thread.

Orders: `tenant`, `connection`, `neighbour` (a tenant) and `page` (its connection), `busy` (whether its leads come); the
settings are in the environment.
"""

import json
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import update

from models.connection import REVOKED, Connection
from models.decision import approve
from models.deletion import Wish, steps_of
from models.job import Job
from models.lead import NewLead, ready, store
from models.revocation import request_erasure
from models.run import claim
from models.tenancy import system_session
from models.tenant import Tenant
from tests.benchmarks.figures import percentile
from worker.jobs import deletions_run
from worker.logs import configure
from worker.services import Services, build, keep_for_good
from worker.settings import read_settings
from worker.task import Ticket
from worker.tasks import deletions
from worker.work import Work

EVERY = 0.05
ROWS_OF = ("leads", "lead_history")


class Watched(deletions.Resized):
    """Remembers how long each chunk took, and the MiB of this process after it."""

    seen: ClassVar[list[tuple[float, float]]] = []

    def took(self, seconds: float) -> None:
        """As ever, and remember."""
        super().took(seconds)
        self.seen.append((seconds, _resident()))


class Neighbour(threading.Thread):
    """Stores a lead of another tenant every 50 ms, in a transaction of its own."""

    def __init__(self, services: Services, tenant: str, page: str) -> None:
        super().__init__(daemon=True)
        self.services, self.tenant, self.page = services, tenant, page
        self.enough = threading.Event()
        self.took: list[float] = []
        with Work(services, tenant) as work:
            vault = services.vault
            self.keyring = vault.keyring(work.session, tenant, page, services.clock())
            self.hashes = vault.keyring(work.session, tenant, tenant, services.clock())

    def run(self) -> None:
        """Until it is enough."""
        while not self.enough.wait(EVERY):
            began = time.monotonic()
            with Work(self.services, self.tenant) as work:
                made = ready(self.keyring, self.hashes, tenant_id=self.tenant, connection_id=self.page,
                             leads=[self._lead(len(self.took))])  # fmt: skip
                store(work.session, self.hashes, made, self.services.clock())
            self.took.append(time.monotonic() - began)

    def _lead(self, number: int) -> NewLead:
        now = self.services.clock()
        contact = {"full_name": "Ada", "email": f"ada{number}@example.com", "phone": f"+1202555{number:05d}"}
        return NewLead(f"77{number}", "5", None, None, now, now, "webhook", None, False, None, {}, {**contact}, [], [])


def _resident() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def _ticket(services: Services, tenant: str, connection: str) -> Ticket:
    """A deletion that is agreed to, its provider told, and the claimed job that carries it out."""
    now = services.clock()
    wish = Wish("connection", "api", connection_id=connection, requester=b"who asked.......")
    with Work(services, tenant) as work:
        owner = work.session.get_one(Tenant, tenant)
        asked, _ = request_erasure(work.session, tenant=owner, wish=wish, undo=timedelta(0), now=now)
        approve(asked, b"who agrees......", now)
        work.session.execute(update(Connection).where(Connection.id == connection).values(status=REVOKED))
        work.put(deletions_run(tenant, asked.id))
        deletion = asked.id
    with system_session(services.database) as session:
        job = session.query(Job).filter(Job.kind == "deletions.run").one()
        run = claim(session, job.id, tenant, job.kind, now=now, lease=timedelta(hours=1), worker="bench")
    assert run is not None and run.args["deletion"] == deletion
    return Ticket(services, run, now)


def _erase(services: Services, ticket: Ticket, neighbour: Neighbour | None) -> dict[str, Any]:
    deletions.Resized = Watched  # type: ignore[misc]
    if neighbour is not None:
        neighbour.start()
    began, cpu = time.monotonic(), time.process_time()
    deletions.run(ticket)
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    if neighbour is not None:
        neighbour.enough.set()
        neighbour.join()
    with ticket.work(reads_only=True) as work:
        steps = {one.name: one for one in steps_of(work.session, str(ticket.run.args["deletion"]))}
    rows = sum(steps[name].deleted or 0 for name in ROWS_OF)
    chunks, resident = zip(*Watched.seen, strict=True)
    early = resident[len(resident) // 10]
    return {
        "rows": rows, "left": sum(steps[name].after or 0 for name in ROWS_OF), "seconds": seconds, "cpu": cpu,
        "chunk_p99": percentile(list(chunks), 0.99), "chunks": len(chunks), "chunk_seconds": sum(chunks),
        "mib_grown": max(resident[len(resident) // 10 :]) - early,
        "neighbour": [] if neighbour is None else neighbour.took,
    }  # fmt: skip


def main() -> None:
    """The process."""
    configure()  # what is logged is not to stand among the answers
    orders = json.loads(sys.stdin.readline())
    services = build(read_settings())
    ticket = _ticket(services, orders["tenant"], orders["connection"])
    neighbour = Neighbour(services, orders["neighbour"], orders["page"]) if orders["busy"] else None
    keep_for_good()  # as a worker that is ready
    print("ready", flush=True)
    sys.stdin.readline()
    result = _erase(services, ticket, neighbour)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
