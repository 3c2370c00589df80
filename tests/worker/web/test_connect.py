"""The page behind a connect link: what it says, whom it lets in, and that looking spends nothing."""

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, update

from integrations.simulator.server import SimulatorServer
from models.connect_link import ConnectState
from models.tenancy import system_session
from models.tenant import Tenant
from tests.worker.web.conftest import Api
from tests.worker.web.providers import FACEBOOK, GOOGLE, Person, make_link, path_of, provider_settings
from worker.services import Services
from worker.web.connect import COOKIE, PROMISES

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def settings_given(settings_given: dict[str, str], simulator: SimulatorServer) -> dict[str, str]:
    return {**settings_given, **provider_settings(simulator.url)}


def states(services: Services) -> int:
    with system_session(services.database, reads_only=True) as session:
        return session.scalar(select(func.count()).select_from(ConnectState)) or 0


@pytest.mark.every_database
@pytest.mark.parametrize("token", ["x", "%00", "a" * 5000, "<script>", "%F0%28"])
def test_an_unknown_link_says_to_ask_for_another(http: httpx.Client, services: Services, token: str) -> None:
    answer = http.get(f"/connect/{token}")

    assert answer.status_code == 404
    assert "Ask the people who sent it to you for a new one." in answer.text
    assert "<script" not in answer.text
    assert "set-cookie" not in answer.headers
    assert states(services) == 0


@pytest.mark.parametrize("path", ["/connect/", "/connect/a/b", f"/connect/{EVIL}", "/oauth/", "/oauth/google_calendar"])
def test_an_address_that_is_none_gets_a_page_and_no_redirect(http: httpx.Client, path: str) -> None:
    answer = http.get(path)

    assert answer.status_code == 404
    assert "Check that the address was copied whole." in answer.text
    assert EVIL not in answer.text


def test_an_expired_link_looks_like_an_unknown_one(
    http: httpx.Client, as_tenant: Callable[..., Api], acme: Any, clock: Any
) -> None:
    link = path_of(make_link(as_tenant(acme), GOOGLE))
    clock.tick(3 * 86400 + 1)

    assert http.get(link).text == http.get("/connect/x").text


def test_programs_that_only_ask_for_the_head_make_nothing(
    http: httpx.Client, as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    for method in ("HEAD", "POST", "OPTIONS"):
        assert http.request(method, path_of(make_link(as_tenant(acme), GOOGLE))).status_code == 405
    assert states(services) == 0


@pytest.mark.parametrize("integration", [FACEBOOK, GOOGLE])
def test_the_page_says_who_asks_for_what_and_what_is_promised(
    http: httpx.Client, as_tenant: Callable[..., Api], acme: Any, simulator: SimulatorServer, integration: str
) -> None:
    answer = http.get(path_of(make_link(as_tenant(acme), integration)))

    assert answer.status_code == 200
    assert "<strong>Acme</strong>" in answer.text
    for promise in PROMISES[integration]:
        assert promise.replace("'", "&#39;") in answer.text
    assert answer.text.count("Needed") >= 1
    assert "May be left out" in answer.text
    assert not re.search(r"<script|style=|\son\w+=|<form", answer.text)
    outward = re.findall(r'(?:src|href)="(https?://[^"]+)"', answer.text)
    assert len(outward) == 1
    assert outward[0].startswith(simulator.url)
    for name, value in {
        "cache-control": "no-store", "referrer-policy": "no-referrer", "x-content-type-options": "nosniff",
    }.items():  # fmt: skip
        assert answer.headers[name] == value
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_the_cookie_is_the_browsers_alone_and_two_tabs_share_it(
    person: Callable[[], Person], as_tenant: Callable[..., Api], acme: Any
) -> None:
    ada, link = person(), make_link(as_tenant(acme), GOOGLE)

    cookie = ada.browser.get(path_of(link)).headers["set-cookie"]

    for part in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age=1800"):
        assert part in cookie
    assert "Secure" not in cookie  # this process is reached by http
    first = ada.browser.cookies[COOKIE]
    ada.open(link)
    assert ada.browser.cookies[COOKIE] == first
    for strange in ("x", "é" * 43, "a" * 44, EVIL):
        answer = httpx.get(
            f"{ada.browser.base_url}{path_of(link)}", headers={b"cookie": f"{COOKIE}={strange}".encode()}
        )
        assert f"{COOKIE}={strange}" not in answer.headers["set-cookie"]


def test_two_looks_have_states_and_challenges_of_their_own(
    person: Callable[[], Person], as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    ada, link = person(), make_link(as_tenant(acme), GOOGLE)
    queries = [dict(httpx.URL(ada.open(link)).params) for _ in range(2)]

    assert len({query["state"] for query in queries}) == 2
    assert len({query["code_challenge"] for query in queries}) == 2
    assert {query["code_challenge_method"] for query in queries} == {"S256"}
    assert {query["redirect_uri"] for query in queries} == {"http://127.0.0.1:8000/oauth/google_calendar/callback"}
    assert states(services) == 2


@pytest.mark.every_database
def test_a_name_that_is_markup_is_shown_as_text(
    http: httpx.Client, as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    with system_session(services.database) as session:
        session.execute(update(Tenant).where(Tenant.id == acme.id).values(name=EVIL))

    assert EVIL not in http.get(path_of(make_link(as_tenant(acme), GOOGLE))).text


def test_behind_https_the_cookie_is_secure(
    settings_given: dict[str, str], request: pytest.FixtureRequest, acme: Any
) -> None:
    settings_given["TROTH_BASE_URL"] = "https://troth.example.com"
    http: httpx.Client = request.getfixturevalue("http")
    link = make_link(request.getfixturevalue("as_tenant")(acme), GOOGLE)

    assert link.startswith("https://troth.example.com/connect/")
    assert "Secure" in http.get(path_of(link)).headers["set-cookie"]


def test_no_secret_of_the_way_there_is_logged(
    person: Callable[[], Person], as_tenant: Callable[..., Api], acme: Any, log_lines: list[str]
) -> None:
    ada, link = person(), make_link(as_tenant(acme), GOOGLE)
    state = httpx.URL(ada.open(link)).params["state"]

    secrets = (link.rpartition("/")[2], state, ada.browser.cookies[COOKIE])
    assert not any(secret in line for line in log_lines for secret in secrets)
