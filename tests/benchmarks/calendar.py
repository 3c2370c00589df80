"""`calendar`: 10,000 events into a new calendar at 50 ms a call, then a change of one in a hundred, beside a task an event
with the library; and with Google's quota on, how much of it is used."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import func, select

from integrations.google_calendar.event import checked, to_google, what_counts
from integrations.simulator.seed import ACME_ACCOUNT, ACME_EMAIL, GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from models.calendar import ensure_calendar
from models.calendar_event import PENDING, CalendarEvent, Keys, wish
from models.grant import NewGrant, store_grant
from models.tenancy import tenant_session
from tests.benchmarks.figures import Figure, at_least, progress, told, within
from tests.benchmarks.ours import Ours
from tests.benchmarks.plain import POOLS, Pool
from tests.benchmarks.processes import Meter, Started, python
from tests.benchmarks.servers import free_port, listens, wait_until
from tests.benchmarks.stage import Stage, stage
from worker import jobs
from worker.services import Services, build
from worker.settings import read_settings
from worker.work import Work

EVENTS, CHANGED = 10_000, 100
PEER_EVENTS, TRIAL_EVENTS = 400, 200
"""The peer's rate is the same all along."""
LATENCY_MS = 50
ONE = Pool("prefork", 1)
TENANT = "tenant-0"
QUOTA, QUOTA_SECONDS = 600, 75
MOST_CALLS, MOST_MIB = 1.05, 150
REFRESH_TOKEN = "1//0benchmark"


@dataclass(frozen=True, slots=True)
class Provider:
    """The simulated Google."""

    url: str
    started: Started

    def state(self) -> dict[str, Any]:
        """Calendars, calls, refusals."""
        found: dict[str, Any] = httpx.get(f"{self.url}/_sim/calendars", trust_env=False).json()
        return found

    def events(self) -> int:
        """Living events, in all calendars."""
        return sum(calendar["events"] for calendar in self.state()["calendars"])

    def switch(self, **values: object) -> None:
        """Press a switch."""
        httpx.post(f"{self.url}/_sim/calendars", json=values, trust_env=False).raise_for_status()


def run() -> Iterator[Figure]:
    """Upload, change pass, quota."""
    with stage() as here:
        provider = _provider(here)
        one = _peer(here, provider, ONE, PEER_EVENTS)
        trials = {pool: _peer(here, provider, pool, TRIAL_EVENTS) for pool in POOLS}
        pool = max(trials, key=lambda pool: trials[pool])
        best = max(_peer(here, provider, pool, PEER_EVENTS * 3), one)
        yield from _ours(here, one, best)
        yield from _within_quota(here)


def _provider(here: Stage, latency_ms: int = LATENCY_MS) -> Provider:
    accounts = [{"sub": ACME_ACCOUNT, "email": ACME_EMAIL, "name": "Ada", "refresh_token": REFRESH_TOKEN}]
    seed = {"seed": 1, "latency_ms": latency_ms, "apps": [], "users": [], "pages": [], "google": {
        "clients": [{"id": GOOGLE_CLIENT_ID, "secret": GOOGLE_CLIENT_SECRET}], "accounts": accounts}}  # fmt: skip
    path = here.folder / f"{here.name('calendar')}.json"
    path.write_text(json.dumps(seed))
    port = free_port()
    started = here.processes.start("simulator", python("tests.benchmarks.provider", str(port), str(path)))
    wait_until(lambda: listens(port), 30, started)
    return Provider(f"http://127.0.0.1:{port}", started)


def _content(number: int, title: str = "Visit") -> dict[str, Any]:
    start, end = (f"2026-{1 + number % 12:02d}-{1 + number % 28:02d}T{hour:02d}:00:00+00:00" for hour in (9, 10))
    text = {
        "title": f"{title} {number}",
        "description": "What was agreed on the phone. " * 8,
        "location": "Main street 1",
    }
    return checked({**text, "start": {"date_time": start}, "end": {"date_time": end}}, default_zone="Europe/Kyiv")


def _peer(here: Stage, provider: Provider, pool: Pool, number: int) -> float:
    """Events a second."""
    here.clean()
    form = {"client_id": GOOGLE_CLIENT_ID, "client_secret": GOOGLE_CLIENT_SECRET, "refresh_token": REFRESH_TOKEN,
            "grant_type": "refresh_token"}  # fmt: skip
    token = httpx.post(f"{provider.url}/token", data=form, trust_env=False).json()["access_token"]
    made = httpx.post(f"{provider.url}/calendar/v3/calendars", json={"summary": "Peer"}, trust_env=False,
                      headers={"authorization": f"Bearer {token}"}).json()["id"]  # fmt: skip
    env = {"PEER_BROKER_URL": here.valkey.broker_url, "PEER_GOOGLE_URL": provider.url, "PEER_TOKEN": token}
    workers = []
    for _ in range(pool.processes):
        arguments = ["celery", "-A", "tests.benchmarks.peer.calendar", "worker", f"--pool={pool.kind}", "-c",
                     str(pool.concurrency), "--without-gossip", "--without-mingle", "--without-heartbeat",
                     "--loglevel=WARNING", "-n", f"{here.name('peer')}@bench"]  # fmt: skip
        before = here.consumers()
        workers.append(here.processes.start("worker", python(*arguments), env))
        wait_until(lambda: here.consumers() > before, 30, workers[-1])  # noqa: B023
    before_events = provider.events()
    orders = here.folder / f"{here.name('orders')}.json"
    orders.write_text(json.dumps({"calendar": made, "events": [to_google(_content(n)) for n in range(number)]}))
    enqueue = here.processes.start("enqueue", python("tests.benchmarks.peer.enqueue_events", str(orders)), env)
    wait_until(lambda: provider.events() > before_events, 30, workers[0])
    began, first = time.monotonic(), provider.events()
    wait_until(lambda: provider.events() - before_events >= number, 120, workers[0])
    rate = (number - (first - before_events)) / (time.monotonic() - began)
    here.processes.stop(*workers, enqueue)
    progress(f"peer, {pool}: {rate:.1f} events/s")
    return rate


class House:
    """Troth with one calendar connected."""

    def __init__(self, here: Stage, provider: Provider, *, quota: int) -> None:
        self.here, self.provider = here, provider
        self.ours = Ours(here, "postgresql", names=[TENANT])
        self.ours.env |= {
            "TROTH_GOOGLE_CLIENT_ID": GOOGLE_CLIENT_ID, "TROTH_GOOGLE_CLIENT_SECRET": GOOGLE_CLIENT_SECRET,
            "TROTH_GOOGLE_TOKEN_URL": f"{provider.url}/token", "TROTH_GOOGLE_API_URL": provider.url,
            "TROTH_GOOGLE_USER_QUOTA": str(quota), "TROTH_GOOGLE_PROJECT_QUOTA": str(10 * quota),
        }  # fmt: skip
        self.services: Services = build(read_settings(self.ours.env))
        self.tenant = self.ours.tenants[TENANT]
        with tenant_session(self.services.database, self.tenant) as session:
            grant = NewGrant("google_calendar", "mark", ACME_ACCOUNT, ACME_EMAIL, {"refresh_token": REFRESH_TOKEN})
            now = self.services.clock()
            self.connection = store_grant(
                session, self.services.vault, grant, tenant_id=self.tenant, now=now
            ).connection.id

    def wish(self, number: int, *, changed: int = 0) -> int:
        """The host wishes for so many events, the first `changed` of them otherwise than before; how many were news."""
        news = 0
        for start in range(0, number, 500):
            with Work(self.services, self.tenant) as work:
                vault, now = self.services.vault, self.services.clock()
                keys = Keys(vault.keyring(work.session, self.tenant, self.connection, now),
                            vault.keyring(work.session, self.tenant, self.tenant, now))  # fmt: skip
                ensure_calendar(work.session, tenant_id=self.tenant, connection_id=self.connection, now=now)
                for one in range(start, min(start + 500, number)):
                    content = _content(one, "Changed" if one < changed else "Visit")
                    news += wish(
                        work.session, keys, tenant_id=self.tenant, connection_id=self.connection, host_id=f"e{one}",
                        content=content, wished=keys.hash(what_counts(content)), notify="none", now=now,
                    )[1]  # fmt: skip
        return news

    def go(self) -> None:
        """Put the job."""
        with Work(self.services, self.tenant) as work:
            work.put(jobs.calendars_converge(self.tenant, self.connection))

    def left(self) -> int:
        """Wishes that Google does not have."""
        with tenant_session(self.services.database, self.tenant, reads_only=True) as session:
            query = select(func.count()).select_from(CalendarEvent).where(CalendarEvent.state == PENDING)
            return session.scalar(query) or 0

    def close(self) -> None:
        """End it."""
        self.services.close()
        self.ours.stop()


def _ours(here: Stage, one: float, best: float) -> Iterator[Figure]:
    provider = _provider(here)
    house = House(here, provider, quota=0)
    house.wish(EVENTS)
    house.ours.start_worker("worker", "worker", "--lane", jobs.BULK)
    worker = house.ours.processes[0]
    here.settle(worker)
    calls, began, meter = (
        provider.state()["calls"],
        time.monotonic(),
        Meter([worker, *here.servers("postgresql"), provider.started]),
    )
    house.go()
    wait_until(lambda: house.left() == 0, 300, worker)
    seconds, spent = time.monotonic() - began, provider.state()["calls"] - calls
    parts = ", ".join(f"{name} {1000 * cpu / EVENTS:.2f}" for name, cpu in meter.read().items())
    progress(f"ours: {EVENTS / seconds:.0f} events/s, {spent} calls; ms of CPU an event: {parts}")
    if provider.events() != EVENTS:
        raise RuntimeError(f"{provider.events()} of {EVENTS} events are there")
    yield at_least("calendar", "events_per_second_one_process", EVENTS / seconds, one, 15)
    yield at_least("calendar", "events_per_second_peer_at_its_best", EVENTS / seconds, best, 3)
    yield within("calendar", "calls_per_written_event", spent / EVENTS, MOST_CALLS)
    calls, began = provider.state()["calls"], time.monotonic()
    news = house.wish(EVENTS, changed=CHANGED)
    house.go()
    wait_until(lambda: house.left() == 0, 60, worker)
    spent = provider.state()["calls"] - calls
    yield told("calendar", "change_pass_seconds", time.monotonic() - began)
    yield within("calendar", "calls_per_changed_event", spent / CHANGED, MOST_CALLS)
    yield within("calendar", "wishes_that_were_no_news_but_called", news - CHANGED, 0)
    yield within("calendar", "worker_peak_mib", max(peak for _, peak in worker.memory()), MOST_MIB)
    house.close()


def _within_quota(here: Stage) -> Iterator[Figure]:
    """With Google's 600 a minute for a person, of which four fifths are used, and the fifth as a beginning."""
    provider = _provider(here, 5)
    provider.switch(user_quota=QUOTA, project_quota=10 * QUOTA)
    house = House(here, provider, quota=QUOTA)
    house.wish(2_000)
    house.ours.start_workers(1)
    began = time.monotonic()
    house.go()
    time.sleep(QUOTA_SECONDS)
    made, seconds = provider.events(), time.monotonic() - began
    allowed = QUOTA / 5 + 0.8 * QUOTA * seconds / 60
    yield at_least("calendar", "events_of_those_allowed", made, allowed, 0.95)
    yield within("calendar", "calls_refused_by_the_quota", provider.state()["refused"], 0)
    house.close()
