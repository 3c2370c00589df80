"""The ledger on every database: what a job absorbs, what a trigger may count on, and what a person may do."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock

import pytest

from models import inbox
from models import job as ledger
from models import run as runs_of
from models.database import Database
from models.job import DEAD, DONE, QUEUED, RUNNING, WAITING, Message
from models.run import Run
from models.tenancy import CrossTenantWrite, system_session, tenant_session
from tests.at_once import at_once, overtaking
from tests.conftest import Company, FrozenClock
from tests.models.ledger import (
    KIND,
    LEASE,
    a_job,
    claim,
    doubts,
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


def test_a_queued_job_absorbs_every_further_trigger(database: Database, clock: FrozenClock, acme: Company) -> None:
    first = put(database, clock, a_job(acme))
    again = put(database, clock, a_job(acme), a_job(acme))
    assert [len(first), again] == [1, []]
    (job,) = rows(database).values()
    assert (job.id, job.triggers, job.state) == (first[0].job_id, 3, QUEUED)


def test_two_tenants_with_the_same_key_have_a_job_each(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    assert {m.tenant_id for m in put(database, clock, a_job(acme), a_job(globex))} == {acme.id, globex.id}


def test_the_same_key_twice_in_one_batch_is_one_job(database: Database, clock: FrozenClock, acme: Company) -> None:
    assert len(put(database, clock, a_job(acme), a_job(acme))) == 1
    assert len(rows(database)) == 1


def test_jobs_without_a_key_absorb_nothing(database: Database, clock: FrozenClock, acme: Company) -> None:
    assert len(put(database, clock, a_job(acme, None), a_job(acme, None))) == 2


def test_a_job_of_the_future_waits_and_is_not_published(database: Database, clock: FrozenClock, acme: Company) -> None:
    job = a_job(acme, due_at=clock() + timedelta(hours=1))
    assert put(database, clock, job) == []
    assert claim(database, clock, job.id, acme) is None
    clock.tick(3600)
    assert [(d.message.job_id, d.state) for d in doubts(database, clock)] == [(job.id, WAITING)]
    assert claim(database, clock, job.id, acme) is not None


def test_a_job_in_a_run_absorbs_a_trigger_and_runs_once_more(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    run = taken(database, clock, acme)
    assert put(database, clock, a_job(acme)) == []
    assert finish(database, clock, run) == Message(run.job_id, acme.id, KIND, "interactive", 1)
    again = claim(database, clock, run.job_id, acme)
    assert again is not None
    assert (again.triggers, again.attempts) == (2, 1)
    assert finish(database, clock, again) is None
    assert row(database, run.job_id).state == DONE


def test_a_trigger_after_the_end_makes_a_job_of_its_own(database: Database, clock: FrozenClock, acme: Company) -> None:
    run = taken(database, clock, acme)
    finish(database, clock, run)
    (message,) = put(database, clock, a_job(acme))
    assert message.job_id != run.job_id


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


def delivered(database: Database, clock: FrozenClock, company: Company, number: int) -> list[Message]:
    """One webhook: the inbox row and its trigger, in one transaction."""
    with system_session(database) as session:
        inbox.take_in(session, [notice(company, number)], clock())
        return ledger.put(session, [a_job(company)], clock())


@pytest.mark.parametrize("end", [finish, finish_bare, give_up])
def test_messages_alone_bring_every_trigger_to_a_run_and_no_two_runs_of_a_key_meet(
    end: Callable[[Database, FrozenClock, Run], Message | None], database: Database, clock: FrozenClock, acme: Company
) -> None:
    messages: SimpleQueue[Message] = SimpleQueue()
    handled: set[str] = set()
    at_work = Lock()

    def trigger(numbers: range) -> None:
        for number in numbers:
            for message in whole(database, partial(delivered, database, clock, acme, number)):
                messages.put(message)

    def work() -> None:
        with suppress(Empty):
            while True:
                run = claim(database, clock, messages.get_nowait().job_id, acme)
                assert run is not None, "two messages for one run"
                assert at_work.acquire(blocking=False), "two runs of one key met"
                handled.update(seen(database, clock, acme))
                at_work.release()
                again = whole(database, partial(end, database, clock, run))
                if again is not None:
                    messages.put(again)

    for number in range(0, 100, 5):
        parts = range(number, number + 2), range(number + 2, number + 4), range(number + 4, number + 5)
        at_once(*[partial(trigger, part) for part in parts], work, work)
    work()
    assert handled == {f"lead {number}" for number in range(100)}
    assert {job.state for job in rows(database).values()} <= {DONE, DEAD}


def test_many_may_put_the_same_jobs_in_any_order_without_a_deadlock(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    keys = [f"page {number}" for number in range(20)]

    def deliver(number: int) -> int:
        made = 0
        for turn in range(5):
            order = keys[(number * 7 + turn) % 20 :] + keys[: (number * 7 + turn) % 20]
            notices = [notice(company, (number * 5 + turn) % 12) for company in (globex, acme)]
            with system_session(database) as session:
                inbox.take_in(session, notices, clock())
                jobs = [a_job(company, key) for company in (globex, acme) for key in order]
                made += len(ledger.put(session, jobs, clock()))
        return made

    assert sum(at_once(*[partial(deliver, number) for number in range(8)])) == 40
    found = rows(database).values()
    assert (len(found), {job.triggers for job in found}) == (40, {40})


def test_a_job_whose_id_says_what_it_is_for_is_stored_once(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    job = a_job(acme, None)
    for _ in range(2):
        with system_session(database) as session:
            assert ledger.put_once(session, job, clock()).job_id == job.id
    run = claim(database, clock, job.id, acme)
    assert run is not None
    finish(database, clock, run)
    with system_session(database) as session:
        ledger.put_once(session, job, clock())
    assert row(database, job.id).state == DONE


def test_what_a_job_waited_for_makes_it_due_for_its_tenant_alone(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    later = clock() + timedelta(hours=1)
    put(database, clock, a_job(acme, due_at=later), a_job(globex, due_at=later))
    with tenant_session(database, acme.id) as session:
        ledger.hurry(session, acme.id, "page", clock())
    assert [d.message.tenant_id for d in doubts(database, clock)] == [acme.id]


def test_a_person_replays_a_dead_job_of_their_tenant(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    run = taken(database, clock, acme)
    give_up(database, clock, run)
    with tenant_session(database, globex.id) as session:
        assert not ledger.replay(session, run.job_id, clock(), tenant_id=globex.id)
    with tenant_session(database, acme.id) as session:
        assert ledger.replay(session, run.job_id, clock(), tenant_id=acme.id)
    job = row(database, run.job_id)
    assert (job.state, job.attempts, job.due_at, job.open_key) == (WAITING, 0, clock(), "page")
    assert claim(database, clock, run.job_id, acme) is not None


@pytest.mark.parametrize("state", [QUEUED, RUNNING, WAITING])
def test_a_dead_job_is_not_replayed_beside_another_that_is_open_for_its_key(
    state: str, database: Database, clock: FrozenClock, acme: Company
) -> None:
    dead = taken(database, clock, acme)
    give_up(database, clock, dead)
    other = a_job(acme, due_at=clock() + timedelta(hours=1) if state == WAITING else None)
    put(database, clock, other)
    if state == RUNNING:
        assert claim(database, clock, other.id, acme) is not None
    with system_session(database) as session:
        assert not ledger.replay(session, dead.job_id, clock())
    assert (row(database, dead.job_id).state, row(database, other.id).state) == (DEAD, state)


def test_only_what_ended_well_long_ago_is_dropped(database: Database, clock: FrozenClock, acme: Company) -> None:
    done, dead = taken(database, clock, acme, key="done"), taken(database, clock, acme, key="dead")
    put(database, clock, a_job(acme))
    finish(database, clock, done)
    give_up(database, clock, dead)
    with system_session(database) as session:
        assert ledger.prune(session, clock(), limit=10) == 0
        assert ledger.prune(session, clock() + timedelta(seconds=1), limit=10) == 1
    assert {job.state for job in rows(database).values()} == {DEAD, QUEUED}


def test_a_session_of_one_tenant_cannot_give_a_job_to_another(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    job = a_job(globex)
    with pytest.raises(CrossTenantWrite), tenant_session(database, acme.id) as session:
        ledger.put(session, [job], clock())
    assert rows(database) == {}
