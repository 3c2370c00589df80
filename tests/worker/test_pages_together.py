"""`connections.check_all`: the pages of a tenant in one call, each judged for itself, and none of anybody else's."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from integrations.contract import Account
from integrations.facebook_leads.login import FacebookPages
from integrations.simulator.records import Page
from models.connection import ACTIVE, NEEDS_RECONNECT, REVOKING, Connection
from models.job import DEAD, DONE, WAITING, Job
from models.tenancy import system_session
from tests.conftest import Company, FrozenClock
from tests.models.accounts import break_it, close, look, told
from tests.worker.outside import Outside, settle
from tests.worker.runner import Runner
from worker import jobs
from worker.services import Services
from worker.tasks import HANDLERS
from worker.work import Work

HOUR = timedelta(hours=1)


@pytest.fixture
def pages(outside: Outside, troth: Services, acme: Company, clock: FrozenClock) -> dict[str, str]:
    """page -> connection of three more pages of acme's, looked at when they were connected, and due again."""
    world, user = outside.server.world, outside.user(acme)
    found = {}
    for place in range(3):
        page = world.add_page(Page(f"7{acme.page_id}{place}", f"Page {place}", acme.external_id), user)
        token = world.issue("page", app_id="1", user_id=user.id, page_id=page.id)
        account = Account(page.id, page.name, {"page_access_token": token.value}, (), ())
        (stored,) = outside.store(acme, "facebook_leads", [account])
        found[page.id] = stored.connection.id
    clock.tick(1)
    settle(Runner(troth, HANDLERS), troth)
    assert {look(troth.database, one).checked_at for one in found.values()} == {clock()}
    clock.tick(3600)
    due(troth, acme)
    outside.server.calls.clear()
    return found


def due(troth: Services, company: Company) -> None:
    """As a sweep leaves them: their next turn is in about an hour."""
    with system_session(troth.database) as session:
        for row in session.scalars(select(Connection).where(Connection.tenant_id == company.id)):
            row.check_at = troth.clock() + HOUR * 0.9


def check_all(troth: Services, company: Company) -> Job:
    """Ask for the looks that are due, and say what became of the job."""
    job = jobs.connections_check_all(company.id, "facebook_leads")
    with Work(troth, company.id) as work:
        work.put(job)
    Runner(troth, HANDLERS).run_one("bulk")
    with system_session(troth.database, reads_only=True) as session:
        return session.get_one(Job, job.id)


def own_jobs(troth: Services) -> dict[str | None, tuple[str, timedelta]]:
    """connection -> (state, how long it waits) of looks that have not been done."""
    with system_session(troth.database, reads_only=True) as session:
        query = select(Job).where(Job.kind == jobs.CONNECTIONS_CHECK, Job.state != DONE)
        return {job.connection_id: (job.state, job.due_at - troth.clock()) for job in session.scalars(query)}


@pytest.mark.every_database
def test_pages_that_are_well_are_looked_at_in_one_call(
    outside: Outside, troth: Services, acme: Company, globex: Company, pages: dict[str, str], clock: FrozenClock
) -> None:
    before = look(troth.database, globex.connection_id).checked_at
    assert check_all(troth, acme).state == DONE
    assert outside.server.calls.requests == {"batch": 1}
    rows = [look(troth.database, one) for one in (acme.connection_id, *pages.values())]
    assert {(row.status, row.checked_at) for row in rows} == {(ACTIVE, clock())}
    assert look(troth.database, globex.connection_id).checked_at == before
    assert check_all(troth, acme).state == DONE
    assert outside.server.calls.requests == {"batch": 1}, "they had their look"


@pytest.mark.every_database
def test_each_page_is_judged_for_itself(
    outside: Outside, troth: Services, acme: Company, pages: dict[str, str], clock: FrozenClock
) -> None:
    world = outside.server.world
    lost, dead, well, refused = acme.page_id, *pages
    world.pages[lost].subscribed.clear()
    world.lose_role(dead)
    break_it(troth.database, clock, pages[well], "lead_access")
    outside.panel.press("error", page=refused, code=3, status=400)
    assert check_all(troth, acme).state == DONE
    assert world.pages[lost].subscribed["1"] == ["leadgen"]
    with system_session(troth.database, reads_only=True) as session:
        catch_ups = session.scalars(select(Job.connection_id).where(Job.kind == jobs.LEADS_CATCH_UP, Job.state != DONE))
        assert set(catch_ups) == {acme.connection_id, pages[well]}
    row = look(troth.database, pages[dead])
    assert (row.status, row.health_code, row.checked_at) == (NEEDS_RECONNECT, "190/492", clock())
    row = look(troth.database, pages[well])
    assert (row.status, row.health_code, row.checked_at) == (ACTIVE, None, clock())
    assert told(troth.database, acme, pages[well])[-1] == "connection.recovered"
    assert told(troth.database, acme, pages[dead])[-1] == "connection.needs_reconnect"
    settle(Runner(troth, HANDLERS), troth)
    assert own_jobs(troth) == {pages[refused]: (DEAD, timedelta())}, "what is our mistake is kept with its reason"


def test_an_app_that_was_removed_takes_the_tokens_of_all_the_persons_pages_and_nobody_elses(
    outside: Outside, troth: Services, acme: Company, globex: Company, pages: dict[str, str]
) -> None:
    outside.server.world.remove_app(outside.user(acme).id)
    assert check_all(troth, acme).state == DONE
    rows = [look(troth.database, one) for one in (acme.connection_id, *pages.values())]
    assert {(row.status, row.tokens) for row in rows} == {(NEEDS_RECONNECT, None)}
    assert look(troth.database, globex.connection_id).tokens is not None


def test_a_throttled_page_waits_as_long_as_meta_says_and_the_others_do_not(
    outside: Outside, troth: Services, acme: Company, pages: dict[str, str], clock: FrozenClock
) -> None:
    throttled, *others = pages
    before = look(troth.database, pages[throttled]).checked_at
    outside.panel.press("throttle", page=throttled, code=80005, minutes=150)
    assert check_all(troth, acme).state == DONE
    assert own_jobs(troth) == {pages[throttled]: (WAITING, timedelta(minutes=150))}
    assert look(troth.database, pages[throttled]).checked_at == before
    assert {look(troth.database, pages[one]).checked_at for one in others} == {clock()}
    outside.panel.release()
    clock.tick(3600)
    due(troth, acme)
    check_all(troth, acme)
    assert look(troth.database, pages[throttled]).checked_at == before, "it was not asked about before its time"
    clock.tick(5400)
    settle(Runner(troth, HANDLERS), troth)
    assert look(troth.database, pages[throttled]).checked_at == clock()


def test_a_call_that_fails_is_made_again_for_all(
    outside: Outside, troth: Services, acme: Company, pages: dict[str, str], clock: FrozenClock
) -> None:
    outside.panel.press("html_502", kind="batch", times=1)
    assert check_all(troth, acme).state == WAITING
    clock.tick(10)
    settle(Runner(troth, HANDLERS), troth)
    assert {look(troth.database, one).checked_at for one in pages.values()} == {clock()}
    assert own_jobs(troth) == {}


@pytest.mark.every_database
def test_more_pages_than_a_call_holds_are_all_looked_at(
    outside: Outside, troth: Services, acme: Company, pages: dict[str, str], clock: FrozenClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(FacebookPages, "at_once", 2)
    assert check_all(troth, acme).state == DONE
    assert outside.server.calls.requests == {"batch": 2}
    rows = [look(troth.database, one) for one in (acme.connection_id, *pages.values())]
    assert {row.checked_at for row in rows} == {clock()}


def test_a_page_that_was_closed_is_left_in_peace(
    outside: Outside, troth: Services, acme: Company, pages: dict[str, str], clock: FrozenClock
) -> None:
    gone, *left = pages.values()
    close(troth.database, clock, acme, gone)
    before = look(troth.database, gone)
    assert check_all(troth, acme).state == DONE
    after = look(troth.database, gone)
    assert (after.status, after.checked_at) == (REVOKING, before.checked_at)
    assert {look(troth.database, one).checked_at for one in left} == {clock()}


def test_an_integration_that_is_asked_about_one_grant_at_a_time_is_our_mistake(troth: Services, acme: Company) -> None:
    job = jobs.connections_check_all(acme.id, "google_calendar")
    with Work(troth, acme.id) as work:
        work.put(job)
    Runner(troth, HANDLERS).run_one("bulk")
    with system_session(troth.database, reads_only=True) as session:
        assert session.get_one(Job, job.id).state == DEAD
