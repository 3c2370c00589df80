"""What comes of a code, through Google's own flow: an account, a named problem, or an error that keeps quiet."""

import os
from collections.abc import Callable
from datetime import timedelta

import pytest

from integrations.errors import IntegrationError, NeedsUser, OurBug, Throttled, Transient
from integrations.google_calendar.oauth import GoogleAccounts
from integrations.google_calendar.scopes import CALENDAR, EMAIL, OPENID
from integrations.http import Http
from tests.integrations.google_calendar.conftest import (
    ACCESS,
    ADDRESS,
    BACK,
    CLIENT_ID,
    CLIENT_SECRET,
    CODE,
    HELD,
    HTML,
    NOW,
    SUB,
    VERIFIER,
    Google,
    Reply,
    accounts_at,
    completed,
    failed,
    id_token,
    token_answer,
)


@pytest.mark.parametrize(
    "answer", [(400, {"error": "invalid_grant"}), (400, {"error": "invalid_grant", "error_description": "canary"})]
)
def test_a_code_used_twice_asks_to_open_the_link_again_and_ends_no_grant(
    accounts: GoogleAccounts, google: Google, answer: Reply
) -> None:
    google.answers["/token"] = answer
    error = failed(lambda: completed(accounts))
    assert type(error) is NeedsUser and error.code == "code_refused" and "connect link again" in (error.fix or "")


@pytest.mark.parametrize("code", ["", "x" * 2049, "canary\n", "canary\ud800", "canäry", "canary\x00"])
def test_a_code_that_cannot_be_one_is_not_sent(accounts: GoogleAccounts, google: Google, code: str) -> None:
    assert failed(lambda: completed(accounts, code)).code == "code_refused"
    assert google.calls == []


@pytest.mark.parametrize(
    ("answer", "decision", "code"),
    [
        ((401, {"error": "invalid_client", "error_description": "canary"}), OurBug, "invalid_client"),
        ((400, {"error": "redirect_uri_mismatch"}), OurBug, "redirect_uri_mismatch"),
        ((400, {"error": "admin_policy_enforced"}), NeedsUser, "admin_policy_enforced"),
        ((429, {"error": "rate_limit_exceeded"}), Throttled, "rate_limit_exceeded"),
        ((503, {"error": "invalid_grant"}), Transient, "invalid_grant"),
        ((502, HTML), Transient, "http_502"),
        ((200, HTML), Transient, "http_200"),
        ((500, {"error": "internal_failure"}), Transient, "internal_failure"),
        ((200, {"error": "server_error"}), Transient, "server_error"),
        ((302, b"", {"Location": "http://127.0.0.1:9/canary"}), Transient, "http_302"),
        ((200, []), Transient, "http_200"),
        ((200, {}), Transient, "answer"),
        ((200, {"access_token": ""}), Transient, "answer"),
        ((200, {"access_token": ["canary"]}), Transient, "answer"),
        ((200, token_answer(expires_in="canary")), Transient, "answer"),
        ((200, token_answer(expires_in=-1)), Transient, "answer"),
        ((200, token_answer(expires_in=10**12)), Transient, "answer"),
        ((200, token_answer(expires_in=True)), Transient, "answer"),
        ((200, token_answer(scope=["canary"])), Transient, "answer"),
        ((200, token_answer(refresh_token={"canary": 1})), Transient, "answer"),
    ],
)
@pytest.mark.parametrize("way", ["complete", "refresh"])
def test_a_bad_answer_of_the_token_endpoint_is_classified_after_one_call(
    accounts: GoogleAccounts, google: Google, answer: Reply, decision: type[IntegrationError], code: str, way: str
) -> None:
    google.answers["/token"] = answer
    error = failed(lambda: completed(accounts) if way == "complete" else accounts.refresh(HELD))
    assert (type(error), error.code) == (decision, code)
    assert len(google.calls) == 1


@pytest.mark.parametrize("way", ["complete", "refresh", "check", "revoke"])
def test_a_provider_that_cannot_be_reached_is_transient(http: Http, google: Google, way: str) -> None:
    accounts = accounts_at(http, "http://127.0.0.1:1")
    calls: dict[str, Callable[[], object]] = {
        "complete": lambda: completed(accounts),
        "refresh": lambda: accounts.refresh(HELD),
        "check": lambda: accounts.check(HELD, SUB),
        "revoke": lambda: accounts.revoke(HELD),
    }
    assert type(failed(calls[way])) is Transient


def test_a_code_becomes_one_account_with_what_was_granted(accounts: GoogleAccounts, google: Google) -> None:
    google.answers["/token"] = (200, token_answer())
    account = completed(accounts)
    assert account.external_id == SUB and account.name == ADDRESS.lower() and account.problem is None
    assert account.tokens == HELD
    assert account.scopes == (OPENID, EMAIL, CALENDAR) and account.holders == (SUB, ADDRESS.lower())
    assert account.expires_at == NOW + timedelta(seconds=3599)


def test_the_code_and_the_secret_travel_in_the_body_with_the_verifier(accounts: GoogleAccounts, google: Google) -> None:
    google.answers["/token"] = (200, token_answer())
    completed(accounts)
    [call] = google.calls
    assert call.method == "POST" and call.query == "" and "authorization" not in call.headers
    assert call.form == {
        "grant_type": "authorization_code",
        "code": CODE,
        "code_verifier": VERIFIER,
        "redirect_uri": BACK,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }
    assert call.headers["user-agent"] == "troth"


def test_no_switch_of_oauthlib_is_needed_or_set(
    accounts: GoogleAccounts, google: Google, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OAUTHLIB_INSECURE_TRANSPORT", "OAUTHLIB_RELAX_TOKEN_SCOPE"):
        monkeypatch.delenv(name, raising=False)
    google.answers["/token"] = (200, token_answer(scope=CALENDAR))
    assert completed(accounts).scopes == (CALENDAR,)
    assert not [name for name in os.environ if name.startswith("OAUTHLIB")]


def test_a_proxy_or_a_netrc_of_the_environment_is_not_used(
    accounts: GoogleAccounts, google: Google, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    google.answers["/token"] = (200, token_answer())
    assert completed(accounts).external_id == SUB and accounts.refresh(HELD).expires_at


@pytest.mark.parametrize("scope", [f"{OPENID} {EMAIL}", OPENID, "", None, "https://www.googleapis.com/auth/calendar"])
def test_a_calendar_left_unticked_is_a_named_problem(
    accounts: GoogleAccounts, google: Google, scope: str | None
) -> None:
    google.answers["/token"] = (200, token_answer(scope=scope))
    account = completed(accounts)
    assert isinstance(account.problem, NeedsUser) and account.problem.code == "scope_missing"
    assert "calendar" in account.problem.sentence and "box ticked" in (account.problem.fix or "")
    assert account.tokens == HELD and CALENDAR not in account.scopes


def test_more_than_was_asked_is_read_too(accounts: GoogleAccounts, google: Google) -> None:
    google.answers["/token"] = (200, token_answer(scope=f"email {CALENDAR} openid email extra"))
    account = completed(accounts)
    assert account.scopes == (EMAIL, CALENDAR, OPENID, "extra") and account.problem is None


def test_an_answer_without_lasting_access_is_a_problem(accounts: GoogleAccounts, google: Google) -> None:
    google.answers["/token"] = (200, token_answer(refresh_token=None))
    account = completed(accounts)
    assert account.problem is not None and account.problem.code == "no_refresh_token"
    assert account.tokens == {"access_token": ACCESS}


def test_an_answer_without_a_lifetime_has_no_expiry(accounts: GoogleAccounts, google: Google) -> None:
    google.answers["/token"] = (200, token_answer(expires_in=None))
    assert completed(accounts).expires_at is None


@pytest.mark.parametrize(
    "token",
    [
        None,
        "",
        "canary",
        "a.b.c",
        "é.é.é",
        id_token(aud="another-client"),
        id_token(aud=[CLIENT_ID, "another"]),
        id_token(iss="https://evil.example"),
        id_token(sub=""),
        id_token(sub=7),
        id_token(sub=None),
    ],
    ids=range(11),
)
def test_without_a_usable_id_token_the_account_is_asked_for(
    accounts: GoogleAccounts, google: Google, token: str | None
) -> None:
    google.answers["/token"] = (200, token_answer(id_token=token))
    google.answers["/oauth2/v3/userinfo"] = (200, {"sub": "77", "email": "Asked@Example.com"})
    account = completed(accounts)
    assert (account.external_id, account.name, account.holders) == (
        "77",
        "asked@example.com",
        ("77", "asked@example.com"),
    )
    [call] = google.calls_to("/oauth2/v3/userinfo")
    assert call.query == "" and call.headers["authorization"] == f"Bearer {ACCESS}"


def test_an_account_without_an_address_is_named_by_its_id(accounts: GoogleAccounts, google: Google) -> None:
    google.answers["/token"] = (200, token_answer(id_token=id_token(email=None)))
    account = completed(accounts)
    assert account.name == SUB and account.holders == (SUB,)


@pytest.mark.parametrize(
    "answer", [(200, {}), (200, []), (200, {"email": ADDRESS}), (401, {}), (403, {}), (404, HTML)], ids=range(6)
)
def test_an_account_that_google_does_not_name_is_not_guessed(
    accounts: GoogleAccounts, google: Google, answer: Reply
) -> None:
    google.answers |= {"/token": (200, token_answer(id_token=None)), "/oauth2/v3/userinfo": answer}
    error = failed(lambda: completed(accounts))
    assert type(error) is NeedsUser and error.code == "no_account"
    assert error.sentence == "Google did not say which account this is."


def test_an_account_page_that_fails_for_now_is_transient(accounts: GoogleAccounts, google: Google) -> None:
    google.answers |= {"/token": (200, token_answer(id_token=None)), "/oauth2/v3/userinfo": (503, HTML)}
    assert type(failed(lambda: completed(accounts))) is Transient
