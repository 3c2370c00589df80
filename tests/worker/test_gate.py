"""The fair gate against a real Redis: who comes next, who must wait, and for how long."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py

from tests.worker.gate_consumer import ACME, GLOBEX, STRANGER, Consumer, Seconds, ids, jobs
from worker.gate import Backlog, Gate


@pytest.fixture
def redis(redis_url: str) -> Iterator[redis_py.Redis]:
    with redis_py.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


def test_a_job_goes_straight_to_celery_when_nobody_waits(redis: redis_py.Redis) -> None:
    gate = Gate(redis, "bulk")
    assert gate.publish(jobs(ACME, 1)) == 1
    assert gate.backlog() == Backlog(waiting=0, tenants_waiting=0, in_flight=1, queued=1, window=16)
    assert Consumer(redis, gate).drain() == ["acme-0"]
    assert gate.backlog() == Backlog(0, 0, 0, 0, 16)


def test_celerys_queue_never_grows_past_the_window(redis: redis_py.Redis) -> None:
    gate = Gate(redis, "bulk", window=4)
    assert gate.publish(jobs(ACME, 1200)) == 1200
    assert gate.backlog() == Backlog(waiting=1196, tenants_waiting=1, in_flight=4, queued=4, window=4)
    assert gate.move() == 0
    assert Consumer(redis, gate).drain() == ids(jobs(ACME, 1200))


def test_a_flood_of_3000_delays_no_other_tenant_by_more_than_the_window_and_a_round(redis: redis_py.Redis) -> None:
    gate = Gate(redis, "bulk", window=4)
    gate.publish(jobs("flood", 3000))
    quiet = [f"quiet{i:02}" for i in range(50)]
    for tenant in quiet:
        gate.publish(jobs(tenant, 4))
    done = Consumer(redis, gate).drain()
    assert sorted(done) == sorted(ids(jobs("flood", 3000)) + [job for tenant in quiet for job in ids(jobs(tenant, 4))])
    # The window that was full when they came, then whole rounds: the flood once, every quiet tenant once.
    rounds = [job for i in range(4) for job in [f"flood-{4 + i}", *(f"{tenant}-{i}" for tenant in quiet)]]
    assert done[: 4 + len(rounds)] == ids(jobs("flood", 4)) + rounds
    assert done[4 + len(rounds) :] == ids(jobs("flood", 2992, first=8))


def test_one_who_comes_back_waits_behind_those_already_in_the_ring(redis: redis_py.Redis) -> None:
    gate = Gate(redis, "bulk", window=1)
    consumer = Consumer(redis, gate)
    gate.publish(jobs(STRANGER, 1) + jobs(ACME, 1) + jobs(GLOBEX, 2))
    assert consumer.drain(most=1) == ["stranger-0"]
    gate.publish(jobs(ACME, 1, first=1))
    assert consumer.drain() == ["acme-0", "globex-0", "acme-1", "globex-1"]


def test_a_newcomer_does_not_slip_through_a_gap_that_others_wait_for(redis: redis_py.Redis) -> None:
    gate = Gate(redis, "bulk", window=2)
    consumer = Consumer(redis, gate)
    gate.publish(jobs(ACME, 4))
    consumer.pop()
    gate.publish(jobs(GLOBEX, 1))
    assert consumer.queued() == ["acme-1", "acme-2"]
    assert consumer.drain() == ["acme-1", "acme-2", "acme-3", "globex-0"]


@pytest.mark.parametrize("window", [1, 2, 3, 16])
def test_a_weight_is_the_number_of_jobs_a_turn_also_when_the_window_cuts_the_turn(
    redis: redis_py.Redis, window: int
) -> None:
    gate = Gate(redis, "bulk", window=window)
    gate.set_weight(ACME, 3)
    gate.publish(jobs("filler", window))
    gate.publish(jobs(ACME, 9) + jobs(GLOBEX, 3))
    done = Consumer(redis, gate).drain()[window:]
    assert [job.split("-")[0] for job in done] == [ACME, ACME, ACME, GLOBEX] * 3


def test_a_weight_can_be_taken_back_and_is_at_least_one(redis: redis_py.Redis) -> None:
    gate = Gate(redis, "bulk", window=1)
    gate.set_weight(ACME, 3)
    gate.set_weight(ACME, 1)
    with pytest.raises(ValueError, match="at least 1"):
        gate.set_weight(ACME, 0)
    gate.publish(jobs("filler", 1) + jobs(ACME, 2) + jobs(GLOBEX, 2))
    assert Consumer(redis, gate).drain()[1:] == ["acme-0", "globex-0", "acme-1", "globex-1"]


def test_a_tenant_at_its_cap_is_skipped_and_blocks_nobody(redis: redis_py.Redis) -> None:
    gate = Gate(redis, "bulk", window=6, tenant_cap=2)
    consumer = Consumer(redis, gate)
    gate.publish(jobs(ACME, 5) + jobs(GLOBEX, 5))
    assert consumer.queued() == ["acme-0", "acme-1", "globex-0", "globex-1"]
    assert gate.backlog() == Backlog(waiting=6, tenants_waiting=2, in_flight=4, queued=4, window=6)
    gate.publish(jobs(STRANGER, 1))
    assert [consumer.pop() for _ in range(5)][-1] == ("stranger-0", STRANGER)
    assert gate.move() == 0, "popped is not finished: the cap counts jobs in flight"
    assert gate.finish("globex-0", GLOBEX) == 1
    assert consumer.queued() == ["globex-2"]


def test_a_claim_keeps_a_long_job_in_flight_for_the_time_of_its_lease(redis: redis_py.Redis, seconds: Seconds) -> None:
    gate = Gate(redis, "bulk", tenant_cap=1, flight_ttl=60, clock=seconds)
    consumer = Consumer(redis, gate)
    gate.publish(jobs(ACME, 2))
    consumer.pop()
    gate.claimed("acme-0", lease_until=seconds.now + 300)
    gate.claimed("never-seen", lease_until=seconds.now + 300)
    seconds.now += 360
    assert gate.move() == 0
    assert gate.backlog().in_flight == 1
    seconds.now += 1
    assert gate.move() == 1


def test_no_tenant_can_finish_the_job_of_another(redis: redis_py.Redis) -> None:
    gate = Gate(redis, "bulk", tenant_cap=1)
    gate.publish(jobs(ACME, 2) + jobs(GLOBEX, 2))
    assert gate.finish("acme-0", GLOBEX) == 0
    assert gate.finish("unknown", GLOBEX) == 0
    assert gate.backlog() == Backlog(waiting=2, tenants_waiting=2, in_flight=2, queued=2, window=16)


def test_a_job_finished_twice_frees_one_place(redis: redis_py.Redis) -> None:
    gate = Gate(redis, "bulk", tenant_cap=1)
    gate.publish(jobs(ACME, 3))
    assert [gate.finish("acme-0", ACME), gate.finish("acme-0", ACME)] == [1, 0]


def test_a_paused_tenant_waits_its_time_and_blocks_nobody(redis: redis_py.Redis, seconds: Seconds) -> None:
    gate = Gate(redis, "bulk", window=2, clock=seconds)
    consumer = Consumer(redis, gate)
    gate.publish(jobs("filler", 2) + jobs(ACME, 2) + jobs(GLOBEX, 2))
    gate.pause(ACME, seconds.now + 30)
    gate.publish(jobs(ACME, 1, first=2))
    assert consumer.drain()[2:] == ["globex-0", "globex-1"]
    assert gate.backlog() == Backlog(waiting=3, tenants_waiting=1, in_flight=0, queued=0, window=2)
    seconds.now += 29.5
    assert gate.move() == 0
    seconds.now += 0.5
    assert gate.move() == 2
    assert consumer.drain() == ids(jobs(ACME, 3))


def test_a_pause_before_the_first_job_holds_and_the_past_ends_it(redis: redis_py.Redis, seconds: Seconds) -> None:
    gate = Gate(redis, "bulk", clock=seconds)
    gate.pause(ACME, seconds.now + 30)
    gate.publish(jobs(ACME, 2))
    assert gate.move() == 0
    gate.pause(ACME, 0)
    assert gate.move() == 2
    assert Consumer(redis, gate).drain() == ids(jobs(ACME, 2))


def test_a_pause_while_at_the_cap_outlasts_the_end_of_the_job(redis: redis_py.Redis, seconds: Seconds) -> None:
    gate = Gate(redis, "bulk", tenant_cap=1, clock=seconds)
    gate.publish(jobs(ACME, 2))
    assert gate.move() == 0
    gate.pause(ACME, seconds.now + 30)
    assert gate.finish("acme-0", ACME) == 0
    seconds.now += 30
    assert gate.move() == 1


def test_more_tenants_than_one_call_tidies_up_all_wake_in_the_end(redis: redis_py.Redis, seconds: Seconds) -> None:
    gate = Gate(redis, "bulk", window=1000, clock=seconds)
    names = [f"t{i:03}" for i in range(250)]
    for name in names:
        gate.pause(name, seconds.now + 5)
    gate.publish([job for name in names for job in jobs(name, 1)])
    seconds.now += 5
    assert [gate.move() for _ in range(4)] == [100, 100, 50, 0]


def test_the_window_is_twice_what_the_live_workers_can_do(redis: redis_py.Redis, seconds: Seconds) -> None:
    gate = Gate(redis, "bulk", window=5, clock=seconds)
    assert gate.announce("w1", 4, ttl=15) == 8
    assert gate.announce("w2", 2, ttl=30) == 12
    assert gate.announce("w1", 3, ttl=15) == 10
    assert gate.publish(jobs(ACME, 20)) == 20
    assert gate.backlog().queued == gate.backlog().window == 10
    seconds.now += 15
    assert gate.announce("w2", 2, ttl=30) == 4, "w1 has not been heard of"
    assert gate.announce("w2", 0, ttl=30) == 5, "nobody is left: the constructor's"
    assert gate.announce("w3", 1, ttl=30) == 2


def test_celerys_list_may_be_longer_than_the_window(redis: redis_py.Redis) -> None:
    gate = Gate(redis, "bulk", window=2)
    redis.lpush("bulk", *(f"foreign {i}" for i in range(5)))
    assert gate.publish(jobs(ACME, 2)) == 2
    assert gate.backlog() == Backlog(waiting=2, tenants_waiting=1, in_flight=0, queued=5, window=2)
    redis.ltrim("bulk", 1, 0)
    assert gate.move() == 2


@pytest.mark.parametrize("wrong", [{"window": 0}, {"tenant_cap": -1}, {"flight_ttl": 0}])
def test_a_gate_that_could_never_open_is_refused(redis: redis_py.Redis, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="window"):
        Gate(redis, "bulk", **wrong)
