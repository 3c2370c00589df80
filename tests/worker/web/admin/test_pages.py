"""The leads as pages: whose they are, what is masked, what is escaped, and what a person is told to do."""

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from models.base import new_id
from models.connection import Connection, needs_person
from models.inbox import Notice, take_in
from models.lead import Lead, acknowledge
from models.tenancy import SYSTEM, tenant_session
from tests.worker.web.conftest import PLATFORM_KEY
from worker.services import Services


def links(page: str) -> list[str]:
    return re.findall(r'href="(/admin/leads/[^"]+)"', page)


def test_globex_sees_nothing_of_acmes_leads(
    enter: Callable[..., httpx.Client], acme: Any, globex: Any, add_lead: Callable[..., str]
) -> None:
    lead, browser = add_lead(acme, "5001"), enter(globex.id)

    page = browser.get("/admin/leads")
    assert page.status_code == 200
    assert links(page.text) == []
    assert "Acme" not in page.text
    for q in ("ada@example.com", "+12025550143", "5001"):
        assert links(browser.post("/admin/leads/search", data={"q": q}).text) == []
    theirs, unknown = browser.get(f"/admin/leads/{lead}"), browser.get(f"/admin/leads/{new_id()}")
    assert theirs.status_code == 404
    assert theirs.text == unknown.text
    for tenant in (acme.id, SYSTEM, "x", new_id()):
        assert browser.get("/admin/leads", params={"tenant": tenant}).status_code == 404
        assert browser.get(f"/admin/leads/{lead}", params={"tenant": tenant}).status_code == 404
        answer = browser.post("/admin/leads/search", data={"q": "5001", "tenant": tenant})
        assert answer.status_code == 404
    assert browser.get("/admin/tenants").headers["location"] == "/admin/leads"


def test_the_list_masks_what_the_leads_own_page_shows(
    signed_in: httpx.Client, acme: Any, add_lead: Callable[..., str]
) -> None:
    add_lead(acme, "5001", is_test=True)

    listed = signed_in.get("/admin/leads").text
    for personal in ("Ada Example", "ada@example", "2025550143", "202 555 0143"):
        assert personal not in listed
    for shown in ("A*** E***", "a***@example.com", "•••• 43", ">Test<", "Spring offer", "Facebook", "Webhook"):
        assert shown in listed
    assert "04:00" in listed  # nine o'clock UTC in New York

    own = signed_in.get(links(listed)[0]).text
    for shown in ("Ada Example", "ada@example.com", "+12025550143", "202 555 0143", "Dublin, Cork", "Agreed", "Stored"):
        assert shown in own


@pytest.mark.every_database
def test_what_people_wrote_is_shown_as_text(signed_in: httpx.Client, acme: Any, add_lead: Callable[..., str]) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    add_lead(
        acme, "5001", form_name=evil, platform=evil[:32], ad={"campaign_name": evil},
        contact={"full_name": evil, "email": f"{evil}@example.com", "phone": None, "phone_raw": evil},
        answers=[{"key": evil, "label": None, "values": [evil]}, {"key": "values", "label": "Q", "values": []}],
        consents=[{"key": evil, "is_checked": None}],
    )  # fmt: skip

    listed = signed_in.get("/admin/leads", params={"form_id": evil, "page_id": evil}).text
    found = signed_in.post("/admin/leads/search", data={"q": "5001"}).text
    echoed = signed_in.post("/admin/leads/search", data={"q": evil}).text
    for page in (listed, found, echoed, signed_in.get(links(found)[0]).text):
        assert "<script" not in page
        assert "<img src=x" not in page


def test_who_looks_for_a_name_is_told_why_it_cannot_be_found(signed_in: httpx.Client) -> None:
    assert "Names are stored sealed" in signed_in.post("/admin/leads/search", data={"q": "Ada"}).text


def test_a_search_is_posted_so_that_no_address_holds_a_person(
    signed_in: httpx.Client, acme: Any, add_lead: Callable[..., str]
) -> None:
    add_lead(acme, "5001")

    page = signed_in.post("/admin/leads/search", data={"q": "ada@example.com"}).text
    assert len(links(page)) == 1
    assert not re.search(r'(href|action)="[^"]*ada', page)


@pytest.mark.every_database
def test_days_are_days_of_the_tenant(
    signed_in: httpx.Client, acme: Any, add_lead: Callable[..., str], clock: Any
) -> None:
    add_lead(acme, "5001", created_at=clock().replace(hour=3))  # the day before in New York

    assert len(links(signed_in.get("/admin/leads", params={"since": "2026-03-01", "until": "2026-03-01"}).text)) == 1
    assert links(signed_in.get("/admin/leads", params={"since": "2026-03-02"}).text) == []
    for day in ("yesterday", "0001-01-01", "2026-13-01"):
        assert signed_in.get("/admin/leads", params={"since": day}).status_code == 422


@pytest.mark.every_database
def test_leads_are_filtered_by_how_they_came_and_whether_the_crm_has_them(
    signed_in: httpx.Client, acme: Any, add_lead: Callable[..., str], services: Services
) -> None:
    nobody = {"full_name": None, "email": None, "phone": None, "phone_raw": None}
    one = add_lead(acme, "5001", source="backfill", contact=nobody)
    two = add_lead(acme, "5002", is_test=True, contact=nobody)
    with tenant_session(services.database, acme.id) as session:
        acknowledge(session, acme.id, [one], services.clock())

    def shown(**chosen: str) -> list[str]:
        return [link.rsplit("/", 1)[1] for link in links(signed_in.get("/admin/leads", params=chosen).text)]

    assert shown(source="backfill") == shown(is_test="no") == shown(acknowledged="yes") == [one]
    assert shown(source="webhook") == shown(is_test="yes") == shown(acknowledged="no") == [two]
    assert shown(source="fax") == shown(is_test="perhaps") == [two, one]
    page = signed_in.get(f"/admin/leads/{one}").text
    assert "In the CRM" in page
    assert "The CRM said that it has it" in page


@pytest.mark.every_database
def test_a_persons_other_leads_are_named_and_test_leads_are_not_among_them(
    signed_in: httpx.Client, acme: Any, globex: Any, add_lead: Callable[..., str], services: Services
) -> None:
    first, test = add_lead(acme, "5001"), add_lead(acme, "5002", is_test=True)
    second = add_lead(acme, "5003", contact={"full_name": "A", "email": "Ada@Example.com", "phone": None,
                                             "phone_raw": None})  # fmt: skip
    add_lead(globex, "6001")
    with tenant_session(services.database, acme.id) as session:
        session.get_one(Lead, second).duplicate_of = first

    assert signed_in.get("/admin/leads").text.count("Known person") == 1
    of = {one: links(signed_in.get(f"/admin/leads/{one}").text) for one in (first, second, test)}
    assert of == {first: [f"/admin/leads/{second}"], second: [f"/admin/leads/{first}"], test: []}
    assert "(the first)" in signed_in.get(f"/admin/leads/{second}").text

    merged = signed_in.post("/admin/leads/merging", data={"on": "true"}, follow_redirects=True).text
    assert f"/admin/leads/{second}" not in merged
    assert f"/admin/leads/{first}" in merged
    assert "Show every lead" in merged


@pytest.mark.every_database
def test_pages_follow_each_other(signed_in: httpx.Client, acme: Any, add_lead: Callable[..., str]) -> None:
    for number in range(53):
        add_lead(acme, f"{5000 + number}", form_external_id="777")
    first = signed_in.get("/admin/leads", params={"form_id": "777"}).text
    following = re.search(r'href="([^"]+)" rel="next"', first)
    assert following is not None

    second = signed_in.get(following[1].replace("&amp;", "&")).text

    assert (len(links(first)), len(links(second))) == (50, 3)
    assert not set(links(first)) & set(links(second))
    assert signed_in.get("/admin/leads", params={"cursor": "AAAA"}).status_code == 400


def test_a_broken_connection_says_what_to_do_and_what_waits(
    signed_in: httpx.Client, acme: Any, services: Services
) -> None:
    with tenant_session(services.database, acme.id) as session:
        row = session.scalars(select(Connection)).one()
        needs_person(session, row, code="190", sentence="Meta refused the token.", fix="Connect the page again.",
                     now=services.clock())  # fmt: skip
        take_in(session, [Notice(acme.id, row.id, "lead", str(n), "webhook") for n in range(3)], services.clock())

    page = signed_in.get("/admin/leads").text

    for told in ("Meta refused the token.", "Connect the page again.", "3 leads are waiting", 'role="alert"'):
        assert told in page


def test_an_empty_list_says_what_to_do(
    enter: Callable[..., httpx.Client], signed_in: httpx.Client, http: httpx.Client
) -> None:
    assert "No lead yet" in signed_in.get("/admin/leads").text
    assert "No lead matches" in signed_in.get("/admin/leads", params={"form_id": "1"}).text
    body = {"external_id": "new", "name": "New", "country": "IE", "timezone": "UTC"}
    headers = {"authorization": f"Bearer {PLATFORM_KEY}"}
    tenant = http.post("/v1/tenants", json=body, headers=headers).json()["id"]
    assert "No Facebook page is connected" in enter(tenant).get("/admin/leads").text


@pytest.mark.every_database
def test_an_operator_chooses_a_tenant_and_stays_with_it(
    enter: Callable[..., httpx.Client], acme: Any, globex: Any, add_lead: Callable[..., str]
) -> None:
    add_lead(acme, "5001")
    browser = enter(None)
    assert browser.get("/admin/leads").headers["location"] == "/admin/tenants"
    choices = re.findall(r'href="(/admin/leads\?tenant=[^"]+)"', browser.get("/admin/tenants").text)
    assert choices == [f"/admin/leads?tenant={acme.id}", f"/admin/leads?tenant={globex.id}"]

    page = browser.get(choices[0]).text
    assert links(page)[0].endswith(f"?tenant={acme.id}")
    assert "Ada Example" in browser.get(links(page)[0]).text
    assert links(browser.get(choices[1]).text) == []
    found = browser.post("/admin/leads/search", data={"q": "5001", "tenant": acme.id}).text
    assert len(links(found)) == 1
    assert browser.get("/admin/leads", params={"tenant": SYSTEM}).status_code == 404


def test_pages_load_nothing_from_elsewhere_and_run_no_script(
    signed_in: httpx.Client, acme: Any, add_lead: Callable[..., str], http: httpx.Client
) -> None:
    add_lead(acme, "5001")
    listed = signed_in.get("/admin/leads").text
    for page in (listed, signed_in.get(links(listed)[0]).text, http.get("/admin").text, http.get("/admin/x").text):
        assert not re.search(r"https?://|<script|style=|\son\w+=", page)
        for address in re.findall(r'(?:src|href)="(/admin/static/[^"]+)"', page):
            assert http.get(address).status_code == 200
    assert http.get("/admin/static/../rendering.py").status_code == 404
    assert http.get("/admin/static/%2e%2e/rendering.py").status_code == 404
