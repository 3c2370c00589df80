"""What every test may have: the three databases, a real Redis, a clock that stands still, and two tenants who never meet."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis as redis_py
from sqlalchemy import create_engine, text

from models.database import Database
from models.grant import NewGrant, store_grant
from models.migrations import upgrade
from models.schema import metadata
from models.tenancy import SYSTEM, system_session, tenant_session
from models.tenant import add_tenant
from models.vault import Vault
from tests import databases
from worker.embedded import EmbeddedRedis

pytest_plugins = ["tests.no_skip"]

KINDS = ("sqlite", "postgresql", "mariadb")


@dataclass(slots=True)
class FrozenClock:
    """Now is what the test says."""

    now: datetime = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Company:
    """A tenant with one connected page."""

    id: str
    external_id: str
    connection_id: str
    page_id: str
    token: str = field(repr=False)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Callable[[str], str]]:
    with databases.postgresql() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_server: Callable[[str], str]) -> str:
    _run(postgresql_server("postgres"), "CREATE DATABASE troth")
    upgrade(postgresql_server("troth"))
    return postgresql_server("troth")


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[Callable[[str], str]]:
    if not databases.mariadb_is_here():
        pytest.skip(databases.MARIADB_ADVICE)
    with databases.mariadb() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_mariadb(mariadb_server: Callable[[str], str]) -> str:
    _run(mariadb_server("mysql"), "CREATE DATABASE troth")
    upgrade(mariadb_server("troth"))
    return mariadb_server("troth")


def _run(url: str, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh, migrated database of each kind."""
    yield from _fresh(request.param, request, tmp_path)


@pytest.fixture
def postgresql_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh, migrated PostgreSQL database."""
    yield from _fresh("postgresql", request, tmp_path)


def _fresh(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if kind == "sqlite":
        path = tmp_path / "troth.db"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        yield f"sqlite:///{path}"
        return
    url = request.getfixturevalue("migrated_mariadb" if kind == "mariadb" else "migrated_postgresql")
    yield url
    _empty(url, kind)


_ALONE = {
    "mariadb": ["SET foreign_key_checks = 0"],
    # Whoever a failed test has left connected must not hold us up.
    "postgresql": ["SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                   " WHERE datname = current_database() AND pid <> pg_backend_pid()"],
}  # fmt: skip


def _empty(url: str, kind: str) -> None:
    """Deleting what a test left takes a tenth of the time of a new database."""
    tables = [table.name for table in reversed(metadata.sorted_tables)]
    keep = {"tenants": f" WHERE id <> '{SYSTEM}'"}
    _run(url, *_ALONE[kind], *(f"DELETE FROM {name}{keep.get(name, '')}" for name in tables))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh, migrated database of each kind, as the application opens it."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    with databases.folder() as place, EmbeddedRedis(place) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """A real, empty Redis."""
    client = redis_py.Redis.from_url(redis_server.url)
    client.flushall()
    client.close()
    return redis_server.url


@pytest.fixture
def vault() -> Vault:
    return Vault({"k1": b"1" * 32})


def _company(database: Database, vault: Vault, now: datetime, name: str, page_id: str) -> Company:
    with system_session(database) as session:
        tenant_id = add_tenant(
            session, external_id=name, name=name.title(), country="US", timezone="America/New_York", now=now
        ).id
    token = f"EAA{name}token"
    with tenant_session(database, tenant_id) as session:
        vault.keyring(session, tenant_id, tenant_id, now)
        grant = NewGrant("facebook_leads", page_id, page_id, f"{name.title()}'s page", {"page_access_token": token},
                         ["leads_retrieval"])  # fmt: skip
        connection = store_grant(session, vault, grant, tenant_id=tenant_id, now=now).connection
    return Company(tenant_id, name, connection.id, page_id, token)


@pytest.fixture
def acme(database: Database, vault: Vault, clock: FrozenClock) -> Company:
    return _company(database, vault, clock.now, "acme", "111000000000001")


@pytest.fixture
def globex(database: Database, vault: Vault, clock: FrozenClock) -> Company:
    return _company(database, vault, clock.now, "globex", "222000000000002")
