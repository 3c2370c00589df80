"""The way from any earlier schema to the newest one, on all three databases; it knows no table itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from models.database import Database
from models.tenancy import APP_ROLE_STATEMENTS

_LOCK = 7_230_411_905
"""The number (PostgreSQL) and, as text, the name (MariaDB) of the lock that keeps two upgrades apart."""
_LOCK_SECONDS = 60


def upgrade(database_url: str) -> None:
    """Bring the schema to its head. Harmless when repeated, when two do it at once, and beside running workers."""
    database = Database(database_url, owner=True, pool_size=1)
    try:
        with database.engine.connect() as connection, _alone(connection, database.kind):
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if database.kind == "postgresql":
                for statement in APP_ROLE_STATEMENTS:
                    connection.execute(text(statement))
            connection.commit()
    finally:
        database.close()


def head() -> str:
    """The newest revision."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def current(database: Database) -> str | None:
    """The revision a database is at; None when it has none of our tables."""
    with database.reader.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


@contextmanager
def _alone(connection: Connection, kind: str) -> Iterator[None]:
    """Hold the upgrade lock. On SQLite the transaction itself, begun as a writer, is that lock."""
    if kind == "postgresql":
        connection.execute(
            text("SET lock_timeout = '5s'")
        )  # wait briefly for busy tables, never queue everybody behind us
        connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))
        connection.commit()
    elif kind == "mysql":
        connection.execute(text(f"SELECT GET_LOCK('{_LOCK}', {_LOCK_SECONDS})"))
        connection.commit()
    try:
        yield
    finally:
        if kind == "postgresql":
            connection.rollback()
            connection.execute(text(f"SELECT pg_advisory_unlock({_LOCK})"))
        elif kind == "mysql":
            connection.execute(text(f"SELECT RELEASE_LOCK('{_LOCK}')"))
