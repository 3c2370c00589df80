import hashlib
import hmac
import ssl
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from integrations.simulator.seed import ACME_TOKEN, APP_ID, APP_SECRET, build_world
from integrations.simulator.server import SimulatorServer
from tests.conftest import FrozenClock
from tests.integrations.simulator.google_client import Client
from tests.integrations.simulator.receiver import Receiver

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
APP_TOKEN = f"{APP_ID}|{APP_SECRET}"


# Reading a machine's certificates takes 20 ms, and every address here is plain http.
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def proof(token: str) -> str:
    return hmac.new(APP_SECRET.encode(), token.encode(), hashlib.sha256).hexdigest()


class Asker:
    """A plain client of the simulated Graph: bearer token and proof, as ours."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, trust_env=False, verify=NO_AUTHORITIES, timeout=10)

    def __call__(self, method: str, path: str, token: str = ACME_TOKEN, **params: Any) -> httpx.Response:
        params.setdefault("appsecret_proof", proof(token))
        headers = {"Authorization": f"Bearer {token}"}
        if method == "POST":
            return self.http.post(f"/v26.0{path}", headers=headers, data=params)
        return self.http.request(method, f"/v26.0{path}", headers=headers, params=params)

    def close(self) -> None:
        self.http.close()

    def bare(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self.http.request(method, path, **options)


@pytest.fixture
def simulator() -> Iterator[SimulatorServer]:
    with SimulatorServer(build_world(lambda: NOON), longest_hang=3.0) as server:
        yield server


@pytest.fixture
def ask(simulator: SimulatorServer) -> Iterator[Asker]:
    with closing(Asker(simulator.url)) as asker:
        yield asker


@pytest.fixture
def server(clock: FrozenClock) -> Iterator[SimulatorServer]:
    with SimulatorServer(build_world(clock)) as running:
        yield running


@pytest.fixture
def client(server: SimulatorServer) -> Iterator[Client]:
    made = Client(server)
    yield made
    made.http.close()


@pytest.fixture
def calendar(client: Client) -> str:
    return client.calendar()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with closing(Receiver()) as listening:
        yield listening
