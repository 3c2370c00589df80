"""Runs: a claim has one winner, a lease keeps it, a fence voids what comes too late, and every end is one of four."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy.orm import Session

from models import inbox
from models import run as runs_of
from models.base import new_id
from models.database import Database
from models.job import DEAD, DONE, DOUBT, QUEUED, RUNNING, WAITING, Message, NewJob
from models.restricting import Freeze, lift, restrict
from models.restriction import Restriction
from models.run import Ask, LeaseLost, Run
from models.tenancy import ledger_connection, system_session, tenant_session
from tests.at_once import at_once
from tests.conftest import Company, FrozenClock
from tests.models.ledger import (
    KIND,
    LEASE,
    a_job,
    ask,
    claim,
    claim_group,
    finish,
    finish_group,
    give_up,
    lease_over,
    notice,
    put,
    renew,
    row,
    seen,
    taken,
)  # fmt: skip


def test_a_job_of_one_tenant_cannot_be_claimed_with_the_tag_of_another(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    job = a_job(acme)
    put(database, clock, job)
    with tenant_session(database, globex.id) as session:
        assert runs_of.claim(session, job.id, globex.id, KIND, now=clock(), lease=LEASE, worker="w") is None
    with system_session(database) as session:
        assert runs_of.claim(session, job.id, globex.id, KIND, now=clock(), lease=LEASE, worker="w") is None
    assert row(database, job.id).state == QUEUED


def test_a_job_cannot_be_claimed_as_another_kind(database: Database, clock: FrozenClock, acme: Company) -> None:
    job = a_job(acme)
    put(database, clock, job)
    with tenant_session(database, acme.id) as session:
        assert runs_of.claim(session, job.id, acme.id, "other.kind", now=clock(), lease=LEASE, worker="w") is None


@pytest.mark.parametrize("is_group", [False, True], ids=["alone", "in a group"])
def test_of_a_restricted_tenant_only_what_runs_anyway_is_claimed_until_it_is_lifted(
    database: Database, clock: FrozenClock, acme: Company, globex: Company, is_group: bool
) -> None:
    with tenant_session(database, acme.id) as session:
        held = restrict(session, acme.id, Freeze("tenant"), clock()).id
        restrict(session, acme.id, Freeze("subject", email=b"x" * 16), clock())
    jobs = [NewJob(acme.id, KIND, "bulk"), NewJob(acme.id, "deletions.run", "bulk"), NewJob(globex.id, KIND, "bulk")]
    put(database, clock, *jobs)
    asks = [Ask(job.id, job.tenant_id, job.kind) for job in jobs]

    def claimed() -> list[bool]:
        found = []
        for some in [asks] if is_group else [[one] for one in asks]:
            with ledger_connection(database) as connection:
                found += runs_of.claim_all(connection, some, now=clock(), lease=LEASE, worker="w",
                                           anyway=["deletions.run", "connections.revoke"])  # fmt: skip
        return [run is not None for run in found]

    assert claimed() == [False, True, True]
    with tenant_session(database, acme.id) as session:
        lift(session, session.get_one(Restriction, held), clock())
    assert claimed() == [True, False, False]


def test_an_unknown_job_is_not_claimed(database: Database, clock: FrozenClock, acme: Company) -> None:
    assert claim(database, clock, new_id(), acme) is None


def test_one_of_sixteen_wins_a_claim(database: Database, clock: FrozenClock, acme: Company) -> None:
    job = a_job(acme)
    put(database, clock, job)
    won = at_once(*[partial(claim, database, clock, job.id, acme, f"worker {n}") for n in range(16)])
    winners = [run for run in won if run is not None]
    assert len(winners) == 1
    assert (winners[0].attempts, winners[0].triggers, winners[0].key) == (1, 1, "page")
    assert row(database, job.id).state == RUNNING


def test_a_claim_on_a_bare_connection_wins_as_well(database: Database, clock: FrozenClock, acme: Company) -> None:
    job = a_job(acme, args={"a": 1})
    put(database, clock, job)
    with ledger_connection(database) as connection:
        run = runs_of.claim(connection, job.id, acme.id, KIND, now=clock(), lease=LEASE, worker="w")
    assert run is not None
    assert (run.args, run.connection_id, run.tenant_id) == ({"a": 1}, acme.connection_id, acme.id)
    with ledger_connection(database) as connection:
        runs_of.finish(connection, run, clock())
    assert row(database, job.id).state == DONE


def test_a_finished_job_is_done(database: Database, clock: FrozenClock, acme: Company) -> None:
    run = taken(database, clock, acme)
    assert finish(database, clock, run) is None
    job = row(database, run.job_id)
    assert (job.state, job.open_key, job.wake_at, job.finished_at) == (DONE, None, None, clock())
    assert claim(database, clock, run.job_id, acme) is None


def test_a_job_that_is_given_up_keeps_its_reason(database: Database, clock: FrozenClock, acme: Company) -> None:
    run = taken(database, clock, acme)
    with tenant_session(database, acme.id) as session:
        runs_of.give_up(session, run, clock(), kind="gone", sentence="s" * 900)
    job = row(database, run.job_id)
    assert (job.state, job.error_kind, job.error_sentence) == (DEAD, "gone", "s" * 500)


def test_a_trigger_during_a_run_that_is_given_up_runs_once_more(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    run = taken(database, clock, acme)
    clock.tick(600)
    put(database, clock, a_job(acme))
    assert give_up(database, clock, run) == Message(run.job_id, acme.id, KIND, "interactive", 1)
    job = row(database, run.job_id)
    assert (job.state, job.attempts, job.due_at, job.wake_at) == (QUEUED, 0, clock(), clock() + DOUBT)


@pytest.mark.parametrize("end", ["finish", "give_up", "later", "rest"])
def test_whoever_lost_the_lease_cannot_write(end: str, database: Database, clock: FrozenClock, acme: Company) -> None:
    old = taken(database, clock, acme)
    clock.tick(LEASE.total_seconds())
    assert lease_over(database, clock, old.job_id) is not None
    ends: dict[str, Callable[[Session], object]] = {
        "finish": lambda session: runs_of.finish(session, old, clock()),
        "give_up": lambda session: runs_of.give_up(session, old, clock(), kind="gone", sentence="Gone."),
        "later": lambda session: runs_of.later(session, old, due_at=clock(), kind="k", sentence="S."),
        "rest": lambda session: runs_of.rest(session, old, clock(), due_at=clock()),
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
        runs_of.later(session, run, due_at=due, kind="throttled", sentence="s" * 900)
    job = row(database, run.job_id)
    assert (job.state, job.due_at, job.wake_at, job.attempts, job.open_key) == (WAITING, due, due, 1, "page")
    assert (job.error_kind, job.error_sentence) == ("throttled", "s" * 500)
    assert put(database, clock, a_job(acme)) == []  # it absorbs


def test_a_throttle_gives_the_attempt_back_and_no_trigger_cuts_it_short(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    run = taken(database, clock, acme)
    put(database, clock, a_job(acme))
    due = clock() + timedelta(minutes=5)
    with tenant_session(database, acme.id) as session:
        runs_of.later(session, run, due_at=due, kind="throttled", sentence="Busy.", counts=False)
    assert (row(database, run.job_id).attempts, row(database, run.job_id).due_at) == (0, due)


def test_a_job_with_more_to_do_rests_unless_it_was_triggered(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    due = clock() + timedelta(minutes=5)
    for company, triggered in ((acme, False), (globex, True)):
        run = taken(database, clock, company)
        if triggered:
            put(database, clock, a_job(company))
        with tenant_session(database, company.id) as session:
            message = runs_of.rest(session, run, clock(), due_at=due)
        job = row(database, run.job_id)
        assert (message is not None) == triggered
        assert (job.state, job.attempts, job.open_key) == (QUEUED if triggered else WAITING, 0, "page")


def test_a_renewed_lease_holds_and_a_lost_one_stays_lost(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    lost, held = taken(database, clock, acme), taken(database, clock, globex)
    clock.tick(LEASE.total_seconds())
    assert lease_over(database, clock, lost.job_id) is not None
    renew(database, clock, [lost, held])
    assert row(database, held.job_id).wake_at == clock() + LEASE
    assert (row(database, lost.job_id).state, row(database, lost.job_id).wake_at) == (QUEUED, clock() + DOUBT)


def test_no_two_runs_of_a_job_have_the_same_fence(database: Database, clock: FrozenClock, acme: Company) -> None:
    run = taken(database, clock, acme)
    fences = {run.fence}
    for _ in range(3):
        clock.tick(LEASE.total_seconds())
        lease_over(database, clock, run.job_id)
        again = claim(database, clock, run.job_id, acme)
        assert again is not None
        fences.add(again.fence)
    assert len(fences) == 4


def test_a_group_claims_what_is_there_and_nothing_else(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    jobs = [a_job(acme, "1"), a_job(globex, "2"), a_job(acme, "3")]
    put(database, clock, *jobs)
    asks = [
        Ask(jobs[0].id, acme.id, KIND),
        Ask(jobs[1].id, acme.id, KIND),  # globex's
        Ask(jobs[2].id, acme.id, "other.kind"),
        Ask(jobs[0].id, acme.id, KIND),  # a second message of the first
    ]
    won = claim_group(database, clock, asks)
    assert [run and run.job_id for run in won] == [jobs[0].id, None, None, None]
    assert won[0] is not None
    assert won[0] == Run(jobs[0].id, acme.id, KIND, "interactive", "1", acme.connection_id, {}, 1, 1, won[0].fence)
    assert row(database, jobs[1].id).state == row(database, jobs[2].id).state == QUEUED


def test_a_group_that_lost_a_lease_or_was_triggered_ends_the_others(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    lost, triggered, held = (taken(database, clock, acme, key=key) for key in ("1", "2", "3"))
    put(database, clock, a_job(acme, "2"))
    clock.tick(LEASE.total_seconds())
    lease_over(database, clock, lost.job_id)
    ends = finish_group(database, clock, [lost, triggered, held])
    assert isinstance(ends[0], LeaseLost)
    assert ends[1:] == [Message(triggered.job_id, acme.id, KIND, "interactive", 1), None]
    assert [row(database, run.job_id).state for run in (lost, triggered, held)] == [QUEUED, QUEUED, DONE]
    assert finish_group(database, clock, []) == []


@pytest.mark.parametrize("triggered", [False, True])
@pytest.mark.parametrize("old_first", [True, False])
def test_a_run_that_lost_its_job_to_another_of_its_group_is_told_so(
    old_first: bool, triggered: bool, database: Database, clock: FrozenClock, acme: Company
) -> None:
    old = taken(database, clock, acme)
    clock.tick(LEASE.total_seconds())
    lease_over(database, clock, old.job_id)
    new = claim(database, clock, old.job_id, acme)
    assert new is not None
    if triggered:
        put(database, clock, a_job(acme))
    ends = finish_group(database, clock, [old, new] if old_first else [new, old])
    of_old, of_new = ends if old_first else ends[::-1]
    assert isinstance(of_old, LeaseLost)
    assert of_new == (Message(old.job_id, acme.id, KIND, "interactive", 1) if triggered else None)
    assert row(database, old.job_id).state == (QUEUED if triggered else DONE)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_on_postgresql_groups_are_found_by_key_also_while_the_table_is_new(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    def read_whole() -> int:
        with ledger_connection(database) as connection:
            connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
            query = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'jobs'"
            return int(connection.exec_driver_sql(query).scalar_one())

    jobs = [a_job(acme, key=f"page {number}") for number in range(36)]
    put(database, clock, *jobs)
    before = read_whole()
    for start in range(0, len(jobs), 3):  # past the tries after which driver and server keep a plan
        runs = claim_group(database, clock, [ask(job) for job in jobs[start : start + 3]])
        assert finish_group(database, clock, [run for run in runs if run is not None]) == [None, None, None]
    assert read_whole() == before
