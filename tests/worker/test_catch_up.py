"""`leads.catch_up` against a Meta that fails in the middle: what was made before the proven point is here, once."""

from datetime import timedelta

import pytest

from integrations.facebook_leads.paging import CursorGone
from models.connection import ACTIVE, NEEDS_RECONNECT
from models.form import Form
from models.inbox import HANDLED, Notice, take_in
from models.job import DONE, WAITING
from models.lead import store
from models.reading import LATE
from models.tenancy import system_session
from tests.at_once import at_once
from tests.conftest import Company, FrozenClock
from tests.worker.outside import Outside, settle
from tests.worker.readings import (
    DAY,
    HOUR,
    before_reads,
    catch_up,
    change_connection,
    change_form,
    discover,
    events,
    form_of,
    job_of,
    read_soon,
    run,
    stored,
)
from tests.worker.runner import Runner
from worker import jobs
from worker.schedule import tick
from worker.services import Services
from worker.tasks import HANDLERS, reading
from worker.work import Work


class Killed(BaseException):
    """As a process that is gone: nothing of the job is decided, nothing is written."""


@pytest.fixture
def troth(outside: Outside, acme: Company, globex: Company, monkeypatch: pytest.MonkeyPatch) -> Services:
    """With forms that are known and read to the present, and small parts."""
    monkeypatch.setattr(reading, "PART", 10)
    discover(outside.services, acme)
    discover(outside.services, globex)
    return outside.services


def made(outside: Outside, clock: FrozenClock, company: Company, number: int) -> set[str]:
    """People fill in the form, then an hour passes."""
    ids = {lead.id for lead in outside.fill_in(company, number)}
    clock.tick(3600)
    return ids


def reads(outside: Outside) -> int:
    return outside.server.calls.requests["form_leads"]


@pytest.mark.every_database
def test_leads_whose_webhooks_were_lost_are_caught_up_each_in_its_tenant(
    outside: Outside, troth: Services, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    ours, theirs = made(outside, clock, acme, 25), made(outside, clock, globex, 3)
    clock.tick(DAY.total_seconds())
    assert catch_up(troth, acme).state == DONE
    assert stored(troth, acme) == dict.fromkeys(ours, "catch_up")
    assert stored(troth, globex) == {}
    form = form_of(troth, acme)
    assert (form.proven_until, form.reading_began_at, form.reading_after) == (clock() - LATE, None, None)
    assert form.read_due_at is not None and clock() + 12 * HOUR < form.read_due_at < clock() + DAY
    catch_up(troth, globex)
    assert stored(troth, globex) == dict.fromkeys(theirs, "catch_up")


@pytest.mark.every_database
def test_a_worker_killed_between_parts_loses_nothing_and_the_next_goes_on_behind_the_last_part(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = made(outside, clock, acme, 45)
    read_soon(troth, acme)
    parts = iter(range(99))

    def dies(*args: object, **kwargs: object) -> object:
        if next(parts) == 2:
            raise Killed
        return store(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "store", dies)
    with pytest.raises(Killed):
        catch_up(troth, acme)
    assert len(stored(troth, acme)) == 20
    form = form_of(troth, acme)
    assert form.reading_after is not None and form.proven_until is not None and form.proven_until < clock() - HOUR
    before = reads(outside)
    clock.tick(60)
    settle(Runner(troth, HANDLERS), troth)
    assert stored(troth, acme) == dict.fromkeys(ours, "catch_up")
    assert reads(outside) - before == 3, "the third part, the fourth and the fifth"


def test_a_cursor_that_meta_no_longer_takes_begins_the_reading_again(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    ours = made(outside, clock, acme, 35)
    change_form(troth, acme, reading_since=clock() - DAY, reading_began_at=clock() - HOUR, reading_after="no cursor")
    assert catch_up(troth, acme).state == DONE
    assert stored(troth, acme) == dict.fromkeys(ours, "catch_up")
    assert form_of(troth, acme).proven_until == clock() - LATE


def test_a_cursor_that_is_lost_again_and_again_makes_the_job_wait(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    made(outside, clock, acme, 35)
    read_soon(troth, acme)

    def lose() -> None:
        raise CursorGone("It is gone.")

    job = catch_up(before_reads(outside, (1, 3), lose), acme)
    assert (job.state, job.error_kind, reads(outside)) == (WAITING, "transient", 4)


def test_a_throttle_in_the_middle_is_waited_out_and_reading_goes_on(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    ours = made(outside, clock, acme, 35)
    read_soon(troth, acme)
    job = catch_up(
        before_reads(
            outside, [2], lambda: outside.panel.press("throttle", kind="form_leads", code=80005, minutes=7, times=1)
        ),
        acme,
    )
    assert (job.state, job.error_kind, job.due_at) == (WAITING, "throttled", clock() + timedelta(minutes=7))
    assert len(stored(troth, acme)) == 20
    clock.tick(7 * 60)
    settle(Runner(troth, HANDLERS), troth)
    assert stored(troth, acme) == dict.fromkeys(ours, "catch_up")
    assert form_of(troth, acme).proven_until == clock() - timedelta(minutes=7) - LATE, "it proves when it began"


def test_most_of_a_budget_is_left_alone_until_metas_wait_is_over(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    ours = made(outside, clock, acme, 25)
    read_soon(troth, acme)
    outside.panel.press("usage", kind="form_leads", percent=85, minutes=11, times=1)
    job = catch_up(troth, acme)
    assert (job.state, job.error_kind, job.due_at) == (WAITING, None, clock() + timedelta(minutes=11))
    assert (len(stored(troth, acme)), reads(outside)) == (10, 3)
    clock.tick(11 * 60)
    settle(Runner(troth, HANDLERS), troth)
    assert stored(troth, acme) == dict.fromkeys(ours, "catch_up")


def test_a_token_that_dies_in_the_middle_parks_the_reading_and_a_new_one_brings_the_rest(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    ours = made(outside, clock, acme, 35)
    read_soon(troth, acme)
    world = outside.server.world
    dying = before_reads(outside, [2], lambda: world.kill(acme.token))
    job = catch_up(dying, acme)
    assert (job.state, job.error_kind, len(stored(troth, acme))) == (WAITING, "needs_user", 20)
    ours |= made(outside, clock, acme, 5)
    outside.connect(acme, "facebook_leads", f"4{acme.page_id}")
    clock.tick(1)
    settle(Runner(troth, HANDLERS), troth)
    assert set(stored(troth, acme)) == ours
    form = form_of(troth, acme)
    assert form.proven_until is not None and form.proven_until > clock() - 2 * LATE


@pytest.mark.every_database
def test_a_connection_revoked_in_the_middle_gets_nothing_more_written(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    made(outside, clock, acme, 35)
    read_soon(troth, acme)
    before = form_of(troth, acme)
    closing = before_reads(outside, [0], lambda: change_connection(troth, acme, status="revoking"))
    assert catch_up(closing, acme).state == DONE
    assert stored(troth, acme) == {}
    assert form_of(troth, acme).proven_until == before.proven_until


def test_a_part_that_is_too_large_is_asked_for_in_less(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PART", 500)
    ours = made(outside, clock, acme, 120)
    read_soon(troth, acme)
    outside.server.world.forms[f"6{acme.page_id}"].most = 50
    assert catch_up(troth, acme).state == DONE
    assert set(stored(troth, acme)) == ours


def test_an_empty_part_in_the_middle_is_no_end(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    ours = made(outside, clock, acme, 35)
    read_soon(troth, acme)
    outside.server.world.forms[f"6{acme.page_id}"].empty_page = 1
    catch_up(troth, acme)
    assert set(stored(troth, acme)) == ours


def test_a_form_deleted_at_meta_is_marked_and_its_neighbours_go_on(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    world = outside.server.world
    first = world.forms[f"6{acme.page_id}"]
    world.add_form(type(first)("77", first.page, "Other", "en_US", first.questions, clock()))
    discover(troth, acme)
    made(outside, clock, acme, 2)
    theirs = {lead.id for lead in world.add_leads("77", 3)}
    world.remove_form(first.id)
    read_soon(troth, acme)
    clock.tick(60)
    assert catch_up(troth, acme).state == DONE
    assert set(stored(troth, acme)) == theirs
    gone = form_of(troth, acme)
    assert gone.gone_at == clock() and gone.gone_sentence and "form" in gone.gone_sentence
    assert form_of(troth, acme, "77").gone_at is None


def test_leads_that_are_withheld_need_a_person_and_no_form_is_called_gone(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    made(outside, clock, acme, 2)
    read_soon(troth, acme)
    outside.server.world.pages[acme.page_id].lead_access = False
    job = catch_up(troth, acme)
    assert (job.state, job.error_kind) == (WAITING, "needs_user")
    assert form_of(troth, acme).gone_at is None


@pytest.mark.every_database
def test_a_lead_that_comes_by_webhook_and_by_catch_up_at_once_is_stored_once(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    ours = made(outside, clock, acme, 40)
    read_soon(troth, acme)
    with system_session(troth.database) as session:
        notices = [Notice(acme.id, acme.connection_id, "lead", one, "webhook") for one in sorted(ours)]
        take_in(session, notices, clock())
    with Work(troth, None) as work:
        work.put(jobs.leads_fetch(acme.id, acme.connection_id), jobs.leads_catch_up(acme.id, acme.connection_id))
    at_once(lambda: Runner(troth, HANDLERS).run_all(), lambda: Runner(troth, HANDLERS).run_all("bulk"))
    clock.tick(60)
    settle(Runner(troth, HANDLERS), troth)
    assert set(stored(troth, acme)) == ours
    assert {event.state for event in events(troth, acme).values()} == {HANDLED}


def test_an_event_whose_lead_was_caught_up_is_dealt_with_whatever_it_waited_for(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    (one,) = made(outside, clock, acme, 1)
    read_soon(troth, acme)
    with system_session(troth.database) as session:
        take_in(session, [Notice(acme.id, acme.connection_id, "lead", one, "webhook")], clock() + DAY)
    catch_up(troth, acme)
    assert stored(troth, acme) == {one: "catch_up"}
    assert events(troth, acme)[one].state == HANDLED


def test_a_reading_goes_back_a_little_behind_the_proven_point_and_no_further(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    clock.tick(3600)
    read_soon(troth, acme)
    catch_up(troth, acme)
    world, form = outside.server.world, f"6{acme.page_id}"
    proven = form_of(troth, acme).proven_until
    assert proven is not None
    (late,) = world.add_leads(form, 1, created_at=proven - timedelta(minutes=14))
    (old,) = world.add_leads(form, 1, created_at=proven - timedelta(minutes=16))
    read_soon(troth, acme)
    catch_up(troth, acme)
    assert late.id in stored(troth, acme) and old.id not in stored(troth, acme)


def test_no_reading_goes_back_behind_the_connection_when_the_page_was_anothers(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    before = clock.now.replace(microsecond=0) - timedelta(minutes=2)
    (anothers,) = outside.server.world.add_leads(f"6{acme.page_id}", 1, created_at=before)
    for _ in range(2):
        read_soon(troth, acme)
        catch_up(troth, acme)
    assert anothers.id not in stored(troth, acme)


def test_a_gap_found_during_a_reading_is_read_after_it(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    made(outside, clock, acme, 25)
    read_soon(troth, acme)
    catch_up(before_reads(outside, [1], lambda: read_soon(troth, acme)), acme)
    form = form_of(troth, acme)
    assert form.reading_began_at is None and form.read_due_at is not None and form.read_due_at > clock()
    assert reads(outside) == 2 + 3 + 1, "first ones of both pages, the reading, and the one for the gap"


def test_a_form_that_is_not_due_is_not_read(outside: Outside, troth: Services, acme: Company) -> None:
    before = reads(outside)
    assert catch_up(troth, acme).state == DONE
    assert reads(outside) == before


def test_a_form_without_leads_is_read_once_a_week_and_at_once_when_meta_counts_one(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    read_soon(troth, acme)
    catch_up(troth, acme)
    due = form_of(troth, acme).read_due_at
    assert due is not None and clock() + 5 * DAY < due <= clock() + 7 * DAY
    ours = made(outside, clock, acme, 1)
    discover(troth, acme)
    assert set(stored(troth, acme)) == ours
    due = form_of(troth, acme).read_due_at
    assert due is not None and clock() < due


def made_while_unsubscribed(outside: Outside, troth: Services, acme: Company, clock: FrozenClock) -> set[str]:
    """Leads of a connected page whose subscription is lost."""
    outside.connect(acme, "facebook_leads", f"4{acme.page_id}")
    clock.tick(1)
    settle(Runner(troth, HANDLERS), troth)
    clock.tick(60)
    outside.server.world.pages[acme.page_id].subscribed.clear()
    return made(outside, clock, acme, 3)


def test_a_subscription_that_was_lost_and_mended_has_its_gap_read(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    ours = made_while_unsubscribed(outside, troth, acme, clock)
    run(troth, jobs.connections_check(acme.id, acme.connection_id))
    assert set(stored(troth, acme)) == ours
    assert job_of(troth, jobs.LEADS_CATCH_UP).state == DONE


@pytest.mark.parametrize("is_together", [False, True])
def test_the_gap_of_a_subscription_is_read_also_when_nobody_heard_that_it_was_mended(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock, is_together: bool
) -> None:
    ours = made_while_unsubscribed(outside, troth, acme, clock)
    outside.panel.press("lost_answer", kind="subscribed_apps", times=1)
    if is_together:
        tick(troth, jobs.CONNECTIONS_SWEEP)
    else:
        run(troth, jobs.connections_check(acme.id, acme.connection_id))
    for _ in range(2):
        settle(Runner(troth, HANDLERS), troth)
        clock.tick(60)
    assert outside.server.calls.faults["subscribed_apps/lost_answer"] == 1
    assert set(stored(troth, acme)) == ours


def test_a_connection_that_needs_a_person_is_not_read(outside: Outside, troth: Services, acme: Company) -> None:
    read_soon(troth, acme)
    change_connection(troth, acme, status=NEEDS_RECONNECT)
    before = reads(outside)
    assert catch_up(troth, acme).state == DONE
    assert reads(outside) == before
    change_connection(troth, acme, status=ACTIVE)
    assert isinstance(form_of(troth, acme), Form)
