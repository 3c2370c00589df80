"""A tenant's leads: exactly its own, exactly the promised fields."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from models.base import new_id
from models.lead import Lead
from models.tenancy import tenant_session
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from worker.services import Services


def found(api: Api, **params: Any) -> list[str]:
    return [item["external_id"] for item in good(api("GET", "/v1/leads", params=params))["items"]]


@pytest.mark.every_database
def test_globex_sees_nothing_of_acmes_leads(
    as_tenant: Callable[..., Api], platform: Callable[..., Api], acme: Any, globex: Any, add_lead: Callable[..., str]
) -> None:
    lead = add_lead(acme, "5001")
    add_lead(globex, "6001", contact={"full_name": "G", "email": "g@example.com", "phone": None, "phone_raw": None})

    for api in (as_tenant(globex), platform("globex")):
        assert found(api) == ["6001"]
        assert found(api, q="ada@example.com") == []
        assert found(api, q="+12025550143") == []
        assert found(api, q="5001") == []
        assert found(api, page_id=acme.page_id) == []
        for path in (f"/v1/leads/{lead}", f"/v1/leads/{lead}/history"):
            theirs, unknown = api("GET", path), api("GET", path.replace(lead, new_id()))
            problem(theirs, 404, "not-found")
            assert theirs.text == unknown.text
        problem(api("POST", f"/v1/leads/{lead}/history", json={"kind": "called"}), 404, "not-found")


def test_what_is_not_an_id_is_not_found(as_tenant: Callable[..., Api], acme: Any) -> None:
    api = as_tenant(acme)
    for lead_id in ("x", "5001", "00000000-0000-0000-0000-00000000000g", "%00", "..%2f..", "é"):
        problem(api("GET", f"/v1/leads/{lead_id}"), 404, "not-found")


def test_a_question_that_makes_no_sense_is_refused(as_tenant: Callable[..., Api], acme: Any) -> None:
    api = as_tenant(acme)
    questions: list[tuple[dict[str, str], int, str]] = [
        ({"q": "Ada"}, 400, "unsearchable"),
        ({"q": "a\x00b"}, 422, "invalid"),
        ({"q": ""}, 422, "invalid"),
        ({"q": "x" * 321}, 422, "invalid"),
        ({"form_id": "\x00"}, 422, "invalid"),
        ({"since": "yesterday"}, 422, "invalid"),
        ({"since": "2026-03-02"}, 422, "invalid"),
        ({"since": "2026-03-02T09:00:00"}, 422, "invalid"),
        ({"until": "9999-12-31T23:59:59-10:00"}, 422, "invalid"),
        ({"limit": "101"}, 422, "invalid"),
        ({"is_test": "perhaps"}, 422, "invalid"),
        ({"acknowledged": "2"}, 422, "invalid"),
        ({"source": "fax"}, 422, "invalid"),
        ({"cursor": "AAAA"}, 400, "bad-cursor"),
    ]
    for params, status, kind in questions:
        problem(api("GET", "/v1/leads", params=params), status, kind)


def test_a_lead_has_exactly_the_promised_fields(
    as_tenant: Callable[..., Api], acme: Any, add_lead: Callable[..., str]
) -> None:
    lead = add_lead(acme, "5001")

    one = good(as_tenant(acme)("GET", f"/v1/leads/{lead}"))

    assert good(as_tenant(acme)("GET", "/v1/leads")) == {"items": [one], "next": None}
    assert one == {
        "id": lead, "external_id": "5001", "connection_id": acme.connection_id, "page_id": acme.page_id,
        "form_id": "777", "form_name": "Spring offer", "created_at": "2026-03-02T08:59:56Z",
        "received_at": "2026-03-02T09:00:00Z", "source": "webhook", "platform": "fb", "is_test": False,
        "is_organic": False, "duplicate_of": None, "acknowledged_at": None,
        "contact": {"full_name": "Ada Example", "email": "ada@example.com", "phone": "+12025550143",
                    "phone_raw": "202 555 0143"},
        "answers": [{"key": "city", "label": "City", "values": ["Dublin", "Cork"]}],
        "consents": [{"key": "terms", "is_checked": True}], "ad": {"campaign_name": "Spring"}, "history_count": 1,
    }  # fmt: skip


@pytest.mark.every_database
def test_leads_are_found_by_what_is_known_of_them(
    as_tenant: Callable[..., Api], acme: Any, add_lead: Callable[..., str], clock: Any
) -> None:
    nobody = {"full_name": None, "email": None, "phone": None, "phone_raw": None}
    add_lead(acme, "5001", created_at=clock() - timedelta(days=2), form_external_id="1", contact=nobody)
    add_lead(acme, "5002", form_external_id="2")
    api = as_tenant(acme, "leads:read")

    assert found(api, q=" ADA@Example.com ") == ["5002"]
    assert found(api, q="(202) 555-0143") == ["5002"]
    assert found(api, q="+1 202 555 0143") == ["5002"]
    assert found(api, q="5001") == ["5001"]
    assert found(api, q="5001", form_id="2") == []
    assert found(api, q="99999") == []
    assert found(api, form_id="1") == ["5001"]
    assert found(api, page_id=acme.page_id, since="2026-03-01T00:00:00Z") == ["5002"]
    assert found(api, until="2026-03-01T00:00:00+01:00") == ["5001"]
    assert found(api, q="ada@example.com", until="2026-03-01T00:00:00Z") == []


@pytest.mark.every_database
def test_leads_are_filtered_by_what_they_are_and_whether_the_host_has_them(
    as_tenant: Callable[..., Api], acme: Any, add_lead: Callable[..., str]
) -> None:
    nobody = {"full_name": None, "email": None, "phone": None, "phone_raw": None}
    add_lead(acme, "5001", is_test=True, contact=nobody)
    had = add_lead(acme, "5002", source="backfill", contact=nobody)
    add_lead(acme, "5003")
    api = as_tenant(acme)
    good(api("POST", "/v1/leads/acknowledge", json={"ids": [had]}))

    assert found(api, is_test="true") == ["5001"]
    assert found(api, is_test="false") == ["5003", "5002"]
    assert found(api, source="backfill") == ["5002"]
    assert found(api, source="catch_up") == []
    assert found(api, acknowledged="true") == ["5002"]
    assert found(api, acknowledged="false") == ["5003", "5001"]
    for key, yes in (("is_test", "5001"), ("acknowledged", "5002")):
        assert found(api, q=yes, **{key: "true"}) == [yes]
        assert found(api, q=yes, **{key: "false"}) == []
    assert found(api, q="ada@example.com", source="backfill") == []
    assert found(api, q="5002", source="webhook") == []


def test_pages_hold_every_lead_once(as_tenant: Callable[..., Api], acme: Any, add_lead: Callable[..., str]) -> None:
    for number in range(5):
        add_lead(acme, f"{5000 + number}")
    api, seen, cursor = as_tenant(acme), [], None
    while True:
        page = good(api("GET", "/v1/leads", params={"limit": 2} | ({"cursor": cursor} if cursor else {})))
        seen += [item["external_id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
        problem(api("GET", "/v1/jobs", params={"cursor": cursor}), 400, "bad-cursor")
        for letter in set("AQgw_-9") - {cursor[-1]}:
            problem(api("GET", "/v1/leads", params={"cursor": cursor[:-1] + letter}), 400, "bad-cursor")
    assert sorted(seen) == [f"{5000 + number}" for number in range(5)]


def test_a_lead_whose_key_was_destroyed_shows_no_person(
    as_tenant: Callable[..., Api], acme: Any, add_lead: Callable[..., str], services: Services
) -> None:
    lead = add_lead(acme, "5001")
    with tenant_session(services.database, acme.id) as session:
        services.vault.destroy(session, acme.id, acme.connection_id)

    one = good(as_tenant(acme)("GET", f"/v1/leads/{lead}"))

    assert set(one["contact"].values()) == {None}
    assert one["answers"] == one["consents"] == []
    answer = as_tenant(acme)("POST", f"/v1/leads/{lead}/history", json={"kind": "called", "text": "Hello"})
    problem(answer, 409, "being-erased")


@pytest.mark.every_database
def test_a_persons_leads_are_listed_as_one_when_the_tenant_says_so_and_none_is_gone(
    as_tenant: Callable[..., Api], acme: Any, globex: Any, add_lead: Callable[..., str], services: Services
) -> None:
    leads = {at: add_lead(acme, at) for at in ("5001", "5002", "5003")}
    with tenant_session(services.database, acme.id) as session:
        session.get_one(Lead, leads["5002"]).duplicate_of = leads["5001"]
    add_lead(globex, "6001")
    api, theirs = as_tenant(acme), as_tenant(globex)

    assert good(api("GET", "/v1/lead-merging")) == {"on": False}
    assert found(api) == ["5003", "5002", "5001"]
    assert found(api, merged=True) == ["5003", "5001"]

    assert good(api("PUT", "/v1/lead-merging", json={"on": True})) == {"on": True}
    assert good(theirs("GET", "/v1/lead-merging")) == {"on": False}
    assert found(api) == ["5003", "5001"]
    assert found(api, merged=False) == ["5003", "5002", "5001"]
    assert found(api, duplicate_of=leads["5001"]) == ["5002"]
    assert found(api, q="ada@example.com") == ["5003", "5002", "5001"], "who looks for a person sees all of its leads"
    assert found(theirs, duplicate_of=leads["5001"]) == []
    problem(api("GET", "/v1/leads", params={"duplicate_of": "5001"}), 422, "invalid")
