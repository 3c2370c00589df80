"""Group commit for threads: who comes while a transaction is under way shares the next one. It knows no table."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Entry(Generic[Item, Result]):
    __slots__ = ("done", "error", "item", "result")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.done = False
        self.error: Exception | None = None
        self.result: Result

    def outcome(self) -> Result:
        if self.error is not None:
            raise self.error
        return self.result


class Together(Generic[Item, Result]):
    """`flush(items) -> results`, in order, called for all items that waited while the flush before it ran.

    An item that comes within `patience` seconds of a flush waits for the rest of them, unless there are `crowd` items: then
    a flush is worth its price. One that comes after a pause waits for nobody. An error of a flush is the error of everyone
    in it.
    """

    def __init__(
        self, flush: Callable[[Sequence[Item]], Sequence[Result]], *, crowd: int = 1, patience: float = 0.0
    ) -> None:
        self._flush = flush
        self._crowd, self._patience = crowd, patience
        self._turn = threading.Lock()
        self._waiting: deque[_Entry[Item, Result]] = deque()
        self._crowded = threading.Event()
        self._flushed = float("-inf")

    def do(self, item: Item) -> Result:
        """Hand one item in; returns its result after the flush that it was part of."""
        entry: _Entry[Item, Result] = _Entry(item)
        self._waiting.append(entry)
        if len(self._waiting) >= self._crowd:
            self._crowded.set()
        with self._turn:
            if not entry.done:
                self._gather()
                self._serve()
                self._flushed = time.monotonic()
        return entry.outcome()

    def _gather(self) -> None:
        rest = self._flushed + self._patience - time.monotonic()
        if rest > 0:
            self._crowded.wait(rest)
        self._crowded.clear()

    def _serve(self) -> None:
        # One by one: a thread may append at any moment, and none of its entries may fall between two lists.
        group = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            for entry, result in zip(group, self._flush([entry.item for entry in group]), strict=True):
                entry.result = result
        except Exception as error:
            for entry in group:
                entry.error = error
        finally:
            for entry in group:
                entry.done = True
