"""What the tests of Google's grants share: a server that answers as the test says, and what goes over the wire."""

import base64
import json
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from integrations.errors import IntegrationError
from integrations.google_calendar import GOOGLE_CALENDAR
from integrations.google_calendar.oauth import GoogleAccounts
from integrations.google_calendar.scopes import CALENDAR, EMAIL, OPENID
from integrations.http import Http

CLIENT_ID = "simulated-client.apps.example.com"
CLIENT_SECRET = "canary-client-secret"
CODE = "4/0Acanary-code_with+odd signs"
VERIFIER = "canary-verifier-" + "v" * 60
ACCESS, REFRESH = "ya29.canary-access", "1//canary-refresh/with+odd"
SUB, ADDRESS = "108000000000000000042", "Canary.Person@Example.com"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
BACK = "https://troth.example/connect/google_calendar/callback"
CANARIES = (CLIENT_SECRET, CODE, VERIFIER, ACCESS, REFRESH, "canary", ADDRESS.lower(), SUB)
HTML = b"<html><body>502 Bad Gateway canary</body></html>"
HELD = {"refresh_token": REFRESH, "access_token": ACCESS}


@dataclass
class Call:
    """One request as the server saw it."""

    method: str
    path: str
    query: str
    form: dict[str, str]
    headers: dict[str, str]


Reply = tuple[int, Any] | tuple[int, Any, dict[str, str]]
Answer = Reply | Callable[[Call], Reply]


class Google:
    """A server on loopback; `answers` gives status, body and headers for a path."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answers: dict[str, Answer] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet: apart, the second waits 40 ms for the first to be acknowledged

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                parts = urlsplit(self.path)
                form = {name: values[0] for name, values in parse_qs(body).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                call = Call(self.command, parts.path, parts.query, form, headers)
                outer.calls.append(call)
                given = outer.answers.get(call.path, (404, b"no such page"))
                status, told, *more = given(call) if callable(given) else given
                raw = told if isinstance(told, bytes) else json.dumps(told).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(raw)), **(more[0] if more else {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = answer

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"
        threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def calls_to(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.path == path]


@pytest.fixture
def google() -> Iterator[Google]:
    running = Google()
    yield running
    running.httpd.shutdown()
    running.httpd.server_close()


@pytest.fixture(scope="module")
def http() -> Iterator[Http]:
    with closing(Http(connect_timeout=timedelta(seconds=1), read_timeout=timedelta(seconds=5))) as client:
        yield client


def accounts_at(http: Http, url: str) -> GoogleAccounts:
    """The client under test, for a Google at this address."""
    return GoogleAccounts(
        http,
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        auth_url=url + "/o/oauth2/v2/auth",
        token_url=url + "/token",
        revoke_url=url + "/revoke",
        api_url=url,
        scopes=GOOGLE_CALENDAR.scopes,
        clock=lambda: NOW,
    )


@pytest.fixture
def accounts(google: Google, http: Http) -> GoogleAccounts:
    return accounts_at(http, google.url)


def id_token(**changed: Any) -> str:
    claims = {"iss": "https://accounts.google.com", "aud": CLIENT_ID, "sub": SUB, "email": ADDRESS, **changed}
    parts = (json.dumps(part).encode() for part in ({"alg": "RS256", "kid": "k"}, claims))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, b"signature"))


def token_answer(**changed: Any) -> dict[str, Any]:
    """A whole answer of the token endpoint; None leaves a part out."""
    answer = {
        "access_token": ACCESS,
        "expires_in": 3599,
        "refresh_token": REFRESH,
        "scope": f"{OPENID} {EMAIL} {CALENDAR}",
        "token_type": "Bearer",
        "id_token": id_token(),
        **changed,
    }
    return {name: value for name, value in answer.items() if value is not None}


def completed(accounts: GoogleAccounts, code: str = CODE) -> Any:
    [account] = accounts.complete(code=code, verifier=VERIFIER, redirect_uri=BACK)
    return account


def told_by(error: BaseException) -> str:
    """Everything an error reporter could print of it, its causes included."""
    return "".join(traceback.format_exception(error, chain=True)) + repr(error) + repr(vars(error))


def failed(call: Callable[[], object]) -> IntegrationError:
    """The error of a call, which says nothing secret and hangs on no other."""
    with pytest.raises(IntegrationError) as caught:
        call()
    error: BaseException | None = caught.value
    while error is not None:
        assert isinstance(error, IntegrationError)
        told = told_by(error)
        assert not [canary for canary in CANARIES if canary in told]
        error = error.__cause__ or error.__context__
    return caught.value
