"""What the gate knows of jobs that are lost, doubled, cancelled or wiped, against a real Redis."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
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


def test_a_job_that_nobody_finishes_stops_counting_against_the_cap(redis: redis_py.Redis, seconds: Seconds) -> None:
    gate = Gate(redis, "bulk", tenant_cap=1, flight_ttl=60, clock=seconds)
    consumer = Consumer(redis, gate)
    gate.publish(jobs(ACME, 2))
    assert consumer.pop() == ("acme-0", ACME)
    seconds.now += 60
    assert gate.move() == 0
    seconds.now += 0.5
    assert gate.move() == 1
    assert consumer.queued() == ["acme-1"]


def test_a_job_published_again_while_it_waits_changes_nothing(redis: redis_py.Redis) -> None:
    gate = Gate(redis, "bulk", window=1)
    assert gate.publish(jobs(ACME, 3)) == 3
    assert gate.publish(jobs(ACME, 4)) == 2, "the first is with Celery, the last is new"
    assert gate.publish(jobs(GLOBEX, 2) * 3) == 2
    assert Counter(Consumer(redis, gate).drain()) == Counter(["acme-0", *ids(jobs(ACME, 4) + jobs(GLOBEX, 2))])


def test_a_second_message_of_a_job_in_flight_counts_once_against_the_cap(redis: redis_py.Redis) -> None:
    gate = Gate(redis, "bulk", tenant_cap=3)
    gate.publish(jobs(ACME, 1))
    gate.publish(jobs(ACME, 1))
    assert gate.backlog() == Backlog(waiting=0, tenants_waiting=0, in_flight=1, queued=2, window=16)
    gate.finish("acme-0", ACME)
    gate.publish(jobs(ACME, 4, first=1))
    assert gate.backlog().in_flight == 3


def test_missing_names_what_redis_knows_nothing_of_and_what_left_with_a_dead_worker(
    redis: redis_py.Redis, seconds: Seconds
) -> None:
    gate = Gate(redis, "bulk", window=4, clock=seconds)
    consumer = Consumer(redis, gate)
    gate.publish(jobs(ACME, 6))
    assert [consumer.pop(), consumer.pop(), consumer.pop()] == [(f"acme-{i}", ACME) for i in range(3)]
    gate.claimed("acme-1", lease_until=seconds.now + 90)
    gate.finish("acme-2", ACME)  # moves the last two
    asked = [*ids(jobs(ACME, 6)), "never-published"]
    assert gate.missing(asked, moved_before=seconds.now) == ["acme-2", "never-published"]
    # Ten seconds later: 0 was popped by a worker that said nothing more; 3, 4 and 5 are still in Celery's list.
    seconds.now += 10
    assert gate.missing(asked, moved_before=seconds.now) == ["acme-0", "acme-2", "never-published"]
    assert gate.missing(asked, moved_before=seconds.now + 90)[:2] == ["acme-0", "acme-1"]
    assert gate.missing([], moved_before=seconds.now) == []


def test_missing_sees_a_message_that_kombu_has_put_back_in_its_own_spelling(redis: redis_py.Redis) -> None:
    gate = Gate(redis, "bulk")
    gate.publish(jobs(ACME, 1))
    popped: Any = redis.rpop("bulk")
    redis.rpush("bulk", json.dumps(json.loads(popped)))
    assert gate.missing(["acme-0"], moved_before=2e10) == []


def test_missing_answers_for_a_thousand_in_one_call(redis: redis_py.Redis) -> None:
    gate = Gate(redis, "bulk", window=10)
    gate.publish(jobs(ACME, 500))
    asked = ids(jobs(ACME, 1000))
    random.Random(1).shuffle(asked)
    calls = redis.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert set(gate.missing(asked, moved_before=0)) == set(ids(jobs(ACME, 500, first=500)))
    assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] == calls + 1


@pytest.mark.parametrize("wipe", ["flushall", "script_flush"])
def test_a_wipe_between_any_two_steps_leaves_a_gate_that_works(
    redis: redis_py.Redis, seconds: Seconds, wipe: str
) -> None:
    gate = Gate(redis, "bulk", window=2, tenant_cap=2, clock=seconds)
    consumer = Consumer(redis, gate)
    everything = jobs(ACME, 4) + jobs(GLOBEX, 4)
    steps: list[Callable[[], object]] = [
        lambda: gate.publish(everything),
        gate.move,
        consumer.pop,
        lambda: gate.claimed("acme-0", lease_until=seconds.now + 1),
        lambda: gate.finish("acme-0", ACME),
        lambda: gate.pause(GLOBEX, seconds.now + 1),
        lambda: gate.announce("w1", 1, ttl=15),
        lambda: gate.forget(["globex-3"]),
        lambda: gate.forget_tenant(STRANGER),
        gate.backlog,
        lambda: gate.missing(["acme-1"], moved_before=0),
    ]
    for wiped_before in range(len(steps)):
        for position, step in enumerate(steps):
            if position == wiped_before:
                getattr(redis, wipe)()
            step()
        redis.flushall()
        seconds.now += 100
        lost = gate.missing(ids(everything), moved_before=seconds.now)
        assert lost == ids(everything)
        gate.publish([message for message in everything if message.job_id in lost])
        assert sorted(consumer.drain()) == sorted(lost)
        assert gate.backlog().waiting == gate.backlog().in_flight == 0


def test_a_cancelled_job_leaves_the_gate_and_may_come_again(redis: redis_py.Redis) -> None:
    gate = Gate(redis, "bulk", window=1)
    gate.publish(jobs(ACME, 5))
    assert gate.forget(["acme-0", "acme-1", "acme-3", "unknown"]) == 2
    assert gate.forget([]) == 0
    assert gate.backlog().waiting == 2
    assert gate.publish(jobs(ACME, 1, first=3)) == 1
    assert Consumer(redis, gate).drain() == ["acme-0", "acme-2", "acme-3", "acme-4"]
    assert redis.exists("troth:gate:bulk:waiting:acme") == 0


def test_a_tenant_that_is_forgotten_leaves_nothing_behind_and_nobody_else_notices(
    redis: redis_py.Redis, seconds: Seconds
) -> None:
    gate = Gate(redis, "bulk", window=1, clock=seconds)
    gate.publish(jobs(STRANGER, 1) + jobs(ACME, 30) + jobs(GLOBEX, 2))
    gate.set_weight(ACME, 2)
    assert gate.forget_tenant(ACME) == 30
    gate.pause(ACME, seconds.now + 5)
    assert gate.forget_tenant(ACME) == 0
    assert Consumer(redis, gate).drain() == ["stranger-0", "globex-0", "globex-1"]
    assert redis.keys("*") == []


def test_an_idle_gate_keeps_no_keys(redis: redis_py.Redis) -> None:
    gate = Gate(redis, "bulk", window=2, tenant_cap=3)
    gate.publish([job for i in range(30) for job in jobs(f"t{i}", 4)])
    assert len(Consumer(redis, gate).drain()) == 120
    assert redis.keys("*") == []


def test_lanes_and_prefixes_do_not_meet(redis: redis_py.Redis) -> None:
    bulk, other = Gate(redis, "bulk", window=1), Gate(redis, "bulk", prefix="other:", queue_key="other-bulk")
    interactive = Gate(redis, "interactive")
    bulk.publish(jobs(ACME, 2))
    assert interactive.backlog() == other.backlog() == Backlog(0, 0, 0, 0, 16)
    other.publish(jobs(ACME, 2))
    assert redis.llen("other-bulk") == 2
    with pytest.raises(ValueError, match="lane"):
        interactive.publish(jobs(ACME, 1))
