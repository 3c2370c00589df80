"""The page of retention: rules with their counts, laws, both switches; armed by another sign-in, and nobody else's."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from models.retention import LegalRetention, RetentionRule
from models.tenancy import tenant_session
from worker.services import Services

PAGE = "/admin/retention"
TERMS = {"name": "old-leads", "store": "leads", "after_days": "183", "notice_hours": "48", "batch": "500"}
LAW = {"store": "leads", "jurisdiction": "in", "reason": "Rule 8(3)", "effective_from": "2026-01-01", "until": ""}


def rules(services: Services, company: Any) -> list[RetentionRule]:
    with tenant_session(services.database, company.id, reads_only=True) as session:
        return list(session.scalars(select(RetentionRule)))


def test_a_rule_is_set_counted_and_armed_by_another_sign_in(
    enter: Callable[..., httpx.Client], acme: Any, services: Services, clock: Any,
    add_lead: Callable[..., str],
) -> None:  # fmt: skip
    add_lead(acme, "1001")
    clock.tick(timedelta(days=190).total_seconds())
    browser, second = enter(acme.id), enter(acme.id)
    assert browser.post(f"{PAGE}/rules", data={**TERMS, "after_days": "0"}).status_code == 422
    assert browser.post(f"{PAGE}/rules", data=TERMS).headers["location"] == PAGE
    assert "not counted" in browser.get(PAGE).text
    assert second.post(f"{PAGE}/rules/old-leads/arm").status_code == 409, "nobody has counted"
    assert browser.post(f"{PAGE}/rules/old-leads/dry-run").status_code == 303
    assert browser.post(f"{PAGE}/rules/old-leads/arm").status_code == 409, "it is who set it"
    assert second.post(f"{PAGE}/rules/old-leads/arm").status_code == 303
    shown = second.get(PAGE).text
    assert "Armed" in shown and '<td data-label="Would go" class="figures">1</td>' in shown
    assert browser.post(f"{PAGE}/rules/old-leads/disarm").status_code == 303
    assert "Dry run" in browser.get(PAGE).text
    assert browser.post(f"{PAGE}/rules/old-leads/drop").status_code == 303 and rules(services, acme) == []
    assert browser.post(f"{PAGE}/rules/old-leads/dream").status_code == 404


def test_laws_and_both_switches_are_shown(signed_in: httpx.Client, acme: Any, services: Services) -> None:
    signed_in.post(f"{PAGE}/rules", data=TERMS)
    assert signed_in.post(f"{PAGE}/laws", data=LAW).status_code == 303
    assert signed_in.post(f"{PAGE}/laws", data={**LAW, "jurisdiction": ""}).status_code == 422
    shown = signed_in.get(PAGE).text
    assert "Kept by law" in shown and "In effect" in shown and "TROTH_RETENTION" not in shown
    with tenant_session(services.database, acme.id, reads_only=True) as session:
        law = session.scalars(select(LegalRetention.id)).one()
    assert signed_in.post(f"{PAGE}/laws/{law}/drop").status_code == 303
    assert signed_in.post(f"{PAGE}/switch", data={"on": "false"}).status_code == 303
    assert "notices are void" in signed_in.get(PAGE).text and rules(services, acme)[0].next_at is None
    assert signed_in.post(f"{PAGE}/switch", data={"on": "true"}).status_code == 303
    assert rules(services, acme)[0].next_at is not None


def test_the_page_says_when_the_operator_has_turned_it_off(
    settings_given: dict[str, str], request: pytest.FixtureRequest
) -> None:
    settings_given["TROTH_RETENTION"] = "off"
    signed_in: httpx.Client = request.getfixturevalue("signed_in")
    assert "TROTH_RETENTION=off" in signed_in.get(PAGE).text


def test_globex_sees_nothing_of_acmes_retention_and_cannot_touch_it(
    signed_in: httpx.Client, enter: Callable[..., httpx.Client], http: httpx.Client, acme: Any, globex: Any,
    services: Services,
) -> None:  # fmt: skip
    signed_in.post(f"{PAGE}/rules", data=TERMS)
    signed_in.post(f"{PAGE}/laws", data=LAW)
    with tenant_session(services.database, acme.id, reads_only=True) as session:
        law = session.scalars(select(LegalRetention.id)).one()
    browser = enter(globex.id)
    assert "183 days" not in browser.get(PAGE).text and "Rule 8(3)" not in browser.get(PAGE).text
    assert browser.get(PAGE, params={"tenant": acme.id}).status_code == 404
    for given in ({}, {"tenant": acme.id}):
        for path in (f"{PAGE}/rules/old-leads/drop", f"{PAGE}/rules/old-leads/arm", f"{PAGE}/laws/{law}/drop"):
            assert browser.post(path, data=given).status_code == 404, path
    assert http.post(f"{PAGE}/switch", data={"on": "false"}).headers["location"] == "/admin"
    cross = {"sec-fetch-site": "cross-site"}
    assert signed_in.post(f"{PAGE}/switch", data={"on": "false"}, headers=cross).status_code == 403
    assert len(rules(services, acme)) == 1
