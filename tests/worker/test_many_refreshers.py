"""Fresh tokens for many threads of many processes at once, on a real server: one refresh, and all of them have it."""

import hashlib
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress

import orjson
import pytest

from integrations.simulator.seed import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET, SHARED_ACCOUNT
from models.connection import ACTIVE
from tests.conftest import Company, FrozenClock
from tests.models.accounts import look, tokens_of, told
from tests.worker.conftest import MASTER_KEY
from tests.worker.outside import Outside
from worker.services import Services, wall_clock

PROCESSES, THREADS = 4, 50


def asking(
    outside: Outside, database_url: str, redis_url: str, company: Company, account: str, processes: int
) -> Counter[str]:
    """What all threads of all processes got."""
    url = outside.server.url
    environment = {
        **os.environ,
        "TROTH_DATABASE_URL": database_url, "TROTH_REDIS_URL": redis_url, "TROTH_MASTER_KEYS": MASTER_KEY,
        "TROTH_GOOGLE_CLIENT_ID": GOOGLE_CLIENT_ID, "TROTH_GOOGLE_CLIENT_SECRET": GOOGLE_CLIENT_SECRET,
        "TROTH_GOOGLE_TOKEN_URL": f"{url}/token",
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.worker.refreshing", company.id, account, str(THREADS), str(processes)]
    found: Counter[str] = Counter()
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as asking:
        assert asking.stdin and asking.stdout
        try:
            assert [asking.stdout.readline() for _ in range(processes)] == [b"ready\n"] * processes
            asking.stdin.write(b"!" * processes)
            asking.stdin.flush()
            for _ in range(processes):
                found.update(orjson.loads(asking.stdout.readline()))
            assert asking.wait(60) == 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(asking.pid, signal.SIGKILL)
    return found


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_of_200_workers_in_several_processes_one_refreshes_and_all_have_the_new_token(
    outside: Outside, troth: Services, database_url: str, redis_url: str, acme: Company, clock: FrozenClock
) -> None:
    clock.now = wall_clock()  # theirs
    account = outside.bring(acme)
    outside.google.account(SHARED_ACCOUNT).rotate = True  # a second refresh with the old token would be refused
    outside.panel.press("latency", kind="google_refresh", seconds=0.5)
    found = asking(outside, database_url, redis_url, acme, account, PROCESSES)
    kept = tokens_of(troth.database, troth.vault, account)["access_token"]
    assert found == {hashlib.sha256(kept.encode()).hexdigest(): PROCESSES * THREADS}
    assert (outside.google.refresh_calls[SHARED_ACCOUNT], outside.google.most_at_once[SHARED_ACCOUNT]) == (1, 1)
    row = look(troth.database, account)
    assert (row.status, row.refresh_by, row.refresh_until) == (ACTIVE, None, None)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_dead_grant_is_noticed_by_one_of_many_processes(
    outside: Outside, troth: Services, database_url: str, redis_url: str, acme: Company, clock: FrozenClock
) -> None:
    clock.now = wall_clock()
    account = outside.bring(acme)
    outside.google.revoke(SHARED_ACCOUNT)
    assert asking(outside, database_url, redis_url, acme, account, 2) == {
        "GrantGone": 1, "none": 2 * THREADS - 1,
    }  # fmt: skip
    assert outside.google.refresh_calls[SHARED_ACCOUNT] == 1
    assert told(troth.database, acme, account).count("connection.needs_reconnect") == 1
