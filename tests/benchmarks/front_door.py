"""`front_door`: signed deliveries acknowledged per second, each after its commit, by one server process."""

from collections.abc import Iterator

from tests.benchmarks.figures import Figure, at_least, median, percentile, progress, told
from tests.benchmarks.ours import Ours
from tests.benchmarks.plain import Plain
from tests.benchmarks.sending import PageLead, Sending, Sent
from tests.benchmarks.stage import PAGES, Stage, stage

CONNECTIONS = 32
SECONDS = 4
REPEATS = 3
MOST = {"ours": 30_000, "plain": 8_000}
"""Deliveries prebuilt for a repeat: more than a side can answer in its seconds."""
WANTED = 5
FIRST_LEAD = 8_100_000_000_000_000


def run() -> Iterator[Figure]:
    """On PostgreSQL and on SQLite; the two sides take turns, and the middle of three repeats counts."""
    for kind in ("postgresql", "sqlite"):
        with stage() as here:
            yield from _on(here, kind)


def _on(here: Stage, kind: str) -> Iterator[Figure]:
    rates: dict[str, list[float]] = {"ours": [], "plain": []}
    late: dict[str, list[float]] = {"ours": [], "plain": []}
    # Both stand from the start; a side that nobody asks costs nothing. Neither has workers here.
    sides: dict[str, Ours | Plain] = {"ours": Ours(here, kind), "plain": Plain(here, kind)}
    for side in sides.values():
        side.start_web()
    for repeat in range(REPEATS):
        for name, side in sides.items():
            here.clean()
            sent = _push(here, side, MOST[name], repeat)
            rates[name].append(sent.acknowledged / (sent.ended - sent.began))
            late[name].append(1000 * percentile(sent.latencies, 0.99))
            progress(f"{name} on {kind}: {rates[name][-1]:.0f} acknowledged/s, p99 {late[name][-1]:.0f} ms")
    yield at_least(
        "front_door", f"acknowledged_per_second_{kind}", median(rates["ours"]), median(rates["plain"]), WANTED
    )
    yield told("front_door", f"p99_ms_{kind}", median(late["ours"]), median(late["plain"]))


def _push(here: Stage, side: Ours | Plain, most: int, repeat: int) -> Sent:
    before = side.inbox_count()
    sending = Sending(
        here.processes, port=side.port, deliveries=_single(most, repeat), connections=CONNECTIONS, seconds=SECONDS
    )
    sending.go()
    sent = sending.result()
    stored = side.inbox_count() - before
    if sent.refused or stored != sent.acknowledged:
        raise RuntimeError(f"{sent.acknowledged} acknowledged, {stored} stored, {sent.refused} refused")
    if sent.acknowledged == most:
        raise RuntimeError("the sender ran out of deliveries: prebuild more")
    return sent


def _single(count: int, repeat: int) -> list[list[PageLead]]:
    first = FIRST_LEAD + repeat * 1_000_000
    return [[(PAGES[number % len(PAGES)].id, str(first + number))] for number in range(count)]
