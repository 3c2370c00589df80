"""What the machines that watch the process are told, in good and in bad times."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from models import bulletin as bulletins
from models.bulletin import Audience, Content, NewBulletin
from models.database import Database
from models.inbox import Notice, take_in
from models.job import put
from models.refusal import refuse
from models.run import claim, finish
from models.tenancy import SYSTEM, system_session, tenant_session
from tests.receipts import a_deletion
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import PLATFORM_KEY, run
from worker import jobs
from worker.services import Services, connect_redis

KEY = {"authorization": f"Bearer {PLATFORM_KEY}", "troth-tenant": "acme"}


@pytest.fixture
def without_database(services: Services) -> Iterator[httpx.Client]:
    """A process whose database does not answer."""
    away = Database("postgresql://troth@127.0.0.1:1/troth")
    for url in run(replace(services, database=away)):
        with httpx.Client(base_url=url, trust_env=False) as client:
            yield client
    away.close()


@pytest.fixture
def without_redis(services: Services, tmp_path: Any) -> Iterator[httpx.Client]:
    """A process whose Redis does not answer."""
    away = connect_redis(f"unix://{tmp_path}/nobody.sock")
    gates = {lane: type(gate)(away, lane) for lane, gate in services.gates.items()}
    for url in run(replace(services, redis=away, gates=gates)):
        with httpx.Client(base_url=url, trust_env=False) as client:
            yield client


def test_without_a_database_everything_says_so_and_when_to_come_back(without_database: httpx.Client) -> None:
    for answer in (
        without_database.get("/v1/leads", headers={"authorization": "Bearer troth_x"}),
        without_database.get("/v1/leads", headers=KEY),
        without_database.post("/v1/tenants", headers=KEY, json={
            "external_id": "x", "name": "X", "country": "IE", "timezone": "UTC"}),
    ):  # fmt: skip
        problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "5"
    page = without_database.post("/admin/sign-in", data={"key": "troth_x"})
    assert (page.status_code, page.headers["retry-after"]) == (503, "5")
    assert "The database cannot be reached" in page.text

    assert without_database.get("/healthz").text == "ok"
    ready = without_database.get("/readyz")
    assert (ready.status_code, ready.json()["database"]) == (503, "away")
    assert "troth_database_up 0.0" in without_database.get("/metrics").text


def test_a_schema_that_is_not_ours_is_not_ready(http: httpx.Client, database: Database) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")

    ready = http.get("/readyz")

    assert ready.status_code == 503
    assert "troth migrate" in ready.json()["database"]


def test_without_redis_webhooks_are_still_safe_and_the_process_is_ready(without_redis: httpx.Client, acme: Any) -> None:
    ready = without_redis.get("/readyz")
    assert (ready.status_code, ready.json()["redis"], ready.json()["database"]) == (200, "away", "ok")

    body = {"integration": "facebook_leads", "account": {"external_id": acme.page_id, "name": "P"},
            "tokens": {"page_access_token": "t"}}  # fmt: skip
    good(without_redis.post("/v1/connections", json=body, headers=KEY), 201)

    metrics = without_redis.get("/metrics").text
    assert "troth_redis_up 0.0" in metrics
    assert 'troth_jobs{lane="interactive",state="queued"} 1.0' in metrics


def test_ready_tells_how_old_the_last_tick_and_the_last_canary_are(
    http: httpx.Client, services: Services, clock: Any
) -> None:
    ready = good(http.get("/readyz"))
    assert (ready["beat_age_seconds"], ready["canary_age_seconds"]) == (None, None)

    lease: Any = {"kind": jobs.CANARY, "lease": jobs.LEASE, "worker": "w"}
    with system_session(services.database) as session:
        first = jobs.tick(jobs.CANARY, jobs.INTERACTIVE, clock())
        put(session, [first], clock())
        sung = claim(session, first.id, SYSTEM, now=clock(), **lease)
        assert sung is not None
        finish(session, sung, clock())
    clock.tick(30)
    with system_session(services.database) as session:
        put(session, [jobs.tick(jobs.CANARY, jobs.INTERACTIVE, clock())], clock())
    clock.tick(5)

    ready = good(http.get("/readyz"))
    assert (ready["status"], ready["redis"], ready["database"]) == ("ready", "ok", "ok")
    assert (ready["beat_age_seconds"], ready["canary_age_seconds"]) == (5.0, 35.0)


def test_metrics_count_what_waits_and_name_no_tenant(
    http: httpx.Client, services: Services, acme: Any, clock: Any, key_of: Callable[..., str]
) -> None:
    with tenant_session(services.database, acme.id) as session:
        take_in(session, [Notice(acme.id, acme.connection_id, "lead", "5001", "webhook")], clock())
        messages = put(session, [jobs.leads_fetch(acme.id, acme.connection_id)], clock())
    with system_session(services.database) as session:
        refuse(session, reason="unknown_tenant", now=clock(), tenant="acme")
    services.gates[jobs.INTERACTIVE].publish(messages)
    clock.tick(timedelta(minutes=1).total_seconds())
    http.get("/v1/leads", headers={"authorization": f"Bearer {key_of(acme)}"})

    text = http.get("/metrics").text

    for line in (
        "troth_database_up 1.0", "troth_redis_up 1.0", 'troth_jobs{lane="interactive",state="queued"} 1.0',
        'troth_jobs_oldest_due_seconds{lane="interactive"} 60.0', "troth_inbox_pending 1.0",
        'troth_refusals{reason="unknown_tenant"} 1.0', 'troth_gate_jobs{lane="interactive",place="queued"} 1.0',
        'troth_web_requests_total{method="GET",route="/v1/leads",status="200"} 1.0',
    ):  # fmt: skip
        assert line in text.splitlines()
    assert "acme" not in text
    assert acme.id not in text
    assert "troth_webhook_deliveries" in text


def test_late_deletions_are_shown_whoever_is_dead_and_leave_the_process_ready(
    http: httpx.Client, services: Services, acme: Any, clock: Any
) -> None:
    asked = a_deletion(services.database, acme, clock)
    ready = good(http.get("/readyz"))
    assert (ready["deletions_overdue"], ready["deletions_stalled"]) == (0, 0)
    first = 'troth_promises{promise="facebook-erased-in-seven-working-days",state='
    before = http.get("/metrics").text.splitlines()
    assert {'troth_deletions{status="scheduled"} 1.0', "troth_deletions_overdue 0.0", f'{first}"due"}} 1.0',
            f'{first}"broken"}} 0.0'} <= {*before}  # fmt: skip

    clock.now = asked.promise_due_at  # neither beat nor worker has lived in this test
    ready = good(http.get("/readyz"))
    assert (ready["status"], ready["deletions_overdue"], ready["deletions_stalled"]) == ("ready", 1, 1)
    after = http.get("/metrics").text.splitlines()
    assert {"troth_deletions_overdue 1.0", f'{first}"due"}} 0.0', f'{first}"broken"}} 1.0'} <= {*after}


def test_bulletins_that_nobody_looks_after_are_counted(
    http: httpx.Client, services: Services, acme: Any, clock: Any
) -> None:
    new = NewBulletin(Content("t", "b"), Audience("all"), clock(), clock() + timedelta(days=1))
    with tenant_session(services.database, acme.id) as session:
        keyring = services.vault.keyring(session, acme.id, acme.id, clock())
        _, over = (bulletins.add(session, keyring, new, tenant_id=acme.id, now=clock()) for _ in range(2))
        over.wake_at, over.prune_at = None, clock()

    def shown() -> list[str]:
        return sorted(line for line in http.get("/metrics").text.splitlines() if line.startswith("troth_bulletins_"))

    clock.tick(timedelta(hours=1).total_seconds())
    assert shown() == ["troth_bulletins_kept 0.0", "troth_bulletins_late 0.0"]
    clock.tick(1)
    assert shown() == ["troth_bulletins_kept 0.0", "troth_bulletins_late 1.0"]
    clock.tick(timedelta(days=1).total_seconds())
    assert shown() == ["troth_bulletins_kept 1.0", "troth_bulletins_late 1.0"]
