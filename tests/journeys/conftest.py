"""A whole process's parts between simulated providers: web, ledger and worker, on each database."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from integrations.simulator.server import SimulatorServer
from models.database import Database
from tests.conftest import Company, FrozenClock
from tests.journeys.canary import Canary
from tests.worker.conftest import MASTER_KEY
from tests.worker.outside import APP_SECRET, Outside, world_of
from tests.worker.runner import Runner
from tests.worker.web.conftest import NO_TLS, run
from worker.services import Services, build
from worker.settings import read_settings
from worker.tasks import HANDLERS


@pytest.fixture
def outside(
    database_url: str, database: Database, redis_url: str, clock: FrozenClock, tmp_path: Path, acme: Company,
    globex: Company,
) -> Iterator[Outside]:  # fmt: skip
    settings = read_settings(
        {
            "TROTH_DATA_DIR": str(tmp_path), "TROTH_DATABASE_URL": database_url, "TROTH_REDIS_URL": redis_url,
            "TROTH_MASTER_KEYS": MASTER_KEY, "TROTH_META_APP_ID": "1", "TROTH_META_APP_SECRET": APP_SECRET,
            "TROTH_META_VERIFY_TOKEN": "verify",
        }
    )  # fmt: skip
    built = build(settings, clock=clock)
    built.database.close()
    with SimulatorServer(world_of(clock, acme, globex)) as server:
        yield Outside(server, replace(built, database=database))
    built.close()


@pytest.fixture
def troth(outside: Outside) -> Services:
    return outside.services


@pytest.fixture
def worker(troth: Services) -> Runner:
    return Runner(troth, HANDLERS)


@pytest.fixture
def web(troth: Services) -> Iterator[httpx.Client]:
    """Meta's side of the web process."""
    for url in run(troth):
        with httpx.Client(base_url=url, trust_env=False, verify=NO_TLS, timeout=30) as client:
            yield client


@pytest.fixture
def canary(outside: Outside, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Canary:
    return Canary(outside, capfd, caplog)
