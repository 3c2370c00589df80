"""What the reconciler asks of the ledger: whom it wakes, in which order, and what becomes of a dead worker's job."""

from datetime import timedelta
from functools import partial

from models import doubt
from models.database import Database
from models.doubt import Doubt
from models.job import DEAD, DONE, DOUBT, QUEUED, RUNNING, Message
from models.run import LeaseLost, Run
from models.tenancy import system_session
from tests.at_once import at_once
from tests.conftest import Company, FrozenClock
from tests.models.ledger import (
    KIND,
    LEASE,
    a_job,
    claim,
    doubts,
    finish_group,
    lease_over,
    put,
    renew,
    row,
    taken,
    whole,
)


def test_a_renewal_in_the_last_moment_keeps_the_job_with_its_run(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    run = taken(database, clock, acme)
    clock.tick(LEASE.total_seconds())
    (found,) = doubts(database, clock)
    renew(database, clock, [run])
    with system_session(database) as session:
        assert doubt.lease_over(session, found, clock(), most_attempts=5) is None
    assert row(database, run.job_id).state == RUNNING


def test_a_dead_workers_job_is_queued_again_once(database: Database, clock: FrozenClock, acme: Company) -> None:
    run = taken(database, clock, acme)
    clock.tick(LEASE.total_seconds())
    (found,) = doubts(database, clock)
    assert (found.state, found.fence) == (RUNNING, run.fence)

    def take_back() -> Message | None:
        with system_session(database) as session:
            return doubt.lease_over(session, found, clock(), most_attempts=5)

    messages = [message for message in at_once(*[take_back] * 4) if message is not None]
    assert messages == [Message(run.job_id, acme.id, KIND, "interactive", 2)]
    again = claim(database, clock, run.job_id, acme)
    assert again is not None
    assert again.attempts == 2


def test_a_job_that_kills_its_workers_is_not_started_for_ever(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    run = taken(database, clock, acme)
    clock.tick(LEASE.total_seconds())
    assert lease_over(database, clock, run.job_id, most_attempts=1) is None
    job = row(database, run.job_id)
    assert (job.state, job.error_kind, job.wake_at) == (DEAD, "worker_lost", None)


def test_the_longest_overdue_comes_first(database: Database, clock: FrozenClock, acme: Company) -> None:
    made = [a_job(acme, f"page {n}", due_at=clock() + timedelta(minutes=n)) for n in (3, 1, 2)]
    put(database, clock, *made)
    clock.tick(600)
    assert [d.key for d in doubts(database, clock)] == ["page 1", "page 2", "page 3"]
    with system_session(database) as session:
        assert [d.key for d in doubt.awake(session, clock(), limit=2)] == ["page 1", "page 2"]


def test_a_waiting_row_is_queued_only_as_it_was_seen(database: Database, clock: FrozenClock, acme: Company) -> None:
    put(database, clock, *[a_job(acme, key, due_at=clock() + timedelta(seconds=1)) for key in ("a", "b")])
    clock.tick(1)
    found = doubts(database, clock)
    claimed = claim(database, clock, found[0].message.job_id, acme)
    with system_session(database) as session:
        doubt.to_queued(session, found, clock() + DOUBT)
    assert claimed is not None
    assert row(database, found[0].message.job_id).state == RUNNING
    assert row(database, found[1].message.job_id).state == QUEUED
    assert row(database, found[1].message.job_id).wake_at == clock() + DOUBT


def test_after_a_wipe_every_queued_job_is_looked_at(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    running = taken(database, clock, acme, key="runs")
    put(database, clock, a_job(acme), a_job(globex), a_job(acme, "far", due_at=clock() + timedelta(hours=1)))
    assert doubts(database, clock) == []
    with system_session(database) as session:
        assert doubt.wake_all_queued(session, clock()) == 2
    assert {d.message.tenant_id for d in doubts(database, clock)} == {acme.id, globex.id}
    assert running.job_id not in {d.message.job_id for d in doubts(database, clock)}


def test_a_trigger_during_a_dead_workers_run_is_part_of_the_next(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    run = taken(database, clock, acme)
    assert put(database, clock, a_job(acme)) == []
    clock.tick(LEASE.total_seconds())
    assert lease_over(database, clock, run.job_id) is not None
    again = claim(database, clock, run.job_id, acme)
    assert again is not None
    assert again.triggers == 2


def test_an_end_and_a_take_back_at_the_same_moment_have_one_winner(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    runs = [taken(database, clock, acme, key=f"page {number}") for number in range(10)]
    clock.tick(LEASE.total_seconds())
    for run, found in zip(runs, sorted(doubts(database, clock), key=lambda one: one.key), strict=True):

        def end(run: Run = run) -> bool:
            return not isinstance(finish_group(database, clock, [run])[0], LeaseLost)

        def take_back(found: Doubt = found) -> bool:
            with system_session(database) as session:
                return doubt.lease_over(session, found, clock(), most_attempts=5) is not None

        ended, taken_back = at_once(end, partial(whole, database, take_back))
        assert ended != taken_back
        assert row(database, run.job_id).state == (DONE if ended else QUEUED)
