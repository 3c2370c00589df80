from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from integrations.simulator.google_world import CALENDAR
from integrations.simulator.seed import (
    ACME_ACCOUNT,
    ACME_EMAIL,
    GLOBEX_ACCOUNT,
    GOOGLE_CLIENT_ID,
    GOOGLE_CLIENT_SECRET,
    SeedError,
    build_world,
)
from integrations.simulator.server import SimulatorServer
from tests.integrations.simulator.conftest import NOON, Asker

ASKED = {
    "client_id": GOOGLE_CLIENT_ID,
    "redirect_uri": "https://troth.example/back",
    "response_type": "code",
    "scope": f"openid {CALENDAR}",
    "state": "s1",
    "access_type": "offline",
}
URL = "https://accounts.google.com/o/oauth2/v2/auth?" + urlencode(ASKED)


def switch(ask: Asker, account: str = ACME_ACCOUNT, **values: Any) -> dict[str, Any]:
    reply = ask.bare("POST", f"/_sim/google/accounts/{account}", json=values)
    assert reply.status_code == 200, reply.text
    told: dict[str, Any] = reply.json()
    return told


def granted(ask: Asker, account: str = ACME_ACCOUNT) -> str:
    value: str = ask.bare("POST", "/_sim/google/grants", json={"account": account}).json()["refresh_tokens"][0]
    return value


def refresh(ask: Asker, value: str) -> httpx.Response:
    form = {"grant_type": "refresh_token", "refresh_token": value}
    return ask.bare("POST", "/token", data=form, auth=(GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET))


def test_a_consent_is_given_without_a_browser(ask: Asker) -> None:
    wish = {"url": URL, "account": ACME_EMAIL, "untick": [CALENDAR]}
    location = ask.bare("POST", "/_sim/google/consent", json=wish).json()["location"]
    answer = parse_qs(urlsplit(location).query)
    assert (answer["state"], answer["scope"]) == (["s1"], ["openid"])
    denied = ask.bare("POST", "/_sim/google/consent", json={"url": URL, "account": ACME_EMAIL, "deny": True}).json()
    assert "error=access_denied" in denied["location"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("consent", {"url": URL, "account": "nobody"}, 404),
        ("consent", {"url": URL}, 404),
        ("consent", {"url": "https://x.example/?client_id=nobody", "account": ACME_EMAIL}, 400),
        ("consent", {"url": URL, "account": ACME_EMAIL, "untic": []}, 400),
        ("grants", {"account": "nobody"}, 404),
        ("accounts/nobody", {"rotate": True}, 404),
        (f"accounts/{ACME_ACCOUNT}", {"explode": True}, 400),
        ("clients/nobody", {"testing": True}, 404),
    ],
)
def test_a_wrong_switch_gets_a_sentence(ask: Asker, path: str, body: dict[str, Any], status: int) -> None:
    reply = ask.bare("POST", f"/_sim/google/{path}", json=body)
    assert reply.status_code == status
    assert reply.json()["detail"]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"revoked": True}, "invalid_grant"),
        ({"password_changed": True}, "invalid_grant"),
        ({"admin_policy": True}, "admin_policy_enforced"),
        ({"testing": True, "age_days": 7}, "invalid_grant"),
        ({"age_days": 180}, "invalid_grant"),
    ],
)
def test_an_account_breaks_as_it_is_told_and_its_neighbour_does_not(
    ask: Asker, values: dict[str, Any], error: str
) -> None:
    mine, other = granted(ask), granted(ask, GLOBEX_ACCOUNT)
    assert refresh(ask, mine).status_code == 200
    switch(ask, **values)
    reply = refresh(ask, mine)
    assert (reply.status_code, reply.json()["error"]) == (400, error)
    assert refresh(ask, other).status_code == 200


def test_an_administrators_rule_is_a_page_at_the_consent(ask: Asker) -> None:
    switch(ask, admin_policy=True)
    reply = ask.bare("POST", "/_sim/google/consent", json={"url": URL, "account": ACME_ACCOUNT})
    assert (reply.status_code, reply.json()["detail"]) == (400, "Google shows an error page: admin_policy_enforced")


def test_access_tokens_end_alone(ask: Asker) -> None:
    value = granted(ask)
    access = refresh(ask, value).json()["access_token"]
    assert switch(ask, access_expired=True)["access_tokens"] == 0
    headers = {"Authorization": f"Bearer {access}"}
    assert ask.bare("GET", "/oauth2/v3/userinfo", headers=headers).status_code == 401
    assert refresh(ask, value).status_code == 200


def test_the_state_counts_and_shows_no_token(ask: Asker) -> None:
    value = granted(ask)
    switch(ask, rotate=True)
    fresh = refresh(ask, value).json()["refresh_token"]
    assert refresh(ask, value).status_code == 400
    reply = ask.bare("GET", "/_sim/google")
    acme = reply.json()["accounts"][0]
    assert (acme["refresh_tokens"], acme["access_tokens"]) == (1, 1)
    assert (acme["refreshes"], acme["refresh_calls"], acme["revocations"]) == (1, 2, 0)
    assert value not in reply.text
    assert fresh not in reply.text
    ask.bare("POST", "/revoke", data={"token": fresh})
    acme = ask.bare("GET", "/_sim/google").json()["accounts"][0]
    assert (acme["refresh_tokens"], acme["access_tokens"], acme["grants"], acme["revocations"]) == (0, 0, [], 1)


def test_accounts_and_the_client_change_while_it_runs(simulator: SimulatorServer, ask: Asker) -> None:
    ask.bare("POST", "/_sim/google/accounts", json={"sub": "9", "email": "new@initech.example", "tenant": "initech"})
    assert refresh(ask, granted(ask, "new@initech.example")).status_code == 200
    reply = ask.bare("POST", f"/_sim/google/clients/{GOOGLE_CLIENT_ID}", json={"testing": True, "secret": "new"})
    assert reply.json() == {"id": GOOGLE_CLIENT_ID, "testing": True}
    assert refresh(ask, granted(ask)).status_code == 401


def test_a_seed_brings_clients_accounts_and_grants_and_without_it_there_are_the_usual_ones() -> None:
    account = {"sub": "9", "email": "a@initech.example", "name": "A", "refresh_token": "1//0a", "testing": True}
    world = build_world(lambda: NOON, {"google": {"accounts": [account]}})
    assert [token.value for token in world.google.living("refresh", "9")] == ["1//0a"]
    assert set(build_world(lambda: NOON, {}).google.accounts) >= {ACME_ACCOUNT, GLOBEX_ACCOUNT}
    with pytest.raises(SeedError, match="near"):
        build_world(lambda: NOON, {"google": {"accounts": [{"sub": "9", "colour": "red"}]}})
