"""Starts and asks Troth itself: its own commands, its own schema, tenants imported as a host would have them."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import func, select

from models.database import Database
from models.grant import NewGrant, store_grant
from models.inbox import InboxEvent
from models.lead import Lead
from models.migrations import upgrade
from models.tenancy import system_session
from models.tenant import add_tenant
from models.vault import Vault, parse_master_keys
from tests.benchmarks.processes import Started, python
from tests.benchmarks.sending import APP_SECRET
from tests.benchmarks.servers import free_port, listens, wait_until
from tests.benchmarks.stage import APP_ID, PAGES, VERIFY_TOKEN, Stage

MASTER_KEYS = "bench:" + base64.b64encode(bytes(range(32))).decode()
CONCURRENCY = 16


@dataclass
class Ours:
    """Troth on one database. `tenants` maps the names of the tenants it was given to our ids."""

    stage: Stage
    kind: str
    graph_url: str = "http://127.0.0.1:1"
    names: Sequence[str] = tuple(dict.fromkeys(page.tenant for page in PAGES))
    tenants: dict[str, str] = field(default_factory=dict)
    processes: list[Started] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        self.database_url = self.stage.database_url(self.kind, "ours")
        self.stage.clean()
        upgrade(self.database_url)
        self._database = Database(self.database_url, pool_size=2)
        self._import()
        self.env = {
            "TROTH_DATABASE_URL": self.database_url,
            "TROTH_REDIS_URL": self.stage.valkey.url,
            "TROTH_MASTER_KEYS": MASTER_KEYS,
            "TROTH_META_APP_ID": APP_ID,
            "TROTH_META_APP_SECRET": APP_SECRET,
            "TROTH_META_VERIFY_TOKEN": VERIFY_TOKEN,
            "TROTH_META_GRAPH_URL": self.graph_url,
            "MALLOC_ARENA_MAX": "2",  # as the image and `troth up` set it
        }

    def _import(self) -> None:
        now, vault = datetime.now(UTC), Vault(parse_master_keys(MASTER_KEYS))
        with system_session(self._database) as session:
            for name in self.names:
                tenant = add_tenant(session, external_id=name, name=name, country="US", timezone="UTC", now=now)
                vault.keyring(session, tenant.id, tenant.id, now)
                self.tenants[name] = tenant.id
            for page in PAGES:
                if page.tenant in self.tenants:
                    grant = NewGrant("facebook_leads", page.id, page.id, page.id, {"page_access_token": page.token})
                    store_grant(session, vault, grant, tenant_id=self.tenants[page.tenant], now=now)

    def start_web(self) -> None:
        """One server process."""
        self.port = free_port()
        web = self._start("web", "worker", "web", "--port", str(self.port))
        wait_until(lambda: listens(self.port), 20, web)

    def start_workers(self, processes: int = 2, concurrency: int = CONCURRENCY) -> None:
        """Worker processes as `troth worker` starts them, and the clock with its reconciler."""
        for _ in range(processes):
            self.start_worker("worker", "worker", "--concurrency", str(concurrency))
        self.start_beat()

    def start_beat(self) -> None:
        """The clock."""
        self._start("beat", "worker", "beat")

    def start_worker(self, *module_and_arguments: str) -> None:
        """A worker by any module; ready when it has announced itself."""
        before = self.stage.consumers()
        worker = self._start("worker", *module_and_arguments)
        wait_until(lambda: self.stage.consumers() > before, 30, worker)

    def _start(self, name: str, *module_and_arguments: str) -> Started:
        started = self.stage.processes.start(name, python(*module_and_arguments), self.env)
        self.processes.append(started)
        return started

    def stop(self) -> None:
        """End its processes."""
        self.stage.processes.stop(*self.processes)
        self.processes.clear()
        self._database.close()

    def inbox_count(self) -> int:
        """Rows that the front door has stored."""
        return self._count(InboxEvent)

    def stored(self) -> int:
        """Leads that are there."""
        return self._count(Lead)

    def stored_at(self) -> dict[str, float]:
        """lead -> when its transaction was committed, by PostgreSQL's own word (seconds of the wall clock): that of its first
        entry in the history, since a lead's own row is written again when its form gets a name."""
        rows = "leads JOIN lead_history first ON first.lead_id = leads.id AND first.kind = 'received'"
        return self.stage.postgres.committed_at(self.database_url, "external_id", rows, "first.xmin")

    def _count(self, table: type[InboxEvent] | type[Lead]) -> int:
        with system_session(self._database, reads_only=True) as session:
            return session.scalar(select(func.count()).select_from(table)) or 0

    def settings_json(self) -> str:
        """What a client process of a benchmark needs."""
        return json.dumps({"env": self.env, "tenants": self.tenants})
