"""A process's parts on real servers, and a way to run the messages that were published, one by one."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from integrations.simulator.server import SimulatorServer
from models.database import Database
from models.vault import Vault
from tests.conftest import Company, FrozenClock
from tests.worker.outside import APP_SECRET, Outside, world_of
from tests.worker.pushing import Pushing
from tests.worker.runner import Runner
from worker.services import Services, build
from worker.settings import read_settings
from worker.task import Handler
from worker.tasks import HANDLERS

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


@pytest.fixture
def runner(services: Services) -> Callable[[dict[str, Handler]], Runner]:
    """A worker of the kinds given."""
    return lambda handlers: Runner(services, handlers)


@pytest.fixture
def outside(clock: FrozenClock, services: Services, acme: Company, globex: Company) -> Iterator[Outside]:
    """The simulated providers, where acme and globex have a page each."""
    with SimulatorServer(world_of(clock, acme, globex)) as server:
        yield Outside(server, services)


@pytest.fixture
def troth(outside: Outside) -> Services:
    """A process's parts that talk to the simulated providers."""
    return outside.services


@pytest.fixture
def worker(troth: Services) -> Runner:
    """A worker of every kind of job."""
    return Runner(troth, HANDLERS)


@pytest.fixture
def pushing(clock: FrozenClock, services: Services, acme: Company, globex: Company) -> Iterator[Pushing]:
    """The simulated push services, and a worker that pushes to them."""
    with SimulatorServer(world_of(clock, acme, globex)) as server:
        made = Pushing(server, services, clock)
        yield made
        made.close()
