"""`forms.discover` and the sweep: every form of a page is known, those that are gone are marked, and nothing is asked twice."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from integrations.simulator.records import Form as MetaForm
from models.connection import REVOKED
from models.form import NOT_LISTED, Form
from models.inbox import Notice, take_in
from models.job import DONE, WAITING, Job
from models.lead import Lead
from models.tenancy import system_session, tenant_session
from tests.conftest import Company, FrozenClock
from tests.worker.outside import Outside, settle
from tests.worker.readings import DAY, HOUR, change_connection, change_form, discover, form_of, run, stored
from tests.worker.runner import Runner
from worker import jobs
from worker.services import Services
from worker.tasks import HANDLERS
from worker.tasks.leads import FORMS_LISTED_EVERY


def add_form(outside: Outside, company: Company, form_id: str) -> MetaForm:
    world = outside.server.world
    first = world.forms[f"6{company.page_id}"]
    return world.add_form(MetaForm(form_id, first.page, f"Form {form_id}", "de_DE", first.questions, world.clock()))


def lists(outside: Outside) -> int:
    return outside.server.calls.requests["leadgen_forms"]


@pytest.mark.every_database
def test_a_form_is_stored_with_what_it_asks_and_read_at_once(
    outside: Outside, troth: Services, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    lead = outside.fill_in(acme)[0]
    assert discover(troth, acme).state == DONE
    form = form_of(troth, acme)
    truth = outside.server.world.forms[form.external_id]
    assert (form.name, form.locale, form.status, form.leads_count) == (truth.name, truth.locale, "ACTIVE", 1)
    assert [one["key"] for one in form.questions] == [one.key for one in truth.questions]
    assert set(stored(troth, acme)) == {lead.id}
    with tenant_session(troth.database, globex.id, reads_only=True) as session:
        assert session.scalars(select(Form)).all() == []


@pytest.mark.every_database
def test_a_form_that_is_not_listed_any_more_is_gone_until_it_is_back(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    discover(troth, acme)
    page = outside.server.world.pages[acme.page_id]
    hidden, page.forms = page.forms, []
    clock.tick(60)
    discover(troth, acme)
    form = form_of(troth, acme)
    assert (form.gone_at, form.gone_sentence) == (clock(), NOT_LISTED)
    page.forms = hidden
    lead = outside.fill_in(acme)[0]
    discover(troth, acme)
    assert form_of(troth, acme).gone_at is None
    assert set(stored(troth, acme)) == {lead.id}, "it is read at once"


def test_a_page_that_is_not_shown_is_looked_at_and_its_forms_stay(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    discover(troth, acme)
    outside.panel.press("missing", kind="leadgen_forms", times=1)
    clock.tick(60)
    assert discover(troth, acme).state == DONE
    assert form_of(troth, acme).gone_at is None
    with system_session(troth.database, reads_only=True) as session:
        assert jobs.CONNECTIONS_CHECK in session.scalars(select(Job.kind)).all()


@pytest.mark.parametrize("does", ["html_502", "throttle"])
def test_meta_out_of_order_costs_time_and_nothing_else(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock, does: str
) -> None:
    outside.panel.press(does, kind="leadgen_forms", times=1)  # type: ignore[arg-type]
    assert discover(troth, acme).state == WAITING
    clock.tick(3600)
    settle(Runner(troth, HANDLERS), troth)
    assert form_of(troth, acme).name


def test_a_page_closed_while_its_forms_were_listed_gets_none(outside: Outside, troth: Services, acme: Company) -> None:
    change_connection(troth, acme, status=REVOKED)
    assert discover(troth, acme).state == DONE
    with system_session(troth.database, reads_only=True) as session:
        assert session.scalars(select(Form)).all() == []
    assert lists(outside) == 0


@pytest.mark.every_database
def test_a_lead_of_a_form_nobody_listed_has_the_forms_listed_and_gets_its_name(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    discover(troth, acme)
    clock.tick(2 * 3600)
    add_form(outside, acme, "77")
    lead = outside.server.world.add_leads("77", 1)[0]
    with system_session(troth.database) as session:
        take_in(session, [Notice(acme.id, acme.connection_id, "lead", lead.id, "webhook", {"form_id": "77"})], clock())
    run(troth, jobs.leads_fetch(acme.id, acme.connection_id))
    assert form_of(troth, acme, "77").name == "Form 77"
    with tenant_session(troth.database, acme.id, reads_only=True) as session:
        assert session.scalars(select(Lead.form_name)).all() == ["Form 77"]


def sweep(troth: Services) -> set[str]:
    """The kinds of jobs that a sweep put."""
    run(troth, jobs.tick(jobs.LEADS_SWEEP, jobs.BULK, troth.clock()))
    with system_session(troth.database, reads_only=True) as session:
        query = select(Job.kind).where(Job.created_at == troth.clock(), Job.kind != jobs.LEADS_SWEEP)
        return set(session.scalars(query))


@pytest.mark.every_database
def test_a_sweep_puts_what_is_due_and_nothing_else(
    outside: Outside, troth: Services, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    for company in (acme, globex):
        discover(troth, company)
    clock.tick(1)
    change_form(troth, acme, read_due_at=clock() + HOUR, check_due_at=clock() + HOUR)
    change_form(troth, globex, read_due_at=clock() + HOUR, check_due_at=clock() + HOUR)
    assert sweep(troth) == set()
    clock.tick(1)
    change_form(troth, acme, read_due_at=clock())
    assert sweep(troth) == {jobs.LEADS_CATCH_UP}
    clock.tick(1)
    change_form(troth, acme, read_due_at=clock() + DAY, check_due_at=clock())
    assert sweep(troth) == {jobs.LEADS_CHECK}
    change_form(troth, acme, check_due_at=clock() + 2 * DAY, read_due_at=clock() + 2 * DAY)
    change_form(troth, globex, check_due_at=clock() + 2 * DAY, read_due_at=clock() + 2 * DAY)
    clock.tick((FORMS_LISTED_EVERY + timedelta(seconds=1)).total_seconds())
    assert sweep(troth) == {jobs.FORMS_DISCOVER}


def test_a_page_without_forms_is_asked_once_a_day(
    outside: Outside, troth: Services, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    change_connection(troth, globex, status=REVOKED)
    outside.server.world.pages[acme.page_id].forms.clear()
    for _ in range(24):
        sweep(troth)
        clock.tick(3600)
        settle(Runner(troth, HANDLERS), troth)
    assert lists(outside) == 1


@pytest.mark.every_database
def test_a_sweep_goes_through_all_pages(
    troth: Services, acme: Company, globex: Company, monkeypatch: pytest.MonkeyPatch, clock: FrozenClock
) -> None:
    monkeypatch.setattr("worker.tasks.leads.SWEPT_AT_ONCE", 1)
    for company in (acme, globex):
        discover(troth, company)
        change_form(troth, company, read_due_at=clock() + HOUR, check_due_at=clock())
    clock.tick(1)
    sweep(troth)
    with system_session(troth.database, reads_only=True) as session:
        checks = session.scalars(select(Job.connection_id).where(Job.kind == jobs.LEADS_CHECK)).all()
    assert set(checks) == {acme.connection_id, globex.connection_id}
