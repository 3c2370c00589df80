"""`leads.fetch` from a signed delivery to sealed rows, against a Meta that misbehaves."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import httpx
import orjson
import pytest
from sqlalchemy import func, select, text

from integrations.facebook_leads.graph import Graph
from integrations.simulator.deliver import sign
from integrations.simulator.records import Lead as MetaLead
from integrations.simulator.server import SimulatorServer
from models.connection import ACTIVE, NEEDS_RECONNECT, Connection
from models.inbox import FAILED, HANDLED, PENDING, InboxEvent
from models.job import DONE, WAITING, Job, hurry
from models.lead import PERSONAL, Lead, LeadHistory, read
from models.schema import metadata
from models.tenancy import system_session, tenant_session
from tests.conftest import Company, FrozenClock
from tests.worker.meta import Meta, world_of
from tests.worker.outside import APP_SECRET
from tests.worker.runner import Runner
from tests.worker.web.conftest import run
from worker import jobs
from worker.reconcile import reconcile
from worker.services import Services
from worker.tasks import HANDLERS
from worker.tasks.leads import LOOK_AGAIN

Make = Callable[..., Runner]


@pytest.fixture
def meta(clock: FrozenClock, acme: Company, globex: Company) -> Iterator[Meta]:
    with SimulatorServer(world_of(clock, acme, globex)) as server:
        yield Meta(server, clock)


@pytest.fixture
def troth(services: Services, meta: Meta) -> Services:
    """The services, with their Graph client talking to the simulated Meta."""
    graph = Graph(services.http, base_url=meta.server.url, version="v26.0", app_id="1", app_secret=APP_SECRET)
    return replace(services, graph=graph)


@pytest.fixture
def client(troth: Services) -> Iterator[httpx.Client]:
    for url in run(troth):
        with httpx.Client(base_url=url, trust_env=False) as opened:
            yield opened


def deliver(client: httpx.Client, bodies: list[bytes]) -> None:
    """Acknowledged means stored; the message follows, so that whoever runs it has to be a little patient."""
    for raw in bodies:
        answer = client.post("/webhooks/meta", content=raw, headers={"X-Hub-Signature-256": sign(raw, APP_SECRET)})
        assert answer.status_code == 200, answer.text


def ids(leads: list[MetaLead]) -> set[str]:
    return {lead.id for lead in leads}


def stored(services: Services, company: Company) -> set[str]:
    with tenant_session(services.database, company.id, reads_only=True) as session:
        rows = list(session.scalars(select(Lead.external_id)))
        assert len(rows) == session.scalar(select(func.count()).select_from(LeadHistory))
    return set(rows)


def events(services: Services) -> dict[str, int]:
    with system_session(services.database, reads_only=True) as session:
        query = select(InboxEvent.state, func.count()).group_by(InboxEvent.state)
        return {state: number for state, number in session.execute(query)}


@pytest.mark.every_database
def test_a_delivery_for_two_tenants_brings_each_its_own_leads_and_nothing_else(
    troth: Services, meta: Meta, client: httpx.Client, worker: Runner, acme: Company, globex: Company
) -> None:
    ours, theirs = meta.make(acme, 60), meta.make(globex, 3)
    deliver(client, meta.bodies(ours + theirs, duplicates=1, unknown_page=True, shuffled=True, ids="mixed"))
    assert worker.run_all(patience=3) == 2
    assert (stored(troth, acme), stored(troth, globex)) == (ids(ours), ids(theirs))
    assert meta.batches() == 3
    assert meta.lead_reads() == 63


def test_a_stored_lead_says_what_meta_says(
    troth: Services, meta: Meta, client: httpx.Client, worker: Runner, acme: Company, clock: FrozenClock
) -> None:
    deliver(client, meta.bodies(meta.make(acme, 20)))
    worker.run_all(patience=3)
    truths = {truth["external_id"]: truth for truth in meta.server.world.leads_of(acme.page_id)}
    with tenant_session(troth.database, acme.id) as session:
        keyring = troth.vault.keyring(session, acme.id, acme.connection_id, clock.now)
        for lead in session.scalars(select(Lead)):
            truth = truths[lead.external_id]
            assert read(keyring, lead, "contact") == truth["contact"]
            assert read(keyring, lead, "consents") == truth["consents"]
            answers = [(answer["key"], answer["values"]) for answer in read(keyring, lead, "answers")]
            assert answers == [(answer["key"], answer["values"]) for answer in truth["answers"]]
            assert (lead.created_at, lead.platform, lead.is_organic, lead.ad) == (
                truth["created_at"], truth["platform"], truth["is_organic"], truth["ad"])  # fmt: skip


def test_a_repeated_webhook_changes_nothing(
    troth: Services, meta: Meta, client: httpx.Client, worker: Runner, acme: Company
) -> None:
    made = meta.make(acme, 5)
    deliver(client, meta.bodies(made) * 3)
    worker.run_all(patience=3)
    deliver(client, meta.bodies(made))
    worker.run_all(patience=3)
    assert stored(troth, acme) == ids(made)
    assert meta.lead_reads() == 5


def test_items_that_meta_left_unanswered_are_asked_for_again_alone(
    troth: Services, meta: Meta, client: httpx.Client, worker: Runner, acme: Company, clock: FrozenClock
) -> None:
    made = meta.make(acme, 10)
    meta.server.panel.press("null_item", leads=[lead.id for lead in made[:3]], each=1)
    deliver(client, meta.bodies(made))
    worker.run_all(patience=3)
    assert len(stored(troth, acme)) == 7
    clock.tick(5)
    reconcile(troth)
    worker.run_all()
    assert stored(troth, acme) == ids(made)
    assert (meta.batches(), meta.lead_reads()) == (2, 10)


@pytest.mark.every_database
def test_a_dead_token_parks_what_comes_and_a_new_one_brings_it(
    troth: Services,
    meta: Meta,
    client: httpx.Client,
    worker: Runner,
    acme: Company,
    globex: Company,
    clock: FrozenClock,
) -> None:
    meta.server.world.kill(acme.token)
    made, theirs = meta.make(acme, 4), meta.make(globex, 2)
    deliver(client, meta.bodies(made + theirs))
    worker.run_all(patience=3)
    assert stored(troth, globex) == ids(theirs)
    late = meta.make(acme, 2)
    deliver(client, meta.bodies(late))  # webhooks keep coming after a token has died
    worker.run_all(patience=0.3)
    with tenant_session(troth.database, acme.id) as session:
        connection = session.get_one(Connection, acme.connection_id)
        assert connection.status == NEEDS_RECONNECT
        assert connection.health_sentence and connection.health_fix
        connection.status = ACTIVE
        meta.server.world.revive(acme.token)
        fetch = jobs.leads_fetch(acme.id, acme.connection_id)
        hurry(session, acme.id, fetch.key, clock.now)
    reconcile(troth)
    worker.run_all()
    assert stored(troth, acme) == ids(made + late)


def test_a_throttle_is_waited_out_for_as_many_minutes_as_meta_says(
    troth: Services, meta: Meta, client: httpx.Client, worker: Runner, acme: Company, clock: FrozenClock
) -> None:
    meta.server.panel.press("throttle", kind="batch", page=acme.page_id, code=80005, minutes=7, times=1)
    made = meta.make(acme, 2)
    deliver(client, meta.bodies(made))
    worker.run_all(patience=3)
    with system_session(troth.database, reads_only=True) as session:
        job = session.scalars(select(Job).where(Job.state == WAITING)).one()
        assert (job.error_kind, job.due_at) == ("throttled", clock.now + timedelta(minutes=7))
    clock.tick(7 * 60)
    reconcile(troth)
    worker.run_all()
    assert stored(troth, acme) == ids(made)


@pytest.mark.parametrize("does", ["html_502", "cut"])
def test_meta_out_of_order_costs_time_and_nothing_else(
    troth: Services, meta: Meta, client: httpx.Client, worker: Runner, acme: Company, clock: FrozenClock, does: str
) -> None:
    meta.server.panel.press(does, kind="batch", times=3)  # type: ignore[arg-type]
    made = meta.make(acme, 3)
    deliver(client, meta.bodies(made))
    for _ in range(4):
        worker.run_all(patience=3)
        clock.tick(60)
        reconcile(troth)
    assert stored(troth, acme) == ids(made)


@pytest.mark.every_database
def test_a_lead_that_is_not_there_is_looked_for_again_then_kept_with_its_reason(
    troth: Services, meta: Meta, client: httpx.Client, worker: Runner, acme: Company, clock: FrozenClock
) -> None:
    made = meta.make(acme, 3)
    meta.server.panel.press("missing", leads=[made[1].id])
    deliver(client, meta.bodies(made))
    worker.run_all(patience=3)
    assert stored(troth, acme) == ids(made) - {made[1].id}
    for wait in LOOK_AGAIN:
        assert events(troth)[PENDING] == 1
        clock.tick(wait.total_seconds())
        reconcile(troth)
        worker.run_all()
    assert events(troth) == {HANDLED: 2, FAILED: 1}
    with system_session(troth.database, reads_only=True) as session:
        event = session.scalars(select(InboxEvent).where(InboxEvent.state == FAILED)).one()
        assert (event.external_id, event.error_kind) == (made[1].id, "missing")
        assert event.error_sentence
        assert session.scalars(select(Job.state).where(Job.kind == jobs.LEADS_FETCH)).all() == [DONE]


@pytest.mark.every_database
def test_a_connection_that_is_revoked_during_a_fetch_gets_nothing_written(
    troth: Services, meta: Meta, client: httpx.Client, worker: Runner, acme: Company
) -> None:
    deliver(client, meta.bodies(meta.make(acme, 2)))
    fetch_leads = troth.graph.fetch_leads if troth.graph else None
    assert fetch_leads

    class RevokesMeanwhile:
        def fetch_leads(self, token: str, lead_ids: list[str]) -> object:
            with tenant_session(troth.database, acme.id) as session:
                session.get_one(Connection, acme.connection_id).status = "revoking"
            return fetch_leads(token, lead_ids)

    Runner(replace(troth, graph=RevokesMeanwhile()), HANDLERS).run_all(patience=3)  # type: ignore[arg-type]
    assert stored(troth, acme) == set()


@pytest.mark.every_database
def test_a_thousand_changes_with_a_bad_one_bring_the_other_999(
    troth: Services, meta: Meta, client: httpx.Client, worker: Runner, acme: Company, globex: Company
) -> None:
    ours, theirs = meta.make(acme, 500), meta.make(globex, 500)
    body = orjson.loads(meta.bodies(ours + theirs)[0])
    body["entry"][0]["changes"][7]["value"]["leadgen_id"] = {"not": "an id"}
    deliver(client, [orjson.dumps(body)])
    ran = worker.run_all(patience=3)
    while ran:
        reconcile(troth)
        ran = worker.run_all()
    assert stored(troth, acme) == ids(ours) - {ours[7].id}
    assert stored(troth, globex) == ids(theirs)


@pytest.mark.every_database
def test_a_person_is_found_nowhere_but_in_the_sealed_columns(
    troth: Services, meta: Meta, client: httpx.Client, worker: Runner, acme: Company, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    made = meta.make(acme, 1)[0]
    for field in made.field_data:
        if field["name"] in {"full_name", "email", "city"}:
            field["values"] = [f"canary.{field['name']}@example.com"]
    deliver(client, meta.bodies([made]))
    meta.server.panel.press("html_502", kind="batch", times=1)
    worker.run_all(patience=3)
    for key in troth.redis.keys("*"):
        assert b"canary" not in (troth.redis.dump(key) or b"")
    with system_session(troth.database, reads_only=True) as session:
        for table in metadata.sorted_tables:
            for row in session.execute(text(f"SELECT * FROM {table.name}")):
                plain = [value for value in row if not isinstance(value, bytes | memoryview)]
                assert "canary" not in repr(plain), table.name
                assert all(b"canary" not in bytes(value) for value in row if isinstance(value, bytes | memoryview))
    assert set(PERSONAL) == {"contact", "answers", "consents"}
    out = capfd.readouterr()
    assert "canary.email" not in out.out + out.err + caplog.text


def test_a_lead_that_waits_for_a_later_look_does_not_hold_up_new_ones(
    troth: Services, meta: Meta, client: httpx.Client, worker: Runner, acme: Company, clock: FrozenClock
) -> None:
    missing = meta.make(acme, 1)
    meta.server.panel.press("missing", leads=[missing[0].id])
    deliver(client, meta.bodies(missing))
    worker.run_all(patience=3)
    new = meta.make(acme, 2)
    deliver(client, meta.bodies(new))
    reconcile(troth)
    worker.run_all(patience=3)
    assert stored(troth, acme) == ids(new)


@pytest.mark.every_database
def test_a_reconnect_during_a_run_with_the_old_token_is_not_undone_by_it(
    troth: Services, meta: Meta, client: httpx.Client, acme: Company, clock: FrozenClock
) -> None:
    made = meta.make(acme, 1)
    deliver(client, meta.bodies(made))
    graph = troth.graph
    assert graph

    class ReconnectedMeanwhile:
        def fetch_leads(self, token: str, lead_ids: list[str]) -> object:
            clock.tick(1)
            with tenant_session(troth.database, acme.id) as session:
                session.get_one(Connection, acme.connection_id).granted_at = clock.now
            meta.server.world.kill(acme.token)
            try:
                return graph.fetch_leads(token, lead_ids)
            finally:
                meta.server.world.revive(acme.token)

    Runner(replace(troth, graph=ReconnectedMeanwhile()), HANDLERS).run_all(patience=3)  # type: ignore[arg-type]
    with tenant_session(troth.database, acme.id) as session:
        assert session.get_one(Connection, acme.connection_id).status == ACTIVE
    reconcile(troth)
    Runner(troth, HANDLERS).run_all(patience=3)
    assert stored(troth, acme) == ids(made)
