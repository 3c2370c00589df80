"""What every test may have: the three databases, a real Redis, a clock that stands still, and two tenants who never meet."""

import gc
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from sqlalchemy import Connection, Engine, Table, create_engine, literal, select, table, text, union_all

from models.database import Database
from models.grant import NewGrant, store_grant
from models.migrations import upgrade
from models.schema import metadata
from models.tenancy import SYSTEM, system_session, tenant_session
from models.tenant import Tenant, add_tenant
from models.vault import Vault
from tests import databases
from worker.embedded import EmbeddedRedis
from worker.services import connect_redis

pytest_plugins = ["tests.no_skip"]

MASTER_KEYS = {"k1": b"1" * 32}
KINDS = ("sqlite", "postgresql", "mariadb")
ON_SQLITE = Path(__file__).parent / "worker"
"""Where tests look at what is decided, answered, or said to a provider: there SQLite is enough, but for those marked
`every_database`."""


def pytest_collection_finish() -> None:
    """What was imported stays, so looking through it for garbage again and again is in vain: about a twentieth of the CPU."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


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
def migrated_sqlite() -> Iterator[Path]:
    with databases.folder(in_memory=True) as place:
        path = place / "template.db"
        upgrade(f"sqlite:///{path}")
        yield path


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
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh, migrated database of each kind."""
    yield from _fresh(request.param, request)


@pytest.fixture
def postgresql_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh, migrated PostgreSQL database."""
    yield from _fresh("postgresql", request)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with a `database_url` runs on all databases, or those it names; below `ON_SQLITE`, on that alone.

    Marked there are tests that between them send each statement once to every database, and those where several act at
    once or where anything at all may be sent.
    """
    test = metafunc.definition
    names_its_own = any("database_url" in mark.args[0] for mark in test.iter_markers("parametrize"))
    chosen = names_its_own or test.get_closest_marker("every_database") is not None
    if "database_url" in metafunc.fixturenames and ON_SQLITE in test.path.parents and not chosen:
        test.add_marker(pytest.mark.parametrize("database_url", KINDS[:1], indirect=True))


def _fresh(kind: str, request: pytest.FixtureRequest) -> Iterator[str]:
    template = request.getfixturevalue(f"migrated_{kind}")
    if kind == "sqlite":
        path = template.with_name("troth.db")
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            path.with_name(name).unlink(missing_ok=True)
        shutil.copy(template, path)
        yield f"sqlite:///{path}"
        return
    caretaker = request.getfixturevalue("caretakers")(template)
    yield template
    _empty(caretaker, kind)


_ALONE = {
    "mariadb": "SET foreign_key_checks = 0",
    # Whoever a failed test has left in a transaction must not hold us up.
    "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                  " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'",
}  # fmt: skip
_CHILDREN_FIRST = [table.name for table in reversed(metadata.sorted_tables)]
_KEPT = {"tenants": f" WHERE id <> '{SYSTEM}'"}
_HOLD_ROWS = union_all(
    *(select(literal(name)).where(select(text("1")).select_from(table(name)).exists()) for name in _CHILDREN_FIRST)
)


def _empty(caretaker: Engine, kind: str) -> None:
    """Deleting what a test left, where it left something, takes a fiftieth of the time of a new database."""
    with caretaker.connect() as connection:
        connection.execute(text(_ALONE[kind]))
        for name in hold_rows(connection):
            connection.execute(text(f"DELETE FROM {name}{_KEPT.get(name, '')}"))


def hold_rows(connection: Connection) -> list[str]:
    """The names of the tables that are not empty, those first that refer to others."""
    return sorted(connection.scalars(_HOLD_ROWS), key=_CHILDREN_FIRST.index)


@pytest.fixture(scope="session")
def caretakers() -> Iterator[Callable[[str], Engine]]:
    """caretakers(url) -> the connection that empties this database after each test."""
    kept: dict[str, Engine] = {}

    def caretaker(url: str) -> Engine:
        if url not in kept:
            kept[url] = create_engine(url, isolation_level="AUTOCOMMIT")
        return kept[url]

    yield caretaker
    for engine in kept.values():
        engine.dispose()


@pytest.fixture(scope="session")
def databases_known() -> Iterator[dict[str, Database]]:
    """Every `Database` by its URL: what it knows of its statements is dear, and so are its connections to a server."""
    known: dict[str, Database] = {}
    yield known
    for one in known.values():
        one.close()


FEW = 6
"""Connections that may stay open from test to test."""


@pytest.fixture
def database(database_url: str, databases_known: dict[str, Database]) -> Iterator[Database]:
    """A fresh, migrated database of each kind, as the application opens it."""
    opened = databases_known.pop(database_url, None) or Database(database_url)
    yield opened
    pools: Any = {engine.pool for engine in (opened.engine, opened.ledger, opened.kept)}
    # A test that failed may have left a thread with a connection, and perhaps with SQLite's only turn to write.
    if not any(pool.checkedout() for pool in pools):
        databases_known[database_url] = opened
        if opened.kind != "sqlite" and sum(pool.checkedin() for pool in pools) <= FEW:
            return
    opened.close()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    with databases.folder() as place, EmbeddedRedis(place) as server:
        yield server


@pytest.fixture(scope="session")
def redis_caretaker(redis_server: EmbeddedRedis) -> Iterator[redis_py.Redis]:
    """The connection that empties it, which is made anew when a test has cut it."""
    with closing(connect_redis(redis_server.url)) as client:
        yield client


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis, redis_caretaker: redis_py.Redis) -> str:
    """A real, empty Redis."""
    redis_caretaker.flushall()
    return redis_server.url


@pytest.fixture
def vault() -> Vault:
    return Vault(MASTER_KEYS)


PAGES = {"acme": "111000000000001", "globex": "222000000000002"}
Rows = dict[Table, list[dict[str, Any]]]


@pytest.fixture(scope="session")
def founded(migrated_sqlite: Path) -> Callable[[str, datetime], tuple[Company, Rows]]:
    """founded(name, now) -> a company and its rows: the application makes both companies once, and what it made is stored
    in every database after that, at a fifth of the CPU."""
    known: dict[datetime, dict[str, tuple[Company, Rows]]] = {}

    def found(name: str, now: datetime) -> tuple[Company, Rows]:
        if now not in known:
            path = shutil.copy(migrated_sqlite, migrated_sqlite.with_name("founded.db"))
            with closing(Database(f"sqlite:///{path}")) as database:
                companies = [_found(database, one, now) for one in PAGES]
                known[now] = {one.external_id: (one, _rows_of(database, one.id)) for one in companies}
        return known[now][name]

    return found


def _found(database: Database, name: str, now: datetime) -> Company:
    vault = Vault(MASTER_KEYS)
    with system_session(database) as session:
        tenant_id = add_tenant(
            session, external_id=name, name=name.title(), country="US", timezone="America/New_York", now=now
        ).id
    page_id, token = PAGES[name], f"EAA{name}token"
    with tenant_session(database, tenant_id) as session:
        vault.keyring(session, tenant_id, tenant_id, now)
        grant = NewGrant("facebook_leads", page_id, page_id, f"{name.title()}'s page", {"page_access_token": token},
                         ["leads_retrieval"])  # fmt: skip
        connection = store_grant(session, vault, grant, tenant_id=tenant_id, now=now).connection
    return Company(tenant_id, name, connection.id, page_id, token)


def _rows_of(database: Database, tenant_id: str) -> Rows:
    owned = {one: one.c.get("tenant_id") for one in metadata.sorted_tables} | {Tenant.__table__: Tenant.__table__.c.id}
    with system_session(database, reads_only=True) as session:
        read = session.connection().execute
        found = {one: read(select(one).where(of == tenant_id)) for one, of in owned.items() if of is not None}
        return {one: rows for one, result in found.items() if (rows := [dict(row._mapping) for row in result])}


def _settled(database: Database, company: Company, rows: Rows) -> Company:
    with system_session(database) as session:
        for one, theirs in rows.items():
            session.connection().execute(one.insert(), theirs)
    return company


@pytest.fixture
def acme(database: Database, founded: Callable[..., tuple[Company, Rows]], clock: FrozenClock) -> Company:
    return _settled(database, *founded("acme", clock.now))


@pytest.fixture
def globex(database: Database, founded: Callable[..., tuple[Company, Rows]], clock: FrozenClock) -> Company:
    return _settled(database, *founded("globex", clock.now))
