"""Triggers that meet runs: none is ever lost, and two runs of one key never meet, whoever comes first."""

from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, Queue
from threading import Event, Lock

import pytest

from models import inbox
from models import job as ledger
from models import run as runs_of
from models.database import Database
from models.job import DEAD, DONE, QUEUED, Message
from models.run import Run
from models.tenancy import system_session, tenant_session
from tests.at_once import at_once, overtaking
from tests.conftest import Company, FrozenClock
from tests.models.ledger import (
    KIND,
    LEASE,
    a_job,
    claim,
    finish,
    finish_bare,
    give_up,
    notice,
    put,
    row,
    rows,
    seen,
    taken,
    whole,
)


def test_a_claim_waits_for_the_trigger_that_its_job_is_absorbing(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    (message,) = put(database, clock, a_job(acme))

    def trigger(pause: Callable[[], None]) -> set[str]:
        with system_session(database) as session:
            inbox.take_in(session, [notice(acme, 1)], clock())
            assert ledger.put(session, [a_job(acme)], clock()) == []
            pause()
        return set()

    def run() -> set[str]:
        assert claim(database, clock, message.job_id, acme) is not None
        return seen(database, clock, acme)

    assert overtaking(trigger, run)[1] == {"lead 1"}


def test_a_trigger_that_meets_a_claim_in_the_making_is_seen_at_the_end(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    (message,) = put(database, clock, a_job(acme))

    def run(pause: Callable[[], None]) -> list[Message]:
        with tenant_session(database, acme.id) as session:
            run = runs_of.claim(session, message.job_id, acme.id, KIND, now=clock(), lease=LEASE, worker="w")
            pause()
        assert run is not None
        runs.append(run)
        return []

    runs: list[Run] = []
    assert overtaking(run, lambda: put(database, clock, a_job(acme))) == [[], []]
    assert finish(database, clock, runs[0]) is not None


def test_an_end_waits_for_the_trigger_that_its_job_is_absorbing(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    run = taken(database, clock, acme)

    def trigger(pause: Callable[[], None]) -> Message | None:
        with system_session(database) as session:
            assert ledger.put(session, [a_job(acme)], clock()) == []
            pause()
        return None

    assert overtaking(trigger, lambda: finish(database, clock, run))[1] is not None
    assert row(database, run.job_id).state == QUEUED


def test_a_trigger_that_meets_an_end_in_the_making_gets_a_job_of_its_own(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    run = taken(database, clock, acme)

    def end(pause: Callable[[], None]) -> list[Message]:
        with tenant_session(database, acme.id) as session:
            assert runs_of.finish(session, run, clock()) is None
            pause()
        return []

    _, (fresh,) = overtaking(end, lambda: put(database, clock, a_job(acme)))
    assert fresh.job_id != run.job_id
    assert claim(database, clock, fresh.job_id, acme) is not None


def deliver(database: Database, clock: FrozenClock, company: Company, number: int) -> list[Message]:
    """One webhook: the inbox row and its trigger, in one transaction."""
    with system_session(database) as session:
        inbox.take_in(session, [notice(company, number)], clock())
        return ledger.put(session, [a_job(company)], clock())


@pytest.mark.parametrize("end", [finish, finish_bare, give_up])
def test_messages_alone_bring_every_trigger_to_a_run_and_no_two_runs_of_a_key_meet(
    end: Callable[[Database, FrozenClock, Run], Message | None], database: Database, clock: FrozenClock, acme: Company
) -> None:
    messages: Queue[Message] = Queue()
    handled: set[str] = set()
    at_work = Lock()

    def trigger(numbers: Sequence[int]) -> None:
        for number in numbers:
            for message in whole(database, partial(deliver, database, clock, acme, number)):
                messages.put(message)

    def trigger_all(numbers: Sequence[int], over: Event) -> None:
        try:
            at_once(partial(trigger, numbers[::2]), partial(trigger, numbers[1::2]))
        finally:
            over.set()

    def run(message: Message) -> Message | None:
        run = claim(database, clock, message.job_id, acme)
        assert run is not None, "two messages for one run"
        assert at_work.acquire(blocking=False), "two runs of one key met"
        handled.update(seen(database, clock, acme))
        for _ in range(5):
            rows(database)  # the provider takes its time
        at_work.release()
        return whole(database, partial(end, database, clock, run))

    def work(over: Event) -> None:
        while not over.is_set() or not messages.empty():
            try:
                again = run(messages.get(timeout=0.01))
            except Empty:
                continue
            if again is not None:
                messages.put(again)

    for number in range(0, 120, 6):
        over = Event()
        at_once(partial(trigger_all, range(number, number + 6), over), partial(work, over), partial(work, over))
        # Only now: a later trigger would bring an earlier one along that was lost.
        assert handled == {f"lead {before}" for before in range(number + 6)}
        assert {job.state for job in rows(database).values()} <= {DONE, DEAD}
