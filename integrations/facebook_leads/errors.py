"""Meta's error codes and what each means for us, in one table; it reads codes and subcodes, never Meta's prose.

Sources: https://developers.facebook.com/docs/graph-api/guides/error-handling and
https://developers.facebook.com/docs/graph-api/overview/rate-limiting
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from integrations.contract import Case
from integrations.errors import GrantGone, IntegrationError, Missing, NeedsUser, OurBug, Throttled, Transient
from integrations.facebook_leads.usage import wait_asked_for

_RECONNECT = "Someone who manages the Page opens a new connect link and allows access again."
_PERMIT = (
    "Someone with the Page's advertising task opens a new connect link and leaves the Page and every permission ticked."
)
_LEADS_ACCESS = "If the lead still exists: in Meta Business settings, under Leads access, allow this app and its user."
_LATER = "Nothing to do: Troth waits and goes on by itself."
SETTINGS = (
    "The operator compares the Meta app's id, secret and Graph version in Troth's settings with Meta's dashboard."
)
_REPORT = "report the code and the trace to Troth's developers."
_DEVELOPER = f"Nothing in the settings mends this: {_REPORT}"

_RETURN_ADDRESS = (
    "The operator enters Troth's public address, as its settings have it, among the Meta app's valid OAuth redirects."
)
_STALE_LOGIN = Case(
    NeedsUser,
    "This login at Facebook was used already, or took too long.",
    "Open the connect link again and go through Facebook's pages once more.",
)
_TOKEN_GONE = Case(NeedsUser, "Facebook no longer accepts the access given to this Page.", _RECONNECT)
_NOT_PERMITTED = Case(NeedsUser, "Facebook says that a permission for this Page is missing.", _PERMIT)
_WOBBLE = Case(Transient, "Facebook could not answer just now.", _LATER)
_BUSINESS_LIMIT = Case(
    Throttled, "Facebook's hourly or daily limit for this Page is used up.", _LATER, timedelta(hours=1)
)

ERRORS: Mapping[str, Case] = {
    "1": _WOBBLE,
    "2": _WOBBLE,
    "3": Case(OurBug, "The Meta app lacks the capability for this call.", SETTINGS),
    "4": Case(Throttled, "The Meta app made too many calls.", _LATER, timedelta(minutes=15)),
    "10": _NOT_PERMITTED,
    "17": Case(Throttled, "The connected Facebook user made too many calls.", _LATER, timedelta(minutes=15)),
    "32": Case(Throttled, "Too many calls were made for this Page.", _LATER, timedelta(minutes=15)),
    # A wrong appsecret_proof comes as this code too, without a subcode.
    "100": Case(OurBug, "Facebook refused a parameter of our request.", f"{SETTINGS} If they agree: {_REPORT}"),
    # One code for two causes: the lead was deleted, or the Page's Leads access leaves this app out. Replicas also lag.
    "100/33": Case(Missing, "Facebook does not show this lead: it was deleted, or may not be read.", _LEADS_ACCESS),
    "100/36007": _STALE_LOGIN,
    "100/36008": Case(OurBug, "Facebook was given another return address than the login began with.", _RETURN_ADDRESS),
    "100/36009": _STALE_LOGIN,
    "101": Case(OurBug, "Facebook does not know the Meta app by its id.", SETTINGS),
    "102": _TOKEN_GONE,
    "104": Case(OurBug, "Facebook refused the proof made with the app secret.", SETTINGS),
    "190": _TOKEN_GONE,
    # The one subcode that says the person took the grant back; after all others the same grant may live again.
    "190/458": Case(GrantGone, "The person who connected this Page removed the app from Facebook.", _RECONNECT),
    "190/459": Case(
        NeedsUser,
        "Facebook asks the person who connected this Page to confirm the account.",
        "That person logs in at facebook.com and follows what it asks, then opens a new connect link.",
    ),
    "190/460": Case(NeedsUser, "The person who connected this Page changed the Facebook password.", _RECONNECT),
    "190/463": Case(NeedsUser, "The access given to this Page has expired.", _RECONNECT),
    "190/464": Case(
        NeedsUser,
        "The Facebook account that connected this Page is not confirmed.",
        "That person confirms the account at facebook.com, then opens a new connect link.",
    ),
    "190/467": Case(NeedsUser, "Facebook ended the access given to this Page, as after a log-out.", _RECONNECT),
    "190/492": Case(
        NeedsUser,
        "The person who connected this Page no longer has a role on it.",
        "The Page's owner gives that person a role again, or someone with a role opens a new connect link.",
    ),
    "200-299": _NOT_PERMITTED,
    "341": Case(Throttled, "Facebook's limit for this kind of call is reached for now.", _LATER, timedelta(hours=1)),
    "368": Case(Throttled, "Facebook blocked this kind of call for a while.", _LATER, timedelta(hours=1)),
    "613": Case(Throttled, "Too many calls of this kind were made.", _LATER, timedelta(minutes=15)),
    "803": Case(OurBug, "Facebook knows no object by the id we asked for.", _DEVELOPER),
    "960": _WOBBLE,
    "80000-80014": _BUSINESS_LIMIT,
    # Pages: 4800 calls a day for each engaged user.  Leads: 4800 a day for each lead of the last 90 days.
    "80001": _BUSINESS_LIMIT,
    "80005": Case(Throttled, "Facebook's limit for reading this Page's leads is used up.", _LATER, timedelta(hours=1)),
}

_RANGES = [(range(int(low), int(high) + 1), key) for key in ERRORS if "-" in key for low, high in [key.split("-")]]
_UNKNOWN = Case(Transient, "Facebook answered with an error that Troth does not know.", _DEVELOPER)
_TRANSIENT_SUBCODE = 99
_SAFE_TRACE = re.compile(r"[\w+/=-]{1,64}", re.ASCII)


def classify(status: int, body_error: Mapping[str, Any] | None, headers: Mapping[str, str]) -> IntegrationError:
    """The error for one failed answer, not raised: `body_error` is the body's `error` object if there is one.

    What is unknown is Transient: giving up on a lead costs more than asking again, and a false alarm at the tenant
    more than both.
    """
    body = body_error or {}
    code, subcode = _number(body.get("code")), _number(body.get("error_subcode"))
    case = _case(code, subcode)
    if case is None:
        case = _without_code(status) if code is None else _UNKNOWN
    passing = status >= 500 or body.get("is_transient") is True or subcode == _TRANSIENT_SUBCODE
    if passing and case.error is not Throttled:
        case = _WOBBLE
    return case.error(
        case.sentence,
        code=_name(status, code, subcode),
        fix=case.fix,
        retry_after=(wait_asked_for(code, headers) or case.wait) if case.error is Throttled else None,
        trace=_trace(body.get("fbtrace_id")),
    )


def _case(code: int | None, subcode: int | None) -> Case | None:
    if code is None:
        return None
    exact = ERRORS.get(f"{code}/{subcode}") or ERRORS.get(str(code))
    return exact or next((ERRORS[key] for codes, key in _RANGES if code in codes), None)


def _without_code(status: int) -> Case:
    if status == 429:
        return Case(Throttled, "Facebook asked for fewer calls.", _LATER, timedelta(minutes=15))
    return Case(Transient, "Facebook answered with something other than an answer of its Graph.", _LATER)


def _name(status: int, code: int | None, subcode: int | None) -> str:
    if code is None:
        return f"http_{status}"
    return str(code) if subcode is None else f"{code}/{subcode}"


def _number(value: object) -> int | None:
    if type(value) is str and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value if type(value) is int and 0 <= value < 10**9 else None


def _trace(value: object) -> str | None:
    return value if isinstance(value, str) and _SAFE_TRACE.fullmatch(value) else None
