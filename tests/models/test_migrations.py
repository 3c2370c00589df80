"""The way to the newest schema: the same everywhere, alone, repeatable, all or nothing, and clear when it cannot go on."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, select, text
from sqlalchemy.exc import DBAPIError

import models.migrations
from models.database import Database
from models.migrations import MigrationRefused, RoleMissing, upgrade
from models.revision import current, head
from models.schema import metadata
from models.tenancy import SYSTEM, system_session
from models.tenant import Tenant
from tests.at_once import at_once, overtaking
from tests.conftest import KINDS

_numbers = count(1)
Server = Callable[[str], str]


def run(url: str, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database in which nothing was ever done."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/100%25.db"
        return
    server: Server = request.getfixturevalue(f"{request.param}_server")
    name, first = f"empty_{next(_numbers)}", {"postgresql": "postgres", "mariadb": "mysql"}[request.param]
    run(server(first), f"CREATE DATABASE {name}")
    yield server(name)
    run(server(first), f"DROP DATABASE {name}")


only_postgresql = pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
transactional = pytest.mark.parametrize("empty_url", ["sqlite", "postgresql"], indirect=True)


def revision(url: str) -> str | None:
    database = Database(url)
    try:
        return current(database)
    finally:
        database.close()


def tables(url: str) -> set[str]:
    engine = create_engine(url)
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def schema(url: str) -> dict[str, Any]:
    """What a database says of its own tables."""
    engine = create_engine(url)
    look = inspect(engine)
    found: dict[str, Any] = {}
    for table in sorted(set(look.get_table_names()) - {"alembic_version"}):
        found[table] = {
            "columns": {c["name"]: (str(c["type"]), c["nullable"], c["default"]) for c in look.get_columns(table)},
            "key": look.get_pk_constraint(table)["constrained_columns"],
            "unique": sorted((str(u["name"]), u["column_names"]) for u in look.get_unique_constraints(table)),
            "indexes": sorted((str(i["name"]), i["column_names"], i["unique"]) for i in look.get_indexes(table)),
            "refers": sorted((str(f["name"]), f["constrained_columns"], f["referred_table"], f["referred_columns"])
                             for f in look.get_foreign_keys(table)),
            "options": look.get_table_options(table).get("mysql_collate"),
        }  # fmt: skip
    engine.dispose()
    return found


def test_an_empty_database_has_no_revision(empty_url: str) -> None:
    assert revision(empty_url) is None


def test_the_migrations_make_what_the_models_would(empty_url: str) -> None:
    upgrade(empty_url)
    migrated = schema(empty_url)
    database = Database(empty_url, owner=True)
    metadata.drop_all(database.engine)
    metadata.create_all(database.engine)
    database.close()
    assert migrated == schema(empty_url)
    assert set(migrated) == set(metadata.tables)


def test_four_upgrades_at_once_are_as_good_as_one(empty_url: str) -> None:
    at_once(*[partial(upgrade, empty_url)] * 4)
    assert revision(empty_url) == head()
    database = Database(empty_url)
    with system_session(database, reads_only=True) as session:
        (system,) = session.scalars(select(Tenant))
    database.close()
    assert (system.id, system.external_id, system.status, system.timezone) == (SYSTEM, "troth", "system", "UTC")


@transactional
def test_an_upgrade_that_fails_midway_leaves_nothing(empty_url: str) -> None:
    run(empty_url, "CREATE TABLE leads (id int)")
    with pytest.raises(DBAPIError):
        upgrade(empty_url)
    assert tables(empty_url) == {"leads"}
    run(empty_url, "DROP TABLE leads")
    upgrade(empty_url)
    assert revision(empty_url) == head()


def test_a_newer_schema_is_left_alone(empty_url: str) -> None:
    upgrade(empty_url)
    run(empty_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(MigrationRefused, match="9999"):
        upgrade(empty_url)
    assert revision(empty_url) == "9999"


@only_postgresql
def test_an_upgrade_waits_its_turn_for_a_table_in_use(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade(empty_url)
    monkeypatch.setattr(models.migrations, "_BUSY_TABLE", 0.05)
    user = Database(empty_url, owner=True)

    def hold(pause: Callable[[], None]) -> None:
        with user.engine.begin() as connection:
            connection.execute(text("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE"))
            pause()

    overtaking(hold, partial(upgrade, empty_url))
    user.close()
    assert revision(empty_url) == head()


@pytest.fixture
def login(postgresql_server: Server, empty_url: str) -> Iterator[str]:
    """An ordinary login, no superuser."""
    name = f"login_{next(_numbers)}"
    run(postgresql_server("postgres"), f"CREATE ROLE {name} LOGIN")
    yield name
    run(empty_url, f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}")


def as_login(url: str, login: str) -> str:
    return url.replace("//postgres@", f"//{login}@")


def own(url: str, login: str) -> str:
    run(url, f"ALTER SCHEMA public OWNER TO {login}")
    return as_login(url, login)


@only_postgresql
def test_a_login_that_may_not_become_the_applications_role_is_told_what_to_do(empty_url: str, login: str) -> None:
    url = own(empty_url, login)
    with pytest.raises(RoleMissing, match=f"GRANT troth_app TO {login};"):
        upgrade(url)
    assert tables(empty_url) == set()
    run(empty_url, f"GRANT troth_app TO {login}")
    upgrade(url)
    assert revision(url) == head()


@only_postgresql
def test_an_ordinary_owner_cannot_see_through_the_walls_either(empty_url: str, login: str) -> None:
    url = own(empty_url, login)
    run(empty_url, f"GRANT troth_app TO {login}")
    upgrade(url)
    owner = Database(url, owner=True)
    with owner.engine.connect() as connection:
        assert connection.execute(text("SELECT current_user")).scalar() == login
        assert connection.execute(text("SELECT count(*) FROM tenants")).scalar() == 0
    owner.close()
    database = Database(url)
    with system_session(database, reads_only=True) as session:
        assert session.scalars(select(Tenant.id)).all() == [SYSTEM]
    database.close()
    upgrade(url)
