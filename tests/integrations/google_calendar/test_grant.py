"""A grant that is held: refreshed, looked at and given back, through Google's own credentials."""

from datetime import timedelta

import pytest

from integrations.errors import GrantGone, IntegrationError, NeedsUser, OurBug, Throttled, Transient
from integrations.google_calendar.oauth import GoogleAccounts
from integrations.google_calendar.scopes import CALENDAR, EMAIL
from tests.integrations.google_calendar.conftest import (
    ACCESS,
    ADDRESS,
    CLIENT_ID,
    CLIENT_SECRET,
    HELD,
    HTML,
    NOW,
    REFRESH,
    SUB,
    Google,
    Reply,
    failed,
)


def test_a_refresh_gives_a_new_access_token_and_keeps_the_rest(accounts: GoogleAccounts, google: Google) -> None:
    google.answers["/token"] = (200, {"access_token": "new", "expires_in": 3599, "scope": f"email {CALENDAR}"})
    fresh = accounts.refresh({**HELD, "kept": "as it was"})
    assert fresh.values == {"refresh_token": REFRESH, "access_token": "new", "kept": "as it was"}
    assert fresh.expires_at == NOW + timedelta(seconds=3599) and fresh.scopes == (EMAIL, CALENDAR)
    [call] = google.calls
    assert call.query == "" and call.form == {
        "grant_type": "refresh_token",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "refresh_token": REFRESH,
    }


def test_a_rotated_refresh_token_is_given_back(accounts: GoogleAccounts, google: Google) -> None:
    google.answers["/token"] = (200, {"access_token": "new", "refresh_token": "rotated"})
    fresh = accounts.refresh(HELD)
    assert fresh.values == {"refresh_token": "rotated", "access_token": "new"}
    assert fresh.expires_at is None and fresh.scopes is None


@pytest.mark.parametrize("sent", [None, ""])
def test_an_empty_refresh_token_does_not_replace_the_one_that_works(
    accounts: GoogleAccounts, google: Google, sent: str | None
) -> None:
    google.answers["/token"] = (200, {"access_token": "new", "refresh_token": sent, "expires_in": None, "scope": None})
    assert accounts.refresh(HELD).values == {"refresh_token": REFRESH, "access_token": "new"}


@pytest.mark.parametrize("subtype", [None, "invalid_rapt", "rapt_required"])
def test_a_dead_grant_is_known_by_its_code(accounts: GoogleAccounts, google: Google, subtype: str | None) -> None:
    google.answers["/token"] = (
        400,
        {"error": "invalid_grant", "error_subtype": subtype, "error_description": "canary has been revoked"},
    )
    error = failed(lambda: accounts.refresh(HELD))
    assert type(error) is GrantGone and error.code == "invalid_grant"
    assert len(google.calls) == 1


def test_a_server_in_trouble_is_called_once_and_its_wait_is_heard(accounts: GoogleAccounts, google: Google) -> None:
    google.answers["/token"] = (503, {"error": "busy"}, {"Retry-After": "30"})
    error = failed(lambda: accounts.refresh(HELD))
    assert type(error) is Transient and error.retry_after == timedelta(seconds=30)
    assert len(google.calls) == 1


@pytest.mark.parametrize("tokens", [{}, {"access_token": ACCESS}, {"refresh_token": ""}], ids=range(3))
def test_without_a_refresh_token_nothing_is_sent(
    accounts: GoogleAccounts, google: Google, tokens: dict[str, str]
) -> None:
    assert type(failed(lambda: accounts.refresh(tokens))) is OurBug and google.calls == []


def test_a_refresh_token_that_is_no_text_of_a_form_says_nothing(accounts: GoogleAccounts) -> None:
    error = failed(lambda: accounts.refresh({"refresh_token": REFRESH + "\ud800"}))
    assert type(error) is OurBug and error.code == "request"


def test_a_check_tells_who_holds_the_grant(accounts: GoogleAccounts, google: Google) -> None:
    google.answers["/oauth2/v3/userinfo"] = (200, {"sub": SUB, "email": ADDRESS})
    checkup = accounts.check(HELD, SUB)
    assert checkup.holders == (SUB, ADDRESS.lower()) and checkup.scopes is None
    assert ADDRESS.lower() not in repr(checkup)


INVALID = {"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", error="invalid_token"'}
AUTH_ERROR = {"error": {"code": 401, "errors": [{"reason": "authError"}]}}
BARE_401 = {"error": {"code": 401, "message": "canary", "status": "UNAUTHENTICATED"}}


@pytest.mark.parametrize(
    "answer",
    [
        (401, BARE_401, INVALID),
        (401, AUTH_ERROR),
        (401, {"error": "invalid_token"}),
        (401, {"error": "invalid_request", "error_description": "canary"}),
    ],
    ids=range(4),
)
def test_a_token_refused_by_name_needs_a_person(accounts: GoogleAccounts, google: Google, answer: Reply) -> None:
    google.answers["/oauth2/v3/userinfo"] = answer
    assert type(failed(lambda: accounts.check(HELD, SUB))) is NeedsUser


@pytest.mark.parametrize(
    "answer",
    [
        (401, BARE_401),
        (403, {"error": "insufficient_scope"}),
        (403, {"error": {"code": 403, "errors": [{"reason": "insufficientPermissions"}]}}),
        (403, {"error": {"details": [{"reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}]}}),
        (401, {"error": {"code": 401, "errors": [{"reason": "required"}]}}),
        (403, {}),
        (200, {}),
    ],
    ids=range(7),
)
def test_a_grant_that_may_not_ask_who_holds_it_is_well(accounts: GoogleAccounts, google: Google, answer: Reply) -> None:
    google.answers["/oauth2/v3/userinfo"] = answer
    checkup = accounts.check(HELD, SUB)
    assert checkup.holders is None and checkup.scopes is None and checkup.expires_at is None


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        ((500, HTML), Transient),
        ((429, {}), Throttled),
        ((403, {"error": {"errors": [{"reason": "rateLimitExceeded"}]}}), Throttled),
    ],
    ids=range(3),
)
def test_a_check_that_fails_for_now_says_so(
    accounts: GoogleAccounts, google: Google, answer: Reply, decision: type[IntegrationError]
) -> None:
    google.answers["/oauth2/v3/userinfo"] = answer
    assert type(failed(lambda: accounts.check(HELD, SUB))) is decision


def test_a_check_without_an_access_token_is_our_bug(accounts: GoogleAccounts, google: Google) -> None:
    assert type(failed(lambda: accounts.check({"refresh_token": REFRESH}, SUB))) is OurBug and google.calls == []


def test_revoking_sends_the_refresh_token_in_the_body(accounts: GoogleAccounts, google: Google) -> None:
    google.answers["/revoke"] = (200, {})
    accounts.revoke(HELD)
    accounts.revoke({"access_token": ACCESS})
    assert [(call.method, call.query, call.form) for call in google.calls] == [
        ("POST", "", {"token": REFRESH}),
        ("POST", "", {"token": ACCESS}),
    ]


@pytest.mark.parametrize("code", ["invalid_token", "invalid_grant"])
def test_a_grant_that_is_gone_already_counts_as_revoked(accounts: GoogleAccounts, google: Google, code: str) -> None:
    google.answers["/revoke"] = (400, {"error": code, "error_description": "canary"})
    accounts.revoke(HELD)
    assert len(google.calls) == 1


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        ((400, {"error": "invalid_request"}), OurBug),
        ((400, {}), OurBug),
        ((400, HTML), OurBug),
        ((503, {"error": "invalid_token"}), Transient),
        ((502, HTML), Transient),
        ((429, {}), Throttled),
        ((302, b"", {"Location": "http://127.0.0.1:9/canary"}), Transient),
    ],
    ids=range(7),
)
def test_a_revocation_that_did_not_happen_is_not_taken_for_one(
    accounts: GoogleAccounts, google: Google, answer: Reply, decision: type[IntegrationError]
) -> None:
    google.answers["/revoke"] = answer
    assert type(failed(lambda: accounts.revoke(HELD))) is decision


def test_without_a_token_nothing_is_called_revoked(accounts: GoogleAccounts, google: Google) -> None:
    assert type(failed(lambda: accounts.revoke({}))) is OurBug and google.calls == []
