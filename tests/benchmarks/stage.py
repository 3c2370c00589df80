"""What both sides share in a run: the servers, ten tenants with two pages each, and the provider with 30 ms of latency."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from integrations.simulator.seed import DEFAULT, build_world
from tests.benchmarks.processes import Processes, Started, python
from tests.benchmarks.sending import APP_SECRET, PageLead
from tests.benchmarks.servers import Postgres, Valkey, free_port, listens, wait_until

TENANTS, PAGES_EACH = 10, 2
LATENCY_MS = 30
APP_ID = "310000000000001"
VERIFY_TOKEN = "benchmark-verify-token"


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a tenant, and the token that opens its leads."""

    tenant: str
    id: str
    form_id: str
    token: str


PAGES = [
    Page(
        f"tenant-{number % TENANTS}",
        f"5100000000001{number:02d}",
        f"6100000000001{number:02d}",
        f"EAABENCH{number:02d}",
    )
    for number in range(TENANTS * PAGES_EACH)
]


@dataclass
class Stage:
    """A folder, the processes in it, and the servers, each started when first asked for."""

    folder: Path
    processes: Processes
    began: float = field(default_factory=time.time)
    _runs: int = 0

    @cached_property
    def postgres(self) -> Postgres:
        """One server for all runs of a benchmark."""
        return Postgres(self.processes, self.folder)

    @cached_property
    def valkey(self) -> Valkey:
        """One server for all runs of a benchmark; `clean` empties it."""
        return Valkey(self.processes, self.folder)

    def name(self, stem: str) -> str:
        """A name nobody had before, for a database or a log."""
        self._runs += 1
        return f"{stem}_{self._runs}"

    def database_url(self, kind: str, stem: str) -> str:
        """A new, empty database: `postgresql` or `sqlite`."""
        name = self.name(stem)
        return self.postgres.create(name) if kind == "postgresql" else f"sqlite:///{self.folder}/{name}.db"

    def clean(self) -> None:
        """Forget every message."""
        self.valkey.client.flushall()

    def consumers(self) -> int:
        """How many workers wait for a message at Redis."""
        return sum(client["cmd"] == "brpop" for client in self.valkey.client.client_list())

    def settle(self, *processes: Started) -> None:
        """Wait until they have stopped importing, so that a meter counts work only; ten seconds at most."""
        spent = -1.0
        for _ in range(20):
            before, spent = spent, sum(started.cpu() for started in processes)
            if spent - before < 0.02:
                return
            time.sleep(0.5)

    def servers(self, kind: str) -> list[Started]:
        """Whose CPU is part of the price."""
        return [self.valkey.started, *([self.postgres.started] if kind == "postgresql" else [])]

    def provider(self, leads_per_page: int) -> "Provider":
        """The simulator as a process, with so many leads on each page."""
        seed = _seed(leads_per_page)
        path = self.folder / f"{self.name('seed')}.json"
        path.write_text(json.dumps(seed))
        port = free_port()
        command = python("tests.benchmarks.provider", str(port), str(path))
        started = self.processes.start("simulator", command)
        wait_until(lambda: listens(port), 30, started)
        return Provider(f"http://127.0.0.1:{port}", _leads(seed), started)


@dataclass(frozen=True, slots=True)
class Provider:
    """Where it listens, and every lead it has: (page, lead), the pages taking turns."""

    url: str
    leads: list[PageLead]
    started: Started


def _seed(leads_per_page: int) -> dict[str, Any]:
    form = DEFAULT["pages"][0]["forms"][0]
    return {
        "seed": 1,
        "latency_ms": LATENCY_MS,
        "apps": [{"id": APP_ID, "secret": APP_SECRET, "verify_token": VERIFY_TOKEN}],
        "users": [{"id": "410000000000001", "name": "Ada"}],
        "pages": [
            {"id": page.id, "name": page.id, "tenant": page.tenant, "users": ["410000000000001"],
             "access_token": page.token, "subscribed": True,
             "forms": [{**form, "id": page.form_id, "leads": leads_per_page}]}
            for page in PAGES
        ],
    }  # fmt: skip


def _leads(seed: dict[str, Any]) -> list[PageLead]:
    """The same seed gives the same leads, so the process need not be asked."""
    world = build_world(lambda: datetime.now(UTC), seed)
    columns = [[(page.id, lead.id) for lead in world.forms[page.form_id].leads] for page in PAGES]
    return [pair for row in zip(*columns, strict=True) for pair in row]


@contextmanager
def stage() -> Iterator[Stage]:
    """A stage that leaves nothing behind, neither processes nor files."""
    folder = Path(tempfile.mkdtemp(prefix="troth-bench-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        with Processes(folder) as processes:
            yield Stage(folder, processes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
