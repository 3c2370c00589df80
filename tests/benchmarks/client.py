"""A process that enqueues jobs: reads its orders as JSON, says `ready`, waits for a line, and tells when and at what CPU.

Orders: `side` (ours, plain), `kind` (nap, noop), `labels`, `tenants` (names, taking turns), `rate` per second or null,
`after` (seconds from the word on) and `at_once` (jobs in a transaction; ours only).
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.benchmarks.dialogue import tell_result

Put = Callable[[Sequence[tuple[str, str]]], None]


def _ours(orders: dict[str, Any]) -> Put:
    from models.job import NewJob  # noqa: PLC0415 - each side's process carries its own imports only
    from tests.benchmarks.jobs import NAP, NOOP  # noqa: PLC0415
    from worker.jobs import INTERACTIVE  # noqa: PLC0415
    from worker.services import build  # noqa: PLC0415
    from worker.settings import read_settings  # noqa: PLC0415
    from worker.work import Work  # noqa: PLC0415

    services = build(read_settings())
    kind = NAP if orders["kind"] == "nap" else NOOP

    def put(some: Sequence[tuple[str, str]]) -> None:
        with Work(services, some[0][0]) as work:
            work.put(*(NewJob(tenant, kind, INTERACTIVE, args={"label": label}) for tenant, label in some))

    return put


def _plain(orders: dict[str, Any]) -> Put:
    from tests.benchmarks.peer import tasks  # noqa: PLC0415

    task = tasks.nap if orders["kind"] == "nap" else tasks.noop

    def put(some: Sequence[tuple[str, str]]) -> None:
        for _tenant, label in some:
            task.apply_async((label,))

    return put


def _enqueue(orders: dict[str, Any], put: Put) -> dict[str, Any]:
    began, cpu = time.time() + orders["after"], time.process_time()
    time.sleep(orders["after"])
    names, step, rate, asked = orders["tenants"], orders["at_once"], orders["rate"], {}
    jobs = [(names[number % len(names)], label) for number, label in enumerate(orders["labels"])]
    for start in range(0, len(jobs), step):
        if rate:
            time.sleep(max(0.0, began + start / rate - time.time()))
        some, now = jobs[start : start + step], time.time()
        asked.update({label: now for _, label in some})
        put(some)
    return {"asked": asked, "cpu": time.process_time() - cpu, "ended": time.time()}


def main() -> None:
    """The process."""
    orders = json.loads(sys.stdin.readline())
    put = (_ours if orders["side"] == "ours" else _plain)(orders)
    if orders.get("warm_up"):
        put([(orders["tenants"][0], "warm-up")])
    print("ready", flush=True)
    sys.stdin.readline()
    tell_result(_enqueue(orders, put))


if __name__ == "__main__":
    main()
