"""The gate against a model of it in plain Python, under any sequence of operations: same queue, same counts, nothing lost."""

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import redis as redis_py
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from models.job import Message
from worker.gate import Backlog, Gate

TENANTS = ["acme", "globex", "stranger", "initech"]
WINDOW, CAP, TTL = 4, 3, 60.0
tenants = st.sampled_from(TENANTS)


@dataclass
class Model:
    """What the gate promises, without Redis."""

    now: float = 1_800_000_000.0
    lists: dict[str, deque[str]] = field(default_factory=lambda: {tenant: deque() for tenant in TENANTS})
    waiting: set[str] = field(default_factory=set)
    ring: deque[str] = field(default_factory=deque)
    paused: dict[str, float] = field(default_factory=dict)
    capped: set[str] = field(default_factory=set)
    weight: dict[str, int] = field(default_factory=dict)
    credit: dict[str, int] = field(default_factory=dict)
    flight: dict[str, float] = field(default_factory=dict)
    queue: deque[str] = field(default_factory=deque)

    def at_cap(self, tenant: str) -> bool:
        return sum(job.startswith(tenant) for job in self.flight) >= CAP

    def send(self, job: str) -> None:
        self.queue.append(job)
        self.flight[job] = self.now

    def enter(self, tenant: str) -> None:
        if self.lists[tenant]:
            self.ring.append(tenant)

    def land(self, job: str) -> None:
        tenant = job.split("-")[0]
        del self.flight[job]
        if tenant in self.capped:
            self.capped.remove(tenant)
            self.enter(tenant)

    def refill(self) -> None:
        for job in sorted(self.flight, key=lambda job: (self.flight[job], job)):
            if self.flight[job] < self.now - TTL:
                self.land(job)
        for tenant in sorted(self.paused, key=lambda tenant: (self.paused[tenant], tenant)):
            if self.paused[tenant] <= self.now:
                del self.paused[tenant]
                self.enter(tenant)
        while len(self.queue) < WINDOW and self.ring:
            self.visit(self.ring.popleft())

    def visit(self, tenant: str) -> None:
        credit = self.credit.pop(tenant, self.weight.get(tenant, 1))
        while credit and len(self.queue) < WINDOW and not self.at_cap(tenant) and self.lists[tenant]:
            job = self.lists[tenant].popleft()
            if job in self.waiting:
                self.waiting.remove(job)
                self.send(job)
                credit -= 1
        if not self.lists[tenant]:
            return
        if self.at_cap(tenant):
            self.capped.add(tenant)
        elif credit:
            self.credit[tenant] = credit
            self.ring.appendleft(tenant)
        else:
            self.ring.append(tenant)

    def publish(self, jobs: list[str]) -> None:
        self.refill()
        for job in jobs:
            tenant = job.split("-")[0]
            asleep = tenant in self.paused or tenant in self.capped
            if job in self.waiting:
                continue
            if len(self.queue) < WINDOW and not asleep and not self.at_cap(tenant):
                self.send(job)
                continue
            self.waiting.add(job)
            self.lists[tenant].append(job)
            if len(self.lists[tenant]) == 1 and not asleep:
                self.ring.append(tenant)

    def leave_ring(self, tenant: str) -> None:
        self.capped.discard(tenant)
        if tenant in self.ring:
            self.ring.remove(tenant)

    def backlog(self) -> Backlog:
        in_flight = sum(sent >= self.now - TTL for sent in self.flight.values())
        return Backlog(len(self.waiting), sum(map(bool, self.lists.values())), in_flight, len(self.queue), WINDOW)


class GateMachine(RuleBasedStateMachine):
    """Runs each operation on both. A consumer pops, and may finish, or die and leave it to the reconciler."""

    redis: redis_py.Redis

    def __init__(self) -> None:
        super().__init__()
        self.redis.flushall()
        self.model = Model()
        self.gate = Gate(
            self.redis, "bulk", window=WINDOW, tenant_cap=CAP, flight_ttl=TTL, clock=lambda: self.model.now
        )
        self.ledger: dict[str, str] = {}  # every job that must still be done -> tenant
        self.popped: list[str] = []
        self.numbers = dict.fromkeys(TENANTS, 0)

    def take(self) -> str | None:
        item: Any = self.redis.rpop("bulk")
        return str(json.loads(item)["headers"]["id"]) if item else None

    def messages(self, jobs: list[str]) -> list[Message]:
        return [Message(job, job.split("-")[0], "leads.fetch", "bulk", 1) for job in jobs]

    @rule(wanted=st.lists(tenants, min_size=1, max_size=8))
    def publish(self, wanted: list[str]) -> None:
        jobs = []
        for tenant in wanted:
            jobs.append(f"{tenant}-{self.numbers[tenant]:04}")
            self.numbers[tenant] += 1
            self.ledger[jobs[-1]] = tenant
        assert self.gate.publish(self.messages(jobs)) == len(jobs)
        self.model.publish(jobs)

    @precondition(lambda self: self.model.waiting)
    @rule(data=st.data())
    def publish_again(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.model.waiting)))
        self.model.refill()
        again = int(job not in self.model.waiting)  # this very call may move it first; then it is a second message
        self.model.publish([job])
        assert self.gate.publish(self.messages([job])) == again

    @precondition(lambda self: self.model.queue)
    @rule()
    def pop(self) -> None:
        job = self.take()
        assert job == self.model.queue.popleft()
        self.popped.append(job or "")

    @precondition(lambda self: self.popped)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.popped))
        self.popped.remove(job)
        self.ledger.pop(job, None)
        self.gate.finish(job, job.split("-")[0])
        if job in self.model.flight:
            self.model.land(job)
        self.model.refill()

    @precondition(lambda self: self.popped)
    @rule()
    def a_worker_dies(self) -> None:
        self.popped.clear()

    @precondition(lambda self: self.popped)
    @rule(data=st.data(), lease=st.sampled_from([10.0, 100.0]))
    def claim(self, data: st.DataObject, lease: float) -> None:
        job = data.draw(st.sampled_from(self.popped))
        self.gate.claimed(job, lease_until=self.model.now + lease)
        if job in self.model.flight:
            self.model.flight[job] = self.model.now + lease

    @rule()
    def move(self) -> None:
        self.gate.move()
        self.model.refill()

    @rule(tenant=tenants, seconds=st.sampled_from([-1.0, 5.0, 70.0]))
    def pause(self, tenant: str, seconds: float) -> None:
        self.gate.pause(tenant, self.model.now + seconds)
        self.model.leave_ring(tenant)
        self.model.paused[tenant] = self.model.now + seconds

    @rule(tenant=tenants, weight=st.integers(1, 3))
    def weigh(self, tenant: str, weight: int) -> None:
        self.gate.set_weight(tenant, weight)
        self.model.weight[tenant] = weight

    @rule(seconds=st.sampled_from([0.5, 6.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.model.now += seconds

    @precondition(lambda self: self.model.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.model.waiting)))
        assert self.gate.forget([job]) == 1
        self.model.waiting.remove(job)
        self.ledger.pop(job, None)  # a second message of a finished job may wait here

    @rule(tenant=tenants)
    def forget_tenant(self, tenant: str) -> None:
        mine = {job for job in self.model.waiting if job.startswith(tenant)}
        assert self.gate.forget_tenant(tenant) == len(mine)
        for job in mine:
            self.model.waiting.remove(job)
            self.ledger.pop(job, None)  # a second message of a finished job may wait here
        self.model.lists[tenant].clear()
        self.model.leave_ring(tenant)
        for place in (self.model.paused, self.model.weight, self.model.credit):
            place.pop(tenant, None)

    @rule()
    def wipe(self) -> None:
        self.redis.flushall()
        self.redis.script_flush()
        self.model = Model(now=self.model.now)

    @rule()
    def reconcile(self) -> None:
        asked = sorted(self.ledger)
        before = self.model.now - 10
        known = self.model.waiting | set(self.model.queue)
        lost = [job for job in asked if job not in known and self.model.flight.get(job, 0) < before]
        assert self.gate.missing(asked, moved_before=before) == lost
        self.gate.publish(self.messages(lost))
        if lost:
            self.model.publish(lost)

    @invariant()
    def both_are_alike(self) -> None:
        queued = [json.loads(item)["headers"]["id"] for item in reversed(self.redis.lrange("bulk", 0, -1))]
        assert queued == list(self.model.queue)
        assert self.gate.backlog() == self.model.backlog()
        assert len(queued) <= WINDOW

    @invariant()
    def a_tenant_with_waiting_jobs_stands_in_exactly_one_place(self) -> None:
        ring: list[Any] = self.redis.lrange("troth:gate:bulk:ring", 0, -1)
        asleep: list[Any] = self.redis.zrange("troth:gate:bulk:wake", 0, -1)
        places = [name.decode() for name in ring + asleep]
        assert len(places) == len(set(places))
        assert set(places) >= {job.split("-")[0] for job in self.model.waiting}

    def teardown(self) -> None:
        """In the end every job is done: time passes, the reconciler looks, the consumer drains."""
        self.popped.clear()
        for _ in range(100):
            self.model.now += 101
            self.gate.publish(self.messages(self.gate.missing(sorted(self.ledger), moved_before=self.model.now)))
            self.gate.move()
            while job := self.take():
                self.gate.finish(job, job.split("-")[0])
                self.ledger.pop(job, None)
            if not self.ledger:
                break
        assert not self.ledger
        assert self.gate.backlog() == Backlog(0, 0, 0, 0, WINDOW)


def test_the_gate_does_what_its_model_does_whatever_happens(redis_url: str) -> None:
    with redis_py.Redis.from_url(redis_url) as redis:
        GateMachine.redis = redis
        run_state_machine_as_test(
            GateMachine,
            settings=settings(
                max_examples=40,
                stateful_step_count=40,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
