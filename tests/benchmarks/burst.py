"""`burst`: signed deliveries in, leads stored - how fast, how late, and at what price; and the same at low load."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.benchmarks.figures import Figure, at_least, at_most, percentile, progress, told, within
from tests.benchmarks.ours import Ours
from tests.benchmarks.plain import POOLS, TWO_PROCESSES, Plain, Pool
from tests.benchmarks.processes import Meter
from tests.benchmarks.sending import PageLead, Sending, Sent, spread
from tests.benchmarks.stage import PAGES, Provider, Stage, stage

LEADS = 5_000
CHANGES = 20
CONNECTIONS = 16
PEER_LEADS = 2_000
"""For the peer with two processes: its rate is the same all along, and 5,000 would take minutes."""
TRIAL_LEADS = 800
LOW_RATE, LOW_SECONDS = 20, 15
LIMIT_MS, LIMIT_MIB = 300, 150
PATIENCE = 150


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a burst came to. Latencies are from sending to the commit of the lead, in seconds."""

    leads: int
    seconds: float
    cpu: dict[str, float]
    latencies: list[float]

    @property
    def rate(self) -> float:
        """Leads per second, from the first byte sent to the last commit."""
        return self.leads / self.seconds

    @property
    def cpu_per_lead(self) -> float:
        """Milliseconds of CPU of worker, web, clock, Redis and database."""
        return 1000 * sum(self.cpu.values()) / self.leads

    @property
    def own_cpu_per_lead(self) -> float:
        """The same without the servers."""
        return 1000 * sum(cpu for name, cpu in self.cpu.items() if name not in ("redis", "database")) / self.leads

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {1000 * cpu / self.leads:.2f}" for name, cpu in self.cpu.items())
        return f"{self.rate:.0f} leads/s, {self.cpu_per_lead:.2f} ms CPU per lead ({parts})"


def run() -> Iterator[Figure]:
    """All figures of the burst."""
    with stage() as here:
        provider = here.provider(LEADS // len(PAGES))
        two, best = _peers(here, provider)
        ours = _ours(here, provider, "postgresql")
        yield at_least("burst", "leads_per_second_two_processes", ours.rate, two.rate, 8)
        yield at_least("burst", "leads_per_second_peer_at_its_best", ours.rate, best.rate, 3)
        yield at_most("burst", "cpu_ms_per_lead", ours.cpu_per_lead, min(two.cpu_per_lead, best.cpu_per_lead), 0.5)
        yield told("burst", "cpu_ms_per_lead_worker_and_web_only", ours.own_cpu_per_lead,
                   min(two.own_cpu_per_lead, best.own_cpu_per_lead))  # fmt: skip
        for share, name in ((0.5, "p50"), (0.99, "p99")):
            yield told("burst", f"delivery_to_stored_{name}_ms", 1000 * percentile(ours.latencies, share),
                       1000 * percentile(best.latencies, share))  # fmt: skip
        sqlite = _ours(here, provider, "sqlite")
        yield told("burst", "leads_per_second_on_sqlite", sqlite.rate)
        yield told("burst", "cpu_ms_per_lead_on_sqlite", sqlite.cpu_per_lead)


def run_low_load() -> Iterator[Figure]:
    """Latency when there is little to do, and what a process weighs after a burst and a while."""
    with stage() as here:
        provider = here.provider(LEADS // len(PAGES))
        calm = LOW_RATE * LOW_SECONDS
        ours = Ours(here, "postgresql", provider.url)
        ours.start_web()
        ours.start_workers()
        _burst(here, ours, provider.leads[calm:], CHANGES, CONNECTIONS)
        outcome = _burst(here, ours, provider.leads[:calm], 1, CONNECTIONS, rate=LOW_RATE)
        for share, name in ((0.5, "p50"), (0.99, "p99")):
            value = 1000 * percentile(outcome.latencies, share)
            figure = f"delivery_to_stored_{name}_ms"
            yield within("low_load", figure, value, LIMIT_MS) if share > 0.9 else told("low_load", figure, value)
        for number, started in enumerate(ours.processes):
            now, peak = max(started.memory())
            yield within("low_load", f"steady_mib_{number}_{started.name}", now, LIMIT_MIB)
            yield told("low_load", f"peak_mib_{number}_{started.name}", peak)
        ours.stop()


def _ours(here: Stage, provider: Provider, kind: str) -> Outcome:
    ours = Ours(here, kind, provider.url)
    ours.start_web()
    ours.start_workers()
    outcome = _burst(here, ours, provider.leads, CHANGES, CONNECTIONS)
    progress(f"ours on {kind}: {outcome}")
    ours.stop()
    return outcome


def _peers(here: Stage, provider: Provider) -> tuple[Outcome, Outcome]:
    """With two worker processes, and at its best of all pools tried."""
    two = _peer(here, provider, TWO_PROCESSES, PEER_LEADS)
    trials = {pool: _peer(here, provider, pool, TRIAL_LEADS) for pool in POOLS}
    best = max(trials, key=lambda pool: trials[pool].rate)
    return two, max((_peer(here, provider, best, LEADS), two), key=lambda outcome: outcome.rate)


def _peer(here: Stage, provider: Provider, pool: Pool, leads: int) -> Outcome:
    plain = Plain(here, "postgresql", provider.url)
    plain.start_web()
    plain.start_workers(pool)
    outcome = _burst(here, plain, provider.leads[:leads], CHANGES, CONNECTIONS)
    progress(f"peer, {pool}, {leads} leads: {outcome}")
    plain.stop()
    return outcome


def _burst(
    here: Stage, side: Ours | Plain, leads: list[PageLead], changes: int, connections: int, rate: float | None = None
) -> Outcome:
    deliveries = spread(leads, changes)
    sending = Sending(here.processes, port=side.port, deliveries=deliveries, connections=connections, rate=rate)
    before = side.stored()
    here.settle(*side.processes)
    meter = Meter([*side.processes, *here.servers(side.kind)])
    sending.go()
    sent = sending.result()
    if sent.refused:
        raise RuntimeError(f"{sent.refused} deliveries were not acknowledged")
    deadline = time.monotonic() + PATIENCE
    while side.stored() - before < len(leads):
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {side.stored() - before} of {len(leads)} leads arrived")
        time.sleep(0.1)
    ended, cpu = time.time(), meter.read()
    if side.kind == "sqlite":
        return Outcome(len(leads), ended - sent.began, cpu, [])
    return _timed(side, sent, deliveries, cpu)


def _timed(side: Ours | Plain, sent: Sent, deliveries: list[list[PageLead]], cpu: dict[str, float]) -> Outcome:
    at = side.stored_at()
    latencies = [
        at[lead] - begun for begun, some in zip(sent.sent, deliveries, strict=True) for _page, lead in some
    ]  # fmt: skip
    last = max(at[lead] for some in deliveries for _page, lead in some)
    return Outcome(len(latencies), last - sent.began, cpu, latencies)
