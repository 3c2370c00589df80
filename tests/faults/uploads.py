"""A worker that is killed: for each line, `{"ahead": seconds of its clock, "after": seconds or null}`, it works on what is
published in a child of its own, kills that with SIGKILL after so long, and says whether it did.

Forking what has been imported already makes twenty deaths cost less than one start.
"""

import json
import os
import signal
import sys
import time
from datetime import timedelta

from tests.worker.outside import settle
from tests.worker.runner import Runner
from worker.services import build, wall_clock
from worker.settings import read_settings
from worker.tasks import HANDLERS


def work(ahead: float) -> None:
    """All that is published or due."""
    services = build(read_settings(), clock=lambda: wall_clock() + timedelta(seconds=ahead))
    settle(Runner(services, HANDLERS), services)


def live(ahead: float, after: float | None) -> bool:
    """Whether the child had to be killed."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what it logs is no answer
        work(ahead)
        os._exit(0)
    deadline = time.monotonic() + (60 if after is None else after)
    while time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


if __name__ == "__main__":
    for line in sys.stdin:
        orders = json.loads(line)
        sys.stdout.write(json.dumps(live(orders["ahead"], orders["after"])) + "\n")
        sys.stdout.flush()
