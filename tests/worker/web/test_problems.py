"""Every refusal is problem+json that says how to mend it, and repeats nothing of what was sent."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import orjson
import pytest

from models.lead import Lead
from models.tenancy import tenant_session
from tests.worker.web.answers import problem
from worker.services import Services
from worker.web.problems import KINDS, problem_of

CANARY = "canary.person@example.com"


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("GET", f"/v1/leads/{CANARY}", 401, "missing-key"),
        ("GET", "/v1/leads", 401, "missing-key"),
        ("PUT", "/v1/leads", 405, "method-not-allowed"),
        ("GET", "/docs", 404, "not-found"),
        ("GET", "/v1/leads/", 404, "not-found"),
    ],
)
def test_a_mistaken_request_gets_a_problem(http: httpx.Client, method: str, path: str, status: int, kind: str) -> None:
    answer = http.request(method, path)

    problem(answer, status, kind)
    assert CANARY not in answer.text


def test_a_refused_method_names_the_allowed_ones(http: httpx.Client) -> None:
    assert "POST" in http.delete("/v1/tenants").headers["allow"]


@pytest.mark.parametrize(
    ("content", "media", "status", "kind"),
    [
        (b"{", "application/json", 422, "invalid"),
        (b"\xff\xfe", "application/json", 422, "invalid"),
        (b'{"name": "\xff"}', "application/json", 400, "bad-request"),
        (b"[" * 100_000, "application/json", 400, "bad-request"),
        (b"1" * 5_000, "application/json", 400, "bad-request"),
        (b"external_id=a", "application/x-www-form-urlencoded", 415, "not-json"),
        (b"{}", None, 415, "not-json"),
        (b"", "application/json", 422, "invalid"),
        (b" " * (256 * 1024 + 1), "application/json", 413, "too-large"),
    ],
)
def test_an_unreadable_body_gets_a_clear_answer(
    platform: Callable[..., Any], content: bytes, media: str | None, status: int, kind: str
) -> None:
    headers = {"content-type": media} if media else {}

    problem(platform()("POST", "/v1/tenants", content=content, headers=headers), status, kind)


def test_a_body_that_says_nothing_of_its_size_is_capped_too(platform: Callable[..., Any]) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(300):
            yield b" " * 1024

    answer = platform()("POST", "/v1/tenants", content=pieces(), headers={"content-type": "application/json"})

    problem(answer, 413, "too-large")


def test_wrong_fields_are_listed_without_their_values_or_strange_names(platform: Callable[..., Any]) -> None:
    body = {
        "external_id": CANARY + "\x00", "name": [CANARY], "country": CANARY, "timezone": CANARY,
        "work_week": [CANARY, "mon"], CANARY: CANARY,
    }  # fmt: skip
    answer = platform()("POST", "/v1/tenants", json=body)

    listed = {line["field"]: line["problem"] for line in problem(answer, 422, "invalid")["errors"]}
    assert set(listed) == {
        "body.external_id", "body.name", "body.country", "body.timezone", "body.work_week.0", "body.(unknown field)",
    }  # fmt: skip
    assert listed["body.timezone"] == "Use a name of the IANA time zone database, such as Europe/Dublin."
    assert CANARY not in answer.text


def test_an_unexpected_error_tells_nothing_outside_and_no_data_in_the_log(
    services: Services, as_tenant: Callable[..., Any], acme: Any, add_lead: Callable[..., str], log_lines: list[str]
) -> None:
    lead = add_lead(acme, "5001")
    with tenant_session(services.database, acme.id) as session:
        keyring = services.vault.existing(session, acme.id, acme.connection_id)
        assert keyring is not None
        # The decoder's error quotes what it could not read.
        broken = keyring.seal(CANARY.encode(), table="leads", row=lead, column="contact")
        session.get_one(Lead, lead).contact = broken

    answer = as_tenant(acme)("GET", f"/v1/leads/{lead}")

    problem(answer, 500, "internal")
    assert CANARY not in answer.text
    said = [line for line in log_lines if "request_failed" in line]
    assert len(said) == 1
    assert "JSONDecodeError" in said[0]
    assert not any(CANARY in line for line in log_lines)


def test_data_that_was_tampered_with_is_not_shown(
    services: Services, as_tenant: Callable[..., Any], acme: Any, add_lead: Callable[..., str]
) -> None:
    lead, other = add_lead(acme, "5001"), add_lead(acme, "5002")
    with tenant_session(services.database, acme.id) as session:
        session.get_one(Lead, lead).contact = session.get_one(Lead, other).contact

    problem(as_tenant(acme)("GET", f"/v1/leads/{lead}"), 500, "vault")


def test_every_answer_carries_the_safe_headers(http: httpx.Client) -> None:
    for path in ("/healthz", "/nothing", "/admin", "/v1/leads", "/admin/static/troth.css"):
        headers = http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers


def test_a_problem_page_is_not_an_open_door(http: httpx.Client) -> None:
    answer = http.get("/admin/<script>alert(1)</script>")

    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "<script" not in answer.text


def test_errors_that_nobody_foresaw_are_internal() -> None:
    told = orjson.loads(problem_of(ValueError(CANARY)).response().body)

    assert told["type"] == "/problems/internal"
    assert CANARY not in str(told)


def test_kinds_have_titles_of_their_own() -> None:
    assert len({title for _, title in KINDS.values()}) == len(KINDS)
