"""A worker for one job at a time, whose jobs end when a word for each is pushed to the Redis list `go`."""

from worker.app import create_app, run_worker
from worker.services import build
from worker.settings import read_settings
from worker.task import Ticket
from worker.tasks import HANDLERS

KIND = "test.gated"


def wait_for_word(ticket: Ticket) -> None:
    """Short waits, as the client gives up on an answer after some seconds."""
    while not ticket.services.redis.blpop(["go"], timeout=1):
        pass


if __name__ == "__main__":
    run_worker(create_app(build(read_settings()), {**HANDLERS, KIND: wait_for_word}, concurrency=1))
