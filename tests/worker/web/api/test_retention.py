"""Retention by the API: rules that begin in dry run, what they mean, laws, the switch; clear refusals, and whose they are."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Text, select, type_coerce

from models.feed import LEAD_PLACE, LEAD_UPDATED, Event
from models.receipt_body import sentence_or
from models.tenancy import tenant_session
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from worker.services import Services

RULE = "/v1/retention-rules/old-leads"
TERMS = {"store": "leads", "after_days": 183}
LAW = {"store": "leads", "jurisdiction": "IN", "reason": "DPDP Rules 2025, 8(3)", "effective_from": "2026-01-01"}


@pytest.fixture
def api(as_tenant: Callable[..., Api], acme: Any) -> Api:
    return as_tenant(acme)


@pytest.mark.every_database
def test_a_rule_begins_in_dry_run_shows_what_it_means_and_another_person_arms_it(
    api: Api, add_lead: Callable[..., str], acme: Any, clock: Any
) -> None:
    lead = add_lead(acme, "1001")
    clock.tick(timedelta(days=190).total_seconds())
    add_lead(acme, "1002")
    made = good(api("PUT", RULE, json={**TERMS, "requested_by": "Ann"}))
    assert (made["state"], made["armed"], made["notice_hours"], made["counted"]) == ("dry_run", False, 48, None)
    problem(api("PUT", RULE, json={**TERMS, "armed": True, "requested_by": "Bob"}), 409, "wrong-state")
    counted = good(api("POST", f"{RULE}/dry-run"))
    assert counted["stores"] == [{"name": "leads", "rows": 1}, {"name": "lead_history", "rows": 1}]
    assert [one["id"] for one in good(api("GET", f"{RULE}/leads"))["items"]] == [lead]
    problem(api("PUT", RULE, json={**TERMS, "armed": True, "requested_by": "ann "}), 409, "second-person-needed")
    assert good(api("PUT", RULE, json={**TERMS, "armed": True, "requested_by": "Bob"}))["state"] == "armed"
    assert good(api("PUT", RULE, json={**TERMS, "armed": False}))["state"] == "dry_run"
    assert [one["name"] for one in good(api("GET", "/v1/retention-rules"))["items"]] == ["old-leads"]
    assert good(api("GET", "/v1/leads"))["items"][0]["external_id"] == "1002", "nothing is gone"
    assert api("DELETE", RULE).status_code == 204
    problem(api("GET", RULE), 404, "not-found")


@pytest.mark.parametrize(
    "wrong, field, words",
    [
        ({"store": "calls"}, "body.store", "leads"),
        ({"after_days": 0}, "body.after_days", "greater than or equal to 7"),
        ({"notice_hours": 24}, "body.notice_hours", "greater than or equal to 48"),
        ({"batch": 0}, "body.batch", "greater than or equal to 1"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_the_mend(
    api: Api, wrong: dict[str, Any], field: str, words: str
) -> None:
    (error,) = problem(api("PUT", RULE, json={**TERMS, **wrong}), 422, "invalid")["errors"]
    assert error["field"] == field and words in error["problem"]


@pytest.mark.every_database
def test_a_law_is_an_exception_of_previews_and_dry_runs_until_it_is_taken_away(
    api: Api, add_lead: Callable[..., str], acme: Any, clock: Any
) -> None:
    add_lead(acme, "1001")
    clock.tick(timedelta(days=190).total_seconds())
    good(api("PUT", RULE, json=TERMS))
    law = good(api("POST", "/v1/legal-retentions", json={**LAW, "until": "2027-05-13"}), 201)
    (said,) = good(api("POST", f"{RULE}/dry-run"))["exceptions"]
    assert said.startswith("The law of IN asks to keep leads from 2026-01-01 until 2027-05-13")
    assert sentence_or(said, "") == said, "a receipt may say it"
    scope = {"kind": "connection", "connection_id": acme.connection_id}
    assert good(api("POST", "/v1/deletions/preview", json={"scope": scope}))["exceptions"] == [said]
    assert [one["id"] for one in good(api("GET", "/v1/legal-retentions"))["items"]] == [law["id"]]
    assert api("DELETE", f"/v1/legal-retentions/{law['id']}").status_code == 204
    assert good(api("POST", f"{RULE}/dry-run"))["exceptions"] == []
    missing = {name: value for name, value in LAW.items() if name != "jurisdiction"}
    for wrong, field in ((missing, "body.jurisdiction"), ({**LAW, "store": "calls"}, "body.store"),
                         ({**LAW, "until": "2025-01-01"}, "body")):  # fmt: skip
        (error,) = problem(api("POST", "/v1/legal-retentions", json=wrong), 422, "invalid")["errors"]
        assert error["field"] == field


def test_globex_sees_and_touches_nothing_of_acmes_retention_and_scopes_are_kept(
    api: Api, as_tenant: Callable[..., Api], acme: Any, globex: Any, add_lead: Callable[..., str],
    services: Services,
) -> None:  # fmt: skip
    lead = add_lead(acme, "1001")
    good(api("PATCH", f"/v1/leads/{lead}", json={"contact": {"full_name": "Ada"}}))
    with tenant_session(services.database, acme.id, reads_only=True) as session:
        (data,) = session.scalars(select(type_coerce(Event.data, Text)).where(Event.type == LEAD_UPDATED))
    assert data[LEAD_PLACE - 1 :].startswith(lead), "an erasure of many finds it there"
    good(api("PUT", RULE, json=TERMS))
    law = good(api("POST", "/v1/legal-retentions", json=LAW), 201)["id"]
    theirs = as_tenant(globex)
    for path in ("/v1/retention-rules", "/v1/legal-retentions"):
        assert good(theirs("GET", path))["items"] == []
    for method, path in (("GET", RULE), ("DELETE", RULE), ("POST", f"{RULE}/dry-run"), ("GET", f"{RULE}/leads"),
                         ("DELETE", f"/v1/legal-retentions/{law}")):  # fmt: skip
        problem(theirs(method, path), 404, "not-found")
    good(theirs("PUT", "/v1/retention-switch", json={"on": False}))
    assert good(api("GET", "/v1/retention-switch")) == {"on": True, "off_since": None, "installation_on": True}
    assert good(theirs("PUT", RULE, json={**TERMS, "after_days": 30}))["next_at"] is None, "switched off"
    assert good(api("GET", RULE))["after_days"] == 183
    metrics = api.http.get("/metrics").text
    assert 'troth_retention_rules{state="dry_run"} 2.0' in metrics and "troth_retention_on 1.0" in metrics
    reader = as_tenant(acme, "deletions:read")
    assert good(reader("GET", RULE))["name"] == "old-leads"
    problem(reader("PUT", RULE, json=TERMS), 403, "missing-scope")
    problem(as_tenant(acme, "leads:read")("GET", RULE), 403, "missing-scope")
