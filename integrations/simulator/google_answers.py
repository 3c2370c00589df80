"""What Google's login endpoints answer on the wire: good ones and errors of both shapes; knows no routes and no state.

OAuth's errors are flat (RFC 6749 5.2), an API's are an object: https://cloud.google.com/apis/design/errors.
"""

from typing import Any

import orjson

from integrations.simulator.meta_answers import HTML, Answer

JSON = "application/json; charset=utf-8"
_PRIVATE = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))
_STATUS_WORDS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
_MORE_WORDS = {409: "ALREADY_EXISTS", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}


class GoogleFault(Exception):
    """An answer that is an error; `word` is Google's name for it."""

    def __init__(self, status: int, word: str, body: dict[str, Any], headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(word)
        self.status, self.word, self.body, self.headers = status, word, body, headers

    def answer(self) -> Answer:
        """As bytes."""
        return Answer(self.status, orjson.dumps(self.body), (*_PRIVATE, *self.headers), JSON)


def answer(body: Any) -> Answer:
    """200 with a JSON body that nobody may keep."""
    return Answer(200, orjson.dumps(body), _PRIVATE, JSON)


def oauth_fault(word: str, description: str = "Bad Request", status: int = 400) -> GoogleFault:
    """The flat shape of the token, revoke and tokeninfo endpoints."""
    return GoogleFault(status, word, {"error": word, "error_description": description})


def dead_grant() -> GoogleFault:
    """A refresh token that is unknown, revoked or too old; Google does not say which."""
    return oauth_fault("invalid_grant", "Token has been expired or revoked.")


def api_fault(status: int, reason: str, message: str, headers: tuple[tuple[str, str], ...] = ()) -> GoogleFault:
    """The nested shape of Google's APIs, with the old `errors` list that clients read the reason from."""
    error: dict[str, Any] = {
        "code": status,
        "message": message,
        "errors": [{"message": message, "domain": "global", "reason": reason}],
        "status": {**_STATUS_WORDS, **_MORE_WORDS}.get(status, "UNKNOWN"),
    }
    return GoogleFault(status, reason, {"error": error}, headers)


def bad_bearer() -> GoogleFault:
    """401: no access token, or one that is worth nothing."""
    challenge = 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
    return api_fault(401, "authError", "Invalid Credentials", (("WWW-Authenticate", challenge),))


def lacks_scope() -> GoogleFault:
    """403: the access token lives, and does not open this."""
    fault = api_fault(403, "insufficientPermissions", "Request had insufficient authentication scopes.")
    kind = "type.googleapis.com/google.rpc.ErrorInfo"
    fault.body["error"]["details"] = [{"@type": kind, "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}]
    return fault


def page_fault(word: str, status: int = 400) -> Answer:
    """The page that a person sees when an app asked wrongly: Google does not send them back."""
    text = f'<!DOCTYPE html><html lang="en"><title>Error</title><h1>Access blocked</h1><p>Error {status}: {word}</p></html>'
    return Answer(status, text.encode(), (), HTML)
