"""The ledger on every database: what is stored, what a job absorbs, and what a person may do."""

from datetime import timedelta
from functools import partial

import pytest

from models import inbox
from models import job as ledger
from models.database import Database
from models.job import DEAD, DONE, QUEUED, RUNNING, WAITING, Message
from models.tenancy import CrossTenantWrite, ledger_connection, system_session, tenant_session
from tests.at_once import at_once
from tests.conftest import Company, FrozenClock
from tests.models.ledger import KIND, a_job, claim, doubts, finish, give_up, notice, put, row, rows, taken


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


def test_a_session_of_one_tenant_cannot_give_a_job_to_another(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    job = a_job(globex)
    with pytest.raises(CrossTenantWrite), tenant_session(database, acme.id) as session:
        ledger.put(session, [job], clock())
    assert rows(database) == {}


def test_a_job_put_alone_is_stored_for_good_and_absorbs_the_next_trigger(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    job = a_job(acme)
    (message,) = ledger.put_alone(database, job, clock(), tenant_id=acme.id)
    assert ledger.put_alone(database, a_job(acme), clock(), tenant_id=None) == []
    assert put(database, clock, a_job(acme)) == []
    (stored,) = rows(database).values()
    assert (stored.id, message.job_id, stored.triggers, stored.state) == (job.id, job.id, 3, QUEUED)


def test_nobody_puts_a_job_alone_for_another_tenant(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    with pytest.raises(CrossTenantWrite):
        ledger.put_alone(database, a_job(globex), clock(), tenant_id=acme.id)
    assert rows(database) == {}


def test_on_postgresql_a_claim_is_not_synced_and_a_job_put_alone_is_as_the_server_says(postgresql_url: str) -> None:
    database, says = Database(postgresql_url), {}
    for kept in (True, False):
        with ledger_connection(database, kept=kept) as connection:
            ours = "SELECT source = 'session' FROM pg_settings WHERE name = 'synchronous_commit'"
            says[kept] = connection.exec_driver_sql(ours).scalar_one()
    database.close()
    assert says == {True: False, False: True}
