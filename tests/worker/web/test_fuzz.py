"""Whatever is sent, the answer is a clear one: never a 500, never a server that stops answering."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.worker.web.conftest import Api
from tests.worker.web.forms import add_form
from tests.worker.web.providers import provider_settings
from worker.services import Services

pytestmark = pytest.mark.every_database

many = settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
words = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["\x00", "'; DROP TABLE leads; --", "0", "acme", "2026-01-01T00:00:00Z", "+12025550143", "a@b", "٣"]
    ),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    "external_id", "name", "country", "subdivision", "timezone", "work_week", "scopes", "expires_at", "integration",
    "account", "tokens", "kind", "text", "occurred_at", "user", "ids", "class", "connection_id",
    "title", "body", "audience", "variants", "local_at", "send_at", "url",
)  # fmt: skip
bodies = st.dictionaries(st.sampled_from(FIELDS) | words, json_values, max_size=8)
GOOD: dict[str, dict[str, Any]] = {
    "/v1/tenants": {"external_id": "x", "name": "X", "country": "IE", "timezone": "UTC"},
    "/v1/keys": {"scopes": ["leads:read"]},
    "/v1/connections": {
        "integration": "facebook_leads",
        "account": {"external_id": "9", "name": "P"},
        "tokens": {"page_access_token": "t"},
    },
    "/v1/connect-links": {"integration": "google_calendar"},
    "/v1/bulletins": {"title": "t", "body": "b", "audience": {"users": ["u"]}},
    "/v1/bulletins/preview": {"title": "t", "body": "b", "audience": {"users": ["u"]}},
    "/v1/leads/acknowledge": {"ids": ["0190a8a0-0000-7000-8000-000000000000"]},
    "/v1/inbox/replay": {},
    "/v1/exports": {"scope": {"kind": "tenant"}},
    "/v1/restrictions": {"scope": {"kind": "subject", "email": "ada@example.com"}},
    "/v1/policy-notices": {
        "version": "1",
        "effective_at": "2026-12-31T00:00:00Z",
        "url": "https://x.example",
        "summary": "x",
    },
}


@pytest.fixture
def settings_given(settings_given: dict[str, str]) -> dict[str, str]:
    """Every provider is set up, and none can be reached."""
    return {**settings_given, **provider_settings("http://127.0.0.1:9"), "TROTH_VAPID_SUBJECT": "mailto:o@crm.example",
            "TROTH_VAPID_PRIVATE_KEY": "AQEB" * 10 + "AQE"}  # fmt: skip


@pytest.fixture
def api(platform: Callable[..., Api], acme: Any) -> Api:
    return platform("acme")


@many
@given(
    path=st.sampled_from(sorted(GOOD)), change=bodies, key=st.none() | st.text(st.characters(codec="ascii"), max_size=9)
)
def test_no_body_breaks_a_post(api: Api, path: str, change: dict[str, Any], key: str | None) -> None:
    headers = {} if key is None or not key.isprintable() else {"idempotency-key": key.strip()}
    try:
        answer = api("POST", path, json={**GOOD[path], **change}, headers=headers)
    except ValueError:  # NaN, which the client cannot write
        return

    assert answer.status_code < 500, answer.text


@many
@given(body=st.binary(max_size=200))
def test_no_bytes_break_a_post(api: Api, body: bytes) -> None:
    answer = api("POST", "/v1/tenants", content=body, headers={"content-type": "application/json"})

    assert answer.status_code in (400, 415, 422)


@many
@given(
    path=st.sampled_from(
        [
            "/v1/leads",
            "/v1/leads/latency",
            "/v1/forms",
            "/v1/lead-checks",
            "/v1/inbox",
            "/v1/jobs",
            "/v1/connections",
            "/v1/deletions",
            "/v1/receipts",
            "/v1/exports",
            "/v1/bulletins",
            "/v1/feed",
            "/v1/restrictions",
            "/v1/policy-notices",
            "/v1/events",
            "/v1/tenants",
            "/admin/leads",
            "/admin/facebook",
            "/admin/tenants",
            "/oauth/google_calendar/callback",
            "/oauth/facebook_leads/callback",
        ]
    ),
    query=st.dictionaries(
        st.sampled_from(
            [
                "q",
                "form_id",
                "page_id",
                "since",
                "until",
                "limit",
                "cursor",
                "state",
                "source",
                "is_test",
                "acknowledged",
                "connection_id",
                "days",
                "said",
                "tenant",
                "after",
                "code",
                "error",
            ]
        ),
        words,
    ),
)
@example(path="/v1/leads", query={"form_id": "\x00"})
@example(path="/v1/leads", query={"q": "\x00"})
@example(path="/admin/leads", query={"page_id": "\x00"})
def test_no_question_breaks_a_list(api: Api, signed_in: httpx.Client, path: str, query: dict[str, str]) -> None:
    for client in (api, signed_in.request):
        assert client("GET", path, params=query).status_code < 500


@pytest.fixture
def form(acme: Any, services: Services) -> str:
    return add_form(services, acme)


@pytest.fixture
def lead(acme: Any, add_lead: Callable[..., str]) -> str:
    return add_lead(acme, "5001")


CONTACT = ("full_name", "first_name", "last_name", "email", "phone", "phone_raw")
contacts = st.dictionaries(st.sampled_from(CONTACT) | words, json_values, max_size=4)


@many
@given(wish=contacts, since=json_values)
def test_no_mapping_and_no_contact_breaks_anything(
    api: Api, form: str, lead: str, wish: dict[str, Any], since: Any
) -> None:
    try:
        answers = [
            api("PUT", f"/v1/forms/{form}/mapping", json={"mapping": wish}),
            api("PATCH", f"/v1/leads/{lead}", json={"contact": wish}),
            api("POST", f"/v1/forms/{form}/backfill", json={"since": since}),
        ]
    except ValueError:  # NaN, which the client cannot write
        return

    for answer in answers:
        assert answer.status_code < 500, answer.text


@settings(many, max_examples=25)  # each is some thirty requests
@given(words)
@example("\x00")
def test_no_path_breaks_anything(api: Api, signed_in: httpx.Client, word: str) -> None:
    part = quote(word, safe="")
    for path in (f"/v1/leads/{part}", f"/v1/leads/{part}/history", f"/v1/forms/{part}", f"/v1/jobs/{part}",
                 f"/v1/deletions/{part}", f"/v1/deletions/{part}/receipt",
                 f"/v1/exports/{part}", f"/v1/restrictions/{part}", f"/v1/policy-notices/{part}/acks?user={part}",
                 f"/v1/opt-outs/{part}", f"/exports/{part}",
                 f"/connect/{part}", f"/oauth/{part}/callback?state={part}", f"/deletions/{part}",
                 f"/{part}"):  # fmt: skip
        assert api("GET", path).status_code < 500
    for path in (f"/v1/connections/{part}/revoke", f"/v1/connections/{part}/check", f"/v1/leads/{part}/acknowledge",
                 f"/v1/lead-checks/{part}/fetch", f"/v1/forms/{part}/test-lead"):  # fmt: skip
        assert api("POST", path).status_code < 500
    for path in ("/meta/deauthorize", "/meta/deletion"):
        assert api("POST", path, data={"signed_request": word}).status_code == 400
    for path in (f"/admin/leads/{part}", f"/admin/forms/{part}"):
        assert signed_in.get(path).status_code < 500
    for path in (f"/admin/facebook/{part}/read", f"/admin/forms/{part}/backfill", f"/admin/lead-checks/{part}/fetch",
                 "/admin/facebook/replay", "/admin/leads/csv"):  # fmt: skip
        body = {"since": word, "event": word, "q": word, "form_id": word, "page_id": word}
        assert signed_in.post(path, data=body).status_code < 500
    assert signed_in.post("/admin/leads/search", data={"q": word, "tenant": word}).status_code < 500
    assert signed_in.post("/admin/enter", data={"link": word}).status_code < 500
    assert api("GET", "/v1/leads", headers={"troth-tenant": part}).status_code < 500
