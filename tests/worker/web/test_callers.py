"""Who may ask: every way in that must stay shut, then the two that are open."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx

from models.host import ApiKey
from models.tenancy import system_session
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import PLATFORM_KEY, Api
from worker.services import Services


def test_unknown_revoked_and_expired_keys_are_refused_all_alike(
    http: httpx.Client, services: Services, clock: Any, acme: Any, key_of: Callable[..., str]
) -> None:
    revoked, expired = key_of(acme), key_of(acme, expires_at=clock() + timedelta(seconds=1))
    with system_session(services.database) as session:
        for row in session.query(ApiKey).filter(ApiKey.expires_at.is_(None)):
            row.revoked_at = clock()
    clock.tick(2)

    answers = [
        http.get("/v1/leads", headers={b"authorization": f"Bearer {key}".encode()})
        for key in ("troth_unknown", revoked, expired, PLATFORM_KEY + "x", PLATFORM_KEY[:-1], "é")
    ]

    for answer in answers:
        problem(answer, 401, "unknown-key")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert len({answer.text for answer in answers}) == 1


def test_a_header_that_holds_no_key_asks_for_one(http: httpx.Client) -> None:
    for header in ("", "Bearer", "Basic dTpw", "troth_key", "bearer\tkey"):
        problem(http.get("/v1/leads", headers={"authorization": header}), 401, "missing-key")


def test_a_tenant_key_that_names_a_tenant_is_refused_even_for_its_own(as_tenant: Callable[..., Api], acme: Any) -> None:
    for name in ("acme", "globex", ""):
        answer = as_tenant(acme)("GET", "/v1/leads", headers={"troth-tenant": name})
        problem(answer, 400, "tenant-not-needed")


def test_a_platform_key_must_name_a_tenant_that_exists(platform: Callable[..., Api], acme: Any) -> None:
    problem(platform()("GET", "/v1/leads"), 400, "tenant-missing")
    problem(platform("nobody")("GET", "/v1/leads"), 404, "unknown-tenant")
    problem(platform("troth")("GET", "/v1/leads"), 404, "unknown-tenant")  # the tenant that is Troth itself
    good(platform("acme")("GET", "/v1/leads"))


def test_a_key_does_only_what_its_scopes_say(as_tenant: Callable[..., Api], acme: Any) -> None:
    problem(as_tenant(acme, "jobs:read")("GET", "/v1/leads"), 403, "missing-scope")
    problem(as_tenant(acme, "leads:read")("GET", "/v1/jobs"), 403, "missing-scope")
    problem(as_tenant(acme, "leads:read")("GET", "/v1/connections"), 403, "missing-scope")
    good(as_tenant(acme, "leads:read")("GET", "/v1/leads"))


def test_refused_keys_are_counted_and_said_without_the_key(
    http: httpx.Client, clock: Any, log_lines: list[str]
) -> None:
    for number in range(5):
        http.get("/v1/leads", headers={"authorization": f"Bearer secret-{number}"})
    clock.tick(61)
    http.get("/v1/leads", headers={"authorization": "Bearer secret-9"})

    said = [line for line in log_lines if "keys_refused" in line]
    assert len(said) == 2
    assert '"count":1' in said[0]
    assert '"count":5' in said[1]
    assert not any("secret-" in line for line in log_lines)
    assert "troth_web_keys_refused_total 6.0" in http.get("/metrics").text
