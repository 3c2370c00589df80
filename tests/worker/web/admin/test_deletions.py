"""Deletions as pages: counted before they are asked for, agreed to by another, whose they are, and what became of them."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from models.decision import acknowledge
from models.deletion import SCOPES, STEP_DONE, Deletion, end_step, step
from models.erasure import step_names
from models.tenancy import tenant_session
from tests.receipts import a_receipt
from tests.worker.web.forms import jobs_of
from worker.services import Services
from worker.web.deletion_page import STEP_WORDS
from worker.web.store_words import WORDS

LIST = "/admin/deletions"
ADA = {"kind": "subject", "email": "Ada@Example.com", "phone": "+1 202 555 0143"}


def scope(company: Any) -> dict[str, str]:
    return {"kind": "connection", "connection": company.connection_id}


def rows(services: Services, company: Any) -> list[Deletion]:
    with tenant_session(services.database, company.id, reads_only=True) as session:
        return list(session.scalars(select(Deletion).order_by(Deletion.id)))


@pytest.fixture
def own(signed_in: httpx.Client, acme: Any, add_lead: Callable[..., str]) -> str:
    """The page of a deletion of acme's connection, which has a lead."""
    add_lead(acme, "5001")
    answer = signed_in.post(LIST, data=scope(acme))
    assert answer.status_code == 303
    return answer.headers["location"]


def test_globex_sees_nothing_of_acmes_deletion_and_cannot_touch_it(
    enter: Callable[..., httpx.Client], http: httpx.Client, own: str, acme: Any, globex: Any, services: Services
) -> None:
    browser, acts = enter(globex.id), ("approve", "cancel", "hold", "release")
    hidden = own.rsplit("/", 1)[1]
    assert hidden not in browser.get(LIST).text
    for given in ({}, {"tenant": acme.id}):
        assert browser.get(own, params=given).status_code == 404
        for act in acts:
            assert browser.post(f"{own}/{act}", data={"reason": "dispute", **given}).status_code == 404
        for path in (LIST, f"{LIST}/preview"):
            assert browser.post(path, data={**scope(acme), **given}).status_code == 404
    for act in acts:
        assert http.post(f"{own}/{act}").headers["location"] == "/admin"
        theirs = enter(acme.id).post(f"{own}/{act}", headers={"sec-fetch-site": "cross-site"})
        assert theirs.status_code == 403
    assert [row.status for row in rows(services, acme)] == ["awaiting_approval"]
    assert rows(services, globex) == []


def test_a_preview_counts_each_store_shows_no_person_and_changes_nothing(
    signed_in: httpx.Client, acme: Any, services: Services, add_lead: Callable[..., str]
) -> None:
    add_lead(acme, "5001")
    add_lead(acme, "5002", contact={"email": "bob@example.com"})

    for given, leads in (
        (scope(acme), 4), ({"kind": "integration", "integration": "facebook_leads"}, 4), (ADA, 2),
        ({"kind": "subject", "email": "nobody@example.com"}, 0),
    ):  # fmt: skip
        page = signed_in.post(f"{LIST}/preview", data=given).text
        assert re.search(rf"Leads and their history</td><td[^>]*>{leads}<", page), given
        assert ("a second person has to agree" in page) == bool(leads)
        assert "Wednesday, 11 March 2026" in page
        shown = re.sub(r'<input type="hidden"[^>]+>', "", page)
        assert "example.com" not in shown.lower().replace("a***@example.com", "").replace("n***@example.com", "")
    for wrong in ({}, {"kind": "tenant"}, {"kind": "subject"}, {"kind": "subject", "email": "x"}, {"kind": "connection"},
                  {"kind": "integration", "integration": "fax"}):  # fmt: skip
        for path in (LIST, f"{LIST}/preview"):
            assert signed_in.post(path, data=wrong).status_code == 422, wrong
    assert rows(services, acme) == []


def test_who_asked_cannot_agree_and_when_another_has_it_begins_at_once(
    signed_in: httpx.Client, enter: Callable[..., httpx.Client], own: str, acme: Any, services: Services, clock: Any
) -> None:
    page = signed_in.get(own).text
    assert "Waiting for a second person" in page
    assert "somebody else has to agree" in page
    assert "Agree to the deletion" not in page
    refused = signed_in.post(f"{own}/approve")
    assert refused.status_code == 409
    assert "only when two people agree" in refused.text
    assert rows(services, acme)[0].approved_at is None

    clock.tick(timedelta(hours=11).total_seconds())  # a sign-in lives for twelve
    other = enter(acme.id)
    assert "Agree to the deletion" in other.get(own).text
    clock.tick(timedelta(hours=0.5).total_seconds())
    assert other.post(f"{own}/approve").headers["location"] == own
    assert "deletions.run" not in jobs_of(services, acme), "the time for second thoughts is not over"
    assert "Agreed to" in other.get(own).text
    clock.tick(timedelta(hours=13).total_seconds())
    late = enter(acme.id)
    for act in ("hold", "release"):
        assert late.post(f"{own}/{act}", data={"reason": "dispute"}).status_code == 303
    assert "deletions.run" in jobs_of(services, acme)


def test_a_key_is_one_person_however_often_it_signs_in_and_at_the_api_too(
    http: httpx.Client, acme: Any, services: Services, key_of: Callable[..., str], add_lead: Callable[..., str]
) -> None:
    add_lead(acme, "5001")
    key, other = key_of(acme), key_of(acme)
    http.post("/admin/sign-in", data={"key": key})
    own = http.post(LIST, data=scope(acme)).headers["location"]
    http.post("/admin/sign-out")
    http.post("/admin/sign-in", data={"key": key})
    assert http.post(f"{own}/approve").status_code == 409
    address = f"/v1/deletions/{own.rsplit('/', 1)[1]}/approve"
    assert http.post(address, headers={"authorization": f"Bearer {key}"}).status_code == 409
    assert rows(services, acme)[0].approved_at is None
    http.post("/admin/sign-in", data={"key": other})
    assert http.post(f"{own}/approve").status_code == 303
    assert rows(services, acme)[0].approved_at is not None


def test_a_hold_says_why_it_is_lawful_and_what_is_not_possible_is_said(
    signed_in: httpx.Client, http: httpx.Client, own: str, acme: Any, services: Services, clock: Any
) -> None:
    assert signed_in.post(f"{own}/hold", data={"reason": "Mr Smith says so"}).status_code == 422
    signed_in.post(f"{own}/hold", data={"reason": "legal_claim"})
    code = rows(services, acme)[0].confirmation_code
    for page in (signed_in.get(own).text, http.get(f"/deletions/{code}").text):
        assert "On hold" in page
        assert "The data is needed for a legal claim" in page
    signed_in.post(f"{own}/release")
    again = signed_in.post(f"{own}/release")
    assert (again.status_code, "there is no hold to release" in again.text) == (409, True)
    assert signed_in.post(f"{own}/cancel").status_code == 303
    assert "Cancelled" in signed_in.get(LIST).text
    gone = signed_in.get(own).text
    for button in ("Agree", "Cancel the deletion", "End the hold", ">Hold<"):
        assert button not in gone


def test_the_page_shows_counts_days_what_the_crm_attested_and_the_receipt(
    signed_in: httpx.Client, http: httpx.Client, own: str, acme: Any, services: Services, clock: Any
) -> None:
    (row,) = rows(services, acme)
    with tenant_session(services.database, acme.id) as session:
        for name, number in (("leads", 1_200), ("lead_history", 34)):
            one = step(session, row.id, name)
            one.before, one.deleted, one.after = number + 5, number, 5
            end_step(session, row.id, name, STEP_DONE, None, clock())
        acknowledge(session.get_one(Deletion, row.id), system="crm_core", deleted=77, now=clock())
    a_receipt(services.database, services.vault, acme, clock, row)

    page = signed_in.get(own).text
    counts = re.findall(r'class="figures">([\d,]+)<', page)
    assert counts == ["39", "34", "5", "1,205", "1,200", "5"]
    for shown in ('2026-03-07 <span class="dim">Saturday', "Crm core: 77 deleted", "&#34;signature&#34;",
                  "7 working days left", "Lead history", "Wednesday, 11 March 2026"):  # fmt: skip
        assert shown in page, shown
    assert "2 of " in signed_in.get(LIST).text
    public = f"/deletions/{row.confirmation_code}"
    assert "Leads and their history: 1,234 deleted" in http.get(public).text
    told = http.get(public, headers={"accept": "application/json"}).json()["requests"][0]
    assert told["deleted"] == [{"what": "Leads and their history", "rows": 1_234}]
    assert "Overdue" not in page


def test_an_overdue_deletion_says_so_in_the_list(
    enter: Callable[..., httpx.Client], own: str, acme: Any, clock: Any
) -> None:
    clock.tick(timedelta(days=11).total_seconds())
    assert "Overdue" in enter(acme.id).get(LIST).text
    assert "Overdue" in enter(acme.id).get(own).text


def test_every_store_that_an_erasure_takes_has_words_for_people() -> None:
    taken = {name for kind in SCOPES for name in step_names(kind)} - STEP_WORDS.keys()
    named = [name for names in WORDS.values() for name in names]
    assert sorted(named) == sorted(taken)
