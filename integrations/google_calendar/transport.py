"""Google's OAuth libraries on our connections; it knows how they send and what a token answer is, and no account.

Both libraries take a transport, so a thin one of ours stands in: one pool, one set of time-outs, no redirects, no
netrc. Failed answers are classified here, before the libraries see them: google-auth would repeat some by itself
(the ledger repeats), and the errors of both quote the body.
"""

import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import google.auth.transport
import requests
from requests.adapters import BaseAdapter

from integrations.errors import IntegrationError, OurBug, Transient
from integrations.google_calendar.errors import classify
from integrations.http import Http, Reply

# At DEBUG they print codes, verifiers and tokens.
for _name in ("requests_oauthlib", "oauthlib", "google.auth", "google.oauth2"):
    logging.getLogger(_name).setLevel(logging.WARNING)

_LONGEST_LIFE = 10 * 365 * 86_400
_T = TypeVar("_T")


def as_https(url: str) -> str:
    """The same address as https. oauthlib insists on it, and an emulator on loopback has none: the settings judge that."""
    return "https://" + url.removeprefix("http://") if url.startswith("http://") else url


class TokenAdapter(BaseAdapter):
    """Sends what a session of requests would send to the token endpoint, wherever the session believes it to be.

    `answer` is the last token answer, as it came.
    """

    def __init__(self, http: Http, token_url: str) -> None:
        super().__init__()
        self._http = http
        self._token_url = token_url
        self.answer: Mapping[str, Any] = {}

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """The answer, of status 200 and readable; raises IntegrationError for every other."""
        reply = self._http.request(
            "POST", self._token_url, content=_bytes(request.body), headers=_headers(request.headers)
        )
        self.answer = token_answer(reply)
        response = requests.Response()
        response.status_code = reply.status
        response.encoding = "utf-8"
        response.raw = io.BytesIO(reply.content)
        response.request = request
        return response

    def close(self) -> None:
        """The connections are the process's, and stay."""


@dataclass(frozen=True, slots=True)
class _Response:
    """What google-auth takes for an answer."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class TokenRequest(google.auth.transport.Request):
    """What google-auth takes for a transport. `answer` is the last token answer, as it came."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self.answer: Mapping[str, Any] = {}

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> _Response:
        reply = self._http.request(method, url, content=body, headers=_headers(headers or {}))
        self.answer = token_answer(reply)
        return _Response(reply.status, reply.headers, reply.content)


def token_answer(reply: Reply) -> dict[str, Any]:
    """The JSON of a token answer, checked as far as the libraries and we rely on it; raises IntegrationError."""
    body = json_of(reply)
    if reply.status != 200 or not isinstance(body, dict) or "error" in body:
        raise classify(reply.status, body, reply.headers)
    told = all(isinstance(body.get(name), str | None) for name in ("refresh_token", "scope", "id_token", "token_type"))
    if not (told and isinstance(body.get("access_token"), str) and body["access_token"] and _lives(body)):
        raise Transient("Google's answer holds no access that can be read.", code="answer")
    return body


def json_of(reply: Reply) -> Any:
    """The body as JSON, None where it is none: what that means is told by the status."""
    try:
        return reply.json()
    except Transient:
        return None


def through(call: Callable[[], _T]) -> _T:
    """What a call into Google's libraries gives; raises IntegrationError and nothing else.

    An error of the libraries holds bodies and codes: it is dropped, and ours is raised outside of `except`, so that
    it does not hang on ours as its context. Every answer was checked on its way in, so none is expected.
    """
    failure: IntegrationError
    try:
        return call()
    except IntegrationError as error:
        failure = error
    except UnicodeError:
        failure = OurBug("The request could not be written: a token of this connection is malformed.", code="request")
    except Exception:
        failure = Transient("Google's answer could not be read.", code="answer")
    raise failure


def _lives(body: Mapping[str, Any]) -> bool:
    """Whether `expires_in` is whole seconds of a believable length, or absent."""
    seconds = body.get("expires_in")
    return seconds is None or (type(seconds) is int and 0 <= seconds <= _LONGEST_LIFE)


def _bytes(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else body or b""


def _headers(headers: Mapping[str, str | bytes]) -> dict[str, str]:
    """What the libraries have to say; the length is counted anew, and who is calling is told as in all our calls."""
    kept = ("accept", "content-type", "authorization")
    return {name: str(value) for name, value in headers.items() if name.lower() in kept}
