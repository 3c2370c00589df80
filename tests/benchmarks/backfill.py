"""`backfill`: 50,000 leads of one form from a provider that takes 50 ms a call, beside the SDK's cursor and a commit a lead."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import make_url, select

from integrations.simulator.seed import DEFAULT
from models.connection import Connection
from models.form import BACKFILL_DONE, Form, begin_backfill
from models.job import DONE, Job
from models.tenancy import tenant_session
from tests.benchmarks.dialogue import Dialogue
from tests.benchmarks.figures import Figure, at_least, at_most, progress, told, within
from tests.benchmarks.ours import Ours
from tests.benchmarks.processes import Meter, Started, python
from tests.benchmarks.sending import APP_SECRET
from tests.benchmarks.servers import free_port, listens, wait_until
from tests.benchmarks.stage import APP_ID, PAGES, VERIFY_TOKEN, Stage, stage
from worker import jobs
from worker.services import Services, build
from worker.settings import read_settings
from worker.work import Work

LEADS, PEER_LEADS = 50_000, 3_000
"""The peer's rate is the same all along, and 50,000 would take it minutes."""
LATENCY_MS = 50
TOLD_LIMIT = 250
WANTED, MOST_MIB = 10, 200
PATIENCE = 300
PAGE = PAGES[0]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a backfill came to: its seconds, and CPU of who reads and of the servers."""

    leads: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Leads per second."""
        return self.leads / self.seconds

    @property
    def cpu_per_lead(self) -> float:
        """Milliseconds."""
        return 1000 * self.cpu / self.leads


def run() -> Iterator[Figure]:
    """Ours against the peer with Graph's own page size; told beside it, the peer that asks for 250 at once."""
    with stage() as here:
        url = _provider(here)
        plain, told_limit = _peer(here, url, None), _peer(here, url, TOLD_LIMIT)
        ours, mib = _ours(here, url)
    yield at_least("backfill", "leads_per_second", ours.rate, plain.rate, WANTED)
    yield told("backfill", f"leads_per_second_peer_asks_for_{TOLD_LIMIT}", ours.rate, told_limit.rate)
    yield within("backfill", "worker_peak_mib", mib, MOST_MIB)
    yield at_most("backfill", "cpu_ms_per_lead", ours.cpu_per_lead, plain.cpu_per_lead, 1)


def _provider(here: Stage) -> str:
    """The simulator as a process, with all leads in one form."""
    form = {**DEFAULT["pages"][0]["forms"][0], "id": PAGE.form_id, "leads": LEADS}
    seed = {
        "seed": 1,
        "latency_ms": LATENCY_MS,
        "apps": [{"id": APP_ID, "secret": APP_SECRET, "verify_token": VERIFY_TOKEN}],
        "users": [{"id": "410000000000001", "name": "Ada"}],
        "pages": [{"id": PAGE.id, "tenant": PAGE.tenant, "users": ["410000000000001"], "access_token": PAGE.token,
                   "subscribed": True, "forms": [form]}],
    }  # fmt: skip
    path = here.folder / "backfill.json"
    path.write_text(json.dumps(seed))
    port = free_port()
    started = here.processes.start("simulator", python("tests.benchmarks.provider", str(port), str(path)))
    wait_until(lambda: listens(port), 60, started)
    return f"http://127.0.0.1:{port}"


def _peer(here: Stage, url: str, limit: int | None) -> Outcome:
    database = make_url(here.database_url("postgresql", "peer")).database or ""
    orders = {"dsn": here.postgres.dsn(database), "form": PAGE.form_id, "token": PAGE.token, "limit": limit,
              "most": PEER_LEADS}  # fmt: skip
    env = {"PEER_GRAPH_URL": url, "PEER_APP_SECRET": APP_SECRET}
    peer = Dialogue(here.processes, "peer", "tests.benchmarks.peer.backfill", orders, env)
    meter = Meter([here.postgres.started])
    peer.go()
    result: dict[str, Any] = peer.result()
    outcome = Outcome(result["leads"], result["seconds"], result["cpu"] + sum(meter.read().values()))
    progress(f"peer, limit {limit}: {outcome.rate:.0f} leads/s, {outcome.cpu_per_lead:.2f} ms CPU per lead")
    return outcome


def _ours(here: Stage, url: str) -> tuple[Outcome, float]:
    """What it came to, and the MiB of the worker at its peak."""
    ours = Ours(here, "postgresql", url, names=[PAGE.tenant])
    services = build(read_settings(ours.env))
    tenant = ours.tenants[PAGE.tenant]
    ours.start_worker("worker", "worker", "--lane", jobs.BULK)
    form = _listed(services, tenant)
    here.settle(*ours.processes)
    meter = Meter([*ours.processes, *here.servers("postgresql")])
    began = time.monotonic()
    with Work(services, tenant) as work:
        row = work.session.get_one(Form, form)
        begin_backfill(work.session, row, services.clock() - timedelta(days=89), services.clock())
        work.put(jobs.leads_backfill(tenant, row.connection_id, form))
    wait_until(lambda: _form(services, tenant).backfill_state == BACKFILL_DONE, PATIENCE, ours.processes[0])
    seconds, cpu = time.monotonic() - began, meter.read()
    outcome = Outcome(ours.stored(), seconds, sum(cpu.values()))
    if outcome.leads != LEADS or _form(services, tenant).backfill_read != LEADS:
        raise RuntimeError(f"{outcome.leads} of {LEADS} leads are there")
    parts = ", ".join(f"{name} {1000 * spent / LEADS:.2f}" for name, spent in cpu.items())
    progress(f"ours: {outcome.rate:.0f} leads/s, {outcome.cpu_per_lead:.2f} ms CPU per lead ({parts})")
    peak = _peak(ours.processes[0])
    services.close()
    ours.stop()
    return outcome, peak


def _listed(services: Services, tenant: str) -> str:
    """The form's id, after the worker has listed it and done all that follows."""
    with tenant_session(services.database, tenant, reads_only=True) as session:
        page = session.scalars(select(Connection.id).where(Connection.external_id == PAGE.id)).one()
    with Work(services, tenant) as work:
        work.put(jobs.forms_discover(tenant, page))
    wait_until(lambda: _states(services, tenant) == {DONE}, 60)
    return _form(services, tenant).id


def _states(services: Services, tenant: str) -> set[str]:
    with tenant_session(services.database, tenant, reads_only=True) as session:
        return set(session.scalars(select(Job.state)))


def _form(services: Services, tenant: str) -> Form:
    with tenant_session(services.database, tenant, reads_only=True) as session:
        return session.scalars(select(Form)).one()


def _peak(worker: Started) -> float:
    """MiB, of the heaviest process of the worker."""
    return max(peak for _, peak in worker.memory())
