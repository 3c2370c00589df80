"""Workers that may be killed: for each line, the seconds that its clock is ahead, a child works on what is published or due.
Its id is told when it begins, and whether it was killed when it is over.

Forking what has been imported already makes twenty deaths cost less than one start.
"""

import json
import os
import sys
from datetime import timedelta

from tests.worker.outside import settle
from tests.worker.runner import Runner
from worker.services import build, wall_clock
from worker.settings import read_settings
from worker.tasks import HANDLERS, calendar_push


def work(ahead: float) -> None:
    """All that is published or due."""
    calendar_push.READ_AT_ONCE = 50  # so that most die between two writes, and some after a few
    services = build(read_settings(), clock=lambda: wall_clock() + timedelta(seconds=ahead))
    settle(Runner(services, HANDLERS), services)


def live(ahead: float) -> None:
    """One worker."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what it logs is no answer
        work(ahead)
        os._exit(0)
    tell(child)
    tell(os.WIFSIGNALED(os.waitpid(child, 0)[1]))


def tell(what: object) -> None:
    """One line."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for line in sys.stdin:
        live(float(line))
