"""What tests of the web process share: a real server on a loopback port, keys, and leads to be looked at."""

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import uvicorn

from integrations.simulator.seed import build_world
from integrations.simulator.server import SimulatorServer
from models.database import Database
from models.host import add_key, add_sign_in
from models.lead import NewLead, leads_page, ready, store
from models.tenancy import system_session, tenant_session
from models.vault import Vault
from tests.worker.web.providers import Person
from worker.logs import configure
from worker.services import Services, build
from worker.settings import read_settings
from worker.web.server import server

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used here, and much faster made than the real one
PLATFORM_KEY = "platform-key-of-these-tests-0123456789"
MASTER_KEY = "k1:" + "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE="  # the 32 bytes of the fixture `vault`


@pytest.fixture
def settings_given(database_url: str, redis_url: str) -> dict[str, str]:
    """The environment of the process; a test may change it before it asks for `services`."""
    return {
        "TROTH_DATABASE_URL": database_url,
        "TROTH_REDIS_URL": redis_url,
        "TROTH_MASTER_KEYS": MASTER_KEY,
        "TROTH_PLATFORM_KEY": PLATFORM_KEY,
        "TROTH_BASE_URL": "http://127.0.0.1:8000",
    }


@pytest.fixture
def services(settings_given: dict[str, str], database: Database, clock: Callable[[], datetime]) -> Iterator[Services]:
    built = build(read_settings(settings_given), clock=clock)
    built.database.close()
    yield replace(built, database=database)
    built.close()


class Prompt(uvicorn.Server):
    """Ends when it is told to; uvicorn looks ten times a second and grants every open connection another tenth."""

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # noqa: ASYNC110 - another thread tells
            await asyncio.sleep(0.005)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listening in self.servers:
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await self.lifespan.shutdown()


def run(services: Services) -> Iterator[str]:
    """A real server in a thread; its address."""
    running = Prompt(server(services, port=0).config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # The socket listens already: a first request waits in its backlog until the server is up.
        thread = threading.Thread(target=running.run, args=([listening],), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        _end(running, thread)


def _end(running: uvicorn.Server, thread: threading.Thread) -> None:
    running.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def url(services: Services) -> Iterator[str]:
    yield from run(services)


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    """Nobody's client: no key."""
    with httpx.Client(base_url=url, trust_env=False, verify=NO_TLS, timeout=30) as client:
        yield client


@dataclass(frozen=True, slots=True)
class Api:
    """A client that sends a key, and (a platform's) names a tenant."""

    http: httpx.Client
    headers: dict[str, str]

    def __call__(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**self.headers, **options.pop("headers", {})}
        return self.http.request(method, path, headers=headers, **options)


@pytest.fixture
def platform(http: httpx.Client) -> Callable[..., Api]:
    """platform(tenant external_id or None) -> client."""

    def make(tenant: str | None = None) -> Api:
        named = {"troth-tenant": tenant} if tenant else {}
        return Api(http, {"authorization": f"Bearer {PLATFORM_KEY}", **named})

    return make


@pytest.fixture
def key_of(database: Database, clock: Callable[[], datetime]) -> Callable[..., str]:
    """key_of(company, *scopes) -> the key in the clear."""

    def make(company: Any, *scopes: str, expires_at: datetime | None = None) -> str:
        with system_session(database) as session:
            return add_key(session, tenant_id=company.id, scopes=scopes or ("*",), now=clock(), expires_at=expires_at)[
                1
            ]

    return make


@pytest.fixture
def as_tenant(http: httpx.Client, key_of: Callable[..., str]) -> Callable[..., Api]:
    """as_tenant(company, *scopes) -> client with a fresh key of that tenant."""
    return lambda company, *scopes: Api(http, {"authorization": f"Bearer {key_of(company, *scopes)}"})


@pytest.fixture
def link_for(database: Database, clock: Callable[[], datetime]) -> Callable[[str | None], str]:
    """link_for(tenant id, or None for the platform) -> a one-time link's secret."""

    def make(tenant_id: str | None) -> str:
        with system_session(database) as session:
            return add_sign_in(session, kind="link", tenant_id=tenant_id, now=clock(), lives=timedelta(hours=1))

    return make


@pytest.fixture
def add_lead(database: Database, vault: Vault, clock: Callable[[], datetime]) -> Callable[..., str]:
    """add_lead(company, external_id, **changes) -> our id of a stored lead."""

    def make(company: Any, external_id: str, **changes: Any) -> str:
        plain: dict[str, Any] = {
            "external_id": external_id,
            "page_external_id": company.page_id,
            "form_external_id": "777",
            "form_name": "Spring offer",
            "created_at": clock() - timedelta(seconds=4),
            "received_at": clock(),
            "source": "webhook",
            "platform": "fb",
            "is_test": False,
            "is_organic": False,
            "ad": {"campaign_name": "Spring"},
            "contact": {
                "full_name": "Ada Example",
                "email": "ada@example.com",
                "phone": "+12025550143",
                "phone_raw": "202 555 0143",
            },
            "answers": [{"key": "city", "label": "City", "values": ["Dublin", "Cork"]}],
            "consents": [{"key": "terms", "is_checked": True}],
        }
        with tenant_session(database, company.id) as session:
            keyring = vault.keyring(session, company.id, company.connection_id, clock())
            hashes = vault.keyring(session, company.id, company.id, clock())
            made = ready(keyring, hashes, tenant_id=company.id, connection_id=company.connection_id,
                         leads=[NewLead(**{**plain, **changes})])  # fmt: skip
            store(session, hashes, made, clock())
            return next(row.id for row in leads_page(session) if row.external_id == external_id)

    return make


@pytest.fixture(autouse=True)
def log_lines() -> Iterator[list[str]]:
    """Every line that any logger wrote, as the process would write it."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure(level=logging.DEBUG)
    keeper = Keep()
    keeper.setFormatter(root.handlers[0].formatter)
    root.handlers[:] = [keeper]
    yield lines
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def enter(url: str, link_for: Callable[[str | None], str]) -> Iterator[Callable[[str | None], httpx.Client]]:
    """enter(tenant id, or None for the platform) -> a browser that has come in by a one-time link."""
    clients: list[httpx.Client] = []

    def make(tenant_id: str | None) -> httpx.Client:
        client = httpx.Client(base_url=url, trust_env=False, verify=NO_TLS, timeout=30)
        clients.append(client)
        assert client.post("/admin/enter", data={"link": link_for(tenant_id)}).status_code == 303
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def signed_in(enter: Callable[[str | None], httpx.Client], acme: Any) -> httpx.Client:
    """A browser of acme's."""
    return enter(acme.id)


@pytest.fixture
def simulator(clock: Callable[[], datetime]) -> Iterator[SimulatorServer]:
    """Google and Meta. A module that wants them reached also gives `settings_given` their addresses."""
    with SimulatorServer(build_world(clock)) as server:
        yield server


@pytest.fixture
def person(url: str, simulator: SimulatorServer) -> Iterator[Callable[[], Person]]:
    """person() -> somebody with a browser of their own."""
    browsers: list[httpx.Client] = []

    def make() -> Person:
        browsers.append(httpx.Client(base_url=url, trust_env=False, verify=NO_TLS, timeout=30))
        return Person(browsers[-1], simulator)

    yield make
    for browser in browsers:
        browser.close()
