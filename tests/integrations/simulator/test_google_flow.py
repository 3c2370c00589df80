"""Google's own Python libraries cannot tell the simulator from Google."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from google.auth import jwt
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from google.oauth2.credentials import Credentials
from google_auth_oauthlib.flow import Flow  # type: ignore[import-untyped]

from integrations.simulator.google_consent import consent
from integrations.simulator.google_world import CALENDAR, EMAIL
from integrations.simulator.seed import ACME_ACCOUNT, ACME_EMAIL, GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET
from integrations.simulator.server import SimulatorServer

BACK = "https://troth.example/oauth/google_calendar/callback"
SCOPES = ["openid", EMAIL, CALENDAR]


@pytest.fixture(autouse=True)
def _plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def flow_of(simulator: SimulatorServer, **options: Any) -> Any:
    web = {
        "client_id": GOOGLE_CLIENT_ID,
        "client_secret": GOOGLE_CLIENT_SECRET,
        "auth_uri": f"{simulator.url}/o/oauth2/v2/auth",
        "token_uri": f"{simulator.url}/token",
    }
    flow = Flow.from_client_config({"web": web}, SCOPES, redirect_uri=BACK, **options)
    flow.oauth2session.trust_env = False
    return flow


def connect(simulator: SimulatorServer, **consented: Any) -> Any:
    """The whole way, the callback answered by another process that knows only the verifier and the state."""
    begun = flow_of(simulator)
    url, state = begun.authorization_url(prompt="consent")
    location = consent(simulator.google, url, ACME_ACCOUNT, **consented)
    answer = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
    assert answer["state"] == state
    flow = flow_of(simulator, code_verifier=begun.code_verifier)
    flow.fetch_token(code=answer["code"])
    return flow


def test_the_flow_ends_in_credentials_that_refresh_and_are_revoked(
    simulator: SimulatorServer, http: requests.Session
) -> None:
    flow = connect(simulator)
    held: Any = flow.credentials
    assert held.refresh_token
    assert (held.granted_scopes, held.expired) == (SCOPES, False)
    assert jwt.decode(held.id_token, verify=False)["sub"] == ACME_ACCOUNT  # type: ignore[no-untyped-call]
    first = held.token
    held.refresh(Request(http))
    assert held.token != first
    assert simulator.google.refreshes == {ACME_ACCOUNT: 1}
    told = http.get(f"{simulator.url}/oauth2/v3/userinfo", headers={"Authorization": f"Bearer {held.token}"}).json()
    assert (told["sub"], told["email"]) == (ACME_ACCOUNT, ACME_EMAIL)
    assert http.post(f"{simulator.url}/revoke", data={"token": held.refresh_token}).json() == {}
    with pytest.raises(RefreshError) as gone:
        held.refresh(Request(http))
    assert gone.value.args[1] == {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
    assert not gone.value.retryable


def test_a_scope_left_out_is_a_warning_of_the_flow_and_a_token_without_it(simulator: SimulatorServer) -> None:
    with pytest.raises(Warning, match="Scope has changed") as caught:
        connect(simulator, untick=[CALENDAR])
    assert caught.value.token["scope"] == ["openid", EMAIL]  # type: ignore[attr-defined]


def test_credentials_take_a_rotated_refresh_token_and_the_old_one_is_dead(
    simulator: SimulatorServer, http: requests.Session
) -> None:
    simulator.google.accounts[ACME_ACCOUNT].rotate = True
    held = connect(simulator).credentials
    old = held.refresh_token
    held.refresh(Request(http))
    assert held.refresh_token != old
    held.refresh(Request(http))
    stale: Any = Credentials(  # type: ignore[no-untyped-call]
        None,
        refresh_token=old,
        token_uri=f"{simulator.url}/token",
        client_id=GOOGLE_CLIENT_ID,
        client_secret=GOOGLE_CLIENT_SECRET,
    )
    with pytest.raises(RefreshError, match="invalid_grant"):
        stale.refresh(Request(http))


def test_a_refresh_button_is_an_error_that_the_library_tries_again(
    simulator: SimulatorServer, http: requests.Session
) -> None:
    held = connect(simulator).credentials
    simulator.panel.press("error", kind="google_refresh", account=ACME_ACCOUNT, status=503, times=1)
    held.refresh(Request(http))
    assert simulator.google.refresh_calls[ACME_ACCOUNT] == 2
    assert simulator.google.refreshes[ACME_ACCOUNT] == 1
    simulator.panel.press("error", kind="google_refresh", status=400, reason="admin_policy_enforced")
    with pytest.raises(RefreshError, match="admin_policy_enforced"):
        held.refresh(Request(http))


def test_a_wrong_verifier_is_refused(simulator: SimulatorServer) -> None:
    url, _ = flow_of(simulator).authorization_url(prompt="consent")
    code = parse_qs(urlsplit(consent(simulator.google, url, ACME_EMAIL)).query)["code"][0]
    with pytest.raises(Exception, match="Invalid code verifier"):
        flow_of(simulator, code_verifier="x" * 64).fetch_token(code=code)
