"""`connections`: what a new master key costs, killed and resumed in the middle, and a storm of refreshes, beside recipes."""

import base64
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from cryptography.fernet import Fernet, MultiFernet
from google.auth.transport.requests import Request
from google.oauth2.credentials import Credentials

from integrations.google_calendar import GOOGLE_CALENDAR
from integrations.simulator.seed import ACME_ACCOUNT, GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET, build_world
from integrations.simulator.server import SimulatorServer
from models.database import Database
from models.grant import NewGrant, store_grant, store_grants
from models.migrations import upgrade
from models.tenancy import system_session, tenant_session
from models.tenant import add_tenant
from models.vault import Vault, parse_master_keys, wrapped_by
from tests.benchmarks.figures import Figure, progress, told, within
from tests.benchmarks.servers import wait_until
from tests.benchmarks.stage import Stage, stage
from worker.grants import fresh_tokens
from worker.services import Services, build
from worker.settings import read_settings

CONNECTIONS = 10_000
TENANTS = 50
STORM = 200
KILLED_AT = 0.6
"""How much is left when the first run is killed."""
MOST_SECONDS = 60


def run() -> Iterator[Figure]:
    """Rotation on PostgreSQL and on SQLite; the storm on PostgreSQL."""
    for kind in ("postgresql", "sqlite"):
        with stage() as here:
            yield from _rotation(here, kind)
    with stage() as here:
        yield from _storm(here)


def _rotation(here: Stage, kind: str) -> Iterator[Figure]:
    old, new = (f"{name}:{base64.b64encode(secrets.token_bytes(32)).decode()}" for name in ("k1", "k2"))
    url = here.database_url(kind, "rotation")
    upgrade(url)
    database = Database(url)
    began = time.monotonic()
    _fill(database, Vault(parse_master_keys(old)))
    progress(f"{CONNECTIONS} connections stored on {kind} in {time.monotonic() - began:.1f} s")
    environment = os.environ | {
        "TROTH_DATABASE_URL": url, "TROTH_MASTER_KEYS": f"{new},{old}", "TROTH_DATA_DIR": str(here.folder),
    }  # fmt: skip
    began = time.monotonic()
    first, whole = _rotate(environment), _left(database)
    wait_until(lambda: _left(database) < whole * KILLED_AT, 60)
    first.send_signal(signal.SIGKILL)
    first.wait()
    left = _left(database)
    second = _rotate(environment)
    said, _ = second.communicate(timeout=300)
    seconds = time.monotonic() - began
    if second.returncode or _left(database):
        raise RuntimeError(f"the rotation did not end: {said.decode()[-500:]}")
    progress(f"killed with {left} keys to go, resumed; it said: {said.decode().strip().splitlines()[-1]}")
    yield within("connections", f"rotation_seconds_{kind}", seconds, MOST_SECONDS)
    yield told("connections", f"keys_left_at_the_kill_{kind}", left)
    database.close()
    if kind == "postgresql":
        yield told("connections", "rotation_beside_reencryption_seconds", seconds, _reencryption(here))


def _fill(database: Database, vault: Vault) -> None:
    now = datetime.now(UTC)
    with system_session(database) as session:
        tenants = [
            add_tenant(session, external_id=f"t{n}", name=f"t{n}", country="IE", timezone="UTC", now=now).id
            for n in range(TENANTS)
        ]
    for start, tenant in enumerate(tenants):
        with tenant_session(database, tenant) as session:
            grants = [
                NewGrant("facebook_leads", page, page, page, {"page_access_token": secrets.token_urlsafe(120)})
                for page in (str(510_000_000_000_000 + number) for number in range(start, CONNECTIONS, TENANTS))
            ]
            store_grants(session, vault, grants, tenant_id=tenant, now=now)


def _rotate(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "worker", "keys", "rotate"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _left(database: Database) -> int:
    with system_session(database, reads_only=True) as session:
        return wrapped_by(session).get("k1", 0)


def _reencryption(here: Stage) -> float:
    """The usual recipe: each token under the one key itself (Fernet), every row read, encrypted again and written."""
    url = here.database_url("postgresql", "fernet")
    old, new = Fernet(Fernet.generate_key()), Fernet(Fernet.generate_key())
    with psycopg.connect(here.postgres.dsn(url.split("/")[-1].split("?")[0])) as connection:
        connection.execute("CREATE TABLE tokens (id int PRIMARY KEY, sealed bytea)")
        rows = [(n, old.encrypt(secrets.token_urlsafe(120).encode())) for n in range(CONNECTIONS)]
        connection.cursor().executemany("INSERT INTO tokens VALUES (%s, %s)", rows)
        connection.commit()
        began, both = time.monotonic(), MultiFernet([new, old])
        for start in range(0, CONNECTIONS, 500):
            found = connection.execute(
                "SELECT id, sealed FROM tokens WHERE id >= %s AND id < %s FOR UPDATE", (start, start + 500)
            ).fetchall()
            changed = [(both.rotate(bytes(sealed)), number) for number, sealed in found]
            connection.cursor().executemany("UPDATE tokens SET sealed = %s WHERE id = %s", changed)
            connection.commit()
        return time.monotonic() - began


def _storm(here: Stage) -> Iterator[Figure]:
    """Two hundred threads need the same expired token at once; the plain recipe refreshes in each of them."""
    url = here.database_url("postgresql", "storm")
    upgrade(url)
    with SimulatorServer(build_world(lambda: datetime.now(UTC))) as google:
        services = build(read_settings(_settings(here, url, google.url)))
        tenant, connection, refresh = _grant(services, google)
        began = time.monotonic()
        got = _at_once(lambda: fresh_tokens(services, tenant, connection))
        ours = time.monotonic() - began
        asked = google.google.refresh_calls[ACME_ACCOUNT]
        if len({tokens["access_token"] for tokens in got if tokens}) != 1 or len(got) != STORM:
            raise RuntimeError("not everybody got the one new token")
        began = time.monotonic()
        _at_once(lambda: _refreshed(google.url, refresh))
        peer = time.monotonic() - began
        services.close()
        yield within(
            "connections", "refresh_calls_of_200_at_once", asked, 1, google.google.refresh_calls[ACME_ACCOUNT] - asked
        )
        yield told("connections", "refresh_seconds_of_200_at_once", ours, peer)


def _settings(here: Stage, url: str, google: str) -> dict[str, str]:
    return {
        "TROTH_DATABASE_URL": url, "TROTH_REDIS_URL": here.valkey.url, "TROTH_DATA_DIR": str(here.folder),
        "TROTH_MASTER_KEYS": f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        "TROTH_GOOGLE_CLIENT_ID": GOOGLE_CLIENT_ID, "TROTH_GOOGLE_CLIENT_SECRET": GOOGLE_CLIENT_SECRET,
        "TROTH_GOOGLE_TOKEN_URL": f"{google}/token", "TROTH_GOOGLE_API_URL": google,
    }  # fmt: skip


def _grant(services: Services, google: SimulatorServer) -> tuple[str, str, str]:
    now = services.clock()
    refresh = google.google.grant(ACME_ACCOUNT, list(GOOGLE_CALENDAR.scopes)).value
    with system_session(services.database) as session:
        tenant = add_tenant(session, external_id="acme", name="Acme", country="IE", timezone="UTC", now=now).id
    grant = NewGrant("google_calendar", "k", "a", "a", {"refresh_token": refresh}, expires_at=now - timedelta(hours=1))
    with tenant_session(services.database, tenant) as session:
        return tenant, store_grant(session, services.vault, grant, tenant_id=tenant, now=now).connection.id, refresh


def _refreshed(google: str, refresh: str) -> str:
    mine = Credentials(None, refresh, token_uri=f"{google}/token", client_id=GOOGLE_CLIENT_ID,
                       client_secret=GOOGLE_CLIENT_SECRET)  # type: ignore[no-untyped-call]  # fmt: skip
    mine.refresh(Request())
    return str(mine.token)


def _at_once(do: Callable[[], Any]) -> list[Any]:
    ready = threading.Barrier(STORM)

    def one(_number: int) -> Any:
        ready.wait()
        return do()

    with ThreadPoolExecutor(STORM) as threads:
        return list(threads.map(one, range(STORM)))
