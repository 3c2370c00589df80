"""The life of a connection from one end to the other, with real parts and simulated providers; nothing leaks on the way."""

from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text

from integrations.facebook_leads.graph import LeadReply
from integrations.simulator.deliver import Shape, bodies, sign
from integrations.simulator.google_world import CALENDAR
from integrations.simulator.records import Lead as MetaLead
from integrations.simulator.seed import SHARED_ACCOUNT
from models.connection import ACTIVE, NEEDS_RECONNECT, REVOKED, Connection
from models.inbox import InboxEvent
from models.job import CANCELLED, DONE, Job
from models.lead import Lead
from models.schema import metadata
from models.tenancy import system_session, tenant_session
from tests.conftest import Company, FrozenClock
from tests.journeys.canary import Canary
from tests.models.accounts import look, told
from tests.worker.outside import APP_SECRET, Outside, check, end, settle, steps, user_of
from tests.worker.runner import Runner
from worker import jobs
from worker.grants import fresh_tokens
from worker.services import Services
from worker.tasks import HANDLERS
from worker.work import Work


def deliver(web: httpx.Client, outside: Outside, leads: list[MetaLead]) -> None:
    """As Meta does, signed; acknowledged means stored."""
    for raw in bodies(leads, outside.services.clock().replace(microsecond=0), Shape()):
        answer = web.post("/webhooks/meta", content=raw, headers={"X-Hub-Signature-256": sign(raw, APP_SECRET)})
        assert answer.status_code == 200, answer.text


def leads_of(troth: Services, company: Company) -> set[str]:
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        return set(session.scalars(select(Lead.external_id)))


def rows_of(troth: Services, company: Company) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that is stored for a tenant, but for the ledger's own rows."""
    found = {}
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        for table in metadata.sorted_tables:
            if "tenant_id" in table.columns and table.name != "jobs":
                rows = session.execute(select(table).where(table.c.tenant_id == company.id))
                found[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return found


def ids(leads: list[MetaLead]) -> set[str]:
    return {lead.id for lead in leads}


def test_the_canary_sees_a_secret_wherever_it_is_put(
    outside: Outside, troth: Services, canary: Canary, acme: Company
) -> None:
    canary.look()
    troth.redis.lpush("somewhere", acme.token)
    with pytest.raises(AssertionError, match="Redis"):
        canary.look()
    troth.redis.delete("somewhere")
    with tenant_session(troth.database, acme.id) as session:
        session.get_one(Connection, acme.connection_id).health_sentence = f"The token {acme.token} is dead."
    with pytest.raises(AssertionError, match=r"connections\.health_sentence"):
        canary.look()
    with tenant_session(troth.database, acme.id) as session:
        session.get_one(Connection, acme.connection_id).health_sentence = None
    print(acme.token)  # noqa: T201 - the canary's own
    with pytest.raises(AssertionError, match="logs"):
        canary.look()


def test_a_page_connects_breaks_says_why_and_after_reconnecting_brings_what_waited(
    outside: Outside, troth: Services, worker: Runner, web: httpx.Client, canary: Canary, acme: Company, globex: Company,
    clock: FrozenClock,
) -> None:  # fmt: skip
    outside.connect(acme, "facebook_leads", user_of(acme))
    settle(worker, troth)
    first = outside.fill_in(acme, 3)
    deliver(web, outside, first)
    worker.run_all(patience=3)
    assert leads_of(troth, acme) == ids(first)
    canary.look()

    clock.tick(60)
    outside.server.world.change_password(user_of(acme))
    late, theirs = outside.fill_in(acme, 2), outside.fill_in(globex, 1)
    deliver(web, outside, late + theirs)
    worker.run_all(patience=3)
    row = look(troth.database, acme.connection_id)
    assert (row.status, row.health_since) == (NEEDS_RECONNECT, clock())
    assert row.health_code == "190/460" and row.health_sentence and row.health_fix
    later = outside.fill_in(acme, 2)
    deliver(web, outside, later)  # webhooks keep coming after a token has died
    worker.run_all(patience=0.3)
    assert (leads_of(troth, acme), leads_of(troth, globex)) == (ids(first), ids(theirs))
    with tenant_session(troth.database, acme.id, reads_only=True) as session:
        waiting = session.scalar(select(func.count()).where(InboxEvent.state == "pending"))
    assert waiting == 4
    canary.look()

    clock.tick(60)
    (stored,) = outside.connect(acme, "facebook_leads", user_of(acme))
    assert (stored.connection.id, stored.created, stored.recovered) == (acme.connection_id, False, True)
    settle(worker, troth)
    assert leads_of(troth, acme) == ids(first + late + later)
    assert look(troth.database, acme.connection_id).status == ACTIVE
    of_grants = [kind for kind in told(troth.database, acme) if kind.startswith("connection.")]
    assert of_grants == ["connection.created", "connection.needs_reconnect", "connection.recovered"]
    assert told(troth.database, globex) == ["connection.created", "lead.received"]
    canary.look()


def test_after_a_revocation_nothing_of_the_tenant_is_written_whatever_comes(
    outside: Outside, troth: Services, worker: Runner, web: httpx.Client, canary: Canary, acme: Company, globex: Company,
    clock: FrozenClock,
) -> None:  # fmt: skip
    outside.connect(acme, "facebook_leads", user_of(acme))
    settle(worker, troth)
    kept = outside.fill_in(acme, 2)
    deliver(web, outside, kept)
    worker.run_all(patience=3)
    in_flight = outside.fill_in(acme, 2)
    deliver(web, outside, in_flight)  # queued, and not run
    end(troth, acme, acme.connection_id)
    canary.look()
    settle(worker, troth)
    assert look(troth.database, acme.connection_id).status == REVOKED
    assert {status for status, _ in steps(troth, acme, acme.connection_id).values()} == {"done"}
    assert leads_of(troth, acme) == ids(kept)

    before = rows_of(troth, acme)
    clock.tick(3600)
    late, theirs = outside.fill_in(acme, 2), outside.fill_in(globex, 2)
    deliver(web, outside, in_flight + late + theirs)
    with system_session(troth.database, reads_only=True) as session:
        old = session.scalars(select(Job).where(Job.tenant_id == acme.id)).all()
    assert {job.state for job in old} == {DONE, CANCELLED}
    for job in old:  # messages that came late
        worker.deliver(job.kind, job.id, acme.id, job.lane)
    with Work(troth, None) as work:
        work.put(jobs.leads_fetch(acme.id, acme.connection_id), jobs.tick(jobs.CONNECTIONS_SWEEP, jobs.BULK, clock()))
    check(troth, acme, acme.connection_id)
    assert fresh_tokens(troth, acme.id, acme.connection_id, renew=True) is None
    worker.run_all(patience=3)
    settle(worker, troth)
    assert leads_of(troth, globex) == ids(theirs), "and everything was run"
    assert rows_of(troth, acme) == before
    canary.look()


def test_a_revocation_in_the_middle_of_a_call_to_meta_is_the_last_word(
    outside: Outside, troth: Services, web: httpx.Client, canary: Canary, acme: Company
) -> None:
    deliver(web, outside, outside.fill_in(acme, 60))
    graph = troth.graph
    assert graph
    fetch_leads = graph.fetch_leads
    batches: list[int] = []

    class RevokedMeanwhile:
        def fetch_leads(self, token: str, lead_ids: list[str]) -> list[LeadReply]:
            batches.append(len(lead_ids))
            if len(batches) == 2:  # the first fifty are stored
                end(troth, acme, acme.connection_id)
                rows.append(rows_of(troth, acme))
            return fetch_leads(token, lead_ids)

    rows: list[dict[str, list[tuple[Any, ...]]]] = []
    slow = replace(troth, graph=RevokedMeanwhile())  # type: ignore[arg-type]
    Runner(slow, {**HANDLERS, jobs.CONNECTIONS_REVOKE: lambda _ticket: None}).run_all(patience=3)
    assert batches == [50, 10]
    assert len(leads_of(troth, acme)) == 50
    assert rows == [rows_of(troth, acme)]
    canary.look()


def test_a_google_account_in_two_tenants_lives_on_in_one_when_the_other_lets_go(
    outside: Outside,
    troth: Services,
    worker: Runner,
    canary: Canary,
    acme: Company,
    globex: Company,
    clock: FrozenClock,
) -> None:
    google = outside.google
    (ours,), (theirs,) = (outside.connect(one, "google_calendar", SHARED_ACCOUNT) for one in (acme, globex))
    settle(worker, troth)
    assert [look(troth.database, one.connection.id).status for one in (ours, theirs)] == [ACTIVE, ACTIVE]
    canary.look()
    end(troth, acme, ours.connection.id)
    settle(worker, troth)
    assert look(troth.database, ours.connection.id).status == REVOKED
    assert steps(troth, acme, ours.connection.id)["revoke_grant"][0] == "skipped"
    clock.tick(7200)
    tokens = fresh_tokens(troth, globex.id, theirs.connection.id)
    assert tokens is not None and not google.ended(google.tokens[tokens["access_token"]])
    assert check(troth, globex, theirs.connection.id).state == DONE
    assert look(troth.database, theirs.connection.id).status == ACTIVE
    assert told(troth.database, globex, theirs.connection.id) == ["connection.created"]
    canary.look()
    end(troth, globex, theirs.connection.id)
    settle(worker, troth)
    assert (google.revocations[SHARED_ACCOUNT], google.living("refresh", SHARED_ACCOUNT)) == (1, [])
    canary.look()


def test_a_google_grant_that_is_given_with_a_box_unticked_breaks_and_comes_back_whole(
    outside: Outside, troth: Services, worker: Runner, canary: Canary, acme: Company, clock: FrozenClock
) -> None:
    (first,) = outside.connect(acme, "google_calendar", SHARED_ACCOUNT, untick=[CALENDAR])
    settle(worker, troth)
    row = look(troth.database, first.connection.id)
    assert (row.status, row.health_code) == (NEEDS_RECONNECT, "scope_missing")
    clock.tick(60)
    (again,) = outside.connect(acme, "google_calendar", SHARED_ACCOUNT)
    settle(worker, troth)
    assert (again.connection.id, look(troth.database, row.id).status) == (row.id, ACTIVE)
    canary.look()
    clock.tick(7 * 86400)
    outside.google.revoke(SHARED_ACCOUNT)
    check(troth, acme, row.id)
    assert look(troth.database, row.id).health_code == "testing_grant"
    assert told(troth.database, acme, row.id) == [
        "connection.created", "connection.needs_reconnect", "connection.recovered", "connection.needs_reconnect",
    ]  # fmt: skip
    with tenant_session(troth.database, acme.id, reads_only=True) as session:
        assert session.execute(text("SELECT count(*) FROM connections WHERE tokens IS NULL")).scalar() == 1
    canary.look()
