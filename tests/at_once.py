"""Threads that start together, for tests of what only goes wrong when two do it at once; knows nothing of what they do."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

PATIENCE = 30.0
A_MOMENT = 0.2
"""Seconds in which a thread that is not blocked has surely gone on."""


def at_once(*calls: Callable[[], Result]) -> list[Result]:
    """What each call returned, in order. All start at one barrier; the first error is raised when all have ended."""
    barrier = threading.Barrier(len(calls))

    def start(call: Callable[[], Result]) -> Result:
        barrier.wait(PATIENCE)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(start, call) for call in calls]
    return [future.result() for future in futures]


def overtaking(first: Callable[[Callable[[], None]], Result], second: Callable[[], Result]) -> Sequence[Result]:
    """Let `second` begin in the middle of `first`: where `first` calls its argument, it stands still until `second` has
    ended or is evidently blocked."""
    in_the_middle, ended = threading.Event(), threading.Event()

    def pause() -> None:
        in_the_middle.set()
        ended.wait(A_MOMENT)

    def late() -> Result:
        assert in_the_middle.wait(PATIENCE)
        try:
            return second()
        finally:
            ended.set()

    return at_once(lambda: first(pause), late)
