"""What Graph answers look like on the wire: bodies, error objects, usage headers; knows no routes and no state.

Error texts and codes: https://developers.facebook.com/docs/graph-api/guides/error-handling, usage headers:
https://developers.facebook.com/docs/graph-api/overview/rate-limiting.
"""

from dataclasses import dataclass
from typing import Any

import orjson

JSON = "application/json; charset=UTF-8"
HTML = "text/html; charset=utf-8"

# code 190's subcodes, https://developers.facebook.com/docs/facebook-login/guides/access-tokens/debugging-tokens
_TOKEN_TEXTS: dict[int | None, str] = {
    None: "Invalid OAuth access token - Cannot parse access token",
    458: "Error validating access token: The user has not authorized application.",
    459: "Error validating access token: You cannot access the app till you log in to www.facebook.com.",
    460: "Error validating access token: The session has been invalidated because the user changed their password.",
    463: "Error validating access token: Session has expired.",
    464: "Error validating access token: Sessions for the user are not allowed because the user is not confirmed.",
    467: "Error validating access token: The session is invalid because the user logged out.",
    492: "Error validating access token: The user must be an administrator of the page.",
}
_DOCS = "https://developers.facebook.com/docs/graph-api/overview/rate-limiting"
_CODE_TEXTS = {
    1: "An unknown error occurred",
    2: "Service temporarily unavailable",
    4: "(#4) Application request limit reached",
    17: "(#17) User request limit reached",
    32: "(#32) Page request limit reached",
    341: "(#341) Feed action request limit reached",
    368: "The action attempted has been deemed abusive or is otherwise disallowed",
    613: "(#613) Calls to this api have exceeded the rate limit.",
    80001: f"(#80001) There have been too many calls to this Page account. Wait a bit and try again. See {_DOCS}.",
    80005: f"(#80005) There have been too many leadgen api calls to this Page account. Wait a bit. See {_DOCS}.",
}
THROTTLES = frozenset({4, 17, 32, 613, 80001, 80005})
_FORBIDDEN = frozenset({10, *range(200, 300)})


@dataclass(slots=True)
class Answer:
    """One reply: status, body, content type and extra headers."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    media: str = JSON


class GraphFault(Exception):
    """An answer of the kind {"error": ...}."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        status: int = 400,
        kind: str = "OAuthException",
        subcode: int | None = None,
        is_transient: bool | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.code, self.status, self.kind, self.subcode = code, status, kind, subcode
        self.is_transient, self.headers = is_transient, headers

    @property
    def word(self) -> str:
        """What it is counted under: its code, and its subcode if it has one."""
        return str(self.code) if self.subcode is None else f"{self.code}/{self.subcode}"

    def answer(self, trace: str) -> Answer:
        """As bytes; `trace` becomes fbtrace_id."""
        error: dict[str, Any] = {"message": str(self), "type": self.kind, "code": self.code}
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.is_transient is not None:
            error["is_transient"] = self.is_transient
        error["fbtrace_id"] = trace
        return Answer(self.status, orjson.dumps({"error": error}), self.headers)


def ok(data: Any) -> Answer:
    """200 with a JSON body."""
    return Answer(200, orjson.dumps(data))


def fault_of(
    code: int, subcode: int | None = None, *, status: int | None = None, message: str | None = None
) -> GraphFault:
    """The usual error for a code: the text, type and status that Meta uses with it."""
    if code == 190:
        challenge = (("WWW-Authenticate", 'OAuth "Facebook Platform" "invalid_token"'),)
        text = message or _TOKEN_TEXTS.get(subcode, _TOKEN_TEXTS[463])
        return GraphFault(190, text, status=status or 400, subcode=subcode, headers=challenge)
    if code == 100 and subcode == 33:
        return missing("0")
    text = message or _CODE_TEXTS.get(code, f"(#{code}) Something went wrong")
    usual = 403 if code in _FORBIDDEN else 500 if code in (1, 2) else 400
    transient = True if code in (1, 2) else None
    return GraphFault(code, text, status=status or usual, subcode=subcode, is_transient=transient)


def throttled(code: int, page_id: str, minutes: int) -> GraphFault:
    """A limit was met: HTTP 400, never 429, and the wait (minutes) only in the usage header."""
    name = "X-App-Usage" if code == 4 else "X-Business-Use-Case-Usage"
    value = app_usage(100) if code == 4 else page_usage(page_id, 100, minutes)
    return GraphFault(code, throttle_text(code), is_transient=True, headers=((name, value),))


def throttle_text(code: int) -> str:
    """What Meta says with the code of a limit."""
    return _CODE_TEXTS.get(code, f"(#{code}) Rate limit")


def app_usage(percent: int) -> str:
    """The value of X-App-Usage."""
    return f'{{"call_count":{percent},"total_cputime":{percent // 4},"total_time":{percent // 3}}}'


def page_usage(page_id: str, percent: int, minutes: int) -> str:
    """The value of X-Business-Use-Case-Usage: two objects for one page, as Meta sends; only leadgen's has the wait."""
    pages = {"type": "pages", "call_count": percent // 5, "total_cputime": 1, "total_time": 1}
    leadgen = {"type": "leadgen", "call_count": percent, "total_cputime": percent // 4, "total_time": percent // 3}
    usage = {
        page_id or "0": [
            {**pages, "estimated_time_to_regain_access": 0},
            {**leadgen, "estimated_time_to_regain_access": minutes},
        ]
    }
    return orjson.dumps(usage).decode()


def missing(node: str) -> GraphFault:
    """100/33: deleted, or not for this token; Meta does not say which."""
    text = (
        f"Unsupported get request. Object with ID '{node}' does not exist, cannot be loaded due to missing "
        "permissions, or does not support this operation. Please read the Graph API documentation at "
        "https://developers.facebook.com/docs/graph-api"
    )
    return GraphFault(100, text, kind="GraphMethodException", subcode=33)


def no_such_alias(name: str) -> GraphFault:
    """803: something that is no id where an id belongs."""
    return GraphFault(803, f"(#803) Some of the aliases you requested do not exist: {name}", status=404)


def no_such_field(name: str, node: str) -> GraphFault:
    """A field that this kind of node does not have."""
    return GraphFault(100, f"(#100) Tried accessing nonexisting field ({name}) on node type ({node})")


def bad_parameter(message: str) -> GraphFault:
    """100 with a text of its own."""
    return GraphFault(100, f"(#100) {message}")


def needs_permission(name: str) -> GraphFault:
    """200: the token lacks a permission."""
    return GraphFault(200, f"(#200) Requires {name} permission to manage the object", status=403)


def no_token() -> GraphFault:
    """104: a call without a token."""
    return GraphFault(104, "An access token is required to request this resource.")


def bad_proof(given: bool) -> GraphFault:
    """The app demands `appsecret_proof`, and it was not given, or is not this token's."""
    text = "Invalid appsecret_proof provided in the API argument"
    if not given:
        text = "API calls from the server require an appsecret_proof argument"
    return GraphFault(100, text, kind="GraphMethodException")


BAD_GATEWAY = Answer(
    502,
    b"<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Sorry, something went wrong.</h1></body></html>",
    (),
    HTML,
)
