"""`python -m tests.benchmarks [ONLY ...] [--list]`: runs the benchmarks; exit status 1 when a figure does not hold."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator

from tests.benchmarks import backfill, bulletins, burst, calendar, connections, day, erasure, front_door, queues
from tests.benchmarks.figures import Figure, progress, show

BENCHMARKS: dict[str, Callable[[], Iterator[Figure]]] = {
    "burst": burst.run,
    "low_load": burst.run_low_load,
    "front_door": front_door.run,
    "connections": connections.run,
    "backfill": backfill.run,
    "calendar": calendar.run,
    "day": day.run,
    "bulletins": bulletins.run,
    "erasure": erasure.run,
    "flood": queues.run_flood,
    "ledger_cost": queues.run_ledger_cost,
}


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        prog="tests.benchmarks", description="Figures beside a plain peer in the same run."
    )
    parser.add_argument("only", nargs="*", metavar="ONLY", help="names of benchmarks; all of them when none is given")
    parser.add_argument("--list", action="store_true", help="only name them")
    asked = parser.parse_args()
    if asked.list:
        print("\n".join(BENCHMARKS))
        return 0
    unknown = [name for name in asked.only if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    if sys.platform != "linux":
        parser.error("the benchmarks read /proc: run them on Linux")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended and cleared away
    return _run(asked.only or list(BENCHMARKS))


def _run(names: list[str]) -> int:
    failed = 0
    for name in names:
        load = os.getloadavg()[0]
        progress(f"{name} (load of this machine before it: {load:.1f})")
        for figure in BENCHMARKS[name]():
            show(figure)
            failed += not figure.holds
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
