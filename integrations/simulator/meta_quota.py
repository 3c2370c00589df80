"""Meta's budgets of calls for each page: counts them against the day's limit when switched on; knows no calls and no HTTP.

https://developers.facebook.com/docs/graph-api/overview/rate-limiting: 4800 calls in 24 hours for each lead of the last
90 days (leadgen), and for each engaged user (pages). Calls made beyond a limit count, and lengthen the wait.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from integrations.simulator.meta_answers import GraphFault, throttle_text

QUOTA_KEYS = ("on", "per_lead", "floor", "pages")

_DAY, _BUCKET = 24 * 3600, 600
_TYPES = {
    "lead": "leadgen",
    "form_leads": "leadgen",
    "test_leads": "leadgen",
    "form": "pages",
    "page": "pages",
    "leadgen_forms": "pages",
    "subscribed_apps": "pages",
}
_CODES = {"leadgen": 80005, "pages": 80001}

Headers = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Quota:
    """`per_lead` and `floor` (for a page without leads) make a page's leadgen budget of a day, `pages` its other one."""

    on: bool = False
    per_lead: int = 4800
    floor: int = 200
    pages: int = 4800
    _made: dict[tuple[str, str], deque[list[int]]] = field(default_factory=dict, repr=False)

    def set(
        self, *, on: bool | None = None, per_lead: int | None = None, floor: int | None = None, pages: int | None = None
    ) -> None:
        """Change what is given; switching it on forgets what was counted."""
        if on is not None:
            self.on = bool(on)
            self._made.clear()
        self.per_lead = self.per_lead if per_lead is None else int(per_lead)
        self.floor = self.floor if floor is None else int(floor)
        self.pages = self.pages if pages is None else int(pages)

    def draw(self, page_id: str, kind: str, leads: int, now: datetime) -> Headers:
        """Counts one call of a page that had so many leads: the usage headers; GraphFault when the budget is used up."""
        drawn = _TYPES.get(kind)
        if drawn is None:
            return ()
        limits = {"leadgen": self.per_lead * leads or self.floor, "pages": self.pages}
        second = int(now.timestamp())
        _count(self._made.setdefault((page_id, drawn), deque()), second)
        told = []
        for name, limit in limits.items():
            percent, minutes = self._state(page_id, name, limit, second)
            usage = {"type": name, "call_count": percent, "total_cputime": percent // 4, "total_time": percent // 3}
            told.append({**usage, "estimated_time_to_regain_access": minutes})
        headers = (("X-Business-Use-Case-Usage", orjson.dumps({page_id: told}).decode()),)
        if any(it["type"] == drawn and it["estimated_time_to_regain_access"] for it in told):
            code = _CODES[drawn]
            raise GraphFault(code, throttle_text(code), is_transient=True, headers=headers)
        return headers

    def used(self, page_id: str, name: str = "leadgen") -> int:
        """The calls of the last day that were counted."""
        return sum(number for _, number in self._made.get((page_id, name), ()))

    def _state(self, page_id: str, name: str, limit: int, second: int) -> tuple[int, int]:
        """(percent used, minutes until a call fits again)."""
        made = self._made.get((page_id, name), deque())
        while made and made[0][0] + _BUCKET + _DAY <= second:
            made.popleft()
        left = used = sum(number for _, number in made)
        minutes = 0
        for start, number in made if used > limit else ():
            left -= number
            minutes = max(-(-(start + _BUCKET + _DAY - second) // 60), 1)
            if left < limit:
                break
        return 100 * used // max(limit, 1), minutes


def _count(made: deque[list[int]], second: int) -> None:
    start = second - second % _BUCKET
    if made and made[-1][0] == start:
        made[-1][1] += 1
    else:
        made.append([start, 1])
