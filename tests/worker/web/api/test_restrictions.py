"""Restrictions by the API: a person's leads are in no list, no file and no search, are not changed, and go to the person."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.worker.outside import settle
from tests.worker.runner import Runner
from tests.worker.web.answers import good, problem
from tests.worker.web.api.test_exports import ask, opened, rows
from tests.worker.web.conftest import Api
from worker.services import Services
from worker.tasks import HANDLERS

ADA = {"kind": "subject", "email": "ADA@example.com"}
BEA = {"full_name": "Bea Example", "email": "bea@example.com", "phone": None, "phone_raw": None}


@pytest.fixture
def api(as_tenant: Callable[..., Api], acme: Any) -> Api:
    return as_tenant(acme)


def freeze(api: Api, scope: dict[str, str]) -> dict[str, Any]:
    body = {"scope": scope, "reason": "accuracy", "requested_by": "ann"}
    found: dict[str, Any] = good(api("POST", "/v1/restrictions", json=body), 201)
    return found


def thaw(api: Api, one: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = good(api("DELETE", f"/v1/restrictions/{one['id']}"))
    return found


def listed(api: Api, **query: str) -> list[str]:
    return [lead["external_id"] for lead in good(api("GET", "/v1/leads", params=query))["items"]]


def test_a_restricted_person_is_seen_nowhere_changed_by_nobody_and_gets_the_own_copy(
    api: Api, acme: Any, add_lead: Callable[..., str], services: Services, signed_in: httpx.Client
) -> None:
    ada, bea = add_lead(acme, "5001"), add_lead(acme, "5002", contact=BEA)
    one = freeze(api, ADA)
    assert (one["status"], one["reason"], one["leads"], one["scope"]) == ("active", "accuracy", 1, {"kind": "subject"})
    assert freeze(api, ADA)["id"] == one["id"]

    assert listed(api) == ["5002"] and listed(api, q="ada@example.com") == listed(api, q="5001") == []
    for page in (signed_in.post("/admin/leads/csv", data={}), signed_in.get("/admin/leads")):
        assert ada not in page.text and bea in page.text
    for method, path, body in (
        ("GET", f"/v1/leads/{ada}", None),
        ("GET", f"/v1/leads/{ada}/history", None),
        ("PATCH", f"/v1/leads/{ada}", {"contact": {"full_name": "Ada B."}}),
        ("POST", f"/v1/leads/{ada}/history", {"kind": "call"}),
        ("POST", f"/v1/leads/{ada}/acknowledge", None),
    ):
        problem(api(method, path, json=body), 409, "restricted")
    assert signed_in.get(f"/admin/leads/{ada}").status_code == 409
    assert good(api("POST", "/v1/leads/acknowledge", json={"ids": [ada, bea]})) == {"acknowledged": 1}
    export = ask(api, ADA)
    settle(Runner(services, HANDLERS), services)
    copy = opened(api, export)
    assert [row["id"] for row in rows(copy, "leads")] == [ada] and rows(copy, "restrictions")[0]["id"] == one["id"]

    good(api("PATCH", f"/v1/leads/{bea}", json={"contact": {"email": "ada@example.com"}}))
    assert listed(api) == [], "whoever turns out to be that person is restricted, too"
    assert (thaw(api, one)["status"], thaw(api, one)["leads"]) == ("lifted", None)
    assert sorted(listed(api)) == ["5001", "5002"]
    assert good(api("GET", f"/v1/leads/{ada}"))["contact"]["full_name"] == "Ada Example"
    assert [item["status"] for item in good(api("GET", "/v1/restrictions"))["items"]] == ["lifted"]


def test_the_leads_of_a_restricted_tenant_are_read_and_not_changed(
    api: Api, acme: Any, add_lead: Callable[..., str]
) -> None:
    ada = add_lead(acme, "5001")
    one = freeze(api, {"kind": "tenant"})
    problem(api("PATCH", f"/v1/leads/{ada}", json={"contact": {"full_name": "Ada B."}}), 409, "restricted")
    assert listed(api) == ["5001"]
    thaw(api, one)
    good(api("PATCH", f"/v1/leads/{ada}", json={"contact": {"full_name": "Ada B."}}))


@pytest.mark.parametrize("body", [
    {"scope": {"kind": "connection"}}, {"scope": {"kind": "subject"}}, {"scope": {"kind": "tenant", "phone": "1"}},
    {"scope": {"kind": "tenant"}, "reason": "because"}, {"scope": {"kind": "subject", "email": "nobody"}},
])  # fmt: skip
def test_a_wish_that_says_nothing_is_refused(api: Api, body: dict[str, Any]) -> None:
    problem(api("POST", "/v1/restrictions", json=body), 422, "invalid")


def test_globex_sees_and_lifts_nothing_of_acmes(
    api: Api, acme: Any, globex: Any, as_tenant: Callable[..., Api], add_lead: Callable[..., str]
) -> None:
    add_lead(acme, "5001")
    add_lead(globex, "6001")
    one = freeze(api, ADA)
    stranger = as_tenant(globex)
    for method in ("GET", "DELETE"):
        problem(stranger(method, f"/v1/restrictions/{one['id']}"), 404, "not-found")
    assert good(stranger("GET", "/v1/restrictions"))["items"] == [] and listed(stranger) == ["6001"]
    assert good(api("GET", f"/v1/restrictions/{one['id']}"))["status"] == "active"
    problem(as_tenant(acme, "rights:read")("DELETE", f"/v1/restrictions/{one['id']}"), 403, "missing-scope")


def test_the_devices_of_a_restricted_user_are_counted_and_the_copy_shows_them(
    api: Api, globex: Any, as_tenant: Callable[..., Api], services: Services, signed_in: httpx.Client
) -> None:
    theirs = as_tenant(globex)
    for one in (api, theirs):
        for name, user in (("a", "u-1"), ("b", "u-1"), ("c", "u-2"), ("d", "ada@example.com")):
            good(one("PUT", f"/v1/devices/{name}", json={"user": user, "kind": "fcm", "fid": f"fid-{name}"}))
    held = freeze(api, {"kind": "subject", "user": "u-1"})
    assert (held["leads"], held["devices"], held["scope"]) == (0, 2, {"kind": "subject"})
    assert freeze(api, {"kind": "subject", "user": "u-1"})["id"] == held["id"]
    assert freeze(api, ADA | {"email": "ada@example.com"})["devices"] == 1, (
        "a host may call its users by their addresses"
    )
    good(api("PUT", "/v1/opt-outs/u-2"))

    wish = {"title": "Drill", "body": "At ten.", "audience": {"all": True}}
    mine, yours = (good(one("POST", "/v1/bulletins/preview", json=wish)) for one in (api, theirs))
    assert [mine[name] for name in ("devices", "opted_out", "restricted")] == [4, 1, 3]
    assert [yours[name] for name in ("devices", "opted_out", "restricted")] == [4, 0, 0]
    seen = signed_in.post("/admin/bulletins/preview", data={"title": "Drill", "body": "At ten.", "kind": "all"}).text
    assert "1 whose people want no pushes, 3 whose people are restricted" in seen
    assert '<td data-label="Devices" class="figures">2</td>' in signed_in.get("/admin/rights").text

    export = ask(api, {"kind": "subject", "user": "u-1"})
    settle(Runner(services, HANDLERS), services)
    copy = opened(api, export)
    assert (
        sorted(row["host_id"] for row in rows(copy, "devices")) == ["a", "b"] and len(rows(copy, "restrictions")) == 1
    )
    erased = good(api("POST", "/v1/deletions/preview", json={"scope": {"kind": "subject", "user": "u-1"}}))["stores"]
    assert {"restrictions": 1, "devices": 2}.items() <= {store["name"]: store["rows"] for store in erased}.items()
    assert thaw(api, held)["devices"] is None
    assert good(api("POST", "/v1/bulletins/preview", json=wish))["restricted"] == 1
