"""A hand-made message against Celery's own: the same keys and values, and a real worker runs it."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py
from celery import Celery, Task
from celery.contrib.testing.worker import start_worker
from kombu import Queue

from worker.embedded import celery_broker_url
from worker.envelope import envelope

JOB, TENANT = "0199f0aa-0000-7000-8000-00000000000a", "0199f0aa-0000-7000-8000-0000000000aa"
OURS = {"tenant": TENANT, "attempt": 3}
PER_MESSAGE = {"delivery_tag": "", "reply_to": ""}


@pytest.fixture
def app(redis_url: str) -> Iterator[Celery]:
    app = Celery("test", broker=celery_broker_url(redis_url), set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_queues=[Queue("bulk")],
        task_default_queue="bulk",
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"priority_steps": [0]},
    )
    yield app
    app.close()


@pytest.fixture
def redis(redis_url: str) -> Iterator[redis_py.Redis]:
    with redis_py.Redis.from_url(redis_url) as client:
        yield client


def of_celery(app: Celery, redis: redis_py.Redis) -> dict[str, Any]:
    app.send_task("leads.fetch", task_id=JOB, queue="bulk", ignore_result=True, headers=OURS)
    popped: Any = redis.rpop("bulk")
    sent: dict[str, Any] = json.loads(popped)
    return sent


def body(message: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(message["body"]))


def test_the_envelope_has_the_keys_and_values_of_celerys_own_message(app: Celery, redis: redis_py.Redis) -> None:
    ours = json.loads(envelope(JOB, TENANT, "leads.fetch", "bulk", 3))
    theirs = of_celery(app, redis)
    assert ours.keys() == theirs.keys()
    assert body(ours) == body(theirs)
    assert ours["content-type"] == theirs["content-type"]
    assert ours["content-encoding"] == theirs["content-encoding"]
    assert ours["headers"].pop("origin")
    assert theirs["headers"].pop("origin")
    assert ours["headers"] == theirs["headers"]
    assert {**ours["properties"], **PER_MESSAGE} == {**theirs["properties"], **PER_MESSAGE}
    assert ours["properties"].keys() == theirs["properties"].keys()


def test_the_headers_are_those_of_celerys_protocol_two(app: Celery) -> None:
    protocol = app.amqp.as_task_v2(JOB, "leads.fetch", ignore_result=True)
    ours = json.loads(envelope(JOB, TENANT, "leads.fetch", "bulk"))
    assert ours["headers"].keys() - protocol.headers.keys() == {"tenant", "attempt"}
    assert not protocol.headers.keys() - ours["headers"].keys()
    assert body(ours) == json.loads(json.dumps(protocol.body))


def test_every_message_has_a_delivery_tag_of_its_own() -> None:
    tags = {json.loads(envelope(JOB, TENANT, "a.b", "bulk"))["properties"]["delivery_tag"] for _ in range(100)}
    assert len(tags) == 100


def test_ids_with_quotes_stay_inside_their_field() -> None:
    message = json.loads(envelope('a","tenant":"x', 'b"}', 'k"', "bulk"))
    assert message["headers"]["id"] == message["properties"]["correlation_id"] == 'a","tenant":"x'
    assert message["headers"]["tenant"] == 'b"}'


def test_a_real_worker_runs_it_and_the_task_sees_its_tenant(app: Celery, redis: redis_py.Redis) -> None:
    @app.task(name="leads.fetch", bind=True, shared=False)
    def fetch(self: Task[Any, Any], /, *args: object, **kwargs: object) -> None:
        info = self.request.delivery_info or {}
        seen = {
            "id": self.request.id,
            "args": [args, kwargs],
            "headers": self.request.headers,
            "queue": info["routing_key"],
        }
        redis.rpush("seen", json.dumps(seen))

    redis.lpush("bulk", envelope(JOB, TENANT, "leads.fetch", "bulk", 3))
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=20):
        found = redis.blpop(["seen"], timeout=20)
    assert found, "the worker did not run the message"
    assert json.loads(found[1]) == {"id": JOB, "args": [[], {}], "headers": OURS, "queue": "bulk"}
    assert redis.llen("bulk") == 0
    assert redis.hlen("unacked") == 0
