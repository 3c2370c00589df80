"""The pages' door: shut to all but a key, an unspent link, or a living session."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.worker.web.conftest import PLATFORM_KEY
from worker.web.admin.visitors import COOKIE


def test_no_page_opens_without_a_session(http: httpx.Client, acme: Any, add_lead: Callable[..., str]) -> None:
    lead = add_lead(acme, "5001")
    for path in ("/admin/leads", "/admin/tenants", f"/admin/leads/{lead}", f"/admin/leads?tenant={acme.id}"):
        for cookie in ("", "x", "é".encode().hex()):
            answer = http.get(path, headers={"cookie": f"{COOKIE}={cookie}"})
            assert (answer.status_code, answer.headers["location"]) == (303, "/admin")
    answer = http.post("/admin/leads/search", data={"q": "ada@example.com"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin")
    assert "Sign in" in http.get("/admin").text


def test_a_key_that_may_not_read_leads_does_not_open_them(
    http: httpx.Client, acme: Any, key_of: Callable[..., str]
) -> None:
    for key in ("", " ", "troth_unknown", "x" * 300, key_of(acme, "jobs:read")):
        answer = http.post("/admin/sign-in", data={"key": key})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert "was not accepted" in answer.text
        assert not key.strip() or key not in answer.text


def test_a_key_starts_a_session_that_ends_after_twelve_hours_or_by_signing_out(
    http: httpx.Client, acme: Any, key_of: Callable[..., str], clock: Any
) -> None:
    answer = http.post("/admin/sign-in", data={"key": f" {key_of(acme, 'leads:read')} "})

    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/leads")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Max-Age=43200" in cookie
    assert "Secure" not in cookie  # this process is reached by http
    assert http.get("/admin").headers["location"] == "/admin/leads"
    clock.tick(12 * 3600 - 1)
    assert http.get("/admin/leads").status_code == 200
    clock.tick(2)
    assert http.get("/admin/leads").status_code == 303


def test_signing_out_ends_the_session_everywhere(signed_in: httpx.Client, http: httpx.Client) -> None:
    cookie = {"cookie": f"{COOKIE}={signed_in.cookies[COOKIE]}"}
    assert http.get("/admin/leads", headers=cookie).status_code == 200

    assert signed_in.post("/admin/sign-out").headers["location"] == "/admin"

    assert COOKIE not in signed_in.cookies
    assert http.get("/admin/leads", headers=cookie).status_code == 303


def test_a_link_is_spent_by_the_button_not_by_looking(
    http: httpx.Client, acme: Any, link_for: Callable[..., str]
) -> None:
    link = link_for(acme.id)
    for _ in range(3):
        looked = http.get("/admin/enter", params={"link": link})
        assert looked.status_code == 200
        assert link in looked.text
        assert "set-cookie" not in looked.headers

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: http.post("/admin/enter", data={"link": link}), range(6)))

    assert sorted(answer.status_code for answer in answers) == [303, 401, 401, 401, 401, 401]


def test_a_link_runs_out(http: httpx.Client, acme: Any, link_for: Callable[..., str], clock: Any) -> None:
    link = link_for(acme.id)
    clock.tick(3601)

    answer = http.post("/admin/enter", data={"link": link})
    assert answer.status_code == 401
    assert "has run out" in answer.text


def test_a_session_is_no_link_and_a_link_no_session(
    http: httpx.Client, signed_in: httpx.Client, acme: Any, link_for: Callable[..., str]
) -> None:
    assert http.post("/admin/enter", data={"link": signed_in.cookies[COOKIE]}).status_code == 401
    assert http.get("/admin/leads", headers={"cookie": f"{COOKIE}={link_for(acme.id)}"}).status_code == 303


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1:8000"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:8000.evil.example"}, 403),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, 303),
        ({"origin": "http://127.0.0.1:8000"}, 303),
        ({"origin": "null"}, 303),
        ({}, 303),
    ],
)
def test_forms_of_other_sites_are_refused(http: httpx.Client, headers: dict[str, str], status: int) -> None:
    assert http.post("/admin/sign-in", data={"key": PLATFORM_KEY}, headers=headers).status_code == status


def test_behind_https_the_cookie_is_secure(settings_given: dict[str, str], request: pytest.FixtureRequest) -> None:
    settings_given["TROTH_BASE_URL"] = "https://troth.example.com"
    http: httpx.Client = request.getfixturevalue("http")

    assert "Secure" in http.post("/admin/sign-in", data={"key": PLATFORM_KEY}).headers["set-cookie"]


def test_no_secret_is_logged(http: httpx.Client, acme: Any, link_for: Callable[..., str], log_lines: list[str]) -> None:
    link = link_for(acme.id)
    http.get("/admin/enter", params={"link": link})
    http.post("/admin/enter", data={"link": link})
    http.post("/admin/enter", data={"link": link})
    http.post("/admin/sign-in", data={"key": PLATFORM_KEY + "x"})
    http.post("/admin/leads/search", data={"q": "canary.person@example.com"})

    assert not any(secret in line for line in log_lines for secret in (link, PLATFORM_KEY, "canary.person"))
