"""Google's error codes and what each means for us, in one table; it reads codes and reasons, never Google's prose.

Sources: https://developers.google.com/identity/protocols/oauth2/web-server#authorization-errors ,
https://developers.google.com/workspace/calendar/api/guides/errors and
https://developers.google.com/workspace/calendar/api/guides/quota
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from integrations.contract import Case
from integrations.errors import GrantGone, IntegrationError, Missing, NeedsUser, OurBug, Throttled, Transient

_RECONNECT = "Someone opens a new connect link, chooses the same Google account and allows access again."
_ADMIN = "An administrator of the Google Workspace allows this app under API controls; then someone opens a new connect link."
_LATER = "Nothing to do: Troth waits and goes on by itself."
_SETTINGS = (
    "The operator compares the Google client's id, secret, redirect address and scopes in Troth's settings with the"
    " Google Cloud console."
)
_DEVELOPER = "Nothing in the settings mends this: report the code to Troth's developers."
_LOOK = "If the event still exists: someone looks at the calendar's sharing in Google Calendar."

_WOBBLE = Case(Transient, "Google could not answer just now.", _LATER)
_BUSY = Case(Throttled, "Too many calls were made to Google.", _LATER, timedelta(minutes=1))
_DAY_USED = Case(Throttled, "The Google project's calls for this day are used up.", _LATER, timedelta(hours=6))
_TOKEN_REFUSED = Case(NeedsUser, "Google no longer accepts the access given to this calendar.", _RECONNECT)
_NOT_PERMITTED = Case(
    NeedsUser,
    "Google says that a permission for this calendar is missing.",
    "Someone opens a new connect link, chooses the same Google account and leaves every box ticked.",
)
_CLIENT = Case(OurBug, "Google does not accept the app's own id or secret.", _SETTINGS)
_API_OFF = Case(
    OurBug,
    "The Google Calendar API is not switched on for the app.",
    "The operator enables the Google Calendar API for the project in the Google Cloud console.",
)
_MALFORMED = Case(OurBug, "Google refused our request as malformed.", _DEVELOPER)
_ABSENT = Case(Missing, "Google does not show this calendar or event: it is gone, or closed to us.", _LOOK)
_DELETED = Case(Missing, "This event, or the place we had reached in the calendar, is gone at Google.", _LOOK)
_CLOSED = Case(Missing, "Google does not let us change this event or calendar.", _LOOK)

# Keys starting with http_ stand for answers that name no reason of their own.
ERRORS: Mapping[str, Case] = {
    # OAuth: the consent page, the token endpoint, revocation.
    "invalid_grant": Case(GrantGone, "Google has ended the access given to this calendar.", _RECONNECT),
    "invalid_token": _TOKEN_REFUSED,
    "access_denied": Case(
        NeedsUser, "Access was not allowed on Google's page.", "Someone opens the connect link again and allows access."
    ),
    "admin_policy_enforced": Case(
        NeedsUser, "An administrator of this Google Workspace does not let the app in.", _ADMIN
    ),
    "org_internal": Case(
        NeedsUser,
        "The app lets in only accounts of its own Google organisation.",
        "Someone connects an account of that organisation, or the operator sets the app's audience to External.",
    ),
    # Refresh tokens belong to the client they were given to: met after an import from another app.
    "unauthorized_client": Case(
        NeedsUser,
        "This access was given to another app than the one in Troth's settings.",
        "Someone opens a new connect link; if every connection says so, the operator compares the Google client's id.",
    ),
    "invalid_client": _CLIENT,
    "deleted_client": Case(OurBug, "The app's Google client was deleted.", _SETTINGS),
    "disabled_client": Case(OurBug, "The app's Google client is disabled.", _SETTINGS),
    "redirect_uri_mismatch": Case(OurBug, "Google does not know the address to come back to.", _SETTINGS),
    "invalid_scope": Case(OurBug, "Google does not know a scope that is asked for.", _SETTINGS),
    "invalid_request": _MALFORMED,
    "unsupported_grant_type": _MALFORMED,
    "unsupported_response_type": _MALFORMED,
    "temporarily_unavailable": _WOBBLE,
    "server_error": _WOBBLE,
    "internal_failure": _WOBBLE,
    "rate_limit_exceeded": _BUSY,
    "slow_down": _BUSY,
    # The Calendar API and the account's page: `errors[].reason` in small letters, `details[].reason` in capitals.
    "authError": _TOKEN_REFUSED,
    "CREDENTIALS_MISSING": _TOKEN_REFUSED,
    "insufficient_scope": _NOT_PERMITTED,
    "insufficientPermissions": _NOT_PERMITTED,
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": _NOT_PERMITTED,
    "accessNotConfigured": _API_OFF,
    "SERVICE_DISABLED": _API_OFF,
    "userRateLimitExceeded": _BUSY,
    "rateLimitExceeded": _BUSY,
    "RATE_LIMIT_EXCEEDED": _BUSY,
    "dailyLimitExceeded": _DAY_USED,
    # The customer's own calendar is limited, for hours; calls in between make it longer.
    "quotaExceeded": Case(
        Throttled, "Google limits changes to this person's calendars for some hours.", _LATER, timedelta(hours=3)
    ),
    "forbiddenForNonOrganizer": _CLOSED,
    "requiredAccessLevel": _CLOSED,
    "forbidden": _CLOSED,
    "notFound": _ABSENT,
    "deleted": _DELETED,
    "fullSyncRequired": _DELETED,
    "updatedMinTooLongAgo": _DELETED,
    "duplicate": Case(OurBug, "An event with this id exists already, perhaps deleted.", _DEVELOPER),
    # The next run reads the item anew: the same job is expected to work.
    "conditionNotMet": Case(Transient, "The event was changed at Google while we changed it.", _LATER),
    "backendError": _WOBBLE,
    "internalError": _WOBBLE,
    "http_400": _MALFORMED,
    "http_401": _TOKEN_REFUSED,
    "http_404": _ABSENT,
    "http_409": Case(OurBug, "Google says that this would contradict what it holds.", _DEVELOPER),
    "http_410": _DELETED,
    "http_412": Case(Transient, "The item was changed at Google while we changed it.", _LATER),
    "http_429": _BUSY,
    # Ours: see dead_grant().
    "testing_grant": Case(
        GrantGone,
        "Google ended this access after seven days, as it does for an app whose consent screen is in testing.",
        "The operator publishes the app in the Google Cloud console (Audience: In production); then someone opens a new"
        " connect link.",
    ),
}

_UNKNOWN = Case(Transient, "Google answered with an error that Troth does not know.", _DEVELOPER)
# Seven days after consent, found a little early by a skewed clock or up to a day late by the daily check.
# https://developers.google.com/identity/protocols/oauth2#expiration
_TESTING_AGE = (timedelta(days=6, hours=12), timedelta(days=8))
_LONGEST_WAIT = timedelta(days=1)
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)
# Letters alone: a reason is a word, and what is no word (a token, an address) is not repeated.
_SAFE_CODE = re.compile(r"[A-Za-z_]{1,48}", re.ASCII)


def classify(status: int, body: Any, headers: Mapping[str, str]) -> IntegrationError:
    """The error for one failed answer, not raised. `body` is the parsed JSON, or None where there is none.

    Takes both of Google's shapes, OAuth's {"error": code} and the APIs' {"error": {"errors", "details"}}. What is
    unknown is Transient, as is every 5xx that is no throttle. `retry_after` is Google's own Retry-After if it sent one,
    and `code` is Google's word, also where only the status decided.
    """
    names = list(_names(status, body, headers))
    known = next((name for name in names if name in ERRORS), f"http_{status}")
    case = ERRORS.get(known, _UNKNOWN)
    if status >= 500 and case.error is not Throttled:
        case = _WOBBLE
    code = known if known in names else next(filter(_SAFE_CODE.fullmatch, names), known)
    wait = _wait_asked_for(headers)
    if case.error is Throttled:
        wait = wait or case.wait
    elif case.error is not Transient:
        wait = None
    return case.error(case.sentence, code=code, fix=case.fix, retry_after=wait)


def dead_grant(age: timedelta | None) -> GrantGone:
    """Why a grant that Google ended is dead, by its age since consent (None: not known).

    About seven days is the life of a grant of an app in testing, which no reconnecting mends for longer.
    """
    shortest, longest = _TESTING_AGE
    code = "testing_grant" if age is not None and shortest <= age <= longest else "invalid_grant"
    case = ERRORS[code]
    return GrantGone(case.sentence, code=code, fix=case.fix)


def _names(status: int, body: Any, headers: Mapping[str, str]) -> Iterator[str]:
    """Every code that the answer names, the telling ones first."""
    error = body.get("error") if isinstance(body, dict) else None
    if status == 401 and (
        error == "invalid_request" or 'error="invalid_token"' in _header(headers, "www-authenticate")
    ):
        yield "invalid_token"
    if isinstance(error, str):
        yield error
    if isinstance(error, dict):
        for part in ("details", "errors"):
            entries = error.get(part)
            for entry in entries if isinstance(entries, list) else ():
                reason = entry.get("reason") if isinstance(entry, dict) else None
                if isinstance(reason, str):
                    yield reason


def _wait_asked_for(headers: Mapping[str, str]) -> timedelta | None:
    """Retry-After, as seconds or as an instant, which is read against the answer's own Date; at most a day."""
    value = _header(headers, "retry-after").strip()
    wait: timedelta | None = None
    if _SECONDS.fullmatch(value):
        wait = timedelta(seconds=int(value))
    elif value:
        until, now = _instant(value), _instant(_header(headers, "date"))
        wait = until - now if until and now else None
    return min(wait, _LONGEST_WAIT) if wait is not None and wait > timedelta() else None


def _instant(text: str) -> datetime | None:
    """An HTTP date; None for what is none, and for one that names no zone."""
    with suppress(ValueError):
        instant = parsedate_to_datetime(text)
        return instant if instant.tzinfo is not None else None
    return None


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name), "")
