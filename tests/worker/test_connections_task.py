"""`connections.*` against simulated providers: what a look at a grant finds, and how a closed one is ended, step by step."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from integrations.contract import Account, Provider
from integrations.simulator.google_world import CALENDAR
from integrations.simulator.seed import SHARED_ACCOUNT
from models.connection import ACTIVE, NEEDS_RECONNECT, REVOKING, Connection
from models.grant import hold
from models.job import DONE, WAITING, Job
from models.tenancy import system_session, tenant_session
from tests.conftest import Company, FrozenClock
from tests.models.accounts import UNDO, break_it, close, look, told
from tests.worker.outside import Outside, check, end, settle, steps, user_of
from tests.worker.runner import Runner
from worker import jobs
from worker.grants import CHECK_EVERY
from worker.services import Services
from worker.tasks import HANDLERS, connections
from worker.work import Work


@pytest.fixture
def account(outside: Outside, worker: Runner, troth: Services, acme: Company) -> str:
    """Of acme at Google, looked at once and well."""
    brought = outside.bring(acme)
    settle(worker, troth)
    row = look(troth.database, brought)
    assert (row.status, row.checked_at) == (ACTIVE, troth.clock())
    return brought


def meanwhile(troth: Services, integration: str, do: Callable[[], object]) -> Services:
    """Services whose provider answers a check after something else has happened."""
    provider = troth.provider(integration)

    class Slow:
        def __getattr__(self, name: str) -> object:
            return getattr(provider, name)

        def check(self, tokens: dict[str, str], external_id: str) -> object:
            do()
            return provider.check(tokens, external_id)

        def check_all(self, grants: Sequence[tuple[dict[str, str], str]]) -> object:
            do()
            return provider.check_all(grants)  # type: ignore[attr-defined]

    slow: Provider = Slow()  # type: ignore[assignment]
    return replace(troth, providers={**troth.providers, integration: slow})


@pytest.mark.parametrize("does", ["html_502", "cut", "throttle"])
def test_a_provider_out_of_order_leaves_all_as_it_was(
    outside: Outside, troth: Services, acme: Company, account: str, clock: FrozenClock, does: str
) -> None:
    before = look(troth.database, account)
    outside.panel.press(does, kind="google_refresh", times=1)  # type: ignore[arg-type]
    clock.tick(60)
    assert check(troth, acme, account).state == WAITING
    row = look(troth.database, account)
    assert (row.status, row.checked_at, row.tokens) == (ACTIVE, before.checked_at, before.tokens)
    clock.tick(3600)
    settle(Runner(troth, HANDLERS), troth)
    assert look(troth.database, account).checked_at == clock()
    assert told(troth.database, acme, account) == ["connection.created"]


@pytest.mark.every_database
def test_a_grant_revoked_at_google_is_explained_once_and_its_tokens_are_gone(
    outside: Outside, troth: Services, acme: Company, account: str
) -> None:
    outside.google.revoke(SHARED_ACCOUNT)
    for _ in range(2):
        assert check(troth, acme, account).state == DONE
    row = look(troth.database, account)
    assert (row.status, row.health_code, row.tokens) == (NEEDS_RECONNECT, "invalid_grant", None)
    assert row.health_sentence and row.health_fix
    assert told(troth.database, acme, account) == ["connection.created", "connection.needs_reconnect"]
    assert outside.google.refresh_calls[SHARED_ACCOUNT] == 2, "one that went well, one that was refused, and no third"


def test_an_app_that_was_removed_at_meta_takes_its_tokens_with_it(
    outside: Outside, troth: Services, acme: Company
) -> None:
    outside.server.world.remove_app(user_of(acme))
    check(troth, acme, acme.connection_id)
    row = look(troth.database, acme.connection_id)
    assert (row.status, row.tokens) == (NEEDS_RECONNECT, None)
    assert row.health_code is not None and row.health_code.startswith("190")


def test_a_permission_taken_back_is_named_and_the_tokens_stay(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    (stored,) = outside.connect(acme, "google_calendar", SHARED_ACCOUNT, untick=[CALENDAR])
    connection_id = stored.connection.id
    clock.tick(1)
    settle(Runner(troth, HANDLERS), troth)
    row = look(troth.database, connection_id)
    assert (row.status, row.health_code) == (NEEDS_RECONNECT, "scope_missing")
    assert row.tokens is not None
    assert told(troth.database, acme, connection_id) == ["connection.created", "connection.needs_reconnect"]


@pytest.mark.every_database
def test_what_is_well_again_is_told_and_what_waited_for_it_runs(
    outside: Outside, troth: Services, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    outside.connect(acme, "facebook_leads", user_of(acme))
    settle(Runner(troth, HANDLERS), troth)
    assert look(troth.database, acme.connection_id).status == ACTIVE
    break_it(troth.database, clock, acme.connection_id, "lead_access")
    parked = replace(jobs.leads_fetch(acme.id, acme.connection_id), key="parked")
    theirs = replace(jobs.leads_fetch(globex.id, globex.connection_id), key="parked")
    with Work(troth, None) as work:
        work.put(parked, theirs)
        for one in work.session.scalars(select(Job).where(Job.key == "parked")):
            one.state, one.error_kind, one.due_at = WAITING, "needs_user", clock() + UNDO
            one.wake_at = one.due_at
    clock.tick(1)
    assert check(troth, acme, acme.connection_id).state != WAITING
    row = look(troth.database, acme.connection_id)
    assert (row.status, row.health_code, row.health_since) == (ACTIVE, None, None)
    assert told(troth.database, acme, acme.connection_id)[-2:] == [
        "connection.needs_reconnect", "connection.recovered",
    ]  # fmt: skip
    settle(Runner(troth, HANDLERS), troth)
    with system_session(troth.database, reads_only=True) as session:
        assert session.get_one(Job, parked.id).state == DONE
        assert session.get_one(Job, theirs.id).state == WAITING
    assert told(troth.database, acme).count("connection.recovered") == 1


@pytest.mark.every_database
def test_a_connection_closed_during_the_look_gets_nothing_written(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    before = look(troth.database, acme.connection_id)
    outside.server.world.kill(acme.token)
    slow = meanwhile(troth, "facebook_leads", lambda: close(troth.database, clock, acme))
    assert check(slow, acme, acme.connection_id).state == DONE
    row = look(troth.database, acme.connection_id)
    assert (row.status, row.health_code, row.checked_at, row.scopes) == (REVOKING, None, None, before.scopes)
    assert "connection.needs_reconnect" not in told(troth.database, acme)


@pytest.mark.every_database
def test_a_reconnect_during_the_look_is_not_undone_by_what_the_old_token_showed(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    def reconnect() -> None:
        if not done:
            done.append(True)
            clock.tick(1)
            world.kill(acme.token)
            new = world.issue("page", app_id="1", user_id=user_of(acme), page_id=acme.page_id)
            tokens = {"page_access_token": new.value}
            outside.store(acme, "facebook_leads", [Account(acme.page_id, "Page", tokens, (), ())])

    world, done = outside.server.world, list[bool]()
    check(meanwhile(troth, "facebook_leads", reconnect), acme, acme.connection_id)
    settle(Runner(troth, HANDLERS), troth)
    assert done and look(troth.database, acme.connection_id).status == ACTIVE
    assert "connection.needs_reconnect" not in told(troth.database, acme)


def test_a_look_finds_out_who_is_behind_a_grant_that_was_imported(
    outside: Outside, troth: Services, acme: Company, account: str
) -> None:
    with tenant_session(troth.database, acme.id) as session:
        hold(session, session.get_one(Connection, account), [])
    check(troth, acme, account)
    end(troth, acme, account)
    settle(Runner(troth, HANDLERS), troth)
    assert steps(troth, acme, account)["revoke_grant"] == ("done", None)


def test_tokens_that_were_destroyed_since_are_no_reason_to_say_anything(
    outside: Outside, troth: Services, acme: Company, account: str
) -> None:
    row = look(troth.database, account)
    with tenant_session(troth.database, acme.id) as session:
        troth.vault.destroy(session, acme.id, str(row.grant_id))
    asked = outside.server.calls.requests.total()
    assert check(troth, acme, account).state == DONE
    after = look(troth.database, account)
    assert (after.status, after.health_code, after.checked_at) == (ACTIVE, None, row.checked_at)
    assert outside.server.calls.requests.total() == asked


def test_a_connection_without_tokens_or_that_is_closed_is_left_in_peace(
    outside: Outside, troth: Services, acme: Company, account: str, clock: FrozenClock
) -> None:
    close(troth.database, clock, acme, account)
    asked = outside.google.refresh_calls[SHARED_ACCOUNT]
    assert check(troth, acme, account).state == DONE
    assert outside.google.refresh_calls[SHARED_ACCOUNT] == asked


# --- all of them in time


def sweep(troth: Services) -> None:
    with Work(troth, None) as work:
        work.put(jobs.tick(jobs.CONNECTIONS_SWEEP, jobs.BULK, troth.clock()))
    idle = dict.fromkeys((jobs.CONNECTIONS_CHECK, jobs.CONNECTIONS_CHECK_ALL), lambda _ticket: None)
    Runner(troth, {**HANDLERS, **idle}).run_one("bulk")


def checks(troth: Services) -> list[tuple[str, str, str | None]]:
    looks = (jobs.CONNECTIONS_CHECK, jobs.CONNECTIONS_CHECK_ALL)
    with system_session(troth.database, reads_only=True) as session:
        query = select(Job.kind, Job.tenant_id, Job.connection_id).where(Job.kind.in_(looks)).order_by(Job.id)
        return [(kind, tenant_id, connection_id) for kind, tenant_id, connection_id in session.execute(query)]


def add(troth: Services, company: Company, integration: str, due: Sequence[timedelta]) -> list[str]:
    """Connections that are due so long from now; their ids."""
    now = troth.clock()
    with system_session(troth.database) as session:
        rows = [
            Connection(tenant_id=company.id, integration=integration, external_id=f"{place}", status=ACTIVE, scopes=[],
                       claim=f"{integration}{company.id}{place}", token_version=0, check_at=now + wait, created_at=now,
                       updated_at=now)
            for place, wait in enumerate(due)
        ]  # fmt: skip
        session.add_all(rows)
        session.flush()
        return [row.id for row in rows]


@pytest.mark.every_database
def test_a_sweep_looks_at_those_that_are_due_and_at_no_other(
    outside: Outside, troth: Services, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    with system_session(troth.database) as session:
        session.get_one(Connection, acme.connection_id).check_at = clock()
        session.get_one(Connection, globex.connection_id).check_at = clock() + timedelta(seconds=1)
    sweep(troth)
    assert checks(troth) == [(jobs.CONNECTIONS_CHECK_ALL, acme.id, None)]
    due = look(troth.database, acme.connection_id).check_at
    hour = CHECK_EVERY["facebook_leads"]
    assert due is not None and clock() + hour * 0.75 <= due <= clock() + hour
    clock.tick(1)
    close(troth.database, clock, globex)
    sweep(troth)
    assert len(checks(troth)) == 1


@pytest.mark.every_database
def test_a_tenants_pages_have_their_turn_together_and_nobody_elses_with_them(
    troth: Services, outside: Outside, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    now, later = timedelta(), timedelta(minutes=20)
    mine = add(troth, acme, "facebook_leads", [later, now, now])
    theirs = add(troth, globex, "facebook_leads", [later])
    people = add(troth, acme, "google_calendar", [later])
    sweep(troth)
    assert checks(troth) == [(jobs.CONNECTIONS_CHECK_ALL, acme.id, None)]
    turns = {look(troth.database, one).check_at for one in mine}
    assert len(turns) == 1 and clock() + later not in turns
    assert {look(troth.database, one).check_at for one in (*theirs, *people)} == {clock() + later}


def test_a_sweep_takes_them_all_and_spreads_their_next_turns(
    troth: Services, acme: Company, globex: Company, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SWEPT_AT_ONCE", 4)
    people, pages = ([add(troth, company, name, [timedelta()] * 5) for company in (acme, globex)]
                     for name in ("google_calendar", "facebook_leads"))  # fmt: skip
    sweep(troth)
    found = checks(troth)
    assert len(found) == len(set(found)) == 12
    alone = {connection_id for _, _, connection_id in found}
    assert alone == {None, *people[0], *people[1]}
    assert len({look(troth.database, one).check_at for one in (*people[0], *people[1])}) == 10
    assert len({look(troth.database, one).check_at for one in (*pages[0], *pages[1])}) == 2
