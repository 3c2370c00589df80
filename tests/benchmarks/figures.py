"""What a figure is and how it is told: one JSON line on standard output; it measures nothing."""

import json
import sys
import time
from dataclasses import asdict, dataclass

_STARTED = time.monotonic()


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value. `peer` is the plain recipe's in the same run; `wanted` bounds `ratio`, `limit` bounds `ours`."""

    benchmark: str
    figure: str
    ours: float | None
    peer: float | None
    limit: float | None
    ratio: float | None
    wanted: float | None
    holds: bool


def at_least(benchmark: str, figure: str, ours: float, peer: float, wanted: float) -> Figure:
    """Ours must be `wanted` times the peer's or more."""
    ratio = _ratio(ours, peer)
    return Figure(benchmark, figure, _short(ours), _short(peer), None, ratio, wanted, ratio >= wanted)


def at_most(benchmark: str, figure: str, ours: float, peer: float, wanted: float, limit: float | None = None) -> Figure:
    """Ours must be no more than `wanted` times the peer's, and no more than `limit` where one is given."""
    ratio = _ratio(ours, peer)
    holds = ratio <= wanted and (limit is None or ours <= limit)
    return Figure(benchmark, figure, _short(ours), _short(peer), limit, ratio, wanted, holds)


def within(benchmark: str, figure: str, ours: float, limit: float, peer: float | None = None) -> Figure:
    """Ours must not exceed `limit`; a peer's value is told for comparison only."""
    ratio = None if peer is None else _ratio(ours, peer)
    return Figure(benchmark, figure, _short(ours), _peer(peer), limit, ratio, None, ours <= limit)


def told(benchmark: str, figure: str, ours: float | None, peer: float | None = None) -> Figure:
    """For information: nothing was promised about it."""
    ratio = None if peer is None or ours is None else _ratio(ours, peer)
    return Figure(benchmark, figure, None if ours is None else _short(ours), _peer(peer), None, ratio, None, True)


def show(figure: Figure) -> None:
    """One line for machines."""
    print(json.dumps(asdict(figure)), flush=True)


def progress(text: str) -> None:
    """One line for people, with the seconds since the start."""
    print(f"[{time.monotonic() - _STARTED:6.1f} s] {text}", file=sys.stderr, flush=True)


def percentile(values: list[float], share: float) -> float:
    """The value that `share` (0..1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: list[float]) -> float:
    """The middle value."""
    return sorted(values)[len(values) // 2]


def _ratio(ours: float, peer: float) -> float:
    return _short(ours / peer) if peer else float("inf")


def _peer(peer: float | None) -> float | None:
    return None if peer is None else _short(peer)


def _short(value: float) -> float:
    return float(f"{value:.4g}")
