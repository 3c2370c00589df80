"""What the tests of the gate share: jobs of made-up tenants, a clock, and a consumer that pops as kombu does."""

import json
from dataclasses import dataclass
from typing import Any

import redis as redis_py

from models.job import Message
from worker.gate import Gate

ACME, GLOBEX, STRANGER = "acme", "globex", "stranger"


@dataclass(slots=True)
class Seconds:
    now: float = 1_800_000_000.25

    def __call__(self) -> float:
        return self.now


def jobs(tenant: str, number: int, first: int = 0) -> list[Message]:
    return [Message(f"{tenant}-{i}", tenant, "leads.fetch", "bulk", 1) for i in range(first, first + number)]


def ids(messages: list[Message]) -> list[str]:
    return [message.job_id for message in messages]


@dataclass(slots=True)
class Consumer:
    """Pops as kombu does and finishes as a task does."""

    redis: redis_py.Redis
    gate: Gate

    def pop(self) -> tuple[str, str] | None:
        popped: Any = self.redis.rpop("bulk")
        headers = json.loads(popped)["headers"] if popped else None
        return (headers["id"], headers["tenant"]) if headers else None

    def drain(self, most: int = 100_000) -> list[str]:
        done: list[str] = []
        while len(done) < most and (job := self.pop()):
            self.gate.finish(*job)
            done.append(job[0])
        return done

    def queued(self) -> list[str]:
        return [json.loads(item)["headers"]["id"] for item in reversed(self.redis.lrange("bulk", 0, -1))]
