"""Meta's webhook sender: builds, signs and delivers leadgen notices, well or badly behaved; knows not who receives them.

https://developers.facebook.com/docs/graph-api/webhooks/getting-started: X-Hub-Signature-256 over the raw body, at most
1000 changes a delivery, several pages in one body, another try whenever the answer is not 200.
"""

import hashlib
import hmac
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from datetime import datetime
from random import Random
from typing import Any, Literal

import httpx
import orjson

from integrations.simulator.records import App, Lead
from integrations.simulator.world import World

MOST_CHANGES = 1000
UNKNOWN_PAGE = "999000000000999"
DASHBOARD_LEAD = 444444444444
# Meta: at once, then less and less often for 36 hours; here the same in seconds.
SCHEDULE = (0.0, 0.5, 2.0, 8.0, 30.0)
_TIMEOUT = 20.0
# Receivers are local and speak plain http; reading a machine's certificates costs more than a delivery.
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass(frozen=True, slots=True)
class Shape:
    """How notices look and in which order they go; the default is Meta on a good day.

    `ids` as JSON strings, numbers or both in turn; `changes` at most in a body; `duplicates` more copies of each change;
    `shuffled` out of order; `late` seconds before anything is sent; `escaped` letters and slashes as \\uXXXX; `spaced`
    ", " and ": "; `unknown_page` one change of a page nobody has; `zero_ads` ad ids of organic leads as 0 instead of
    absent; `values` False: `changed_fields` without `changes`, as a subscription without include_values gives.
    """

    ids: Literal["str", "int", "mixed"] = "str"
    changes: int = MOST_CHANGES
    duplicates: int = 0
    shuffled: bool = False
    late: float = 0.0
    escaped: bool = False
    spaced: bool = False
    unknown_page: bool = False
    zero_ads: bool = False
    values: bool = True


@dataclass(frozen=True, slots=True)
class Receipt:
    """How one body fared: the status of each try, 0 where there was no answer."""

    size: int
    changes: int
    statuses: tuple[int, ...]

    @property
    def delivered(self) -> bool:
        """Whether it was acknowledged in the end."""
        return bool(self.statuses) and self.statuses[-1] == 200


def read_shape(data: Mapping[str, Any]) -> Shape:
    """A shape from JSON; ValueError names what it does not have."""
    unknown = sorted(set(data) - {item.name for item in fields(Shape)})
    if unknown:
        raise ValueError(f"a delivery has no {unknown[0]!r}")
    return Shape(**data)


def sign(raw: bytes, app_secret: str) -> str:
    """The value of X-Hub-Signature-256 for exactly these bytes."""
    return "sha256=" + hmac.new(app_secret.encode(), raw, hashlib.sha256).hexdigest()


def bodies(leads: Sequence[Lead], now: datetime, shape: Shape | None = None) -> list[bytes]:
    """The bodies that announce these leads; `now` is the time of sending. The same arguments give the same bytes."""
    shape = shape or Shape()
    changes = [_change(lead, number, shape) for number, lead in enumerate(leads)]
    changes += [change for _ in range(shape.duplicates) for change in changes[: len(leads)]]
    if shape.unknown_page:
        changes.append((UNKNOWN_PAGE, {"leadgen_id": "7", "page_id": UNKNOWN_PAGE, "form_id": "8", "created_time": 0}))
    if shape.shuffled:
        Random(len(changes)).shuffle(changes)
    size = max(1, min(shape.changes, MOST_CHANGES))
    return [_body(changes[start : start + size], now, shape) for start in range(0, len(changes), size)]


def dashboard_test(now: datetime) -> bytes:
    """What the Test button of Meta's dashboard sends: a lead and a page that do not exist."""
    value = {
        "leadgen_id": DASHBOARD_LEAD,
        "page_id": DASHBOARD_LEAD,
        "form_id": DASHBOARD_LEAD,
        "ad_id": DASHBOARD_LEAD,
        "adgroup_id": DASHBOARD_LEAD,
        "created_time": int(now.timestamp()),
    }
    entry = {"id": "0", "time": int(now.timestamp()), "changes": [{"field": "leadgen", "value": value}]}
    return orjson.dumps({"object": "page", "entry": [entry]})


class Deliverer:
    """Posts bodies to a callback, with Meta's patience. `sleep` waits between tries; tests give one that does not."""

    def __init__(
        self,
        world: World,
        *,
        app_id: str | None = None,
        callback_url: str | None = None,
        schedule: Sequence[float] = SCHEDULE,
        sleep: Callable[[float], None] = time.sleep,
        workers: int = 1,
    ) -> None:
        self.world, self.schedule, self.sleep, self.workers = world, schedule, sleep, workers
        self.app: App = world.apps[app_id or next(iter(world.apps))]
        self._callback_url = callback_url
        self._client = httpx.Client(timeout=_TIMEOUT, trust_env=False, verify=NO_AUTHORITIES)

    def deliver(self, leads: Iterable[Lead], shape: Shape | None = None) -> list[Receipt]:
        """Announce leads to the callback, whether or not their pages are subscribed; a receipt per body, in order."""
        shape = shape or Shape()
        if shape.late:
            self.sleep(shape.late)
        return self.post(bodies(list(leads), self.world.clock(), shape))

    def announce(self, leads: Iterable[Lead], shape: Shape | None = None) -> list[Receipt]:
        """As Meta does: only for subscribed pages, to the app's callback if it has one, with values if it wants them."""
        subscription = self.app.subscriptions.get("page")
        if self._callback_url is None and subscription is None:
            return []
        heard = [lead for lead in leads if "leadgen" in lead.form.page.subscribed.get(self.app.id, ())]
        shape = shape or Shape()
        if subscription is not None and not subscription.include_values:
            shape = replace(shape, values=False)
        return self.deliver(heard, shape)

    def post(self, raw: Iterable[bytes]) -> list[Receipt]:
        """Sign and deliver bodies as they are; LookupError when there is no callback."""
        url = self.callback_url
        if self.workers == 1:
            return [self._send(url, body) for body in raw]
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(lambda body: self._send(url, body), raw))

    @property
    def callback_url(self) -> str:
        """The one given, else the one the app subscribed."""
        if self._callback_url is not None:
            return self._callback_url
        if "page" not in self.app.subscriptions:
            raise LookupError("the app has no callback: subscribe one, or give callback_url")
        return self.app.subscriptions["page"].callback_url

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _send(self, url: str, body: bytes) -> Receipt:
        statuses = [self._try(url, body)]
        for wait in self.schedule:
            if statuses[-1] == 200:
                break
            self.sleep(wait)
            statuses.append(self._try(url, body))
        return Receipt(len(body), body.count(b"created_time"), tuple(statuses))

    def _try(self, url: str, body: bytes) -> int:
        sha1 = hmac.new(self.app.secret.encode(), body, hashlib.sha1).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "facebookexternalua",
            "X-Hub-Signature": f"sha1={sha1}",
            "X-Hub-Signature-256": sign(body, self.app.secret),
        }
        try:
            return self._client.post(url, content=body, headers=headers).status_code
        except httpx.HTTPError:
            return 0


def _change(lead: Lead, number: int, shape: Shape) -> tuple[str, dict[str, Any]]:
    as_int = shape.ids == "int" or (shape.ids == "mixed" and number % 2 == 1)
    ids = {"leadgen_id": lead.id, "page_id": lead.form.page.id, "form_id": lead.form.id}
    if lead.ad:
        ids |= {"ad_id": lead.ad["ad_id"], "adgroup_id": lead.ad["adset_id"]}
    elif shape.zero_ads:
        ids |= {"ad_id": "0", "adgroup_id": "0"}
    value: dict[str, Any] = {name: int(text) if as_int else text for name, text in ids.items()}
    value["created_time"] = int(lead.created_at.timestamp())
    # Key order varies in the wild.
    return lead.form.page.id, dict(reversed(value.items())) if number % 3 == 1 else value


def _body(changes: Sequence[tuple[str, dict[str, Any]]], now: datetime, shape: Shape) -> bytes:
    entries: dict[str, dict[str, Any]] = {}
    for number, (page_id, value) in enumerate(changes):
        shown = int(page_id) if shape.ids == "int" or (shape.ids == "mixed" and number % 2) else page_id
        entry = entries.setdefault(page_id, {"id": shown, "time": int(now.timestamp())})
        if shape.values:
            entry.setdefault("changes", []).append({"field": "leadgen", "value": value})
        else:
            entry["changed_fields"] = ["leadgen"]
    raw = orjson.dumps({"object": "page", "entry": list(entries.values())})
    if shape.spaced:
        # No text of ours holds these signs inside a string.
        raw = raw.replace(b",", b", ").replace(b":", b": ")
    # The same JSON in other bytes: only those who hash the raw body keep the signature.
    return raw.replace(b"page", rb"\u0070ag\u0065").replace(b"leadgen", rb"l\u0065adg\u0065n") if shape.escaped else raw
