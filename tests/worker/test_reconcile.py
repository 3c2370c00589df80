"""The ledger against Redis: what was committed is published, whatever Redis forgot."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from models import run as ledger
from models.job import DONE, QUEUED, Job, NewJob
from models.tenancy import SYSTEM, system_session, tenant_session
from tests.conftest import Company, FrozenClock
from tests.worker.runner import Runner
from worker import jobs
from worker.gate import Gate
from worker.jobs import BULK, INTERACTIVE
from worker.reconcile import reconcile
from worker.schedule import TABLE, slot_of, tick
from worker.services import Services, connect_redis
from worker.task import Handler
from worker.work import Work

pytestmark = pytest.mark.every_database

KIND = "test.kind"
Make = Callable[[dict[str, Handler]], Runner]


def put(services: Services, tenant_id: str, number: int = 1, lane: str = INTERACTIVE) -> list[str]:
    made = [NewJob(tenant_id, KIND, lane) for _ in range(number)]
    with Work(services, tenant_id) as work:
        work.put(*made)
    return [job.id for job in made]


def states(services: Services) -> dict[str, int]:
    with system_session(services.database, reads_only=True) as session:
        return {state: number for state, number in session.execute(select(Job.state, func.count()).group_by(Job.state))}


def idle(_ticket: object) -> None:
    """A job that has nothing to do."""


def test_what_is_where_it_should_be_is_left_alone(services: Services, acme: Company, clock: FrozenClock) -> None:
    put(services, acme.id, 3)
    for _ in range(5):
        clock.tick(60)
        found = reconcile(services)
        assert (found.lost, found.due, found.taken_back) == (0, 0, 0)
    assert services.redis.llen(INTERACTIVE) == 3


def test_after_redis_was_wiped_every_waiting_job_is_published_again(
    services: Services, acme: Company, globex: Company, runner: Make
) -> None:
    put(services, acme.id, 40)
    put(services, globex.id, 5, BULK)
    reconcile(services)
    services.redis.flushall()
    found = reconcile(services)
    assert (found.wiped, found.lost) == (True, 45)
    worker = runner({KIND: idle})
    while worker.run_all() + worker.run_all(BULK):
        pass
    assert states(services) == {DONE: 45}


def test_a_message_that_died_with_its_worker_is_published_again(
    services: Services, acme: Company, clock: FrozenClock, runner: Make
) -> None:
    put(services, acme.id)
    services.redis.rpop(INTERACTIVE)  # a worker took it and was killed before its claim
    clock.tick(5)
    assert reconcile(services).lost == 0
    clock.tick(11)
    assert reconcile(services).lost == 1
    assert runner({KIND: idle}).run_all() == 1
    assert states(services) == {DONE: 1}


def test_without_redis_rows_are_kept_and_published_when_it_is_back(
    services: Services, acme: Company, clock: FrozenClock, runner: Make
) -> None:
    away = connect_redis("unix:///nonexistent/redis.sock")
    without = replace(services, redis=away, gates={lane: Gate(away, lane) for lane in services.gates})
    job_id = put(without, acme.id)[0]
    assert services.redis.llen(INTERACTIVE) == 0
    with system_session(services.database, reads_only=True) as session:
        assert session.get_one(Job, job_id).state == QUEUED
    reconcile(services)
    assert runner({KIND: idle}).run_all() == 1


def test_a_dead_workers_job_is_taken_back_when_its_lease_is_over(
    services: Services, acme: Company, clock: FrozenClock, runner: Make
) -> None:
    job_id = put(services, acme.id)[0]
    services.redis.rpop(INTERACTIVE)
    with tenant_session(services.database, acme.id) as session:
        assert ledger.claim(session, job_id, acme.id, KIND, now=clock.now, lease=jobs.LEASE, worker="dead")
    clock.tick(jobs.LEASE.total_seconds() - 1)
    assert reconcile(services).taken_back == 0
    clock.tick(2)
    assert reconcile(services).taken_back == 1
    assert runner({KIND: idle}).run_all() == 1
    assert states(services) == {DONE: 1}


def test_two_reconcilers_publish_once(services: Services, acme: Company, clock: FrozenClock) -> None:
    due = NewJob(acme.id, KIND, INTERACTIVE, due_at=clock.now.replace(year=2027))
    with Work(services, acme.id) as work:
        work.put(due)
    clock.now = clock.now.replace(year=2028)
    assert reconcile(services).due == 1
    assert reconcile(services).due == 0
    assert services.redis.llen(INTERACTIVE) == 1


def test_two_beats_make_one_job_of_a_tick_and_the_next_slot_another(services: Services, clock: FrozenClock) -> None:
    every = TABLE[jobs.CANARY][1]
    tick(services, jobs.CANARY)
    clock.tick(every.total_seconds() / 3)
    tick(services, jobs.CANARY)
    assert states(services) == {QUEUED: 1}
    clock.tick(every.total_seconds())
    tick(services, jobs.CANARY)
    assert states(services) == {QUEUED: 2}


def test_a_tick_that_is_done_is_not_run_again_by_a_late_beat(
    services: Services, clock: FrozenClock, runner: Make
) -> None:
    worker = runner({jobs.CANARY: idle})
    tick(services, jobs.CANARY)
    assert worker.run_all() == 1
    tick(services, jobs.CANARY)
    worker.run_all()
    assert states(services) == {DONE: 1}
    with system_session(services.database, reads_only=True) as session:
        assert session.scalars(select(Job.tenant_id)).one() == SYSTEM


def test_slots_do_not_depend_on_when_a_beat_began(clock: FrozenClock) -> None:
    every = TABLE[jobs.CANARY][1]
    assert slot_of(clock.now, every) == slot_of(clock.now.replace(second=29), every)
    assert slot_of(clock.now, every) != slot_of(clock.now.replace(second=31), every)
