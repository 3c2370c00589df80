"""The chapters: each does something that happens in real life, and says only what it has verified afterwards."""

from collections.abc import Callable
from typing import Any

import httpx
from sqlalchemy import func, select

from integrations.simulator.seed import SHARED_EMAIL
from models.connection import Connection, read_tokens
from models.job import QUEUED, RUNNING, Job
from models.lead import Lead, LeadHistory
from models.tenancy import system_session
from worker.demo.announcing import announce_to_all
from worker.demo.diaries import keep_a_calendar
from worker.demo.erasing import erase_and_prove
from worker.demo.grants import break_and_mend, connect_by_link, disconnect
from worker.demo.readings import find_what_was_lost
from worker.demo.stage import NotTrue, Stage, Tenant
from worker.jobs import LEADS_FETCH


def _check(holds: object, otherwise: str) -> None:
    if not holds:
        raise NotTrue(otherwise)


def connect(stage: Stage) -> list[str]:
    """Two tenants connect their Facebook pages"""
    for tenant in stage.tenants:
        wish = {
            "external_id": tenant.external_id,
            "name": tenant.name,
            "country": tenant.country,
            "timezone": tenant.timezone,
        }
        made = stage.api("POST", "/v1/tenants", stage.platform_key, json=wish)
        _check(made.status_code == 201, f"the tenant was not made: {made.text}")
        tenant.id = made.json()["id"]
        connected = _connect_page(stage, tenant, tenant.page_id)
        _check(connected.status_code == 201, f"the page was not connected: {connected.text}")
        tenant.connection_id = connected.json()["id"]
        key = stage.api("POST", "/v1/keys", stage.platform_key, tenant=tenant, json={"scopes": ["leads:read"]})
        tenant.key = key.json()["key"]
    stolen = _connect_page(stage, stage.globex, stage.acme.page_id)
    _check(stolen.status_code == 409, "a tenant could take over another tenant's page")
    return ["acme and globex each have a page, its token sealed in the vault", "a page cannot be taken over: 409"]


def deliver(stage: Stage) -> list[str]:
    """One signed delivery brings leads of both, an unknown page, and every change twice"""
    ids = [lead for tenant in stage.tenants for lead in _new_leads(stage, tenant, 12)]
    shape = {"duplicates": 1, "unknown_page": True, "shuffled": True, "ids": "mixed"}
    receipts = _announce(stage, ids, shape)
    _check(len(receipts) == 1 and receipts[0]["ok"], "the delivery was not acknowledged")
    forged = stage.http.post(
        f"{stage.local.url}/webhooks/meta", content=b"{}", headers={"X-Hub-Signature-256": "sha256=00"}
    )
    _check(forged.status_code == 401, "a forged delivery was not refused")
    waited = _arrive(stage)
    return [
        f"one body, {receipts[0]['changes']} changes, answered 200; a forged one 401",
        f"24 leads arrived within {waited:.1f} s: each once, with Meta's own content, in its own tenant and in no other",
    ]


def kill_a_worker(stage: Stage) -> list[str]:
    """A worker is killed while it is fetching"""
    with stage.slow_meta(5):
        ids = [lead for tenant in stage.tenants for lead in _new_leads(stage, tenant, 5)]
        before = stage.meta("GET", "calls")
        _announce(stage, ids, {})
        stage.wait("a fetch to be under way", lambda: stage.meta("GET", "calls") != before or _jobs(stage, RUNNING))
        stage.wait("a fetch to be under way", lambda: _jobs(stage, RUNNING))
        victim = stage.pid("worker-interactive")
        stage.supervisor.kill("worker-interactive")
    stage.wait("the worker to be started again", lambda: stage.pid("worker-interactive") not in (None, victim))
    waited = _arrive(stage)
    return [
        f"worker {victim} got SIGKILL in the middle of a Graph call, with its leases in hand",
        f"its leases ran out, another run took the jobs: all leads there, none twice, {waited:.1f} s later",
    ]


def flush_redis(stage: Stage) -> list[str]:
    """Redis loses everything while jobs are waiting in it"""
    victim = stage.pid("worker-interactive")
    stage.supervisor.kill("worker-interactive")
    ids = [lead for tenant in stage.tenants for lead in _new_leads(stage, tenant, 7)]
    _announce(stage, ids, {})
    stage.wait("jobs to wait in Redis", lambda: _jobs(stage, QUEUED))
    waiting = stage.services.redis.dbsize()
    stage.services.redis.flushall()
    stage.wait("the worker to be started again", lambda: stage.pid("worker-interactive") not in (None, victim))
    waited = _arrive(stage)
    return [
        f"FLUSHALL removed {waiting} keys, the waiting messages among them",
        f"the reconciler published the jobs again from their rows: all leads there {waited:.1f} s later",
    ]


def nothing_leaks(stage: Stage) -> list[str]:
    """No person is to be found outside the sealed columns"""
    people = [lead["contact"]["email"] for tenant in stage.tenants for lead in stage.leads(tenant).values()]
    needles = [word.encode() for word in (*people, SHARED_EMAIL, *_tokens(stage)) if word]
    folder = stage.local.folder
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    found = sorted(
        {path.name for path in files for text in [path.read_bytes()] if any(needle in text for needle in needles)}
    )
    _check(needles and not found, f"personal data or a token stands in {', '.join(found)}")
    return [
        f"{len(needles)} addresses and tokens looked for in {len(files)} files (database, Redis, logs): none is there"
    ]


def _tokens(stage: Stage) -> list[str]:
    """Every token there is, and the first ones, which are no longer there."""
    found = [tenant.page_token for tenant in stage.tenants]
    with system_session(stage.services.database, reads_only=True) as session:
        for row in session.scalars(select(Connection)):
            found += read_tokens(session, stage.services.vault, row).values()
    return found


CHAPTERS: tuple[Callable[[Stage], list[str]], ...] = (
    connect, deliver, kill_a_worker, flush_redis, find_what_was_lost, connect_by_link, break_and_mend,
    keep_a_calendar, announce_to_all, disconnect, nothing_leaks, erase_and_prove,
)  # fmt: skip


def _connect_page(stage: Stage, tenant: Tenant, page_id: str) -> httpx.Response:
    grant = {
        "integration": "facebook_leads",
        "account": {"external_id": page_id, "name": tenant.name},
        "tokens": {"page_access_token": tenant.page_token},
    }
    return stage.api("POST", "/v1/connections", stage.platform_key, tenant=tenant, json=grant)


def _new_leads(stage: Stage, tenant: Tenant, number: int) -> list[str]:
    ids: list[str] = stage.meta("POST", "leads", json={"page": tenant.page_id, "count": number, "odd": True})["ids"]
    return ids


def _announce(stage: Stage, ids: list[str], shape: dict[str, Any]) -> list[dict[str, Any]]:
    wish = {"leads": ids, "shape": shape, "callback_url": f"{stage.local.url}/webhooks/meta"}
    receipts: list[dict[str, Any]] = stage.meta("POST", "deliver", json=wish)
    _check(all(receipt["ok"] for receipt in receipts), "a delivery was not acknowledged")
    return receipts


def _jobs(stage: Stage, state: str) -> int:
    with system_session(stage.services.database, reads_only=True) as session:
        return session.scalar(select(func.count()).where(Job.kind == LEADS_FETCH, Job.state == state)) or 0


def _arrive(stage: Stage) -> float:
    """Wait until every lead Meta holds is here, then compare: content by content, tenant by tenant, row by row."""
    truths = {tenant.external_id: _truth(stage, tenant) for tenant in stage.tenants}

    def all_here() -> bool:
        return all(len(stage.leads(tenant)) >= len(truths[tenant.external_id]) for tenant in stage.tenants)

    try:
        waited = stage.wait("all leads", all_here)
    except TimeoutError:
        raise NotTrue("not every lead arrived") from None
    for tenant in stage.tenants:
        leads, truth = stage.leads(tenant), truths[tenant.external_id]
        _check(set(leads) == set(truth), f"{tenant.external_id} does not have exactly Meta's leads")
        for external_id, lead in leads.items():
            wrong = [name for name, value in truth[external_id].items() if lead[name] != value]
            _check(not wrong, f"lead {external_id} differs from Meta's in {', '.join(wrong)}")
    with system_session(stage.services.database, reads_only=True) as session:
        rows = session.scalar(select(func.count()).select_from(Lead))
        lines = session.scalar(select(func.count()).select_from(LeadHistory).where(LeadHistory.kind == "received"))
    expected = sum(len(truth) for truth in truths.values())
    _check(rows == lines == expected, f"the database holds {rows} leads and {lines} receptions instead of {expected}")
    return waited


_COMPARED = ("page_id", "form_id", "platform", "is_organic", "is_test", "contact", "consents", "ad")


def _truth(stage: Stage, tenant: Tenant) -> dict[str, dict[str, Any]]:
    truths = stage.meta("GET", "leads", params={"page": tenant.page_id})
    return {truth["external_id"]: {name: truth[name] for name in _COMPARED} for truth in truths}
