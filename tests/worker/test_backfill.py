"""`leads.backfill`: from a wished instant to now, resumable, with progress, and a sentence when it stands still."""

from datetime import timedelta

import pytest

from models.connection import NEEDS_RECONNECT
from models.form import BACKFILL_DONE, BACKFILL_RUNNING, KEPT, Form, TooFarBack, begin_backfill
from models.job import DONE, WAITING, Job
from models.tenancy import tenant_session
from tests.conftest import Company, FrozenClock
from tests.worker.outside import Outside, settle, user_of
from tests.worker.readings import DAY, before_reads, change_connection, discover, form_of, run, stored
from tests.worker.runner import Runner
from worker import jobs
from worker.services import Services
from worker.tasks import HANDLERS, reading

PART = 10


@pytest.fixture
def troth(outside: Outside, acme: Company, monkeypatch: pytest.MonkeyPatch) -> Services:
    monkeypatch.setattr(reading, "PART", PART)
    discover(outside.services, acme)
    return outside.services


def old(outside: Outside, clock: FrozenClock, company: Company, number: int, age: timedelta = 30 * DAY) -> set[str]:
    """Leads from before the connection was made."""
    made = outside.server.world.add_leads(
        f"6{company.page_id}", number, created_at=clock().replace(microsecond=0) - age
    )
    return {lead.id for lead in made}


def begin(troth: Services, company: Company, age: timedelta = KEPT) -> None:
    with tenant_session(troth.database, company.id) as session:
        form = session.get_one(Form, form_of(troth, company).id)
        begin_backfill(session, form, troth.clock() - age, troth.clock())


def backfill(troth: Services, company: Company, age: timedelta = KEPT) -> Job:
    begin(troth, company, age)
    return run(troth, jobs.leads_backfill(company.id, company.connection_id, form_of(troth, company).id))


def test_what_is_older_than_meta_keeps_is_refused_at_the_door(troth: Services, acme: Company) -> None:
    with pytest.raises(TooFarBack):
        begin(troth, acme, KEPT + timedelta(seconds=1))
    assert form_of(troth, acme).backfill_state is None


@pytest.mark.every_database
def test_leads_from_before_the_connection_come_and_are_counted(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    ours = old(outside, clock, acme, 25)
    older = old(outside, clock, acme, 3, 50 * DAY)
    proven = form_of(troth, acme).proven_until
    assert backfill(troth, acme, 40 * DAY).state == DONE
    assert stored(troth, acme) == dict.fromkeys(ours, "backfill")
    form = form_of(troth, acme)
    assert (form.backfill_state, form.backfill_read, form.backfill_after, form.backfill_sentence) == (
        BACKFILL_DONE, 25, None, None,
    )  # fmt: skip
    assert form.proven_until == proven, "what is proven is the catch-up's word"
    backfill(troth, acme)
    assert set(stored(troth, acme)) == ours | older
    assert form_of(troth, acme).backfill_read == 28


def test_a_throttled_backfill_goes_on_where_it_was(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    ours = old(outside, clock, acme, 35)
    outside.panel.press("usage", kind="form_leads", percent=90, minutes=9, times=1)
    assert backfill(troth, acme).state == WAITING
    form = form_of(troth, acme)
    assert (form.backfill_state, form.backfill_read) == (BACKFILL_RUNNING, PART)
    assert form.backfill_after is not None
    clock.tick(9 * 60)
    settle(Runner(troth, HANDLERS), troth)
    assert set(stored(troth, acme)) == ours
    assert form_of(troth, acme).backfill_state == BACKFILL_DONE
    assert outside.server.calls.requests["form_leads"] == 1 + 4, "no part twice"


def test_a_backfill_whose_token_dies_says_so_and_goes_on_with_a_new_one(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    ours = old(outside, clock, acme, 35)
    world = outside.server.world
    job = backfill(before_reads(outside, [2], lambda: world.kill(acme.token)), acme)
    form = form_of(troth, acme)
    assert (job.state, job.error_kind, form.backfill_read, form.backfill_state) == (
        WAITING, "needs_user", 20, BACKFILL_RUNNING,
    )  # fmt: skip
    assert form.backfill_sentence
    outside.connect(acme, "facebook_leads", f"4{acme.page_id}")
    clock.tick(1)
    settle(Runner(troth, HANDLERS), troth)
    form = form_of(troth, acme)
    assert (form.backfill_state, form.backfill_sentence, form.backfill_read) == (BACKFILL_DONE, None, 35)
    assert set(stored(troth, acme)) == ours


def test_a_backfill_asked_while_a_person_is_needed_goes_on_after_the_reconnect(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    ours = old(outside, clock, acme, 15)
    change_connection(troth, acme, status=NEEDS_RECONNECT, health_sentence="The access has ended.", health_fix="Again.")
    parked = backfill(troth, acme, 40 * DAY)
    assert (parked.state, parked.error_kind, parked.error_sentence) == (WAITING, "needs_user", "The access has ended.")
    outside.connect(acme, "facebook_leads", user_of(acme))
    settle(Runner(troth, HANDLERS), troth)
    assert stored(troth, acme) == dict.fromkeys(ours, "backfill")
    assert form_of(troth, acme).backfill_state == BACKFILL_DONE


@pytest.mark.every_database
def test_a_backfill_that_is_begun_anew_is_not_ended_by_the_one_before(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    ours = old(outside, clock, acme, 25) | old(outside, clock, acme, 15, 60 * DAY)
    backfill(before_reads(outside, [1], lambda: begin(troth, acme)), acme, 40 * DAY)
    clock.tick(60)
    run(troth, jobs.leads_backfill(acme.id, acme.connection_id, form_of(troth, acme).id))
    assert set(stored(troth, acme)) == ours
    assert form_of(troth, acme).backfill_state == BACKFILL_DONE


@pytest.mark.every_database
def test_a_form_that_is_gone_ends_its_backfill_with_a_sentence(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    old(outside, clock, acme, 5)
    outside.server.world.remove_form(f"6{acme.page_id}")
    assert backfill(troth, acme).state == DONE
    form = form_of(troth, acme)
    assert form.backfill_state == BACKFILL_DONE and form.backfill_sentence


def test_a_connection_closed_in_the_middle_gets_nothing_more_written(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    old(outside, clock, acme, 35)
    job = backfill(before_reads(outside, [0], lambda: change_connection(troth, acme, status="revoking")), acme)
    assert (job.state, stored(troth, acme)) == (DONE, {})


def test_a_long_backfill_goes_to_the_end_of_its_lane_now_and_then(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PARTS_A_TURN", 2)
    ours = old(outside, clock, acme, 35)
    assert backfill(troth, acme).state == DONE
    assert set(stored(troth, acme)) == ours
