"""Claims and ends in groups: each has one winner, and a group never waits in a ring with others."""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import TypeVar

from models import job as ledger
from models.database import Database, past_deadlocks
from models.job import DONE, QUEUED, RUNNING, Job, Run
from models.run import Ask, claim_all, finish_all
from models.tenancy import system_connection, system_session, tenant_connection
from tests.at_once import at_once
from tests.conftest import Company, FrozenClock
from tests.models.test_job import KIND, LEASE, a_job, claim, put, row, rows

Result = TypeVar("Result")


def claim_group(database: Database, clock: FrozenClock, asks: list[Ask]) -> list[Run | None]:
    with system_connection(database) as connection:
        return claim_all(connection, asks, now=clock(), lease=LEASE, worker="w")


def whole(database: Database, transaction: Callable[[], Result]) -> Result:
    """InnoDB asks everyone to be ready for a deadlock; the others must have none."""
    return past_deadlocks(partial(past_deadlocks, transaction)) if database.kind == "mysql" else transaction()


def renew(database: Database, clock: FrozenClock, runs: list[Run]) -> None:
    with system_session(database) as session:
        ledger.renew(session, runs, clock() + LEASE)


def finish(database: Database, clock: FrozenClock, runs: list[Run]) -> list[bool]:
    with system_connection(database) as connection:
        return finish_all(connection, runs, clock())


def to_queued(database: Database, clock: FrozenClock) -> None:
    with system_session(database, reads_only=True) as session:
        doubts = [d for d in ledger.awake(session, clock() + LEASE, limit=100) if d.state == QUEUED]
    with system_session(database) as session:
        ledger.to_queued(session, doubts, clock())


def ask(job: Job) -> Ask:
    return Ask(job.id, job.tenant_id, job.kind)


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
    assert won[0] == Run(jobs[0].id, acme.id, KIND, "interactive", "1", acme.connection_id, {}, 1, 1)
    assert row(database, jobs[1].id).state == row(database, jobs[2].id).state == QUEUED


def test_a_group_of_one_tenant_cannot_claim_anothers_job(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    job = a_job(globex)
    put(database, clock, job)
    with tenant_connection(database, acme.id) as connection:
        asks = [Ask(job.id, acme.id, KIND), Ask(job.id, acme.id, KIND)]
        assert claim_all(connection, asks, now=clock(), lease=LEASE, worker="w") == [None, None]
    assert row(database, job.id).state == QUEUED


def test_a_group_that_lost_a_lease_ends_the_others(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    jobs = [a_job(acme), a_job(globex)]
    put(database, clock, *jobs)
    runs = [claim(database, clock, job.id, company) for job, company in zip(jobs, (acme, globex), strict=True)]
    held = [run for run in runs if run is not None]
    clock.tick(LEASE.total_seconds())
    with system_session(database) as session:
        (doubt,) = [d for d in ledger.awake(session, clock(), limit=9) if d.message.job_id == jobs[0].id]
        ledger.lease_over(session, doubt, clock(), most_attempts=5)
    with system_connection(database) as connection:
        assert finish_all(connection, held, clock()) == [False, True]
    assert (row(database, jobs[0].id).state, row(database, jobs[1].id).state) == (QUEUED, DONE)


def test_of_many_groups_that_ask_for_the_same_jobs_each_job_is_won_once(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    put(database, clock, *[a_job(company, f"page {n}") for company in (acme, globex) for n in range(15)])
    asks = [ask(job) for job in rows(database).values()]
    orders = [Random(seed).sample(asks, len(asks)) for seed in range(8)]
    won = at_once(*[partial(claim_group, database, clock, order) for order in orders])
    ids = [run.job_id for group in won for run in group if run is not None]
    assert sorted(ids) == sorted(ask.job_id for ask in asks)
    assert {job.state for job in rows(database).values()} == {RUNNING}


def test_groups_puts_renewals_and_reconciling_never_wait_in_a_ring(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    keys = [f"page {n}" for n in range(12)]
    put(database, clock, *[a_job(company, key) for company in (acme, globex) for key in keys])

    def deliver(seed: int) -> None:
        order = Random(seed)
        for _ in range(20):
            jobs = [a_job(company, key) for company in (acme, globex) for key in order.sample(keys, 8)]
            whole(database, partial(put, database, clock, *jobs))

    def work(seed: int) -> None:
        order = Random(seed)
        for _ in range(15):
            asks = [ask(job) for job in rows(database).values() if job.state == QUEUED]
            won = whole(database, partial(claim_group, database, clock, order.sample(asks, len(asks))))
            runs = [run for run in won if run is not None]
            whole(database, partial(renew, database, clock, order.sample(runs, len(runs))))
            assert all(whole(database, partial(finish, database, clock, order.sample(runs, len(runs)))))

    def reconcile() -> None:
        for _ in range(15):
            whole(database, partial(to_queued, database, clock))

    at_once(partial(deliver, 1), partial(deliver, 2), partial(work, 3), partial(work, 4), reconcile)
    work(5)
    assert {job.state for job in rows(database).values()} == {DONE}


def test_a_renewal_and_an_end_of_the_same_runs_never_wait_in_a_ring(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    put(database, clock, *[a_job(acme, f"page {n}") for n in range(40)])
    claimed = claim_group(database, clock, [ask(job) for job in rows(database).values()])
    runs = [run for run in claimed if run is not None]

    def hold(seed: int) -> None:
        order = Random(seed)
        for _ in range(10):
            whole(database, partial(renew, database, clock, order.sample(runs, len(runs))))

    def end() -> None:
        for start in range(0, 40, 8):
            assert all(whole(database, partial(finish, database, clock, runs[start : start + 8][::-1])))

    at_once(partial(hold, 1), partial(hold, 2), end)
    assert {job.state for job in rows(database).values()} == {DONE}
