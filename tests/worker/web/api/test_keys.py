"""Keys make keys, but never stronger, longer-lived or other tenants' ones."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx

from models.base import new_id
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api

MISTAKES: list[dict[str, Any]] = [
    {},
    {"scopes": []},
    {"scopes": ["everything"]},
    {"scopes": "leads:read"},
    {"scopes": ["leads:read"], "tenant": "x"},
    {"scopes": ["leads:read"], "expires_at": "2026-03-02T09:00:00Z"},
    {"scopes": ["leads:read"], "expires_at": "tomorrow"},
    {"scopes": ["leads:read"], "expires_at": 1},
    {"scopes": ["leads:read"], "expires_at": "0001-01-01T00:00:00+14:00"},
]


def test_what_is_not_a_key_is_refused(platform: Callable[..., Api], acme: Any) -> None:
    for body in MISTAKES:
        problem(platform("acme")("POST", "/v1/keys", json=body), 422, "invalid")


def test_a_key_gives_only_scopes_that_it_holds(as_tenant: Callable[..., Api], acme: Any) -> None:
    api = as_tenant(acme, "leads:read")

    problem(api("POST", "/v1/keys", json={"scopes": ["leads:read", "leads:write"]}), 403, "missing-scope")
    problem(api("POST", "/v1/keys", json={"scopes": ["*"]}), 403, "missing-scope")
    assert good(api("POST", "/v1/keys", json={"scopes": ["leads:read"]}), 201)["scopes"] == ["leads:read"]


def test_a_key_cannot_make_one_that_outlives_it(
    http: httpx.Client, clock: Any, acme: Any, key_of: Callable[..., str]
) -> None:
    key = key_of(acme, "leads:read", expires_at=clock() + timedelta(days=1))
    api = Api(http, {"authorization": f"Bearer {key}"})
    body = {"scopes": ["leads:read"]}

    problem(api("POST", "/v1/keys", json=body), 403, "missing-scope")
    problem(api("POST", "/v1/keys", json={**body, "expires_at": "2026-03-04T00:00:00Z"}), 403, "missing-scope")
    good(api("POST", "/v1/keys", json={**body, "expires_at": "2026-03-02T23:00:00Z"}), 201)


def test_a_new_key_opens_its_own_tenant_only_and_a_revoked_one_nothing(
    http: httpx.Client, platform: Callable[..., Api], acme: Any, globex: Any, add_lead: Callable[..., str]
) -> None:
    add_lead(acme, "5001")
    made = good(platform("globex")("POST", "/v1/keys", json={"scopes": ["leads:read"]}), 201)
    assert made["key"].endswith(made["hint"])
    headers = {"authorization": f"Bearer {made['key']}"}

    assert good(http.get("/v1/leads", headers=headers))["items"] == []
    assert http.delete(f"/v1/keys/{made['id']}", headers=headers).status_code == 204
    problem(http.get("/v1/leads", headers=headers), 401, "unknown-key")
    assert platform("globex")("DELETE", f"/v1/keys/{made['id']}").status_code == 204


def test_another_tenants_key_is_not_found_like_any_unknown_one(
    platform: Callable[..., Api], as_tenant: Callable[..., Api], acme: Any, globex: Any
) -> None:
    made = good(platform("acme")("POST", "/v1/keys", json={"scopes": ["leads:read"]}), 201)

    answers = [as_tenant(globex)("DELETE", f"/v1/keys/{key}") for key in (made["id"], new_id(), "x", "%00")]

    for answer in answers:
        problem(answer, 404, "not-found")
    assert len({answer.text for answer in answers}) == 1


def test_a_weak_key_cannot_revoke_a_strong_one(
    platform: Callable[..., Api], as_tenant: Callable[..., Api], acme: Any
) -> None:
    strong = good(platform("acme")("POST", "/v1/keys", json={"scopes": ["leads:write"]}), 201)

    problem(as_tenant(acme, "leads:read")("DELETE", f"/v1/keys/{strong['id']}"), 403, "missing-scope")
