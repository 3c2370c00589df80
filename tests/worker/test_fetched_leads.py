"""`leads.fetch` and what else is known: the form's labels and mapping, the host's event, and a name for every dead end."""

from typing import Any

import pytest
from sqlalchemy import select

from integrations.facebook_leads.lead import DASHBOARD_LEAD
from models.connection import NEEDS_RECONNECT
from models.form import KEPT
from models.inbox import FAILED, HANDLED, PENDING, Notice, take_in
from models.job import DONE, Job
from models.lead import Lead, LeadHistory, read
from models.tenancy import system_session, tenant_session
from tests.conftest import Company, FrozenClock
from tests.models.accounts import look
from tests.worker.outside import Outside, settle
from tests.worker.readings import DAY, change_form, discover, events, form_of, run, stored
from tests.worker.runner import Runner
from worker import jobs
from worker.services import Services
from worker.tasks import HANDLERS


@pytest.fixture
def troth(outside: Outside, acme: Company) -> Services:
    discover(outside.services, acme)
    return outside.services


def bring(troth: Services, company: Company, *ids: str, **more: Any) -> Job:
    """What a webhook leaves behind, and the job that follows."""
    with system_session(troth.database) as session:
        refs = {"form_id": f"6{company.page_id}"}
        notices = [Notice(company.id, company.connection_id, "lead", one, "webhook", refs, **more) for one in ids]
        take_in(session, notices, troth.clock())
    return run(troth, jobs.leads_fetch(company.id, company.connection_id))


def opened(troth: Services, company: Company, column: str) -> Any:
    with tenant_session(troth.database, company.id) as session:
        keyring = troth.vault.keyring(session, company.id, company.connection_id, troth.clock())
        return read(keyring, session.scalars(select(Lead)).one(), column)


def kinds(troth: Services, company: Company) -> list[str]:
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        return sorted(session.scalars(select(LeadHistory.kind)))


@pytest.mark.every_database
def test_a_lead_takes_name_and_labels_from_its_form(outside: Outside, troth: Services, acme: Company) -> None:
    (lead,) = outside.fill_in(acme)
    bring(troth, acme, lead.id)
    assert stored(troth, acme) == {lead.id: "webhook"}
    labels = {one["key"]: one["label"] for one in form_of(troth, acme).questions}
    assert labels
    assert {one["key"]: one["label"] for one in opened(troth, acme, "answers")} == {
        one["name"]: labels.get(one["name"]) for one in lead.field_data
    }
    with tenant_session(troth.database, acme.id, reads_only=True) as session:
        assert session.scalars(select(Lead.form_name)).one() == form_of(troth, acme).name
    assert kinds(troth, acme) == ["received"]
    assert form_of(troth, acme).last_lead_at == lead.created_at


@pytest.mark.every_database
def test_a_tenants_mapping_says_what_fills_the_contact(outside: Outside, troth: Services, acme: Company) -> None:
    (lead,) = outside.fill_in(acme)
    asked = {one["name"]: one["values"] for one in lead.field_data}
    key = next(one for one, values in asked.items() if values and "@" not in values[0])
    change_form(troth, acme, mapping={"full_name": key})
    bring(troth, acme, lead.id)
    contact = opened(troth, acme, "contact")
    assert contact == {"full_name": asked[key][0].strip(), "email": None, "phone": None, "phone_raw": None}
    assert kinds(troth, acme) == ["mapped", "received"]


def test_the_dashboards_example_is_dealt_with_and_never_asked_for(
    outside: Outside, troth: Services, acme: Company
) -> None:
    (lead,) = outside.fill_in(acme)
    assert bring(troth, acme, DASHBOARD_LEAD, lead.id).state == DONE
    event = events(troth, acme)[DASHBOARD_LEAD]
    assert event.state == HANDLED and event.error_sentence and "dashboard" in event.error_sentence
    assert set(stored(troth, acme)) == {lead.id}
    assert outside.server.calls.leads.keys() == {lead.id}


@pytest.mark.every_database
def test_leads_that_are_withheld_wait_with_the_reason_and_come_when_access_is_given(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    outside.connect(acme, "facebook_leads", f"4{acme.page_id}")
    clock.tick(1)
    settle(Runner(troth, HANDLERS), troth)
    page = outside.server.world.pages[acme.page_id]
    page.lead_access = False
    made = [lead.id for lead in outside.fill_in(acme, 60)]
    bring(troth, acme, *made)
    row = look(troth.database, acme.connection_id)
    assert (row.status, row.health_code) == (NEEDS_RECONNECT, "lead_access")
    assert {event.state for event in events(troth, acme).values()} == {PENDING}
    named = {event.error_sentence for event in events(troth, acme).values()}
    assert named == {row.health_sentence}
    for _ in range(10):
        clock.tick(DAY.total_seconds())
        settle(Runner(troth, HANDLERS), troth)
    assert {event.state for event in events(troth, acme).values()} == {PENDING}, "none is given up"
    page.lead_access = True
    run(troth, jobs.connections_check(acme.id, acme.connection_id))
    assert set(stored(troth, acme)) == set(made)


def test_why_leads_are_not_shown_is_asked_once_a_run(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    made = [lead.id for lead in outside.fill_in(acme, 120)]
    outside.panel.press("missing", leads=made)
    before = outside.server.calls.requests["page"]
    bring(troth, acme, *made)
    assert outside.server.calls.requests["page"] == before + 1


def test_a_lead_older_than_meta_keeps_is_named_so_at_once(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    bring(troth, acme, "7000", occurred_at=clock() - KEPT - DAY)
    event = events(troth, acme)["7000"]
    assert (event.state, event.error_kind, event.attempts) == (FAILED, "missing", 1)
    assert event.error_sentence is not None and "90 days" in event.error_sentence
