"""Failure buttons: what goes wrong, for whom and how often; knows no HTTP, and the same seed fails the same way."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import count
from random import Random
from threading import Lock
from typing import Any, Literal, get_args

from integrations.simulator.meta_quota import Quota

Does = Literal["latency", "error", "throttle", "missing", "html_502", "null_item", "hang", "cut", "usage", "no_cursors",
               "late_answer", "lost_answer"]  # fmt: skip
KINDS = get_args(Does)

# Buttons that act on the HTTP exchange; the others act on each logical call, alone or inside a batch.
OUTER: tuple[Does, ...] = ("latency", "html_502", "hang", "cut")
# Those that act on it when everything is done.
AFTER: tuple[Does, ...] = ("late_answer", "lost_answer")


@dataclass(frozen=True, slots=True)
class Target:
    """The facts about one call that a button may look at; "" where there is nothing. `account` is a sub at Google."""

    kind: str
    token: str
    page: str
    tenant: str
    lead: str
    account: str = ""


@dataclass(slots=True)
class Button:
    """One failure.

    does      latency (`seconds` more), hang (an answer after `seconds`; 0: never, bounded by the server), cut (the
              connection, without an answer), html_502, error (`code`, `subcode`, `status`, `message`), throttle
              (`code`, `minutes`), missing (100/33), null_item (null in a batch's reply), usage (`percent`, `minutes`
              in the usage headers of good answers), no_cursors (paging.next without paging.cursors); of Graph and the
              Calendar API late_answer and lost_answer: all is done, and its answer comes `seconds` later, or the
              connection is cut
    who       `kind` of call (batch, lead, form, page, form_leads, leadgen_forms, test_leads, accounts, oauth,
              debug_token, subscribed_apps, subscriptions, permissions...), `token`, `page`, `tenant`, `leads`; None means any;
              at Google `kind` google_token (a code), google_refresh, google_revoke or google_userinfo, and `account` (a sub)
    how often the next `times` (None: always), of those a `share` (0..1), and per lead the first `each`

    To Google's calls error means `status` (500), `reason` (Google's word, "internal_failure") and `message`; throttle 429
    (403 of the Calendar API) with `reason`, and a Retry-After where `seconds` are given. Of the Calendar API `kind` is a
    method, as calendar.events.insert; for the HTTP exchange it is calendar or calendar_batch, of nobody's account. A button
    without `kind` meets the calls of both.

    latency, html_502, hang, cut and the last two meet the HTTP exchange, so that a batch is met once, with kind "batch" and
    the page of its token; the others meet logical calls, so that in a batch they meet the items. An error of kind "batch" is
    the outer answer.
    """

    does: Does
    kind: str | None = None
    token: str | None = None
    page: str | None = None
    tenant: str | None = None
    leads: frozenset[str] | None = None
    account: str | None = None
    times: int | None = None
    share: float = 1.0
    each: int | None = None
    seconds: float = 0.0
    code: int | None = None
    subcode: int | None = None
    status: int | None = None
    message: str | None = None
    reason: str | None = None
    minutes: int = 5
    percent: int = 80
    pressed: int = 0
    seen: Counter[str] = field(default_factory=Counter, repr=False)

    def meets(self, target: Target) -> bool:
        """Whether this button is about this call, however often it still acts."""
        return (
            (self.kind is None or self.kind == target.kind)
            and (self.token is None or self.token == target.token)
            and (self.page is None or self.page == target.page)
            and (self.tenant is None or self.tenant == target.tenant)
            and (self.leads is None or target.lead in self.leads)
            and (self.account is None or self.account == target.account)
        )


_SETTABLE = {item.name for item in fields(Button)} - {"pressed", "seen"}


def read_button(data: Mapping[str, Any]) -> Button:
    """A button from JSON; ValueError with a sentence for what cannot be one."""
    unknown = sorted(set(data) - _SETTABLE)
    if unknown:
        raise ValueError(f"a button has no {unknown[0]!r}; it has {', '.join(sorted(_SETTABLE))}")
    if data.get("does") not in KINDS:
        raise ValueError(f"'does' must be one of {', '.join(KINDS)}")
    values = dict(data)
    if values.get("leads") is not None:
        values["leads"] = frozenset(str(lead) for lead in values["leads"])
    return Button(**values)


class Panel:
    """All buttons. Threads may set them while the server looks; `on` is the cheap question. `quota` has its own switch."""

    def __init__(self, seed: int = 1) -> None:
        self.buttons: dict[int, Button] = {}
        self.quota = Quota()
        self._ids = count(1)
        self._chance = Random(seed)
        self._turn = Lock()

    @property
    def on(self) -> bool:
        """Whether any button is set."""
        return bool(self.buttons)

    def set(self, button: Button) -> int:
        """Set one; its id."""
        with self._turn:
            number = next(self._ids)
            self.buttons = {**self.buttons, number: button}
            return number

    def press(self, does: Does, **values: Any) -> int:
        """Set one by code: `panel.press("throttle", page="1", times=3, minutes=7)`; ValueError as `read_button`."""
        return self.set(read_button({"does": does, **values}))

    def release(self, number: int | None = None) -> None:
        """Take one away, or all."""
        with self._turn:
            self.buttons = {} if number is None else {key: it for key, it in self.buttons.items() if key != number}

    def acting(self, target: Target, does: tuple[Does, ...]) -> Button | None:
        """The first button that acts on this call now; it is counted and its `times` used up."""
        for number, button in self.buttons.items():
            if button.does in does and button.meets(target) and self._acts(number, button, target):
                return button
        return None

    def _acts(self, number: int, button: Button, target: Target) -> bool:
        with self._turn:
            if number not in self.buttons or (button.times is not None and button.times < 1):
                return False
            if button.each is not None and button.seen[target.lead] >= button.each:
                return False
            if button.share < 1.0 and self._chance.random() >= button.share:
                return False
            if button.each is not None:
                button.seen[target.lead] += 1
            button.pressed += 1
            if button.times is not None:
                button.times -= 1
                if button.times < 1:
                    self.buttons = {key: it for key, it in self.buttons.items() if key != number}
            return True

    def listed(self) -> list[dict[str, Any]]:
        """For the control page: what is set, without its inner book-keeping."""
        return [
            {"id": number, "pressed": button.pressed}
            | {name: _plain(getattr(button, name)) for name in sorted(_SETTABLE)}
            for number, button in self.buttons.items()
        ]


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value
