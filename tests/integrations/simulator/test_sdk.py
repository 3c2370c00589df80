"""The real facebook-business SDK cannot tell the simulator from Meta."""

from collections.abc import Sequence
from typing import Any

import pytest
from facebook_business.adobjects.abstractobject import AbstractObject  # type: ignore[import-untyped]
from facebook_business.adobjects.application import Application  # type: ignore[import-untyped]
from facebook_business.adobjects.hasleadaccess import HasLeadAccess  # type: ignore[import-untyped]
from facebook_business.adobjects.lead import Lead  # type: ignore[import-untyped]
from facebook_business.adobjects.leadgenform import LeadgenForm  # type: ignore[import-untyped]
from facebook_business.adobjects.page import Page  # type: ignore[import-untyped]
from facebook_business.adobjects.permission import Permission  # type: ignore[import-untyped]
from facebook_business.adobjects.user import User  # type: ignore[import-untyped]
from facebook_business.api import FacebookAdsApi  # type: ignore[import-untyped]
from facebook_business.exceptions import FacebookRequestError  # type: ignore[import-untyped]
from facebook_business.session import FacebookSession  # type: ignore[import-untyped]

from integrations.simulator import meta_fields
from integrations.simulator.records import TASKS
from integrations.simulator.seed import ACME_FORM, ACME_PAGE, ACME_TOKEN, ACME_USER, APP_ID, APP_SECRET
from integrations.simulator.server import SimulatorServer
from integrations.simulator.world import SCOPES
from tests.integrations.simulator.conftest import APP_TOKEN, NOON


def api_of(simulator: SimulatorServer, token: str = ACME_TOKEN) -> Any:
    session = FacebookSession(APP_ID, APP_SECRET, token, timeout=10)
    session.GRAPH = simulator.url
    session.requests.trust_env = False
    return FacebookAdsApi(session)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (meta_fields.LEAD, Lead),
        (meta_fields.FORM, LeadgenForm),
        # `tasks` belongs to /me/accounts; the SDK knows it there as an enum only.
        (sorted(set(meta_fields.PAGE) - {"tasks"}), Page),
        (meta_fields.HAS_LEAD_ACCESS, HasLeadAccess),
        (meta_fields.USER, User),
        (("permission", "status"), Permission),
        (sorted(set(meta_fields.APPLICATION) - {"subscribed_fields"}), Application),
    ],
)
def test_every_field_of_the_simulator_is_a_field_of_the_sdk(ours: Sequence[str], theirs: type[AbstractObject]) -> None:
    known = {value for name, value in vars(theirs.Field).items() if not name.startswith("_")}
    assert set(ours) <= known


def test_the_simulator_knows_every_field_a_lead_and_a_form_have_in_the_sdk() -> None:
    for ours, theirs in ((meta_fields.LEAD, Lead), (meta_fields.FORM, LeadgenForm)):
        assert set(ours) == {value for name, value in vars(theirs.Field).items() if not name.startswith("_")}
    assert set(TASKS) <= set(vars(Page.Tasks).values())


def test_the_sdk_reads_a_lead(simulator: SimulatorServer) -> None:
    (lead,) = simulator.world.add_leads(ACME_FORM, organic=False)
    found = Lead(lead.id, api=api_of(simulator)).api_get(fields=[Lead.Field.field_data, Lead.Field.ad_id])
    assert found["field_data"] == lead.field_data
    assert found["ad_id"] == lead.ad["ad_id"]


def test_the_sdk_pages_through_a_forms_leads(simulator: SimulatorServer) -> None:
    leads = simulator.world.add_leads(ACME_FORM, 60, created_at=NOON)
    cursor = LeadgenForm(ACME_FORM, api=api_of(simulator)).get_leads(fields=["id"], params={"limit": 25})
    assert [lead["id"] for lead in cursor] == [lead.id for lead in reversed(leads)]
    assert cursor.total() == 60
    assert simulator.calls.requests["form_leads"] == 3


def test_the_sdk_stops_at_an_empty_middle_page_as_it_does_with_meta(simulator: SimulatorServer) -> None:
    simulator.world.add_leads(ACME_FORM, 6, created_at=NOON)
    simulator.world.forms[ACME_FORM].empty_page = 1
    cursor = LeadgenForm(ACME_FORM, api=api_of(simulator)).get_leads(fields=["id"], params={"limit": 2})
    assert len(list(cursor)) == 2


def test_the_sdks_batch_succeeds_fails_and_keeps_null_items_for_another_time(simulator: SimulatorServer) -> None:
    leads = simulator.world.add_leads(ACME_FORM, 3)
    simulator.panel.press("null_item", leads=[leads[1].id], times=1)
    simulator.panel.press("missing", leads=[leads[2].id])
    api = api_of(simulator)
    batch = api.new_batch()
    good: list[Any] = []
    bad: list[Any] = []
    for lead in leads:
        Lead(lead.id, api=api).api_get(
            fields=["id", "field_data"], batch=batch, success=good.append, failure=bad.append
        )
    again = batch.execute()
    assert [reply.json()["id"] for reply in good] == [leads[0].id]
    assert [reply.error().api_error_subcode() for reply in bad] == [33]
    assert len(again) == 1
    assert again.execute() is None
    assert [reply.json()["id"] for reply in good] == [leads[0].id, leads[1].id]


def test_the_sdk_reports_metas_errors(simulator: SimulatorServer) -> None:
    simulator.panel.press("throttle", page=ACME_PAGE, minutes=7)
    with pytest.raises(FacebookRequestError) as caught:
        Page(ACME_PAGE, api=api_of(simulator)).api_get(fields=["name"])
    assert (caught.value.http_status(), caught.value.api_error_code()) == (400, 80005)
    assert '"estimated_time_to_regain_access":7' in caught.value.http_headers()["X-Business-Use-Case-Usage"]


def test_the_sdk_asks_for_lead_access_and_forms_and_subscribes(simulator: SimulatorServer) -> None:
    page = Page(ACME_PAGE, api=api_of(simulator))
    assert page.api_get(fields=["has_lead_access"])["has_lead_access"]["can_access_lead"] is True
    assert [form["id"] for form in page.get_lead_gen_forms(fields=["questions"])] == [ACME_FORM]
    page.delete_subscribed_apps()
    assert len(page.get_subscribed_apps()) == 0
    page.create_subscribed_app(params={"subscribed_fields": ["leadgen"]})
    assert page.get_subscribed_apps()[0]["subscribed_fields"] == ["leadgen"]


def test_the_sdk_debugs_a_token(simulator: SimulatorServer) -> None:
    reply = api_of(simulator, APP_TOKEN).call("GET", ("debug_token",), params={"input_token": ACME_TOKEN})
    assert reply.json()["data"]["is_valid"] is True


def test_the_sdk_lists_a_persons_pages_and_permissions(simulator: SimulatorServer) -> None:
    simulator.world.declined[APP_ID, ACME_USER] = frozenset({"email"})
    token = simulator.world.issue("user", app_id=APP_ID, user_id=ACME_USER)
    api = api_of(simulator, token.value)
    (page,) = User("me", api=api).get_accounts(fields=["id", "access_token"])
    assert (page["id"], page["access_token"]) == (ACME_PAGE, ACME_TOKEN)
    found = {it["permission"]: it["status"] for it in User(ACME_USER, api=api).get_permissions()}
    assert set(found.values()) == {Permission.Status.granted, Permission.Status.declined}
    assert set(found) == {*SCOPES, "email"}


def test_the_sdk_removes_the_app_and_then_cannot_read_the_bare_true(simulator: SimulatorServer) -> None:
    token = simulator.world.issue("user", app_id=APP_ID, user_id=ACME_USER)
    with pytest.raises(TypeError, match="bool"):
        User(ACME_USER, api=api_of(simulator, token.value)).delete_permissions()
    assert token.dead == (190, 458)
    with pytest.raises(FacebookRequestError) as caught:
        Page(ACME_PAGE, api=api_of(simulator)).get_subscribed_apps()
    assert (caught.value.api_error_code(), caught.value.api_error_subcode()) == (190, 458)
