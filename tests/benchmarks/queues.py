"""`flood` and `ledger_cost`: the queue alone - a noisy tenant beside quiet ones, and what a no-op job costs."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import notes
from tests.benchmarks.dialogue import Dialogue
from tests.benchmarks.figures import Figure, at_least, at_most, median, percentile, progress, told
from tests.benchmarks.ours import Ours
from tests.benchmarks.plain import Plain, Pool
from tests.benchmarks.processes import Meter
from tests.benchmarks.stage import Stage, stage

FLOOD, QUIET, QUIET_TENANTS, QUIET_RATE = 3_000, 200, 50, 125
FLOOD_CONCURRENCY = 2
FLOOD_AT_ONCE = 100
"""Ours: the flood comes in transactions of so many jobs, as a backfill would write it. The quiet jobs come singly."""
QUIET_LIMIT_MS, QUIET_RATIO, RATE_RATIO = 100, 1 / 50, 0.9
NOOPS, NOOP_CONCURRENCY, COST_RATIO, REPEATS = 2_000, 16, 2, 3
PATIENCE = 120
NOISY = "noisy"


@dataclass(frozen=True, slots=True)
class Drained:
    """What a flood came to: seconds that quiet jobs waited, and jobs per second of all."""

    waits: list[float]
    rate: float


def run_flood() -> Iterator[Figure]:
    """One tenant's 3,000 jobs of 5 ms, and 200 of fifty others between them."""
    with stage() as here:
        ours, plain = _flood(here, "ours"), _flood(here, "plain")
    for side, drained in (("ours", ours), ("plain Celery", plain)):
        middle, late = (1000 * percentile(drained.waits, share) for share in (0.5, 0.99))
        progress(f"{side}: {drained.rate:.0f} jobs/s; quiet jobs waited p50 {middle:.1f} ms, p99 {late:.1f} ms")
    waits = [1000 * percentile(drained.waits, 0.99) for drained in (ours, plain)]
    yield at_most("flood", "quiet_wait_p99_ms", waits[0], waits[1], QUIET_RATIO, QUIET_LIMIT_MS)
    yield told("flood", "quiet_wait_p50_ms", *(1000 * percentile(drained.waits, 0.5) for drained in (ours, plain)))
    yield at_least("flood", "jobs_per_second", ours.rate, plain.rate, RATE_RATIO)


def run_ledger_cost() -> Iterator[Figure]:
    """CPU of client, worker, Redis and database together, per job that does nothing.

    What counts is one job a transaction, as `apply_async` is one message a call; a hundred a transaction is told beside it.
    """
    costs: dict[str, list[float]] = {"ours": [], "plain": [], "batch": []}
    with stage() as here:
        for _ in range(REPEATS):
            for name, at_once in (("ours", 1), ("plain", 1), ("batch", 100)):
                costs[name].append(_cost(here, name, at_once))
    ours, plain, batch = (1e6 * median(costs[name]) for name in ("ours", "plain", "batch"))
    yield at_most("ledger_cost", "cpu_us_per_noop_job", ours, plain, COST_RATIO)
    yield told("ledger_cost", "cpu_us_per_noop_job_100_a_transaction", batch, plain)


def _flood(here: Stage, name: str) -> Drained:
    quiet = [f"quiet-{number}" for number in range(QUIET_TENANTS)]
    side, path, names = _start(here, name, FLOOD_CONCURRENCY, [NOISY, *quiet])
    noisy = _client(here, side, path, "nap", [f"n{number}" for number in range(FLOOD)], [names[NOISY]],
                    at_once=FLOOD_AT_ONCE)  # fmt: skip
    calm = _client(here, side, path, "nap", [f"q{number}" for number in range(QUIET)], [names[one] for one in quiet],
                   rate=QUIET_RATE, after=1.0)  # fmt: skip
    here.settle(*side.processes)
    began = time.time()
    noisy.go()
    calm.go()
    asked = {**noisy.result()["asked"], **calm.result()["asked"]}
    _wait(path, len(asked))
    started = notes.read(path)
    side.stop()
    waits = [started[label] - at for label, at in asked.items() if label.startswith("q")]
    return Drained(waits, len(asked) / (max(started.values()) - began))


def _cost(here: Stage, name: str, at_once: int) -> float:
    side, path, names = _start(here, name, NOOP_CONCURRENCY, [NOISY])
    client = _client(here, side, path, "noop", [f"j{number}" for number in range(NOOPS)], list(names.values()),
                     at_once=at_once, warm_up=True)  # fmt: skip
    _wait(path, 1)
    # `ours` without its clock: the reconciler's price is per second, not per job.
    meter = Meter(
        [*side.processes, *here.servers(side.kind)] if name != "plain" else [*side.processes, here.valkey.started]
    )
    client.go()
    result = client.result()
    _wait(path, NOOPS + 1)
    time.sleep(0.3)  # the last jobs' ends are being written
    cpu = {**meter.read(), "client": result["cpu"]}
    side.stop()
    total: float = sum(cpu.values()) / NOOPS
    parts = ", ".join(f"{part} {1e6 * spent / NOOPS:.0f}" for part, spent in cpu.items())
    progress(f"{name}, {at_once} a transaction: {1e6 * total:.0f} us CPU per job ({parts})")
    return total


def _start(
    here: Stage, name: str, concurrency: int, tenants: Sequence[str]
) -> tuple[Ours | Plain, Path, dict[str, str]]:
    path = here.folder / here.name("notes")
    if name == "plain":
        plain = Plain(here, "postgresql")
        plain.env[notes.VARIABLE] = str(path)
        plain.start_workers(Pool("threads", concurrency))
        return plain, path, {tenant: tenant for tenant in tenants}
    ours = Ours(here, "postgresql", names=tenants)
    ours.env[notes.VARIABLE] = str(path)
    ours.start_worker("tests.benchmarks.jobs", str(concurrency))
    if len(tenants) > 1:
        ours.start_beat()
    return ours, path, ours.tenants


def _client(
    here: Stage,
    side: Ours | Plain,
    path: Path,
    kind: str,
    labels: list[str],
    tenants: list[str],
    *,
    rate: float | None = None,
    after: float = 0.0,
    at_once: int = 1,
    warm_up: bool = False,
) -> Dialogue:
    orders = {"side": "ours" if isinstance(side, Ours) else "plain", "kind": kind, "labels": labels, "tenants": tenants,
              "rate": rate, "after": after, "at_once": at_once, "warm_up": warm_up}  # fmt: skip
    return Dialogue(
        here.processes, "client", "tests.benchmarks.client", orders, {**side.env, notes.VARIABLE: str(path)}
    )


def _wait(path: Path, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while notes.count(path) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {notes.count(path)} of {count} jobs ran")
        time.sleep(0.1)
