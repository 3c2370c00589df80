"""`connections.revoke` against simulated providers: how a closed connection's grant is ended, step by step, come what may."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from integrations.simulator.seed import SHARED_ACCOUNT
from models.connection import ACTIVE, REVOKED, REVOKING, Connection
from models.deletion import deletion_of, new_code, steps_of
from models.grant import hold
from models.job import CANCELLED, DONE, Job
from models.tenancy import system_session, tenant_session
from tests.conftest import Company, FrozenClock
from tests.models.accounts import close, look, tokens_of, told
from tests.worker.outside import Outside, check, end, last_job, settle, steps, user_of
from tests.worker.runner import Runner
from worker import jobs
from worker.grants import fresh_tokens
from worker.reconcile import reconcile
from worker.services import Services
from worker.tasks import HANDLERS
from worker.tasks.revocations import PROVIDER_PATIENCE
from worker.work import Work


@pytest.fixture
def account(outside: Outside, worker: Runner, troth: Services, acme: Company) -> str:
    """Of acme at Google, looked at once and well."""
    brought = outside.bring(acme)
    settle(worker, troth)
    row = look(troth.database, brought)
    assert (row.status, row.checked_at) == (ACTIVE, troth.clock())
    return brought


@pytest.mark.every_database
def test_each_step_at_the_provider_has_its_outcome_and_then_nothing_is_left(
    outside: Outside, troth: Services, worker: Runner, acme: Company
) -> None:
    outside.connect(acme, "facebook_leads", user_of(acme))
    settle(worker, troth)
    end(troth, acme, acme.connection_id)
    settle(worker, troth)
    assert steps(troth, acme, acme.connection_id) == {
        "stop_notices": ("done", None), "revoke_grant": ("done", None), "destroy_tokens": ("done", None),
    }  # fmt: skip
    assert outside.server.world.pages[acme.page_id].subscribed == {}
    assert all(token.dead for token in outside.server.world.tokens_of(user_of(acme)))
    row = look(troth.database, acme.connection_id)
    assert (row.status, row.claim, row.tokens) == (REVOKED, None, None)
    assert told(troth.database, acme).count("connection.revoked") == 1


def test_a_grant_that_is_gone_already_is_a_success(
    outside: Outside, troth: Services, worker: Runner, acme: Company, account: str
) -> None:
    outside.google.revoke(SHARED_ACCOUNT)
    end(troth, acme, account)
    settle(worker, troth)
    assert steps(troth, acme, account)["revoke_grant"] == ("done", None)
    assert look(troth.database, account).status == REVOKED


def test_a_grant_that_was_noticed_to_be_gone_has_nothing_left_to_revoke_with(
    outside: Outside, troth: Services, worker: Runner, acme: Company, account: str
) -> None:
    outside.google.revoke(SHARED_ACCOUNT)
    check(troth, acme, account)
    end(troth, acme, account)
    settle(worker, troth)
    outcome = steps(troth, acme, account)
    assert [status for status, _ in outcome.values()] == ["skipped", "skipped", "done"]
    assert outcome["revoke_grant"][1]


@pytest.mark.every_database
def test_an_account_that_another_tenant_lives_by_is_left_alone_until_the_last_one_goes(
    outside: Outside, troth: Services, worker: Runner, acme: Company, globex: Company, account: str
) -> None:
    theirs = outside.bring(globex)
    end(troth, acme, account)
    settle(worker, troth)
    status, sentence = steps(troth, acme, account)["revoke_grant"]
    assert status == "skipped" and sentence and "globex" not in sentence.lower()
    assert (look(troth.database, account).status, outside.google.revocations[SHARED_ACCOUNT]) == (REVOKED, 0)
    assert fresh_tokens(troth, globex.id, theirs, renew=True)
    end(troth, globex, theirs)
    settle(worker, troth)
    assert steps(troth, globex, theirs)["revoke_grant"] == ("done", None)
    assert (outside.google.revocations[SHARED_ACCOUNT], outside.google.living("refresh", SHARED_ACCOUNT)) == (1, [])


@pytest.mark.every_database
def test_nobody_revokes_a_grant_of_which_it_is_not_known_whose_it_is(
    outside: Outside, troth: Services, worker: Runner, acme: Company, account: str
) -> None:
    with tenant_session(troth.database, acme.id) as session:
        hold(session, session.get_one(Connection, account), [])
    end(troth, acme, account)
    settle(worker, troth)
    status, sentence = steps(troth, acme, account)["revoke_grant"]
    assert (status, outside.google.revocations[SHARED_ACCOUNT]) == ("skipped", 0)
    assert sentence and "not known" in sentence
    assert tokens_of(troth.database, troth.vault, account) == {}


def test_a_provider_that_comes_back_within_two_days_is_told(
    outside: Outside, troth: Services, worker: Runner, acme: Company, account: str, clock: FrozenClock
) -> None:
    outside.panel.press("html_502", kind="google_revoke", times=3)
    end(troth, acme, account)
    settle(worker, troth)
    outcome = steps(troth, acme, account)
    assert (outcome["stop_notices"][0], outcome["revoke_grant"][0]) == ("done", "pending")
    assert look(troth.database, account).status == REVOKING
    for _ in range(3):
        clock.tick(3600)
        settle(worker, troth)
    assert steps(troth, acme, account)["revoke_grant"] == ("done", None)
    assert look(troth.database, account).status == REVOKED


def test_a_provider_that_is_away_for_two_days_does_not_keep_the_tokens_alive_here(
    outside: Outside, troth: Services, worker: Runner, acme: Company, account: str, clock: FrozenClock
) -> None:
    outside.panel.press("html_502", kind="google_revoke")
    began = clock()
    end(troth, acme, account)
    while look(troth.database, account).status == REVOKING and clock() < began + PROVIDER_PATIENCE * 2:
        settle(worker, troth)
        assert (look(troth.database, account).tokens is None) == (clock() >= began + PROVIDER_PATIENCE)
        clock.tick(3600)
    status, sentence = steps(troth, acme, account)["revoke_grant"]
    assert status == "failed" and sentence
    assert look(troth.database, account).status == REVOKED
    assert last_job(troth, jobs.CONNECTIONS_REVOKE, account).state == DONE


def test_an_integration_that_was_turned_off_ends_here_all_the_same(
    outside: Outside, troth: Services, acme: Company, account: str
) -> None:
    off = replace(troth, providers={})
    end(off, acme, account)
    settle(Runner(off, HANDLERS), off)
    outcome = steps(troth, acme, account)
    assert [status for status, _ in outcome.values()] == ["failed", "failed", "done"]
    assert "TROTH_GOOGLE_CLIENT_ID" in str(outcome["revoke_grant"][1])
    assert look(troth.database, account).status == REVOKED


def test_a_wish_to_delete_that_comes_before_the_grant_is_ended_changes_nothing_of_its_steps(
    outside: Outside, troth: Services, worker: Runner, acme: Company, account: str, clock: FrozenClock
) -> None:
    """As Meta sends both: the deauthorisation, and a request to delete a second later."""
    end(troth, acme, account)
    clock.tick(1)
    close(troth.database, clock, acme, account, code=new_code())
    settle(worker, troth)
    assert [status for status, _ in steps(troth, acme, account).values()] == ["done"] * 3
    assert look(troth.database, account).status == REVOKED


@pytest.mark.every_database
def test_a_run_that_died_between_two_steps_goes_on_with_the_next(
    outside: Outside, troth: Services, worker: Runner, acme: Company, account: str, clock: FrozenClock
) -> None:
    outside.panel.press("cut", kind="google_revoke", times=1)
    end(troth, acme, account)
    settle(worker, troth)
    with system_session(troth.database) as session:
        asked = deletion_of(session, account)
        assert asked is not None
        steps_of(session, asked.id)[0].sentence = "as the first run left it"
    clock.tick(3600)
    settle(worker, troth)
    assert steps(troth, acme, account)["stop_notices"] == ("done", "as the first run left it")


def test_ending_twice_tells_once(
    outside: Outside, troth: Services, worker: Runner, acme: Company, account: str
) -> None:
    for _ in range(2):
        end(troth, acme, account)
        settle(worker, troth)
    assert told(troth.database, acme, account).count("connection.revoked") == 1
    assert outside.google.revocations[SHARED_ACCOUNT] == 1


@pytest.mark.every_database
def test_what_waits_when_a_connection_is_closed_never_starts(
    outside: Outside, troth: Services, worker: Runner, acme: Company, clock: FrozenClock
) -> None:
    with Work(troth, acme.id) as work:
        work.put(jobs.connections_check(acme.id, acme.connection_id), jobs.leads_fetch(acme.id, acme.connection_id))
    close(troth.database, clock, acme)
    reconcile(troth)
    worker.run_all("bulk")
    worker.run_all()
    with system_session(troth.database, reads_only=True) as session:
        found = session.scalars(select(Job).where(Job.connection_id == acme.connection_id)).all()
        assert {(job.state, job.attempts) for job in found} == {(CANCELLED, 0)}
    assert not outside.server.calls.requests
