"""What a real worker process does with messages that it has taken and not begun."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from models.job import DONE, QUEUED, RUNNING, Job, NewJob
from models.tenancy import system_session
from tests.conftest import Company
from tests.worker.conftest import MASTER_KEY
from tests.worker.gated_worker import KIND
from tests.worker.runner import Runner
from worker.jobs import INTERACTIVE
from worker.services import Services, build
from worker.task import Handler
from worker.work import Work

BEGUN, CREDIT = 3, 3
"""A worker of one slot has three threads, and takes three messages more."""
TAKEN, WINDOW = 2, 2


@pytest.fixture
def real(services: Services) -> Iterator[Services]:
    """The worker's clock is the wall's, so ours is too."""
    built = build(services.settings)
    yield built
    built.close()


@pytest.fixture
def worker(real: Services, acme: Company, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker that has begun three of five jobs, holds the other two, and asks Redis for more."""
    given = {
        "TROTH_DATABASE_URL": real.settings.database_url,
        "TROTH_REDIS_URL": str(real.settings.redis_url),
        "TROTH_MASTER_KEYS": MASTER_KEY,
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.worker.gated_worker"], env={**os.environ, **given}, stdout=log, stderr=log
        )
        try:
            real.redis.config_resetstat()
            put(real, acme, BEGUN + TAKEN)
            until(lambda: states(real) == {RUNNING: BEGUN, QUEUED: TAKEN} and not real.redis.llen(INTERACTIVE))
            yield process
        finally:
            process.kill()
            process.wait()


def put(services: Services, tenant: Company, number: int) -> None:
    for _ in range(number):
        with Work(services, tenant.id) as work:
            work.put(NewJob(tenant.id, KIND, INTERACTIVE))


def until(is_so: Callable[[], object], seconds: float = 60) -> None:
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not is_so():
        pause.wait(0.02)
        assert time.monotonic() < deadline, "it did not come true in time"


def states(services: Services) -> dict[str, int]:
    with system_session(services.database, reads_only=True) as session:
        return {state: number for state, number in session.execute(select(Job.state, func.count()).group_by(Job.state))}


def let_end(services: Services, number: int) -> None:
    services.redis.rpush("go", *["on"] * number)


def idle(_ticket: object) -> None:
    """A job that has nothing to do."""


def test_a_leaving_worker_puts_back_what_it_has_not_begun_and_another_runs_it(
    worker: "subprocess.Popen[bytes]",
    real: Services,
    acme: Company,
    runner: Callable[[dict[str, Handler]], Runner],
    tmp_path: Path,
) -> None:
    jobs = BEGUN + CREDIT + WINDOW
    put(real, acme, jobs - BEGUN - TAKEN)
    until(lambda: real.redis.llen(INTERACTIVE) == WINDOW)
    worker.terminate()
    until(lambda: b"Warm shutdown" in (tmp_path / "log").read_bytes())
    let_end(real, jobs)
    worker.wait(30)
    done = states(real)[DONE]
    assert BEGUN <= done < jobs
    assert states(real) == {DONE: done, QUEUED: jobs - done}
    assert real.redis.llen(INTERACTIVE) == jobs - done
    other = runner({KIND: idle})
    while other.run_all():
        pass
    assert states(real) == {DONE: jobs}


def test_a_worker_whose_connection_breaks_runs_what_it_has_taken_and_puts_nothing_back(
    worker: "subprocess.Popen[bytes]", real: Services
) -> None:
    jobs = BEGUN + TAKEN
    real.redis.client_kill_filter(_type="normal", skipme=True)
    let_end(real, jobs)
    until(lambda: states(real) == {DONE: jobs})
    worker.terminate()
    worker.wait(30)
    messages: int = real.redis.info("commandstats")["cmdstat_lpush"]["calls"]
    assert messages == jobs
