"""`leads.check`: a day's leads beside Meta's, what is missing named and fetched, and forms that fell quiet."""

from dataclasses import replace
from datetime import timedelta

import pytest

from models import lead as leads
from models.connection import ACTIVE, NEEDS_RECONNECT
from models.deletion import Wish
from models.form import GREEN, RED
from models.inbox import FAILED, HANDLED, InboxEvent
from models.job import DONE, WAITING
from models.lead import acknowledge
from models.revocation import request_erasure
from models.tenancy import tenant_session
from models.tenant import Tenant
from tests.conftest import Company, FrozenClock
from tests.worker.outside import Outside, settle
from tests.worker.readings import (
    DAY,
    HOUR,
    catch_up,
    change_connection,
    change_form,
    check,
    discover,
    events,
    form_of,
    lines,
    read_soon,
    stored,
)
from tests.worker.runner import Runner
from worker.jobs import deletions_run
from worker.services import Services
from worker.tasks import HANDLERS
from worker.work import Work


@pytest.fixture
def troth(outside: Outside, acme: Company, clock: FrozenClock) -> Services:
    """A form that has been read to the present, with a lead."""
    outside.fill_in(acme)
    discover(outside.services, acme)
    return outside.services


def tomorrow(clock: FrozenClock) -> None:
    clock.now = (clock.now + DAY).replace(hour=14)


@pytest.mark.every_database
def test_a_day_that_is_complete_is_green_and_says_what_the_host_acknowledged(
    outside: Outside, troth: Services, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    today = clock().date()
    with tenant_session(troth.database, acme.id) as session:
        acknowledge(session, acme.id, [lead.id for lead in leads.leads_page(session)], clock())
    tomorrow(clock)
    assert check(troth, acme).state == DONE
    (line,) = lines(troth, acme)
    assert (line.day, line.provider, line.received, line.acknowledged, line.missing, line.status) == (
        today, 1, 1, 1, [], GREEN,
    )  # fmt: skip
    assert lines(troth, globex) == []
    due = form_of(troth, acme).check_due_at
    assert due is not None and due.date() == clock().date() + DAY


def test_all_forms_of_a_page_have_their_next_count_at_one_time(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    world, first = outside.server.world, f"6{acme.page_id}"
    world.add_form(replace(world.forms[first], id="6001", leads=[]))
    world.add_form(replace(world.forms[first], id="6002", leads=[]))
    world.add_leads("6001", created_at=clock().replace(microsecond=0))
    discover(troth, acme)
    tomorrow(clock)
    assert check(troth, acme).state == DONE
    assert len(lines(troth, acme)) == 2, "the third has no leads to be counted"
    dues = {form_of(troth, acme, one).check_due_at for one in (first, "6001", "6002")}
    assert len(dues) == 1
    assert [due.date() for due in dues if due] == [clock().date() + DAY]


@pytest.mark.every_database
def test_what_is_missing_is_named_fetched_and_then_the_line_is_green(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    lost = {lead.id for lead in outside.fill_in(acme, 3)}
    tomorrow(clock)
    outside.panel.press("missing", leads=sorted(lost), each=1)
    job = check(troth, acme)
    (line,) = lines(troth, acme)
    assert (line.provider, line.received, set(line.missing), line.status) == (4, 1, lost, RED)
    assert (job.state, job.error_kind) == (WAITING, None)
    clock.tick(700)
    settle(Runner(troth, HANDLERS), troth)
    assert {one: source for one, source in stored(troth, acme).items() if one in lost} == dict.fromkeys(
        lost, "catch_up"
    )
    (line,) = lines(troth, acme)
    assert (line.provider, line.received, line.missing, line.status) == (4, 4, [], GREEN)


@pytest.mark.every_database
def test_a_failed_event_of_a_lead_that_meta_lists_is_tried_again(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    (lost,) = outside.fill_in(acme)
    with tenant_session(troth.database, acme.id) as session:
        session.add(
            InboxEvent(tenant_id=acme.id, connection_id=acme.connection_id, kind="lead", external_id=lost.id,
                       source="webhook", received_at=clock(), state=FAILED, due_at=clock(), attempts=5,
                       error_kind="missing", error_sentence="It was not there.")
        )  # fmt: skip
    tomorrow(clock)
    check(troth, acme)
    assert lost.id in stored(troth, acme)
    assert events(troth, acme)[lost.id].state == HANDLED


def test_more_than_a_line_can_name_is_counted_again_until_all_are_here(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("models.lead_check", "worker.tasks.checks"):
        monkeypatch.setattr(f"{module}.MOST_NAMED", 5)
    outside.fill_in(acme, 12)
    tomorrow(clock)
    check(troth, acme)
    for _ in range(4):
        clock.tick(700)
        settle(Runner(troth, HANDLERS), troth)
    (line,) = lines(troth, acme)
    assert (line.provider, line.received, line.status) == (13, 13, GREEN)


def test_days_of_an_outage_are_counted_when_it_is_over(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    for _ in range(3):
        tomorrow(clock)
        outside.fill_in(acme)
    tomorrow(clock)
    check(troth, acme)
    assert [line.provider for line in lines(troth, acme)] == [1, 1, 1, 1]


@pytest.mark.every_database
def test_a_late_acknowledgement_is_counted_the_next_day(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    tomorrow(clock)
    check(troth, acme)
    assert lines(troth, acme)[0].acknowledged == 0
    with tenant_session(troth.database, acme.id) as session:
        acknowledge(session, acme.id, [lead.id for lead in leads.leads_page(session)], clock())
    tomorrow(clock)
    check(troth, acme)
    assert lines(troth, acme)[0].acknowledged == 1


def test_throttled_in_the_middle_it_waits_and_counts_all_the_same(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    tomorrow(clock)
    outside.panel.press("throttle", kind="form_leads", minutes=7, times=1)
    assert check(troth, acme).state == WAITING
    clock.tick(7 * 60)
    settle(Runner(troth, HANDLERS), troth)
    assert [line.status for line in lines(troth, acme)] == [GREEN]


def test_a_part_that_is_too_large_is_asked_for_in_less(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    outside.server.world.forms[f"6{acme.page_id}"].most = 100
    outside.fill_in(acme, 250)
    read_soon(troth, acme)
    catch_up(troth, acme)
    tomorrow(clock)
    check(troth, acme)
    assert [(line.provider, line.status) for line in lines(troth, acme)] == [(251, GREEN)]


def test_a_form_without_leads_costs_no_call(
    outside: Outside, troth: Services, globex: Company, clock: FrozenClock
) -> None:
    discover(troth, globex)
    before = outside.server.calls.requests["form_leads"]
    tomorrow(clock)
    check(troth, globex)
    assert outside.server.calls.requests["form_leads"] == before
    assert lines(troth, globex) == []


def test_a_form_that_fell_quiet_is_marked_until_its_next_lead(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    for _ in range(12):
        clock.tick(4 * HOUR.total_seconds())
        outside.fill_in(acme)
    read_soon(troth, acme)
    clock.tick(1)
    catch_up(troth, acme)
    last = form_of(troth, acme).last_lead_at
    assert last == clock() - timedelta(seconds=1)
    tomorrow(clock)
    check(troth, acme)
    assert form_of(troth, acme).silent_since is None
    clock.tick(2 * DAY.total_seconds())
    change_form(troth, acme, check_due_at=clock())
    check(troth, acme)
    assert form_of(troth, acme).silent_since == last
    outside.fill_in(acme)
    read_soon(troth, acme)
    catch_up(troth, acme)
    assert form_of(troth, acme).silent_since is None


def test_a_page_that_needs_a_person_is_counted_when_it_is_well(
    troth: Services, acme: Company, clock: FrozenClock
) -> None:
    tomorrow(clock)
    change_connection(troth, acme, status=NEEDS_RECONNECT)
    assert check(troth, acme).state == DONE
    assert lines(troth, acme) == []
    tomorrow(clock)
    change_connection(troth, acme, status=ACTIVE)
    check(troth, acme)
    assert [line.provider for line in lines(troth, acme)] == [1]


@pytest.mark.every_database
def test_a_lead_that_a_deletion_has_taken_is_not_missed(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    """The person asked to be deleted, the connection lives on, and Meta still lists the lead."""
    catch_up(troth, acme)
    with Work(troth, acme.id) as work:
        (lead,) = leads.leads_page(work.session)
        wish = Wish("subject", "api", email=lead.email_hash, phone=lead.phone_hash, urgent=True)
        tenant = work.session.get_one(Tenant, acme.id)
        row, _ = request_erasure(work.session, tenant=tenant, wish=wish, undo=DAY, now=clock())
        work.put(deletions_run(acme.id, row.id))
    settle(Runner(troth, HANDLERS), troth)
    with tenant_session(troth.database, acme.id) as session:
        assert leads.leads_page(session) == []
    tomorrow(clock)
    assert check(troth, acme).state == DONE
    assert [(line.status, line.missing) for line in lines(troth, acme)] == [(GREEN, [])]
