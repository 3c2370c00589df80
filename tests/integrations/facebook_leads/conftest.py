"""A server that answers as the test says, and our clients of it."""

import hashlib
import hmac
import json
import ssl
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

from integrations.contract import Account
from integrations.facebook_leads.graph import Graph
from integrations.facebook_leads.login import FacebookPages
from integrations.facebook_leads.sdk import API_VERSION, ads_api
from integrations.http import Http, Reply
from integrations.simulator.meta_dialog import consent
from integrations.simulator.seed import APP_ID, APP_SECRET, build_world
from integrations.simulator.server import SimulatorServer
from integrations.simulator.world import World

TOKEN = "EAAcanarytoken|with/odd+signs"
SECRET = "canary-app-secret"
PROOF = hmac.new(SECRET.encode(), TOKEN.encode(), hashlib.sha256).hexdigest()
HTML = b"<html><body>502 Bad Gateway</body></html>"
NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
ADA = "410000000000001"
BACK = "https://troth.example/oauth/facebook_leads/callback"


@dataclass
class Call:
    """One request as the server saw it."""

    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: dict[str, str]

    @property
    def batch(self) -> list[dict[str, str]]:
        calls: list[dict[str, str]] = json.loads(self.form["batch"])
        return calls


Answer = Callable[[Call], tuple[int, bytes, dict[str, str]]]


class Meta:
    """A server on loopback; `answer` gives status, body and headers for a call."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answer: Answer = lambda call: (200, b"{}", {})
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
                address = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                call = Call(self.command, address.path, one_each(address.query), one_each(body), headers)
                outer.calls.append(call)
                status, content, extra = outer.answer(call)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **extra}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_DELETE = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"
        threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def says(self, status: int, body: Any, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answer = lambda call: (status, content, sent)

    def answers_items(self, make: Callable[[str], Any]) -> None:
        """Answers a batch with what `make` gives for each lead id."""

        def answer(call: Call) -> tuple[int, bytes, dict[str, str]]:
            ids = [one["relative_url"].partition("?")[0] for one in call.batch]
            return 200, json.dumps([make(one) for one in ids]).encode(), {}

        self.answer = answer


def one_each(encoded: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(encoded, keep_blank_values=True).items()}


@pytest.fixture
def meta() -> Iterator[Meta]:
    running = Meta()
    yield running
    running.httpd.shutdown()
    running.httpd.server_close()


@pytest.fixture(scope="module")  # reading the trusted certificates takes longer than a test
def http() -> Iterator[Http]:
    with closing(Http(read_timeout=timedelta(seconds=5))) as client:
        yield client


@pytest.fixture
def graph(http: Http, meta: Meta) -> Graph:
    return Graph(http, base_url=meta.url, app_id="999", app_secret=SECRET)


@pytest.fixture
def provider(http: Http, meta: Meta, graph: Graph) -> FacebookPages:
    about: dict[str, Any] = {"base_url": meta.url, "dialog_url": meta.url, "app_id": "999", "app_secret": SECRET}
    return FacebookPages(http, graph, clock=lambda: NOON, **about)


@pytest.fixture
def api(http: Http, meta: Meta) -> Any:
    return ads_api(http, base_url=meta.url, version=API_VERSION, token=TOKEN, proof=PROOF)


def lead_item(lead_id: str, **more: Any) -> dict[str, Any]:
    return {"code": 200, "headers": [], "body": json.dumps({"id": lead_id, "field_data": []} | more)}


def error_item(status: int, code: int, subcode: int | None = None, **headers: str) -> dict[str, Any]:
    error = {"message": "Canary Person", "code": code, "error_subcode": subcode, "fbtrace_id": "Tr1"}
    listed = [{"name": name.replace("_", "-"), "value": value} for name, value in headers.items()]
    return {"code": status, "headers": listed, "body": json.dumps({"error": error})}


def told_by(error: BaseException) -> str:
    """Everything an error reporter could print of it, its causes included."""
    return "".join(traceback.format_exception(error, chain=True)) + repr(error) + repr(vars(error))


@dataclass
class Simulated:
    """The simulator, a person's hand in it, and our provider."""

    server: SimulatorServer
    graph: Graph
    pages: FacebookPages
    asked: list[str]

    @property
    def world(self) -> World:
        return self.server.world

    def given(self, user: str = ADA, **choice: Any) -> list[Account]:
        """What comes of a person's choice at the dialog."""
        code = self.code(user, **choice)
        return self.pages.complete(code=code, verifier=None, redirect_uri=BACK)

    def code(self, user: str = ADA, **choice: Any) -> str:
        back = consent(self.world, self.pages.begin(redirect_uri=BACK, state="s1").url, user, **choice)
        return one_each(urlsplit(back).query)["code"]


class Noting(Http):
    """Notes the address of every call."""

    def __init__(self, asked: list[str]) -> None:
        super().__init__(read_timeout=timedelta(seconds=5), verify=NO_AUTHORITIES)
        self._asked = asked

    def request(self, method: str, url: str, **more: Any) -> Reply:
        self._asked.append(f"{method} {url} {more.get('params')}")
        return super().request(method, url, **more)


@pytest.fixture
def simulated() -> Iterator[Simulated]:
    asked: list[str] = []
    with SimulatorServer(build_world(lambda: NOON)) as server, closing(Noting(asked)) as client:
        about: dict[str, Any] = {"base_url": server.url, "app_id": APP_ID, "app_secret": APP_SECRET}
        graph = Graph(client, **about)
        pages = FacebookPages(client, graph, dialog_url=server.url + "/", clock=lambda: NOON, **about)
        yield Simulated(server, graph, pages, asked)
