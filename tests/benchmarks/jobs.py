"""Troth's worker with two kinds of job more: one that naps and one that does nothing. Started as `troth worker` is."""

import sys
import time

from tests.benchmarks.notes import note
from worker.app import create_app, run_worker
from worker.services import build
from worker.settings import read_settings
from worker.task import Handler, Ticket
from worker.tasks import HANDLERS

NAP, NOOP = "bench.nap", "bench.noop"
NAP_SECONDS = 0.005


def nap(ticket: Ticket) -> None:
    """Five milliseconds of waiting."""
    note(ticket.run.args["label"])
    time.sleep(NAP_SECONDS)


def noop(ticket: Ticket) -> None:
    """Nothing."""
    note(ticket.run.args["label"])


KINDS: dict[str, Handler] = {NAP: nap, NOOP: noop}


def main(concurrency: str) -> None:
    """As `troth worker --concurrency N`."""
    run_worker(create_app(build(read_settings()), {**HANDLERS, **KINDS}, concurrency=int(concurrency)))


if __name__ == "__main__":
    main(sys.argv[1])
