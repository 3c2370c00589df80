"""A worker is killed again and again while it uploads a calendar: every event is there, and none is there twice."""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from integrations.simulator.seed import ACME_ACCOUNT, GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET, build_world
from integrations.simulator.server import SimulatorServer
from models.calendar_event import SYNCED
from models.database import Database
from tests.conftest import Company
from tests.faults.loss import insist
from tests.worker.calendars.diary import Diary
from tests.worker.conftest import MASTER_KEY
from tests.worker.outside import Outside
from worker.services import build, wall_clock
from worker.settings import read_settings

EVENTS, KILLS, MOST_CALLS = 2_400, 20, 300
LEASE_OVER = 20
"""Seconds that the clock of the next worker is ahead: the lease of the dead one has run out."""


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_twenty_kills_during_an_upload_double_nothing_and_lose_nothing(
    database_url: str, database: Database, redis_url: str, acme: Company, tmp_path: Path
) -> None:
    with SimulatorServer(build_world(wall_clock)) as google:
        environment = {
            "TROTH_DATABASE_URL": database_url, "TROTH_REDIS_URL": redis_url, "TROTH_MASTER_KEYS": MASTER_KEY,
            "TROTH_DATA_DIR": str(tmp_path), "TROTH_GOOGLE_CLIENT_ID": GOOGLE_CLIENT_ID,
            "TROTH_GOOGLE_CLIENT_SECRET": GOOGLE_CLIENT_SECRET, "TROTH_GOOGLE_TOKEN_URL": f"{google.url}/token",
            "TROTH_GOOGLE_API_URL": google.url, "TROTH_GOOGLE_USER_QUOTA": "0", "TROTH_GOOGLE_PROJECT_QUOTA": "0",
        }  # fmt: skip
        services = build(read_settings(environment), clock=wall_clock)
        outside = Outside(google, services)
        diary = Diary(services, google.google, acme, outside.bring(acme, ACME_ACCOUNT))
        diary.put_all({f"{number}": f"Visit {number}" for number in range(EVENTS)})
        google.world.latency = 0.03

        killed = kill_and_kill(environment, lambda: google.google.calendars.calls)

        rows = diary.rows().values()
        calendars = [one for one in google.google.calendars.calendars.values() if one.events]
        titles = Counter(one.resource["summary"] for calendar in calendars for one in calendar.events.values())
        services.close()
    assert killed == KILLS
    assert len(calendars) == 1
    assert titles == Counter(f"Visit {number}" for number in range(EVENTS))
    assert {row.state for row in rows} == {SYNCED}


class Workers:
    """One worker after the other, each with a clock that is ahead of the one before by more than a lease."""

    def __init__(self, workers: "subprocess.Popen[bytes]") -> None:
        self._workers, self._ahead = workers, timedelta()

    def begin(self) -> int:
        """The next one's process id."""
        assert self._workers.stdin is not None
        self._workers.stdin.write(f"{self._ahead.total_seconds()}\n".encode())
        self._workers.stdin.flush()
        self._ahead += timedelta(seconds=LEASE_OVER)
        return int(self._told())

    def end(self) -> bool:
        """Wait for it; whether it was killed."""
        return bool(self._told())

    def _told(self) -> Any:
        assert self._workers.stdout is not None
        return json.loads(self._workers.stdout.readline())


def lives(worker: int) -> bool:
    """Whether it has not ended."""
    with suppress(ProcessLookupError):
        os.kill(worker, 0)
        return True
    return False


def kill_and_kill(environment: dict[str, str], calls: Callable[[], int]) -> int:
    """Twenty workers die, each after so many calls of its own, and the last one ends what they began; how many died."""
    chance, killed = random.Random(7), 0
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.uploads"], env=os.environ | environment, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
    ) as process:  # fmt: skip
        workers = Workers(process)
        for _ in range(3 * KILLS):  # one may end early, when what the one before left has to wait
            dies_at, worker = calls() + chance.randint(1, MOST_CALLS), workers.begin()
            insist(lambda at=dies_at, who=worker: calls() >= at or not lives(who))  # type: ignore[misc]
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
            killed += workers.end()
            if killed == KILLS:
                break
        workers.begin()
        workers.end()
        assert process.stdin is not None
        process.stdin.close()
    return killed
