"""Starts and asks the plain peer; what it does is in `tests/benchmarks/peer`."""

import json
from dataclasses import dataclass, field

from sqlalchemy import create_engine, func, select

from tests.benchmarks.peer.tables import INBOX, LEADS, METADATA
from tests.benchmarks.processes import Started, python
from tests.benchmarks.sending import APP_SECRET
from tests.benchmarks.servers import free_port, listens, wait_until
from tests.benchmarks.stage import PAGES, Stage


@dataclass(frozen=True, slots=True)
class Pool:
    """How the peer's workers are run: Celery's pool, its concurrency, and how many such processes."""

    kind: str
    concurrency: int
    processes: int = 1

    def __str__(self) -> str:
        return f"{self.processes} x {self.kind} -c {self.concurrency}"


TWO_PROCESSES = Pool("prefork", 2)
POOLS = [
    *(Pool("prefork", concurrency) for concurrency in (8, 32)),
    *(Pool("threads", concurrency, 2) for concurrency in (2, 8, 32)),
]


@dataclass
class Plain:
    """The peer on one database."""

    stage: Stage
    kind: str
    graph_url: str = "http://127.0.0.1:1"
    client: str = "httpx"
    database_url: str = field(init=False)
    port: int = field(init=False)
    processes: list[Started] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database_url = self.stage.database_url(self.kind, "peer")
        self.stage.clean()
        engine = create_engine(self.database_url)
        METADATA.create_all(engine)
        engine.dispose()
        pages = self.stage.folder / "pages.json"
        pages.write_text(json.dumps([[page.id, page.tenant, page.token] for page in PAGES]))
        self.env = {
            "PEER_DATABASE_URL": self.database_url,
            "PEER_BROKER_URL": self.stage.valkey.broker_url,
            "PEER_GRAPH_URL": self.graph_url,
            "PEER_APP_SECRET": APP_SECRET,
            "PEER_PAGES": str(pages),
            "PEER_CLIENT": self.client,
        }

    def start_web(self) -> None:
        """One server process."""
        self.port = free_port()
        web = self.stage.processes.start("web", python("tests.benchmarks.peer.web", str(self.port)), self.env)
        wait_until(lambda: listens(self.port), 20, web)
        self.processes.append(web)

    def start_workers(self, pool: Pool) -> None:
        """Ready when each waits for messages. Quiet logs: two lines a task would cost the peer CPU."""
        for _ in range(pool.processes):
            arguments = [
                "celery", "-A", "tests.benchmarks.peer.tasks", "worker", f"--pool={pool.kind}", "-c", str(pool.concurrency),
                "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING",
                "-n", f"{self.stage.name('peer')}@bench",
            ]  # fmt: skip
            env = {**self.env, "PEER_CONCURRENCY": str(pool.concurrency if pool.kind == "threads" else 1)}
            before = self.stage.consumers()
            worker = self.stage.processes.start("worker", python(*arguments), env)
            wait_until(lambda: self.stage.consumers() > before, 30, worker)  # noqa: B023
            self.processes.append(worker)

    def stop(self) -> None:
        """End its processes."""
        self.stage.processes.stop(*self.processes)
        self.processes.clear()

    def inbox_count(self) -> int:
        """Rows that the front door has stored."""
        return self._count(select(func.count()).select_from(INBOX))

    def stored(self) -> int:
        """Leads that are there."""
        return self._count(select(func.count()).select_from(LEADS))

    def stored_at(self) -> dict[str, float]:
        """lead -> when its transaction was committed, by PostgreSQL's own word (seconds of the wall clock)."""
        return self.stage.postgres.committed_at(self.database_url, "external_id", "peer_leads")

    def _count(self, query: object) -> int:
        engine = create_engine(self.database_url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                return int(connection.execute(query).scalar_one())  # type: ignore[call-overload]
        finally:
            engine.dispose()
