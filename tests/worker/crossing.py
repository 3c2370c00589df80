"""The way to a provider, on which something can be done while a call is under way; it knows no call."""

from collections.abc import Callable
from typing import Any

from integrations.http import Http, Reply


class Crossing:
    """Stands in for the process's `Http`."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._what: Callable[[], None] | None = None
        self._calls, self._is_early = 0, False

    def do(self, what: Callable[[], None] | None, calls: int = 0, *, is_early: bool = False) -> None:
        """Once, beside the call after so many others: before it is carried out, or before its answer is there. None: never."""
        self._what, self._calls, self._is_early = what, calls, is_early

    def request(self, *args: Any, **kwargs: Any) -> Reply:
        """As `Http.request`."""
        what, self._calls = self._what, self._calls - 1
        if what is None or self._calls >= 0:
            return self._http.request(*args, **kwargs)
        self._what = None
        if self._is_early:
            what()
        reply = self._http.request(*args, **kwargs)
        if not self._is_early:
            what()
        return reply
