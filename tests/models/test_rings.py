"""Many threads on the same rows: nobody ever waits in a ring, and nothing is done twice."""

from functools import partial
from random import Random

from models import doubt
from models.database import Database
from models.job import DONE, QUEUED, RUNNING
from models.run import LeaseLost
from models.tenancy import system_session
from tests.at_once import at_once
from tests.conftest import Company, FrozenClock
from tests.models.ledger import LEASE, a_job, ask, claim_group, finish_group, put, renew, rows, whole  # fmt: skip


def to_queued(database: Database, clock: FrozenClock) -> None:
    with system_session(database, reads_only=True) as session:
        found = [one for one in doubt.awake(session, clock() + LEASE, limit=100) if one.state == QUEUED]
    with system_session(database) as session:
        doubt.to_queued(session, Random(1).sample(found, len(found)), clock())


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
            ends = whole(database, partial(finish_group, database, clock, order.sample(runs, len(runs))))
            assert not [end for end in ends if isinstance(end, LeaseLost)]

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
            ends = whole(database, partial(finish_group, database, clock, runs[start : start + 8][::-1]))
            assert ends == [None] * 8

    at_once(partial(hold, 1), partial(hold, 2), end)
    assert {job.state for job in rows(database).values()} == {DONE}
