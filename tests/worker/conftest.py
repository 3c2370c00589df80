"""A process's parts on real servers, and a way to run the messages that were published, one by one."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from models.database import Database
from models.vault import Vault
from tests.conftest import FrozenClock
from worker.app import create_app
from worker.services import Services, build
from worker.settings import read_settings
from worker.task import Handler

APP_SECRET = "test-app-secret"
NOWHERE = "http://127.0.0.1:9"
MASTER_KEY = "k1:" + base64.b64encode(b"1" * 32).decode()


@pytest.fixture
def services(
    database_url: str, database: Database, redis_url: str, clock: FrozenClock, tmp_path: Path, vault: Vault
) -> Iterator[Services]:
    """As the web and the workers have them, with Meta's address leading nowhere."""
    settings = read_settings(
        {
            "TROTH_DATA_DIR": str(tmp_path),
            "TROTH_DATABASE_URL": database_url,
            "TROTH_REDIS_URL": redis_url,
            "TROTH_MASTER_KEYS": MASTER_KEY,
            "TROTH_META_APP_ID": "1",
            "TROTH_META_APP_SECRET": APP_SECRET,
            "TROTH_META_VERIFY_TOKEN": "verify",
            "TROTH_META_GRAPH_URL": NOWHERE,
        }
    )
    built = build(settings, clock=clock)
    built.database.close()
    yield replace(built, database=database, vault=vault)
    built.close()


class Runner:
    """Takes messages out of a lane's Celery list, as a worker does, and runs them here."""

    def __init__(self, services: Services, handlers: dict[str, Handler]) -> None:
        self.services = services
        self.app = create_app(services, handlers)

    def waiting(self, lane: str = "interactive") -> list[dict[str, str]]:
        """The headers of the messages in the list, next one first."""
        return [orjson.loads(raw)["headers"] for raw in reversed(self.services.redis.lrange(lane, 0, -1))]

    def run_one(self, lane: str = "interactive", *, patience: float = 0) -> bool:
        """Run the next message; False when there is none, also not within `patience` seconds."""
        client = self.services.redis
        raw = client.brpop([lane], timeout=patience) if patience else client.rpop(lane)
        if raw is None:
            return False
        headers = orjson.loads(raw[1] if isinstance(raw, list | tuple) else raw)["headers"]
        self.deliver(headers["task"], headers["id"], headers["tenant"], lane)
        return True

    def run_all(self, lane: str = "interactive", *, patience: float = 0) -> int:
        """Run messages until the list is empty, after `patience` for the first one; how many."""
        ran = int(self.run_one(lane, patience=patience))
        while self.run_one(lane):
            ran += 1
        return ran

    def deliver(self, kind: str, job_id: object, tenant_id: object, lane: str = "interactive") -> None:
        """Hand a message to its task; errors are the test's."""
        headers = {} if tenant_id is None else {"tenant": tenant_id}
        self.app.tasks[kind].apply(task_id=job_id, headers=headers, routing_key=lane, throw=True)


@pytest.fixture
def runner(services: Services) -> Callable[[dict[str, Handler]], Runner]:
    """A worker of the kinds given."""
    return lambda handlers: Runner(services, handlers)
