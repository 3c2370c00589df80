"""A stream of jobs while workers, Redis and the web process are killed: what was lost, what was done twice, how soon it healed.

`python -m tests.faults.loss` plays it in full (40, 5 and 3 kills under 5,000 jobs); the test plays a shorter one.
"""

import argparse
import logging
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Self

import httpx
import orjson
from sqlalchemy import func, select, text

from integrations.simulator.deliver import sign
from integrations.simulator.seed import (
    ACME_PAGE,
    ACME_TOKEN,
    APP_ID,
    APP_SECRET,
    GLOBEX_PAGE,
    GLOBEX_TOKEN,
    VERIFY_TOKEN,
)
from models.database import APP_ROLE, Database
from models.grant import NewGrant, store_grant
from models.job import NewJob
from models.lead import Lead, LeadHistory
from models.tenancy import system_session
from models.tenant import add_tenant
from tests import databases
from tests.faults.effect_worker import EFFECT, TABLE
from worker.embedded import free_port
from worker.jobs import INTERACTIVE
from worker.local import Local, prepare
from worker.logs import configure
from worker.services import Services, build
from worker.supervise import Program, Supervisor
from worker.work import Work

GRACE = 30.0
"""Seconds in which everything must have healed after the last kill, without a person."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to break, one kill every `pause` seconds. `seed` fixes the order of the kills."""

    jobs: int = 5_000
    worker_kills: int = 40
    redis_kills: int = 5
    web_kills: int = 3
    leads: int = 1_000
    pause: float = 2.0
    seed: int = 7

    @property
    def kills(self) -> int:
        """All of them."""
        return self.worker_kills + self.redis_kills + self.web_kills


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the stream. `healed_after` is seconds from the last kill to the last effect."""

    jobs: int
    kills: int
    lost: int
    twice: int
    leads: int
    leads_lost: int
    leads_twice: int
    healed_after: float

    @property
    def good(self) -> bool:
        """Every effect exactly once, in time."""
        return not (self.lost or self.twice or self.leads_lost or self.leads_twice) and self.healed_after <= GRACE


class Stream:
    """The machine under test: Redis, web, two workers and a beat under a supervisor, and what is poured into them."""

    def __init__(self, folder: Path, database_url: str, plan: Plan) -> None:
        self.plan = plan
        simulator_port, port = free_port(), free_port()
        given = {
            "TROTH_DATABASE_URL": database_url,
            "TROTH_META_GRAPH_URL": f"http://127.0.0.1:{simulator_port}",
            "TROTH_META_APP_ID": APP_ID,
            "TROTH_META_APP_SECRET": APP_SECRET,
            "TROTH_META_VERIFY_TOKEN": VERIFY_TOKEN,
        }
        self.local: Local = prepare(folder, port, given)
        self.services: Services = build(self.local.settings)
        self.simulator = f"http://127.0.0.1:{simulator_port}"
        command = [sys.executable, "-m", "worker", "simulator", "--port", str(simulator_port)]
        simulator = Program("simulator", command, self.local.environment, grace=2)
        effects = [sys.executable, "-m", "tests.faults.effect_worker"]
        workers = [Program(name, [*effects, name], self.local.environment, grace=5) for name in ("w1", "w2")]
        others = [program for program in self.local.programs() if not program.name.startswith("worker")]
        self.supervisor = Supervisor([simulator, *others, *workers], folder / "loss.log")
        self.tenants: list[str] = []
        self.put: list[str] = []
        self.leads: list[tuple[str, str]] = []
        self.killed = 0
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        self._as_owner(TABLE)
        if self.services.database.kind == "postgresql":
            self._as_owner(f"GRANT SELECT, INSERT ON effects TO {APP_ROLE}")
        self.supervisor.start()
        insist(lambda: httpx.get(f"{self.local.url}/readyz").status_code == 200)
        insist(lambda: httpx.get(f"{self.simulator}/_sim/calls").status_code == 200)
        for name, page, token in (("acme", ACME_PAGE, ACME_TOKEN), ("globex", GLOBEX_PAGE, GLOBEX_TOKEN)):
            self._connect(name, page, token)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.supervisor.stop()
        self.services.close()
        self._as_owner("DROP TABLE effects")  # other tests have the same database, and know no such table

    def _as_owner(self, statement: str) -> None:
        owner = Database(self.local.settings.database_url, owner=True)
        with owner.engine.begin() as connection:
            connection.execute(text(statement))
        owner.close()

    def _connect(self, name: str, page: str, token: str) -> None:
        now, vault = self.services.clock(), self.services.vault
        with system_session(self.services.database) as session:
            tenant = add_tenant(session, external_id=name, name=name, country="US", timezone="UTC", now=now).id
            vault.keyring(session, tenant, tenant, now)
            grant = NewGrant("facebook_leads", page, page, name, {"page_access_token": token})
            store_grant(session, vault, grant, tenant_id=tenant, now=now)
        self.tenants.append(tenant)
        wish = {"page": page, "count": self.plan.leads // 2}
        made = httpx.post(f"{self.simulator}/_sim/leads", json=wish, timeout=60).json()["ids"]
        self.leads += [(lead, page) for lead in made]

    def pour_jobs(self) -> None:
        """Put the jobs, a transaction each, a little faster than they are killed."""
        for number in range(self.plan.jobs):
            tenant = self.tenants[number % len(self.tenants)]
            job = NewJob(tenant, EFFECT, INTERACTIVE)
            with Work(self.services, tenant) as work:
                work.put(job)
            self.put.append(job.id)
            self._in_step(number, self.plan.jobs)

    def pour_deliveries(self) -> None:
        """Deliver every lead by a signed webhook, again and again until it is acknowledged, as Meta does."""
        with httpx.Client(timeout=5) as client:
            for number, (lead, page) in enumerate(self.leads):
                insist(partial(self._acknowledged, client, orjson.dumps(delivery_of(lead, page))))
                self._in_step(number, len(self.leads))

    def _in_step(self, number: int, of: int) -> None:
        """The stream lasts as long as the killing does: a share of it is poured when as large a share of kills is done."""
        while self.killed < self.plan.kills * number / of and not self._stop.wait(0.01):
            pass

    def _acknowledged(self, client: httpx.Client, raw: bytes) -> bool:
        answer = client.post(
            f"{self.local.url}/webhooks/meta", content=raw, headers={"X-Hub-Signature-256": sign(raw, APP_SECRET)}
        )
        return answer.status_code == 200

    def _is_up(self, name: str) -> bool:
        return any(process.name == name and process.pid for process in self.supervisor.processes())

    def kill(self) -> float:
        """The kills, in a fixed random order; the instant of the last one (monotonic)."""
        plan = self.plan
        targets = ["w1", "w2"] * (plan.worker_kills // 2) + ["redis"] * plan.redis_kills + ["web"] * plan.web_kills
        random.Random(plan.seed).shuffle(targets)
        for target in targets:
            self._stop.wait(plan.pause)
            insist(partial(self._is_up, target))
            self.supervisor.kill(target)
            self.killed += 1
        return time.monotonic()

    def count(self) -> tuple[dict[str, int], dict[str, int]]:
        """job -> effects, lead -> rows of history (each stored lead has exactly one)."""
        with system_session(self.services.database, reads_only=True) as session:
            jobs = session.execute(text("SELECT job_id, count(*) FROM effects GROUP BY job_id")).all()
            leads = session.execute(
                select(Lead.external_id, func.count())
                .join(LeadHistory, LeadHistory.lead_id == Lead.id)
                .group_by(Lead.external_id)
            ).all()
        return {job: number for job, number in jobs}, {lead: number for lead, number in leads}


def insist(attempt: Callable[[], object], seconds: float = 60) -> None:
    """Try until it is so; TimeoutError when it never is."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while True:
        try:
            if attempt():
                return
        except httpx.HTTPError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come true in time")
        pause.wait(0.05)


def delivery_of(lead: str, page: str) -> dict[str, object]:
    """One change, as Meta sends it."""
    value = {"leadgen_id": lead, "page_id": page, "form_id": "1", "created_time": 1_700_000_000}
    return {"object": "page", "entry": [{"id": page, "time": 1, "changes": [{"field": "leadgen", "value": value}]}]}


def play(folder: Path, database_url: str, plan: Plan) -> Outcome:
    """Pour and kill, then wait for everything to heal; never longer than a minute."""
    with Stream(folder, database_url, plan) as stream:
        pouring = [threading.Thread(target=pour) for pour in (stream.pour_jobs, stream.pour_deliveries)]
        for thread in pouring:
            thread.start()
        last_kill = stream.kill()
        for thread in pouring:
            thread.join(timeout=120)

        def healed() -> bool:
            jobs, leads = stream.count()
            return len(jobs) >= len(stream.put) and len(leads) >= len(stream.leads)

        try:
            insist(healed)
        except TimeoutError:
            pass  # the outcome says what is missing
        jobs, leads = stream.count()
        return Outcome(
            jobs=len(stream.put),
            kills=plan.kills,
            lost=len(set(stream.put) - set(jobs)),
            twice=sum(number > 1 for number in jobs.values()),
            leads=len(stream.leads),
            leads_lost=len({lead for lead, _ in stream.leads} - set(leads)),
            leads_twice=sum(number > 1 for number in leads.values()),
            healed_after=round(time.monotonic() - last_kill, 1),
        )


def main() -> None:
    """The full plan on PostgreSQL with its syncs on; prints the outcome as JSON, and ends with 1 when it is not good."""
    reader = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("jobs", 5_000),
        ("leads", 1_000),
        ("worker-kills", 40),
        ("redis-kills", 5),
        ("web-kills", 3),
    ):
        reader.add_argument(f"--{name}", type=int, default=default)
    configure(level=logging.ERROR)
    with databases.postgresql(durable=True) as url, databases.folder() as folder:
        outcome = play(folder, url("postgres"), Plan(**vars(reader.parse_args())))
        sys.stdout.write(orjson.dumps(asdict(outcome)).decode() + "\n")
        if not outcome.good:
            sys.stderr.write((folder / "loss.log").read_text()[-20_000:])
    sys.exit(0 if outcome.good else 1)


if __name__ == "__main__":
    main()
