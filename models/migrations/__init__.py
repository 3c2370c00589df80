"""The way from any earlier schema to the newest one, on all three databases; it knows no table itself."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from models.database import Database
from models.migrations.role import RoleMissing, prepare_role

__all__ = ["MigrationRefused", "RoleMissing", "upgrade"]

_LOCK = 7_230_411_905
"""The number of the lock that keeps two upgrades of one database apart."""
_LONGEST_TURN = 120
"""Seconds to wait for another upgrade."""
_BUSY_TABLE = 3
"""Seconds to wait for a table that is in use: whoever comes after us waits as long, so it is short and tried again."""
_TRIES = 20
_LOCK_NOT_AVAILABLE = "55P03"


class MigrationRefused(Exception):
    """The schema was left as it is; the text says why, and is safe to show."""


def upgrade(database_url: str) -> None:
    """Bring the schema to its head. Harmless when repeated, when two do it at once, and beside running workers.

    Raises MigrationRefused, RoleMissing (PostgreSQL), or SQLAlchemy's errors when the database is away.
    """
    database = Database(database_url, owner=True, pool_size=1)
    try:
        for _ in range(_TRIES - 1):
            try:
                return _upgrade(database)
            except OperationalError as error:
                if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                    raise
            threading.Event().wait(1)  # let those pass who queued up behind us
        _upgrade(database)
    finally:
        database.close()


def _upgrade(database: Database) -> None:
    config = _config()
    with database.engine.connect() as connection, _alone(connection, database.kind):
        _check_known(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if database.kind == "postgresql":
            prepare_role(connection)
        connection.commit()


def _check_known(connection: Connection) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and found not in known:
        raise MigrationRefused(
            f"The schema is at {found}, which this version of Troth does not know: a newer one has migrated it. "
            "Run that version, or restore the backup made before it."
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


@contextmanager
def _alone(connection: Connection, kind: str) -> Iterator[None]:
    """Hold the upgrade lock. On SQLite the transaction itself, begun as a writer, is that lock."""
    if kind == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{_LONGEST_TURN}s'"))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        connection.execute(text(f"SET LOCAL lock_timeout = '{_BUSY_TABLE}s'"))
        # Row policies are forced on the owner too, and a revision may have to change every tenant's rows.
        connection.execute(text("SELECT set_config('troth.tenant', '*', true)"))
        yield
    elif kind == "mysql":
        mine = connection.execute(
            text(f"SELECT GET_LOCK(CONCAT('{_LOCK}', MD5(DATABASE())), {_LONGEST_TURN})")
        ).scalar()
        if mine != 1:
            raise MigrationRefused("Another upgrade of this database has been under way for minutes; look at it first.")
        connection.execute(text(f"SET SESSION lock_wait_timeout = {_BUSY_TABLE * _TRIES}"))
        connection.commit()
        try:
            yield
        finally:  # the lock lives as long as its session, and so do the settings
            connection.invalidate()
    else:
        # A batch rebuilds a table by dropping the old one, which must not take the rows that refer to it along.
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield
