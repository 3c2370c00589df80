"""The house of `day`, in a process of its own: a simulated day of many pages, each job run here, and the CPU it took.

The simulator is a thread beside it, so that both have one clock that we move; its CPU is taken off. Reads orders as JSON
from standard input, prepares, says `ready`, waits for a line, and writes what happened as JSON.
"""

import base64
import gc
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import orjson
from sqlalchemy import select

from integrations.simulator.seed import APP_ID, APP_SECRET, VERIFY_TOKEN, build_world
from integrations.simulator.server import SimulatorServer
from models import inbox
from models.connection import Connection
from models.form import Form
from models.grant import NewGrant, store_grants
from models.inbox import Notice
from models.job import Job
from models.migrations import upgrade
from models.tenancy import system_session, tenant_session
from models.tenant import add_tenant
from worker import jobs
from worker.app import create_app
from worker.logs import configure
from worker.reconcile import reconcile
from worker.schedule import TABLE, slot_of, tick
from worker.services import Services, build
from worker.settings import read_settings
from worker.tasks import HANDLERS
from worker.work import Work

BEGINS = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
"""After the counts of the day have been made, so that each form's next one falls into the 24 hours."""
CONNECTED_FOR, DAY, MINUTE = timedelta(days=30), timedelta(days=1), timedelta(minutes=1)
QUIET = timedelta(minutes=50)
"""Lived through first, with nothing due: what the house costs by itself."""
PAGES_A_TENANT, FORMS_A_PAGE = 5, 4
BUSY_EVERY = 2
"""Every second page has one form that leads come to; all others are idle."""
PAST_LEADS, LEADS_A_DAY = 20, 2
LISTED_EVERY, READ_EVERY, SELDOM_EVERY = timedelta(hours=21), timedelta(hours=20), timedelta(days=6)
"""About how often, so that the day begins in the middle of things and not with all of them due."""


@dataclass
class Clock:
    """Now is what the day says."""

    now: datetime = BEGINS - CONNECTED_FOR

    def __call__(self) -> datetime:
        return self.now


@dataclass(slots=True)
class Spent:
    """CPU of one kind of work."""

    times: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Once more."""
        self.times, self.seconds = self.times + 1, self.seconds + seconds


@dataclass
class House:
    """A deployment, what it is connected to, and the meters."""

    services: Services
    clock: Clock
    meta: SimulatorServer
    random: Random = field(default_factory=lambda: Random(1))
    spent: dict[str, Spent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tasks = create_app(self.services, HANDLERS).tasks
        thread = next(one for one in threading.enumerate() if one.name == "simulator")
        self._others = time.pthread_getcpuclockid(thread.ident or 0)

    def cpu(self) -> float:
        """Seconds of this process, without the simulator's."""
        return time.process_time() - time.clock_gettime(self._others)

    def metered(self, kind: str, do: Callable[[], object]) -> None:
        """Do it, and add its CPU to what this kind took."""
        before = self.cpu()
        do()
        self.spent.setdefault(kind, Spent()).add(self.cpu() - before)

    def drain(self) -> None:
        """Run what is published or due until there is nothing."""
        ran = True
        while ran:
            ran = False
            self.metered("look", lambda: reconcile(self.services))
            for lane in jobs.LANES:
                while (raw := self.services.redis.rpop(lane)) is not None:
                    self._run(orjson.loads(raw)["headers"], lane)  # type: ignore[arg-type]
                    ran = True

    def _run(self, headers: dict[str, Any], lane: str) -> None:
        task, tenant = self.tasks[headers["task"]], {"tenant": headers["tenant"]}
        self.metered(
            headers["task"], lambda: task.apply(task_id=headers["id"], headers=tenant, routing_key=lane, throw=True)
        )

    def live(self, span: timedelta, leads: int) -> dict[str, Spent]:
        """Minute by minute: the clock's ticks, leads as they are told of (so many a form), and all that follows."""
        self.spent = {}
        busy = [form for form in self.meta.world.forms.values() if form.leads]
        told = sorted((self.random.randrange(24 * 60), form.id) for form in busy for _ in range(leads))
        ends = self.clock.now + span
        minute = 0
        while self.clock.now < ends:
            before, self.clock.now = self.clock.now, self.clock.now + MINUTE
            for kind, (_, every) in TABLE.items():
                if slot_of(before, every) != slot_of(self.clock.now, every):
                    self.metered("tick", lambda kind=kind: tick(self.services, kind))  # type: ignore[misc]
            while told and told[0][0] <= minute:
                self._tell(told.pop(0)[1])
            self.drain()
            minute += 1
        return self.spent

    def _tell(self, form: str) -> None:
        (lead,) = self.meta.world.add_leads(form, created_at=self.clock.now)
        tenant, connection = self.pages[lead.form.page.id]
        with Work(self.services, tenant) as work:
            notice = Notice(tenant, connection, "lead", lead.id, "webhook", {"form_id": form}, self.clock.now)
            inbox.take_in(work.session, [notice], self.clock.now)
            work.put(jobs.leads_fetch(tenant, connection))

    @property
    def pages(self) -> dict[str, tuple[str, str]]:
        """page -> (tenant, connection)."""
        with system_session(self.services.database, reads_only=True) as session:
            rows = session.execute(select(Connection.external_id, Connection.tenant_id, Connection.id))
            return {page: (tenant, connection) for page, tenant, connection in rows}

    def settle_in(self) -> None:
        """Pages were connected a month ago, their forms are known, read and counted; nothing is due."""
        self._connect()
        self.clock.now = BEGINS - QUIET
        for make in (jobs.forms_discover, jobs.leads_check):
            for tenant, connection in self.pages.values():
                with Work(self.services, tenant) as work:
                    work.put(make(tenant, connection))
            self.drain()

    def wake(self) -> None:
        """What is due next is spread, as it is in the middle of things."""
        with system_session(self.services.database) as session:
            for row in session.scalars(select(Connection)):
                row.check_at = BEGINS + self.random.random() * timedelta(hours=1)
                listed = BEGINS - self.random.random() * LISTED_EVERY
                for form in session.scalars(select(Form).where(Form.connection_id == row.id)):
                    form.seen_at = listed
                    every = READ_EVERY if form.last_lead_at else SELDOM_EVERY
                    form.read_due_at = BEGINS + self.random.random() * every

    def _connect(self) -> None:
        by_tenant: dict[str, list[NewGrant]] = {}
        for page in self.meta.world.pages.values():
            tokens = {"page_access_token": self.meta.world.page_token(page.id).value}
            by_tenant.setdefault(page.tenant, []).append(
                NewGrant("facebook_leads", page.id, page.id, page.id, tokens, check_at=BEGINS + DAY)
            )
        vault, now = self.services.vault, self.clock.now
        for name, grants in by_tenant.items():
            with system_session(self.services.database) as session:
                tenant = add_tenant(session, external_id=name, name=name, country="IE", timezone="UTC", now=now).id
                vault.keyring(session, tenant, tenant, now)
            with tenant_session(self.services.database, tenant) as session:
                store_grants(session, vault, grants, tenant_id=tenant, now=now)

    def failed(self) -> list[str]:
        """Kinds of jobs that failed and wait, or died: there should be none."""
        with system_session(self.services.database, reads_only=True) as session:
            return list(session.scalars(select(Job.kind).where(Job.error_kind.is_not(None))))

    def budgets(self) -> dict[str, float]:
        """The page nearest to a limit: percent of leadgen's budget, and the calls of any kind of a page without leads."""
        quota = self.meta.panel.quota
        percent, idle = 0.0, 0
        for page in self.meta.world.pages.values():
            leads = sum(len(form.leads) for form in page.forms)
            leadgen, others = quota.used(page.id), quota.used(page.id, "pages")
            percent = max(percent, 100 * leadgen / (quota.per_lead * leads or quota.floor))
            idle = max(idle, 0 if leads else leadgen + others)
        refused = sum(number for code, number in self.meta.calls.faults.items() if "/8000" in code)
        return {"percent": percent, "idle_calls": idle, "refused": refused}


def _seed(pages: int) -> dict[str, Any]:
    def page(number: int) -> dict[str, Any]:
        forms = [{"id": f"61{number:08d}{step}"} for step in range(FORMS_A_PAGE)]
        user = f"41{number // PAGES_A_TENANT:08d}"
        return {"id": f"51{number:08d}", "tenant": f"t{number // PAGES_A_TENANT}", "users": [user],
                "access_token": f"EAADAY{number}", "subscribed": True, "forms": forms}  # fmt: skip

    made = [page(number) for number in range(pages)]
    return {
        "apps": [{"id": APP_ID, "secret": APP_SECRET, "verify_token": VERIFY_TOKEN}],
        "users": [{"id": user, "name": user} for user in dict.fromkeys(one["users"][0] for one in made)],
        "pages": made,
    }


def _plain(spent: dict[str, Spent]) -> dict[str, tuple[int, float]]:
    return {kind: (one.times, one.seconds) for kind, one in spent.items()}


def main() -> None:
    """Orders: `database_url`, `redis_url`, `pages`."""
    orders = json.loads(sys.stdin.readline())
    configure()
    upgrade(orders["database_url"])
    clock = Clock()
    with SimulatorServer(build_world(clock, _seed(orders["pages"]))) as meta:
        for page in list(meta.world.pages.values())[::BUSY_EVERY]:
            for past in range(PAST_LEADS):
                made = BEGINS - timedelta(hours=1 + 24 * (PAST_LEADS - past))
                meta.world.add_leads(page.forms[0].id, created_at=made)
        environment = {
            "TROTH_DATABASE_URL": orders["database_url"], "TROTH_REDIS_URL": orders["redis_url"],
            "TROTH_MASTER_KEYS": f"k1:{base64.b64encode(bytes(range(32))).decode()}", "TROTH_META_APP_ID": APP_ID,
            "TROTH_META_APP_SECRET": APP_SECRET, "TROTH_META_VERIFY_TOKEN": VERIFY_TOKEN,
            "TROTH_META_GRAPH_URL": meta.url,
        }  # fmt: skip
        house = House(build(read_settings(environment), clock=clock), clock, meta)
        house.settle_in()
        gc.collect()
        gc.freeze()  # what the simulator holds is not ours to look through
        quiet = house.live(QUIET, 0)
        house.wake()
        meta.calls.clear()
        meta.panel.quota.set(on=True)
        print("ready", flush=True)
        sys.stdin.readline()
        day = house.live(DAY, LEADS_A_DAY)
        told = {
            "quiet": _plain(quiet),
            "day": _plain(day),
            "failed": house.failed(),
            "calls": dict(meta.calls.requests),
        }
        print(json.dumps({**told, **house.budgets()}), flush=True)
        house.services.close()


if __name__ == "__main__":
    main()
