"""A stream of jobs while workers, Redis and the web process are killed: what was lost, what was done twice, how soon it healed.

`python -m tests.faults.loss` plays it in full (40, 5 and 3 kills under 5,000 jobs); the test plays a shorter one.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from sqlalchemy import text

from models.job import NewJob
from models.tenancy import system_session
from models.tenant import add_tenant
from tests.faults.effect_worker import EFFECT, TABLE
from worker.jobs import INTERACTIVE
from worker.local import Local, prepare
from worker.services import Services, build
from worker.supervise import Program, Supervisor
from worker.work import Work

GRACE = 30.0
"""Seconds in which everything must have healed after the last kill, without a person."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to break. `seed` fixes the order of the kills."""

    jobs: int = 5_000
    worker_kills: int = 40
    redis_kills: int = 5
    web_kills: int = 3
    seed: int = 7
    pause: float = 1.2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the stream. `healed_after` is seconds from the last kill to the last effect."""

    jobs: int
    kills: int
    lost: int
    twice: int
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
        self.leads: list[str] = []
        self._stop = threading.Event()

    def pour_jobs(self) -> None:
        """Put the jobs, a transaction each, a little faster than they are killed."""
        for number in range(self.plan.jobs):
            tenant = self.tenants[number % len(self.tenants)]
            job = NewJob(tenant, EFFECT, INTERACTIVE)
            with Work(self.services, tenant) as work:
                work.put(job)
            self.put.append(job.id)
            self._stop.wait(self.plan.spread / self.plan.jobs)

    def pour_deliveries(self) -> None:
        """Deliver every lead by a signed webhook, again and again until it is acknowledged, as Meta does."""
        with httpx.Client(timeout=5) as client:
            for lead in self.leads:
                raw = orjson.dumps(delivery_of(lead))
                headers = {"X-Hub-Signature-256": "sha256=" + hmac.new(APP_SECRET.encode(), raw, "sha256").hexdigest()}
                insist(lambda: client.post(f"{self.local.url}/webhooks/meta", content=raw, headers=headers).status_code == 200)
                self._stop.wait(self.plan.spread / len(self.leads))

    def kill(self) -> float:
        """The kills, in a fixed random order; the instant of the last one (monotonic)."""
        plan = self.plan
        targets = ["w1", "w2"] * (plan.worker_kills // 2) + ["redis"] * plan.redis_kills + ["web"] * plan.web_kills
        random.Random(plan.seed).shuffle(targets)
        for target in targets:
            self._stop.wait(plan.pause)
            insist(lambda: any(p.name == target and p.pid for p in self.supervisor.processes()))
            self.supervisor.kill(target)
        return time.monotonic()

    def count(self) -> tuple[dict[str, int], dict[str, int]]:
        """job -> effects, lead -> rows of history (each stored lead has exactly one)."""
        with system_session(self.services.database, reads_only=True) as session:
            jobs = session.execute(text("SELECT job_id, count(*) FROM effects GROUP BY job_id")).all()
            leads = session.execute(
                select(Lead.external_id, func.count()).join(LeadHistory, LeadHistory.lead_id == Lead.id).group_by(Lead.external_id)
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


def delivery_of(lead: dict[str, str]) -> dict[str, object]:
    """One change, as Meta sends it."""
    value = {"leadgen_id": lead["id"], "page_id": lead["page_id"], "form_id": lead["form_id"], "created_time": 1_700_000_000}
    change = {"field": "leadgen", "value": value}
    return {"object": "page", "entry": [{"id": lead["page_id"], "time": 1_700_000_001, "changes": [change]}]}
