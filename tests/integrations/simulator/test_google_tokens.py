import base64
import hashlib
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from integrations.simulator.google_answers import GoogleFault
from integrations.simulator.google_consent import consent
from integrations.simulator.google_records import GoogleClient
from integrations.simulator.google_tokens import check_bearer
from integrations.simulator.google_world import CALENDAR, EMAIL
from integrations.simulator.seed import (
    ACME_ACCOUNT,
    ACME_EMAIL,
    GLOBEX_ACCOUNT,
    GOOGLE_CLIENT_ID,
    GOOGLE_CLIENT_SECRET,
    SHARED_ACCOUNT,
    build_world,
)
from integrations.simulator.server import SimulatorServer
from tests.integrations.simulator.conftest import NO_AUTHORITIES, NOON

BACK = "https://troth.example/oauth/google_calendar/callback?a=1"
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
WRONG_SECRET = {"client_secret": "wrong"}


class Client:
    """A plain client of the simulated Google."""

    def __init__(self, server: SimulatorServer) -> None:
        self.server, self.google = server, server.google
        self.http = httpx.Client(base_url=server.url, trust_env=False, verify=NO_AUTHORITIES, timeout=10)

    def address(self, **more: str) -> str:
        asked = {
            "client_id": GOOGLE_CLIENT_ID,
            "redirect_uri": BACK,
            "response_type": "code",
            "scope": f"openid email {CALENDAR}",
            "state": "s1",
            "access_type": "offline",
            "prompt": "consent",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **more,
        }
        return "/o/oauth2/v2/auth?" + urlencode({name: value for name, value in asked.items() if value})

    def code(self, account: str = ACME_ACCOUNT, **more: str) -> str:
        return parse_qs(urlsplit(consent(self.google, self.address(**more), account)).query)["code"][0]

    def token(self, **params: str) -> httpx.Response:
        client = {"client_id": GOOGLE_CLIENT_ID, "client_secret": GOOGLE_CLIENT_SECRET}
        return self.http.post("/token", data={**client, **params})

    def redeem(self, code: str, **params: str) -> httpx.Response:
        usual = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER}
        return self.token(**{**usual, **params})

    def refresh(self, value: str, **params: str) -> httpx.Response:
        return self.token(grant_type="refresh_token", refresh_token=value, **params)

    def userinfo(self, value: str, path: str = "/oauth2/v3/userinfo") -> httpx.Response:
        return self.http.get(path, headers={"Authorization": f"Bearer {value}"})


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(clock: Clock) -> Iterator[Client]:
    with SimulatorServer(build_world(clock), longest_hang=3.0) as server:
        found = Client(server)
        yield found
        found.http.close()


def error_of(reply: httpx.Response) -> tuple[int, Any]:
    return reply.status_code, reply.json()["error"]


DEAD = (400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."})


def is_dead(reply: httpx.Response) -> bool:
    return (reply.status_code, reply.json()) == DEAD


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, (400, "invalid_request")),
        ({"grant_type": "password"}, (400, "unsupported_grant_type")),
        ({"grant_type": "authorization_code"}, (400, "invalid_request")),
        ({"grant_type": "authorization_code", "code": "4/0nonsense"}, (400, "invalid_grant")),
        ({"grant_type": "refresh_token"}, (400, "invalid_request")),
        ({"grant_type": "refresh_token", "refresh_token": "1//0nonsense"}, (400, "invalid_grant")),
        ({"grant_type": "refresh_token", "refresh_token": "x", **WRONG_SECRET}, (401, "invalid_client")),
        ({"grant_type": "refresh_token", "refresh_token": "x", "client_id": "nobody"}, (401, "invalid_client")),
        ({"grant_type": "refresh_token", "refresh_token": "x", "client_id": ""}, (400, "invalid_request")),
    ],
)
def test_a_wrong_question_to_the_token_endpoint_has_googles_word(
    client: Client, params: dict[str, str], expected: tuple[int, str]
) -> None:
    assert error_of(client.token(**params)) == expected


def test_a_token_is_not_got_by_get(client: Client) -> None:
    assert client.http.get("/token").status_code == 405


def test_a_code_serves_once_for_its_address_and_verifier_and_ten_minutes(client: Client, clock: Clock) -> None:
    code = client.code()
    assert error_of(client.redeem(code, redirect_uri=BACK + "x")) == (400, "redirect_uri_mismatch")
    for verifier in ("", "w" * 64):
        assert error_of(client.redeem(code, code_verifier=verifier)) == (400, "invalid_grant")
    assert client.redeem(code).status_code == 200
    assert error_of(client.redeem(code)) == (400, "invalid_grant")
    late = client.code()
    clock.now += timedelta(minutes=10)
    assert error_of(client.redeem(late)) == (400, "invalid_grant")


def test_a_code_brings_tokens_and_who_it_is(client: Client) -> None:
    reply = client.redeem(client.code(nonce="n1"))
    body = reply.json()
    assert set(body) == {"access_token", "expires_in", "scope", "token_type", "refresh_token", "id_token"}
    assert (body["expires_in"], body["token_type"]) == (3599, "Bearer")
    assert body["scope"].split() == ["openid", EMAIL, CALENDAR]
    assert reply.headers["cache-control"] == "no-store"
    head, claims, signature = (base64.urlsafe_b64decode(part + "==") for part in body["id_token"].split("."))
    said = json.loads(claims)
    assert (json.loads(head)["alg"], len(signature)) == ("RS256", 256)
    assert (said["iss"], said["aud"]) == ("https://accounts.google.com", GOOGLE_CLIENT_ID)
    assert (said["sub"], said["email"], said["email_verified"]) == (ACME_ACCOUNT, ACME_EMAIL, True)
    assert (said["exp"] - said["iat"], said["nonce"]) == (3600, "n1")


def test_the_client_may_say_who_it_is_in_a_basic_header(client: Client) -> None:
    form = {"grant_type": "authorization_code", "code": client.code(), "redirect_uri": BACK, "code_verifier": VERIFIER}
    assert client.http.post("/token", data=form, auth=(GOOGLE_CLIENT_ID, "wrong")).status_code == 401
    assert client.http.post("/token", data=form, auth=(GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET)).status_code == 200
    garbled = client.http.post("/token", data=form, headers={"Authorization": "Basic !"})
    assert error_of(garbled) == (400, "invalid_request")


def test_a_refresh_token_comes_offline_at_the_first_consent_or_a_forced_one(client: Client) -> None:
    def brings(**more: str) -> bool:
        return "refresh_token" in client.redeem(client.code(**more)).json()

    assert not brings(access_type="")
    assert brings(prompt="")
    assert not brings(prompt="")
    assert brings(prompt="consent")


def test_a_scope_left_out_is_absent_and_brought_back_by_a_later_consent(client: Client) -> None:
    location = consent(client.google, client.address(), ACME_ACCOUNT, untick=[CALENDAR])
    answer = parse_qs(urlsplit(location).query)
    assert (answer["scope"], answer["state"], answer["a"]) == ([f"openid {EMAIL}"], ["s1"], ["1"])
    assert client.redeem(answer["code"][0]).json()["scope"] == f"openid {EMAIL}"
    more = client.redeem(client.code(scope=CALENDAR, include_granted_scopes="true")).json()["scope"]
    assert set(more.split()) == {"openid", EMAIL, CALENDAR}
    assert client.redeem(client.code(scope=CALENDAR)).json()["scope"] == CALENDAR


def test_a_person_who_says_no_or_nothing_is_sent_back_with_the_reason(client: Client) -> None:
    refusals: list[dict[str, Any]] = [{"deny": True}, {"untick": ["openid", "email", CALENDAR]}]
    for refused in refusals:
        answer = parse_qs(urlsplit(consent(client.google, client.address(), ACME_ACCOUNT, **refused)).query)
        assert (answer["error"], answer["state"]) == (["access_denied"], ["s1"])
        assert "code" not in answer


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"client_id": "nobody"}, "invalid_client"),
        ({"redirect_uri": ""}, "redirect_uri_mismatch"),
        ({"response_type": "token"}, "invalid_request"),
        ({"code_challenge_method": "S1"}, "invalid_request"),
        ({"scope": "calendars"}, "invalid_scope"),
    ],
)
def test_an_app_that_asks_wrongly_is_told_on_the_page_and_nobody_is_sent_back(
    client: Client, more: dict[str, str], word: str
) -> None:
    page = client.http.get(client.address(**more))
    assert page.status_code in (400, 401)
    assert word in page.text
    with pytest.raises(ValueError, match=word):
        consent(client.google, client.address(**more), ACME_ACCOUNT)


def test_a_person_ticks_on_the_page_and_comes_back(client: Client) -> None:
    page = client.http.get(client.address(state='"><script>', login_hint=ACME_EMAIL)).text
    assert "<script>" not in page
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    boxes = re.findall(r'name="tick" value="([^"]*)" checked', page)
    assert boxes == ["openid", EMAIL, CALENDAR]
    form: dict[str, Any] = {**hidden, "account": GLOBEX_ACCOUNT, "tick": ["openid", CALENDAR], "answer": "allow"}
    back = client.http.post("/o/oauth2/v2/auth?", data=form)
    assert back.status_code == 302
    answer = parse_qs(urlsplit(back.headers["location"]).query)
    assert client.redeem(answer["code"][0]).json()["scope"] == f"openid {CALENDAR}"
    cancelled = client.http.post("/o/oauth2/v2/auth?", data={**hidden, "answer": "cancel"})
    assert "error=access_denied" in cancelled.headers["location"]
    stranger = client.http.post("/o/oauth2/v2/auth?", data={**form, "account": "nobody"})
    assert stranger.status_code == 400


def test_a_revoke_kills_every_token_of_the_account_in_the_project_and_of_no_other(client: Client) -> None:
    client.google.clients["sibling"] = GoogleClient("sibling", "s")
    client.google.clients["foreign"] = GoogleClient("foreign", "s", project="other")
    held = [client.google.grant(SHARED_ACCOUNT) for _ in range(2)]
    sibling = client.google.grant(SHARED_ACCOUNT, client_id="sibling")
    foreign = client.google.grant(SHARED_ACCOUNT, client_id="foreign")
    other = client.google.grant(ACME_ACCOUNT)
    access = client.refresh(held[0].value).json()["access_token"]
    reply = client.http.post("/revoke", data={"token": access})
    assert (reply.status_code, reply.json()) == (200, {})
    assert all(is_dead(client.refresh(token.value)) for token in held)
    assert client.google.ended(sibling)
    assert not client.google.ended(foreign)
    assert client.userinfo(access).status_code == 401
    assert client.refresh(other.value).status_code == 200
    again = client.http.post("/revoke", data={"token": held[0].value})
    assert error_of(again) == (400, "invalid_token")
    assert error_of(client.http.post("/revoke")) == (400, "invalid_request")
    assert client.google.revocations == {SHARED_ACCOUNT: 1}


def test_a_grant_in_testing_dies_after_seven_days_and_one_of_sign_in_alone_does_not(
    client: Client, clock: Clock
) -> None:
    token, sign_in = client.google.grant(ACME_ACCOUNT), client.google.grant(ACME_ACCOUNT, ["openid", "email"])
    client.google.client().testing = True
    clock.now += timedelta(days=7, seconds=-1)
    assert client.refresh(token.value).status_code == 200
    clock.now += timedelta(seconds=1)
    assert is_dead(client.refresh(token.value))
    assert client.refresh(sign_in.value).status_code == 200


def test_rotation_does_not_win_a_grant_in_testing_another_week(client: Client, clock: Clock) -> None:
    account = client.google.accounts[ACME_ACCOUNT]
    account.rotate = account.testing = True
    value = client.google.grant(ACME_ACCOUNT).value
    clock.now += timedelta(days=6)
    value = client.refresh(value).json()["refresh_token"]
    clock.now += timedelta(days=1)
    assert is_dead(client.refresh(value))


def test_a_grant_that_nobody_uses_for_six_months_dies_and_a_used_one_lives(client: Client, clock: Clock) -> None:
    used, idle = client.google.grant(ACME_ACCOUNT), client.google.grant(ACME_ACCOUNT)
    clock.now += timedelta(days=100)
    assert client.refresh(used.value).status_code == 200
    clock.now += timedelta(days=100)
    assert client.refresh(used.value).status_code == 200
    assert is_dead(client.refresh(idle.value))


def test_of_more_than_a_hundred_refresh_tokens_the_oldest_dies_silently(client: Client) -> None:
    tokens = [client.google.grant(ACME_ACCOUNT) for _ in range(101)]
    assert [client.google.ended(token) for token in tokens] == [True] + [False] * 100
    assert len(client.google.living("refresh", ACME_EMAIL)) == 100


def test_a_refresh_token_serves_only_the_client_it_was_given_to(client: Client) -> None:
    client.google.clients["other"] = GoogleClient("other", "s")
    value = client.google.grant(ACME_ACCOUNT, client_id="other").value
    assert error_of(client.refresh(value)) == (401, "unauthorized_client")


def test_a_refresh_for_fewer_scopes_gives_fewer(client: Client) -> None:
    value = client.google.grant(ACME_ACCOUNT, [CALENDAR]).value
    assert client.refresh(value, scope=f"{CALENDAR} {EMAIL}").json()["scope"] == CALENDAR
    assert error_of(client.refresh(value, scope=EMAIL)) == (400, "invalid_scope")


def test_userinfo_tells_only_what_the_scopes_open_and_only_to_a_living_token(client: Client, clock: Clock) -> None:
    full = client.refresh(client.google.grant(ACME_ACCOUNT).value).json()["access_token"]
    assert client.userinfo(full).json() == {"sub": ACME_ACCOUNT, "email": ACME_EMAIL, "email_verified": True}
    assert client.userinfo(full, "/v1/userinfo").json()["sub"] == ACME_ACCOUNT
    assert client.userinfo(full, "/oauth2/v2/userinfo").json()["id"] == ACME_ACCOUNT
    narrow = client.refresh(client.google.grant(ACME_ACCOUNT, [CALENDAR]).value).json()["access_token"]
    assert error_of(client.userinfo(narrow))[1]["errors"][0]["reason"] == "insufficientPermissions"
    assert client.http.get("/tokeninfo", params={"access_token": narrow}).json()["scope"] == CALENDAR
    clock.now += timedelta(seconds=3599)
    late = client.userinfo(full)
    assert (late.status_code, late.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
    assert "invalid_token" in late.headers["www-authenticate"]
    assert error_of(client.http.get("/tokeninfo", params={"access_token": full})) == (400, "invalid_token")
    with pytest.raises(GoogleFault):
        check_bearer(client.google, full, any_of=[CALENDAR])


def test_refreshes_of_one_token_at_once_are_counted_and_with_rotation_all_but_one_fail(client: Client) -> None:
    client.google.accounts[ACME_ACCOUNT].rotate = True
    client.server.world.latency = 0.3
    value = client.google.grant(ACME_ACCOUNT).value
    with ThreadPoolExecutor(20) as pool:
        statuses = sorted(reply.status_code for reply in pool.map(client.refresh, [value] * 20))
    assert statuses == [200] + [400] * 19
    assert client.google.refreshes[ACME_ACCOUNT] == 1
    assert client.google.refresh_calls[ACME_ACCOUNT] == 20
    assert client.google.most_at_once[ACME_ACCOUNT] > 1
    assert client.server.calls.of("google_refresh", token=f"google:{ACME_ACCOUNT}", tenant="acme") == 20


def test_buttons_meet_googles_calls_by_kind_and_account(client: Client) -> None:
    mine, other = client.google.grant(ACME_ACCOUNT).value, client.google.grant(GLOBEX_ACCOUNT).value
    client.server.panel.press("throttle", kind="google_refresh", account=ACME_ACCOUNT, seconds=7)
    throttled = client.refresh(mine)
    assert (throttled.status_code, throttled.headers["retry-after"]) == (429, "7")
    access = client.refresh(other).json()["access_token"]
    client.server.panel.press("html_502", kind="google_revoke", times=1)
    assert client.http.post("/revoke", data={"token": other}).status_code == 502
    client.server.panel.press("error", kind="google_userinfo", status=403, reason="accessNotConfigured", times=1)
    assert error_of(client.userinfo(access))[1]["errors"][0]["reason"] == "accessNotConfigured"
    client.server.panel.press("error", kind="google_token", times=1)
    code = client.code()
    assert error_of(client.redeem(code)) == (500, "internal_failure")
    assert client.redeem(code).status_code == 200
    client.server.panel.press("cut", kind="google_refresh", account=GLOBEX_ACCOUNT)
    with pytest.raises(httpx.RemoteProtocolError):
        client.refresh(other)
    assert client.server.calls.faults["google/internal_failure"] == 1
