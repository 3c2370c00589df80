"""The ledger on every database: what absorbs, who wins, who comes too late."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models import inbox
from models import job as ledger
from models.base import new_id
from models.database import Database, past_deadlocks
from models.inbox import Notice
from models.job import CANCELLED, DEAD, DONE, DOUBT, QUEUED, RUNNING, WAITING, Job, LeaseLost, Message, NewJob, Run
from models.tenancy import CrossTenantWrite, system_session, tenant_connection, tenant_session
from tests.at_once import at_once, overtaking
from tests.conftest import Company, FrozenClock

KIND = "leads.fetch"
LEASE = timedelta(seconds=20)


def a_job(company: Company, key: str | None = "page", **more: object) -> NewJob:
    return NewJob(company.id, KIND, "interactive", key=key, connection_id=company.connection_id, **more)  # type: ignore[arg-type]


def put(database: Database, clock: FrozenClock, *jobs: NewJob) -> list[Message]:
    with system_session(database) as session:
        return ledger.put(session, jobs, clock())


def claim(database: Database, clock: FrozenClock, job_id: str, company: Company, worker: str = "w") -> Run | None:
    with tenant_session(database, company.id) as session:
        return ledger.claim(session, job_id, company.id, KIND, now=clock(), lease=LEASE, worker=worker)


def taken(database: Database, clock: FrozenClock, company: Company, **more: object) -> Run:
    job = a_job(company, **more)  # type: ignore[arg-type]
    put(database, clock, job)
    run = claim(database, clock, job.id, company)
    assert run is not None
    return run


def rows(database: Database) -> dict[str, Job]:
    with system_session(database, reads_only=True) as session:
        return {row.id: row for row in session.scalars(select(Job))}


def row(database: Database, job_id: str) -> Job:
    return rows(database)[job_id]


def doubts(database: Database, clock: FrozenClock) -> list[ledger.Doubt]:
    with system_session(database, reads_only=True) as session:
        return ledger.awake(session, clock(), limit=100)


def test_a_job_of_one_tenant_cannot_be_claimed_with_the_tag_of_another(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    job = a_job(acme)
    put(database, clock, job)
    with tenant_session(database, globex.id) as session:
        assert ledger.claim(session, job.id, globex.id, KIND, now=clock(), lease=LEASE, worker="w") is None
    with system_session(database) as session:
        assert ledger.claim(session, job.id, globex.id, KIND, now=clock(), lease=LEASE, worker="w") is None
    assert row(database, job.id).state == QUEUED


def test_a_job_cannot_be_claimed_as_another_kind(database: Database, clock: FrozenClock, acme: Company) -> None:
    job = a_job(acme)
    put(database, clock, job)
    with tenant_session(database, acme.id) as session:
        assert ledger.claim(session, job.id, acme.id, "other.kind", now=clock(), lease=LEASE, worker="w") is None


def test_an_unknown_job_is_not_claimed(database: Database, clock: FrozenClock, acme: Company) -> None:
    assert claim(database, clock, new_id(), acme) is None


def test_one_of_sixteen_wins_a_claim(database: Database, clock: FrozenClock, acme: Company) -> None:
    job = a_job(acme)
    put(database, clock, job)
    won = at_once(*[partial(claim, database, clock, job.id, acme, f"worker {n}") for n in range(16)])
    winners = [run for run in won if run is not None]
    assert len(winners) == 1
    assert (winners[0].fence, winners[0].attempts, winners[0].key) == (1, 1, "page")
    assert row(database, job.id).state == RUNNING


def test_a_claim_on_a_bare_connection_wins_as_well(database: Database, clock: FrozenClock, acme: Company) -> None:
    job = a_job(acme, args={"a": 1})
    put(database, clock, job)
    with tenant_connection(database, acme.id) as connection:
        run = ledger.claim(connection, job.id, acme.id, KIND, now=clock(), lease=LEASE, worker="w")
    assert run is not None
    assert (run.args, run.connection_id, run.tenant_id) == ({"a": 1}, acme.connection_id, acme.id)
    with tenant_connection(database, acme.id) as connection:
        ledger.finish(connection, run, clock())
    assert row(database, job.id).state == DONE


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


def test_a_trigger_during_a_run_makes_a_run_of_its_own(database: Database, clock: FrozenClock, acme: Company) -> None:
    run = taken(database, clock, acme)
    (message,) = put(database, clock, a_job(acme))
    assert message.job_id != run.job_id


def notice(company: Company, number: int) -> Notice:
    return Notice(company.id, company.connection_id, "lead", f"lead {number}", "webhook")


def seen(database: Database, clock: FrozenClock, company: Company) -> set[str]:
    with tenant_session(database, company.id, reads_only=True) as session:
        found = inbox.pending(
            session, tenant_id=company.id, connection_id=company.connection_id, kind="lead", now=clock(), limit=1000
        )
    return {event.external_id for event in found}


def test_a_claim_waits_for_the_trigger_that_its_job_is_absorbing(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    (message,) = put(database, clock, a_job(acme))

    def trigger(pause: object) -> set[str]:
        with system_session(database) as session:
            inbox.take_in(session, [notice(acme, 1)], clock())
            assert ledger.put(session, [a_job(acme)], clock()) == []
            pause()  # type: ignore[operator]
        return set()

    def run() -> set[str]:
        assert claim(database, clock, message.job_id, acme) is not None
        return seen(database, clock, acme)

    assert overtaking(trigger, run)[1] == {"lead 1"}


def test_a_trigger_that_meets_a_claim_in_the_making_gets_its_own_job(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    (message,) = put(database, clock, a_job(acme))

    def run(pause: object) -> list[Message]:
        with tenant_session(database, acme.id) as session:
            assert ledger.claim(session, message.job_id, acme.id, KIND, now=clock(), lease=LEASE, worker="w")
            pause()  # type: ignore[operator]
        return []

    _, (fresh,) = overtaking(run, lambda: put(database, clock, a_job(acme)))
    assert fresh.job_id != message.job_id
    assert claim(database, clock, fresh.job_id, acme) is not None


def test_no_trigger_is_ever_lost_between_absorbing_and_claiming(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    rounds, producers = 25, 2
    handled: set[str] = set()

    def trigger(number: int) -> None:
        def deliver() -> None:
            with system_session(database) as session:
                inbox.take_in(session, [notice(acme, number)], clock())
                ledger.put(session, [a_job(acme)], clock())

        past_deadlocks(deliver)  # of InnoDB

    def work() -> None:
        open_jobs = [job.id for job in rows(database).values() if job.state == QUEUED]
        for run in filter(None, [claim(database, clock, job_id, acme) for job_id in open_jobs]):
            handled.update(seen(database, clock, acme))
            with tenant_session(database, acme.id) as session:
                ledger.finish(session, run, clock())

    for number in range(rounds):
        batch = [partial(trigger, number * producers + n) for n in range(producers)]
        at_once(*batch, work, work)
    work()
    assert handled == {f"lead {number}" for number in range(rounds * producers)}


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


def test_puts_and_ends_of_the_same_jobs_never_deadlock(database: Database, clock: FrozenClock, acme: Company) -> None:
    keys = [f"page {number}" for number in range(6)]

    def deliver() -> None:
        for _ in range(12):
            put(database, clock, *[a_job(acme, key) for key in keys])

    def work() -> None:
        for _ in range(6):
            for job in list(rows(database).values()):
                run = claim(database, clock, job.id, acme) if job.state == QUEUED else None
                if run is not None:
                    with tenant_session(database, acme.id) as session:
                        ledger.later(session, run, clock(), due_at=clock(), counts=False)

    at_once(deliver, deliver, work, work)
    assert len([job for job in rows(database).values() if job.open_key is not None]) == 6


def test_a_finished_job_is_done(database: Database, clock: FrozenClock, acme: Company) -> None:
    run = taken(database, clock, acme)
    with tenant_session(database, acme.id) as session:
        ledger.finish(session, run, clock())
    job = row(database, run.job_id)
    assert (job.state, job.open_key, job.wake_at, job.finished_at) == (DONE, None, None, clock())
    assert claim(database, clock, run.job_id, acme) is None


def test_a_job_that_is_given_up_keeps_its_reason(database: Database, clock: FrozenClock, acme: Company) -> None:
    run = taken(database, clock, acme)
    with tenant_session(database, acme.id) as session:
        ledger.give_up(session, run, clock(), kind="gone", sentence="s" * 900)
    job = row(database, run.job_id)
    assert (job.state, job.error_kind, job.error_sentence) == (DEAD, "gone", "s" * 500)


@pytest.mark.parametrize("end", ["finish", "give_up", "later"])
def test_whoever_lost_the_lease_cannot_write(end: str, database: Database, clock: FrozenClock, acme: Company) -> None:
    old = taken(database, clock, acme)
    clock.tick(LEASE.total_seconds())
    with system_session(database) as session:
        ledger.lease_over(session, ledger.awake(session, clock(), limit=1)[0], clock(), most_attempts=5)
    ends: dict[str, Callable[[Session], None]] = {
        "finish": lambda session: ledger.finish(session, old, clock()),
        "give_up": lambda session: ledger.give_up(session, old, clock(), kind="gone", sentence="Gone."),
        "later": lambda session: ledger.later(session, old, clock(), due_at=clock()),
    }

    def write() -> None:
        with tenant_session(database, acme.id) as session:
            inbox.take_in(session, [notice(acme, 1)], clock())
            ends[end](session)

    for taken_again in (False, True):
        if taken_again:
            assert claim(database, clock, old.job_id, acme) is not None
        with pytest.raises(LeaseLost):
            write()
        assert seen(database, clock, acme) == set()
    assert row(database, old.job_id).state == RUNNING


def test_a_job_for_later_waits_and_counts_its_attempt(database: Database, clock: FrozenClock, acme: Company) -> None:
    run = taken(database, clock, acme)
    due = clock() + timedelta(minutes=5)
    with tenant_session(database, acme.id) as session:
        ledger.later(session, run, clock(), due_at=due, kind="throttled", sentence="Busy.")
    job = row(database, run.job_id)
    assert (job.state, job.due_at, job.wake_at, job.attempts, job.open_key) == (WAITING, due, due, 1, "page")
    assert put(database, clock, a_job(acme)) == []  # it absorbs


def test_a_throttle_gives_the_attempt_back(database: Database, clock: FrozenClock, acme: Company) -> None:
    run = taken(database, clock, acme)
    with tenant_session(database, acme.id) as session:
        ledger.later(session, run, clock(), due_at=clock(), counts=False)
    assert row(database, run.job_id).attempts == 0


def test_a_twin_that_waits_already_carries_the_wait_on(database: Database, clock: FrozenClock, acme: Company) -> None:
    run = taken(database, clock, acme)
    (twin,) = put(database, clock, a_job(acme))
    due = clock() + timedelta(minutes=5)
    with tenant_session(database, acme.id) as session:
        ledger.later(session, run, clock(), due_at=due, kind="throttled", sentence="Busy.")
    old, new = row(database, run.job_id), row(database, twin.job_id)
    assert (old.state, old.open_key) == (DONE, None)
    assert (new.state, new.due_at, new.attempts) == (WAITING, due, 1)


def test_a_twin_that_is_born_while_its_job_is_put_off_loses_nothing(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    run = taken(database, clock, acme)
    due = clock() + timedelta(minutes=5)

    def trigger(pause: object) -> None:
        with system_session(database) as session:
            ledger.put(session, [a_job(acme)], clock())
            pause()  # type: ignore[operator]

    def put_off() -> None:
        with tenant_session(database, acme.id) as session:
            ledger.later(session, run, clock(), due_at=due)

    overtaking(trigger, put_off)
    (twin,) = (job for job in rows(database).values() if job.id != run.job_id)
    assert row(database, run.job_id).state == DONE
    assert (twin.state, twin.attempts, twin.open_key) == (WAITING, 1, "page")


def test_a_renewed_lease_holds_and_a_lost_one_stays_lost(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    lost, held = taken(database, clock, acme), taken(database, clock, globex)
    clock.tick(LEASE.total_seconds())
    with system_session(database) as session:
        (doubt,) = [d for d in ledger.awake(session, clock(), limit=10) if d.message.job_id == lost.job_id]
        assert ledger.lease_over(session, doubt, clock(), most_attempts=5) is not None
        ledger.renew(session, [lost, held], clock() + LEASE)
    assert row(database, held.job_id).wake_at == clock() + LEASE
    assert row(database, lost.job_id).state == QUEUED
    assert row(database, lost.job_id).wake_at == clock() + DOUBT


def test_a_renewal_in_the_last_moment_keeps_the_job_with_its_run(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    run = taken(database, clock, acme)
    clock.tick(LEASE.total_seconds())
    (doubt,) = doubts(database, clock)
    with system_session(database) as session:
        ledger.renew(session, [run], clock() + LEASE)
    with system_session(database) as session:
        assert ledger.lease_over(session, doubt, clock(), most_attempts=5) is None
    assert row(database, run.job_id).state == RUNNING


def test_a_dead_workers_job_is_queued_again_once(database: Database, clock: FrozenClock, acme: Company) -> None:
    run = taken(database, clock, acme)
    clock.tick(LEASE.total_seconds())
    (doubt,) = doubts(database, clock)
    assert (doubt.state, doubt.fence) == (RUNNING, 1)

    def take_back() -> Message | None:
        with system_session(database) as session:
            return ledger.lease_over(session, doubt, clock(), most_attempts=5)

    messages = [message for message in at_once(*[take_back] * 4) if message is not None]
    assert messages == [Message(run.job_id, acme.id, KIND, "interactive", 2)]
    again = claim(database, clock, run.job_id, acme)
    assert again is not None
    assert (again.fence, again.attempts) == (2, 2)


def test_a_dead_workers_job_ends_when_a_twin_waits_already(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    run = taken(database, clock, acme)
    put(database, clock, a_job(acme))
    clock.tick(LEASE.total_seconds())
    (doubt,) = [d for d in doubts(database, clock) if d.message.job_id == run.job_id]
    with system_session(database) as session:
        assert ledger.lease_over(session, doubt, clock(), most_attempts=5) is None
    assert row(database, run.job_id).state == DONE


def test_a_job_that_kills_its_workers_is_not_started_for_ever(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    run = taken(database, clock, acme)
    clock.tick(LEASE.total_seconds())
    with system_session(database) as session:
        assert ledger.lease_over(session, ledger.awake(session, clock(), limit=1)[0], clock(), most_attempts=1) is None
    job = row(database, run.job_id)
    assert (job.state, job.error_kind, job.wake_at) == (DEAD, "worker_lost", None)


def test_the_longest_overdue_comes_first(database: Database, clock: FrozenClock, acme: Company) -> None:
    made = [a_job(acme, f"page {n}", due_at=clock() + timedelta(minutes=n)) for n in (3, 1, 2)]
    put(database, clock, *made)
    clock.tick(600)
    assert [d.key for d in doubts(database, clock)] == ["page 1", "page 2", "page 3"]
    with system_session(database) as session:
        assert [d.key for d in ledger.awake(session, clock(), limit=2)] == ["page 1", "page 2"]


def test_a_waiting_row_is_queued_only_as_it_was_seen(database: Database, clock: FrozenClock, acme: Company) -> None:
    put(database, clock, *[a_job(acme, key, due_at=clock() + timedelta(seconds=1)) for key in ("a", "b")])
    clock.tick(1)
    found = doubts(database, clock)
    claimed = claim(database, clock, found[0].message.job_id, acme)
    with system_session(database) as session:
        ledger.to_queued(session, found, clock() + DOUBT)
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
        assert ledger.wake_all_queued(session, clock()) == 2
    assert {d.message.tenant_id for d in doubts(database, clock)} == {acme.id, globex.id}
    assert running.job_id not in {d.message.job_id for d in doubts(database, clock)}


def test_a_job_whose_id_says_what_it_is_for_is_stored_once(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    job = a_job(acme, None)
    for _ in range(2):
        with system_session(database) as session:
            assert ledger.put_once(session, job, clock()).job_id == job.id
    run = claim(database, clock, job.id, acme)
    assert run is not None
    with tenant_session(database, acme.id) as session:
        ledger.finish(session, run, clock())
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
    with tenant_session(database, acme.id) as session:
        ledger.give_up(session, run, clock(), kind="gone", sentence="Gone.")
    with tenant_session(database, globex.id) as session:
        assert not ledger.replay(session, run.job_id, clock(), tenant_id=globex.id)
    with tenant_session(database, acme.id) as session:
        assert ledger.replay(session, run.job_id, clock(), tenant_id=acme.id)
    job = row(database, run.job_id)
    assert (job.state, job.attempts, job.due_at, job.open_key) == (WAITING, 0, clock(), "page")
    assert claim(database, clock, run.job_id, acme) is not None


def test_a_dead_job_is_not_replayed_beside_a_twin(database: Database, clock: FrozenClock, acme: Company) -> None:
    run = taken(database, clock, acme)
    with tenant_session(database, acme.id) as session:
        ledger.give_up(session, run, clock(), kind="gone", sentence="Gone.")
    put(database, clock, a_job(acme))
    with system_session(database) as session:
        assert not ledger.replay(session, run.job_id, clock())


def test_only_what_ended_well_long_ago_is_dropped(database: Database, clock: FrozenClock, acme: Company) -> None:
    done, dead = taken(database, clock, acme, key="done"), taken(database, clock, acme, key="dead")
    put(database, clock, a_job(acme))
    with tenant_session(database, acme.id) as session:
        ledger.finish(session, done, clock())
        ledger.give_up(session, dead, clock(), kind="gone", sentence="Gone.")
    with system_session(database) as session:
        assert ledger.prune(session, clock(), limit=10) == 0
        assert ledger.prune(session, clock() + timedelta(seconds=1), limit=10) == 1
    assert {job.state for job in rows(database).values()} == {DEAD, QUEUED}
    assert CANCELLED not in {job.state for job in rows(database).values()}


def test_a_session_of_one_tenant_cannot_give_a_job_to_another(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    job = a_job(globex)
    with pytest.raises(CrossTenantWrite), tenant_session(database, acme.id) as session:
        ledger.put(session, [job], clock())
    assert rows(database) == {}
