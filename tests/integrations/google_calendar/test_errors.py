"""Google's error codes: each leads to one decision, read from codes and reasons, and the wait is Google's own."""

from datetime import timedelta
from typing import Any

import pytest

from integrations import INTEGRATIONS
from integrations.errors import GrantGone, IntegrationError, Missing, NeedsUser, OurBug, Throttled, Transient
from integrations.google_calendar.errors import ERRORS, classify, dead_grant

CANARY = "canary.person@example.com ya29.canarytoken"


def oauth_error(code: Any, status: int = 400) -> IntegrationError:
    return classify(status, {"error": code, "error_description": CANARY}, {})


def api_error(status: int, reason: Any, headers: dict[str, str] | None = None) -> IntegrationError:
    errors = [{"domain": "usageLimits", "reason": reason, "message": CANARY}]
    return classify(status, {"error": {"code": status, "message": CANARY, "errors": errors}}, headers or {})


@pytest.mark.parametrize(
    ("code", "status", "decision"),
    [
        ("invalid_grant", 400, GrantGone),
        ("invalid_client", 401, OurBug),
        ("unauthorized_client", 401, NeedsUser),
        ("access_denied", 403, NeedsUser),
        ("admin_policy_enforced", 400, NeedsUser),
        ("org_internal", 403, NeedsUser),
        ("deleted_client", 401, OurBug),
        ("disabled_client", 401, OurBug),
        ("redirect_uri_mismatch", 400, OurBug),
        ("invalid_scope", 400, OurBug),
        ("invalid_request", 400, OurBug),
        ("unsupported_grant_type", 400, OurBug),
        ("temporarily_unavailable", 400, Transient),
        ("server_error", 400, Transient),
        ("internal_failure", 500, Transient),
        ("rate_limit_exceeded", 429, Throttled),
        ("rate_limit_exceeded", 403, Throttled),
        ("invalid_token", 401, NeedsUser),
        ("invalid_request", 401, NeedsUser),
        ("insufficient_scope", 403, NeedsUser),
        ("a_new_word", 400, OurBug),
        ("a_new_word", 403, Transient),
        ("a_new_word", 302, Transient),
    ],
)
def test_a_code_of_oauth_leads_to_one_decision(code: str, status: int, decision: type[IntegrationError]) -> None:
    assert type(oauth_error(code, status)) is decision


@pytest.mark.parametrize(
    ("status", "reason", "decision"),
    [
        (401, "authError", NeedsUser),
        (403, "insufficientPermissions", NeedsUser),
        (403, "accessNotConfigured", OurBug),
        (403, "userRateLimitExceeded", Throttled),
        (403, "rateLimitExceeded", Throttled),
        (429, "rateLimitExceeded", Throttled),
        (403, "quotaExceeded", Throttled),
        (403, "dailyLimitExceeded", Throttled),
        (403, "forbiddenForNonOrganizer", Missing),
        (403, "forbidden", Missing),
        (404, "notFound", Missing),
        (409, "duplicate", OurBug),
        (410, "deleted", Missing),
        (410, "fullSyncRequired", Missing),
        (412, "conditionNotMet", Transient),
        (400, "badRequest", OurBug),
        (400, "required", OurBug),
        (401, "required", NeedsUser),
        (400, "pushNotSupportedForRequestedResource", OurBug),
        (500, "backendError", Transient),
        (503, "userRateLimitExceeded", Throttled),
    ],
)
def test_a_reason_of_the_calendar_leads_to_one_decision(
    status: int, reason: str, decision: type[IntegrationError]
) -> None:
    error = api_error(status, reason)
    assert type(error) is decision and error.code == reason


@pytest.mark.parametrize(
    ("status", "decision"),
    [
        (400, OurBug),
        (401, NeedsUser),
        (403, Transient),
        (404, Missing),
        (409, OurBug),
        (410, Missing),
        (412, Transient),
        (429, Throttled),
        (500, Transient),
        (503, Transient),
        (200, Transient),
        (302, Transient),
    ],
)
@pytest.mark.parametrize(
    "body", [None, [], "text", {}, {"error": None}, {"error": {"errors": [None, {"reason": 7}]}}], ids=range(6)
)
def test_an_answer_without_a_reason_is_decided_by_its_status(
    status: int, decision: type[IntegrationError], body: Any
) -> None:
    error = classify(status, body, {})
    assert type(error) is decision and error.code == f"http_{status}"


def test_a_missing_scope_is_told_from_other_refusals_by_the_detail_of_the_newer_shape() -> None:
    details = [{"@type": "x"}, {"reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "domain": "googleapis.com"}]
    error = classify(403, {"error": {"code": 403, "status": "PERMISSION_DENIED", "details": details}}, {})
    assert type(error) is NeedsUser and error.code == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"


def test_a_bad_token_is_known_by_the_header_too() -> None:
    headers = {"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", error="invalid_token"'}
    assert classify(401, None, headers).code == "invalid_token"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("code", ["invalid_grant", "invalid_client", "invalid_request", "a_new_word"])
def test_an_answer_of_5xx_ends_no_grant_whatever_it_says(status: int, code: str) -> None:
    assert type(oauth_error(code, status)) is Transient


@pytest.mark.parametrize("key", ERRORS)
def test_every_line_of_the_table_has_a_sentence_a_fix_and_for_a_throttle_a_wait(key: str) -> None:
    case = ERRORS[key]
    assert case.sentence.endswith(".") and case.fix and case.fix.endswith(".")
    assert (case.wait is not None) == (case.error is Throttled)


def test_a_customer_at_their_limit_waits_for_hours_and_a_busy_minute_for_a_minute() -> None:
    assert (api_error(403, "quotaExceeded").retry_after or timedelta()) >= timedelta(hours=1)
    assert api_error(403, "userRateLimitExceeded").retry_after == timedelta(minutes=1)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "17"}, timedelta(seconds=17)),
        ({"retry-after": "999999999"}, timedelta(days=1)),
        (
            {"Retry-After": "Mon, 02 Mar 2026 09:05:00 GMT", "Date": "Mon, 02 Mar 2026 09:00:00 GMT"},
            timedelta(minutes=5),
        ),
        ({"Retry-After": "Mon, 02 Mar 2026 08:00:00 GMT", "Date": "Mon, 02 Mar 2026 09:00:00 GMT"}, None),
        ({"Retry-After": "Mon, 02 Mar 2026 09:05:00 GMT"}, None),
        ({"Retry-After": "Mon, 02 Mar 2026 09:05:00", "Date": "Mon, 02 Mar 2026 09:00:00 GMT"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "0"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
    ],
)
def test_the_wait_is_the_one_google_asked_for(headers: dict[str, str], wait: timedelta | None) -> None:
    assert api_error(429, "rateLimitExceeded", headers).retry_after == (wait or timedelta(minutes=1))
    assert api_error(503, "backendError", headers).retry_after == wait


def test_what_is_for_a_person_or_a_developer_has_no_wait() -> None:
    assert oauth_error("invalid_grant").retry_after is None
    assert api_error(404, "notFound", {"Retry-After": "17"}).retry_after is None


@pytest.mark.parametrize(
    ("age", "code"),
    [
        (timedelta(days=6, hours=12), "testing_grant"),
        (timedelta(days=7), "testing_grant"),
        (timedelta(days=8), "testing_grant"),
        (timedelta(days=6, hours=11), "invalid_grant"),
        (timedelta(days=8, seconds=1), "invalid_grant"),
        (timedelta(hours=1), "invalid_grant"),
        (timedelta(days=200), "invalid_grant"),
        (timedelta(days=-7), "invalid_grant"),
        (None, "invalid_grant"),
    ],
)
def test_a_grant_that_died_after_seven_days_is_explained_as_an_app_in_testing(age: timedelta | None, code: str) -> None:
    error = dead_grant(age)
    assert error.code == code and error.fix and "connect link" in error.fix
    assert ("publishes the app" in error.fix) == (code == "testing_grant")


@pytest.mark.parametrize(
    "code", [CANARY, "ya29.a0AfH6SMcanary", "canary@example.com", "x" * 49, "", 7, None, ["invalid_grant"]]
)
def test_what_is_no_word_is_not_repeated(code: Any) -> None:
    for error in (oauth_error(code, 403), api_error(403, code)):
        assert error.code == "http_403" and "canary" not in f"{error!r}{error}{vars(error)}".lower()


def test_a_word_that_we_do_not_know_is_named() -> None:
    assert oauth_error("a_new_word", 403).code == "a_new_word"


def test_the_wording_does_not_matter() -> None:
    for text in ("Token has been expired or revoked.", "", None, 7, "rateLimitExceeded"):
        assert type(classify(400, {"error": "invalid_grant", "error_description": text}, {})) is GrantGone


def test_the_integration_asks_for_the_narrowest_calendar_scope_and_requires_only_that() -> None:
    [google] = [one for one in INTEGRATIONS if one.name == "google_calendar"]
    calendar = "https://www.googleapis.com/auth/calendar.app.created"
    assert google.scopes == ("openid", "https://www.googleapis.com/auth/userinfo.email", calendar)
    assert [one.scope for one in google.permissions if one.required] == [calendar]
    assert google.errors is ERRORS and google.title == "Google Calendar"
