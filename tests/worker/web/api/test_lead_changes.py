"""What a host does to its leads: says that it has them, and puts a contact right; nobody else's, and nothing twice."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from models.base import new_id
from models.feed import LEAD_UPDATED
from models.lead import Lead, Stored
from models.lead_facts import mark_duplicates
from models.schema import metadata
from models.tenancy import system_session, tenant_session
from tests.worker.outside import settle
from tests.worker.runner import Runner
from tests.worker.web.answers import good, problem
from tests.worker.web.api.test_exports import ask
from tests.worker.web.conftest import Api
from tests.worker.web.forms import events_of
from worker.services import Services
from worker.tasks import HANDLERS


def updates(services: Services, company: Any) -> list[dict[str, Any]]:
    return [data for kind, data in events_of(services, company) if kind == LEAD_UPDATED]


def kinds(api: Api, lead: str) -> list[str]:
    return sorted(one["kind"] for one in good(api("GET", f"/v1/leads/{lead}/history"))["items"])


def test_globex_changes_nothing_of_acmes_leads(
    as_tenant: Callable[..., Api], platform: Callable[..., Api], acme: Any, globex: Any, add_lead: Callable[..., str],
    services: Services,
) -> None:  # fmt: skip
    lead = add_lead(acme, "5001")
    before = good(as_tenant(acme)("GET", f"/v1/leads/{lead}"))

    for api in (as_tenant(globex), platform("globex")):
        assert good(api("POST", "/v1/leads/acknowledge", json={"ids": [lead]})) == {"acknowledged": 0}
        for method, more, body in (
            ("POST", "/acknowledge", None),
            ("PATCH", "", {"contact": {"email": "g@example.com"}}),
        ):
            theirs = api(method, f"/v1/leads/{lead}{more}", json=body)
            problem(theirs, 404, "not-found")
            assert theirs.text == api(method, f"/v1/leads/{new_id()}{more}", json=body).text
            problem(api(method, f"/v1/leads/x{more}", json=body), 404, "not-found")
    assert good(as_tenant(acme)("GET", f"/v1/leads/{lead}")) == before
    assert updates(services, acme) == updates(services, globex) == []


@pytest.mark.parametrize(
    "wish",
    [{}, {"ids": []}, {"ids": ["5001"]}, {"ids": "all"}, {"ids": [None]}, {"ids": [new_id()] * 501}, {"all": True}],
    ids=["nothing", "empty", "not ours", "text", "null", "501", "unknown field"],
)
def test_a_wish_that_makes_no_sense_acknowledges_nothing(
    wish: dict[str, Any], as_tenant: Callable[..., Api], acme: Any, add_lead: Callable[..., str]
) -> None:
    lead = add_lead(acme, "5001")

    problem(as_tenant(acme)("POST", "/v1/leads/acknowledge", json=wish), 422, "invalid")

    assert good(as_tenant(acme)("GET", f"/v1/leads/{lead}"))["acknowledged_at"] is None


def test_reading_leads_is_no_right_to_change_them(
    as_tenant: Callable[..., Api], acme: Any, add_lead: Callable[..., str]
) -> None:
    lead, api = add_lead(acme, "5001"), as_tenant(acme, "leads:read")
    problem(api("POST", "/v1/leads/acknowledge", json={"ids": [lead]}), 403, "missing-scope")
    problem(api("POST", f"/v1/leads/{lead}/acknowledge"), 403, "missing-scope")
    problem(api("PATCH", f"/v1/leads/{lead}", json={"contact": {}}), 403, "missing-scope")


def test_leads_are_acknowledged_once_and_keep_the_first_instant(
    as_tenant: Callable[..., Api], acme: Any, add_lead: Callable[..., str], clock: Any
) -> None:
    nobody = {"full_name": None, "email": None, "phone": None, "phone_raw": None}
    leads = [add_lead(acme, str(5000 + number), contact=nobody) for number in range(3)]
    api = as_tenant(acme)

    first = good(api("POST", "/v1/leads/acknowledge", json={"ids": [leads[0], leads[0], leads[1], new_id()]}))
    clock.tick(60)
    again = good(api("POST", "/v1/leads/acknowledge", json={"ids": leads}))
    alone = good(api("POST", f"/v1/leads/{leads[0]}/acknowledge"))

    assert (first, again) == ({"acknowledged": 2}, {"acknowledged": 1})
    assert alone == {"id": leads[0], "acknowledged_at": "2026-03-02T09:00:00Z"}
    assert good(api("GET", f"/v1/leads/{leads[2]}"))["acknowledged_at"] == "2026-03-02T09:01:00Z"
    for lead in leads:
        assert kinds(api, lead) == ["acknowledged", "received"]


@pytest.mark.parametrize(
    "contact, field",
    [
        ({"email": "no address"}, "contact.email"),
        ({"email": "ada@"}, "contact.email"),
        ({"email": ""}, "contact.email"),
        ({"phone": "call me"}, "contact.phone"),
        ({"phone": "12345"}, "contact.phone"),
        ({"full_name": "A\x00da"}, "contact.full_name"),
        ({"full_name": 7}, "contact.full_name"),
        ({"phone_raw": "1"}, "contact.(unknown field)"),
        (None, "contact"),
    ],
    ids=["no at", "no domain", "empty", "words", "short", "NUL", "number", "raw", "null"],
)
def test_a_contact_that_cannot_be_right_is_refused_without_repeating_it(
    contact: Any, field: str, as_tenant: Callable[..., Api], acme: Any, add_lead: Callable[..., str], services: Services
) -> None:
    lead, api = add_lead(acme, "5001"), as_tenant(acme)

    answer = api("PATCH", f"/v1/leads/{lead}", json={"contact": contact})

    errors = problem(answer, 422, "invalid")["errors"]
    assert [one["field"] for one in errors] == [f"body.{field}"]
    for value in (contact or {}).values():
        assert not value or str(value) not in answer.text.replace("+353 1 234 5678", "")
    assert good(api("GET", f"/v1/leads/{lead}"))["contact"]["email"] == "ada@example.com"
    assert kinds(api, lead) == ["received"]
    assert updates(services, acme) == []


@pytest.mark.every_database
def test_a_lead_is_found_by_what_was_put_right_and_not_by_what_was_wrong(
    as_tenant: Callable[..., Api], acme: Any, add_lead: Callable[..., str], services: Services
) -> None:
    lead, api = add_lead(acme, "5001"), as_tenant(acme)
    path, wish = f"/v1/leads/{lead}", {"contact": {"email": " Grace@Example.org", "phone": "(202) 555-0199"}}

    after = good(api("PATCH", path, json=wish))

    assert after["contact"] == {"full_name": "Ada Example", "email": "Grace@Example.org", "phone": "+12025550199",
                                "phone_raw": "(202) 555-0199"}  # fmt: skip
    assert good(api("GET", path)) == after
    assert after["answers"] == [{"key": "city", "label": "City", "values": ["Dublin", "Cork"]}]
    for q, ids in (("grace@example.org", ["5001"]), ("+12025550199", ["5001"]), ("ada@example.com", []),
                   ("+12025550143", [])):  # fmt: skip
        assert [one["external_id"] for one in good(api("GET", "/v1/leads", params={"q": q}))["items"]] == ids
    assert good(api("PATCH", path, json=wish)) == after  # and a second time changes nothing
    assert kinds(api, lead) == ["received", "rectified"]
    told = {"lead_id": lead, "connection_id": acme.connection_id, "external_id": "5001", "form_id": "777"}
    assert updates(services, acme) == [told]
    texts = [one["text"] for one in good(api("GET", f"{path}/history"))["items"] if one["kind"] == "rectified"]
    assert texts == ["Put right: email, phone."]


def test_null_empties_a_field_and_it_is_found_by_it_no_more(
    as_tenant: Callable[..., Api], acme: Any, add_lead: Callable[..., str]
) -> None:
    lead, api = add_lead(acme, "5001"), as_tenant(acme)

    wish = {"contact": {"full_name": None, "email": None, "phone": None}}
    assert set(good(api("PATCH", f"/v1/leads/{lead}", json=wish))["contact"].values()) == {None}

    for q in ("ada@example.com", "+12025550143"):
        assert good(api("GET", "/v1/leads", params={"q": q}))["items"] == []


def test_a_lead_whose_key_was_destroyed_is_not_put_right(
    as_tenant: Callable[..., Api], acme: Any, add_lead: Callable[..., str], services: Services
) -> None:
    lead = add_lead(acme, "5001")
    with tenant_session(services.database, acme.id) as session:
        services.vault.destroy(session, acme.id, acme.connection_id)

    problem(as_tenant(acme)("PATCH", f"/v1/leads/{lead}", json={"contact": {"email": "g@example.com"}}), 409,
            "being-erased")  # fmt: skip


@pytest.mark.every_database
def test_no_copy_shows_what_was_wrong_once_it_was_put_right(
    as_tenant: Callable[..., Api], acme: Any, globex: Any, add_lead: Callable[..., str], services: Services
) -> None:
    def contact(email: str) -> dict[str, str | None]:
        return {"full_name": "Ada Example", "email": email, "phone": None, "phone_raw": None}

    api = as_tenant(acme)
    written = ("ann@example.com", "wrong@example.com", "wrong@example.com")
    first, wrong, last = (add_lead(acme, f"500{at}", contact=contact(email)) for at, email in enumerate(written))
    add_lead(globex, "6001", contact=contact("wrong@example.com"))
    with tenant_session(services.database, acme.id) as session:
        mark_duplicates(session, acme.id, [Stored.of(session.get_one(Lead, one)) for one in (first, wrong, last)])
    whose = {one: ask(api, {"kind": "subject", "email": f"{one}@example.com"}) for one in ("ann", "wrong")}
    whole = ask(api, {"kind": "tenant"})
    theirs = ask(as_tenant(globex), {"kind": "subject", "email": "wrong@example.com"})
    settle(Runner(services, HANDLERS), services)
    assert good(api("GET", f"/v1/leads/{last}"))["duplicate_of"] == wrong

    right = good(api("PATCH", f"/v1/leads/{wrong}", json={"contact": {"email": "ann@example.com"}}))
    assert right["duplicate_of"] == first, "who it is now has a first lead"
    assert good(api("GET", f"/v1/leads/{last}"))["duplicate_of"] is None, "and who it is not has another one"
    assert [good(api("GET", f"/v1/exports/{whose[one]}"))["status"] for one in ("ann", "wrong")] == ["expired"] * 2
    assert good(api("GET", f"/v1/exports/{whole}"))["status"] == "ready", "of the whole tenant as it was at its date"
    assert good(as_tenant(globex)("GET", f"/v1/exports/{theirs}"))["status"] == "ready"
    assert [one["id"] for one in good(api("GET", "/v1/leads", params={"q": "wrong@example.com"}))["items"]] == [last]
    with system_session(services.database, reads_only=True) as session:
        for table in metadata.sorted_tables:
            said = repr(session.execute(text(f"SELECT * FROM {table.name}")).all())
            assert not re.search("ann@|wrong@", said), f"in the clear in {table.name}"
