"""An engine from a URL: SQLite, PostgreSQL or MySQL/MariaDB, each set up for our way of working; it knows no table."""

import sqlite3
import threading
import time
from collections.abc import Callable
from random import random
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

APP_ROLE = "troth_app"
"""PostgreSQL: the role that owns nothing; every connection of the application takes it on (see `models.tenancy`)."""

_BY_KEY = (
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; "
    "SET plan_cache_mode = force_generic_plan"
)
"""Statements on the ledger find their rows by primary key, planned once: what PostgreSQL plans while a table is new and
small, it would keep while the table grows, and read all of it for each group of claims."""

_BULK = {"cache_size": -16_000, "wal_autocheckpoint": 0}
_USUAL = {"cache_size": -2_000, "wal_autocheckpoint": 1_000}
"""SQLite: KiB (as a negative number), and pages of the WAL after which a commit carries them over into the file. The usual
ones are its defaults."""

Result = TypeVar("Result")
_INNODB_DEADLOCK = 1213
_DEADLOCKS_IN_A_ROW = 10
_STEP_ASIDE = 0.005

_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    # One dialect name for both: SQLAlchemy asks the server which of the two it is.
    "mariadb": "mysql+pymysql",
    "mariadb+pymysql": "mysql+pymysql",
}


class Database:
    """Pools of connections to one database.

    `engine` begins transactions that write, `reader` ones that only read (on SQLite a reader takes no write lock);
    `ledger` and `kept` are for single statements on jobs (`models.tenancy.ledger_connection`). `owner=True` keeps the
    login's own role on PostgreSQL, as migrations need; everything else runs as `troth_app`.
    """

    def __init__(self, url: str, *, owner: bool = False, pool_size: int = 20) -> None:
        parsed = make_url(url)
        if parsed.drivername not in _DRIVERS and parsed.drivername not in _DRIVERS.values():
            raise ValueError(
                f"database {parsed.drivername!r} is not supported: use sqlite, postgresql, mysql or mariadb"
            )
        parsed = parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername))
        self.kind = parsed.get_backend_name()
        options: dict[str, Any] = {
            "pool_size": pool_size,
            "max_overflow": 20,
            "hide_parameters": True,  # errors are logged; what a statement carried is not
        }
        if self.kind == "postgresql":
            options["connect_args"] = {"connect_timeout": 5}
        elif self.kind == "mysql":
            options["connect_args"] = {
                "connect_timeout": 5,
                "charset": "utf8mb4",
                "init_command": "SET time_zone='+00:00'",
            }
            options["isolation_level"] = "READ COMMITTED"
        self.engine: Engine = create_engine(parsed, **options)
        self.reader: Engine = self.engine.execution_options(troth_reads_only=True)
        self.ledger: Engine = self.engine.execution_options(troth_relaxed=True)
        self.kept: Engine = self.engine
        if self.kind == "sqlite":
            _prepare_sqlite(self.engine)
        elif self.kind == "postgresql" and not owner:
            self.ledger = create_engine(parsed, **options, isolation_level="AUTOCOMMIT")
            self.kept = create_engine(parsed, **options, isolation_level="AUTOCOMMIT")
            _at_connect(self.engine, f"SET ROLE {APP_ROLE}")
            _at_connect(
                self.ledger, f"SET ROLE {APP_ROLE}; SET synchronous_commit = off; SET troth.tenant = '*'; {_BY_KEY}"
            )
            _at_connect(self.kept, f"SET ROLE {APP_ROLE}; SET troth.tenant = '*'")

    def checkpoint(self) -> None:
        """SQLite: carry the WAL over into the file, while others read and write; elsewhere the server does so by itself."""
        if self.kind != "sqlite":
            return
        connection = self.engine.raw_connection()  # without a transaction, and so without the writer's lock
        try:
            connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            connection.close()

    def close(self) -> None:
        """Give every pooled connection back to the operating system."""
        for engine in (self.engine, self.ledger, self.kept):
            engine.dispose()


def _prepare_sqlite(engine: Engine) -> None:
    """WAL, foreign keys, and our own BEGIN: a writer takes its lock at the start and never upgrades into a deadlock.

    Threads of one process queue on a lock of ours instead of SQLite's busy handler, which sleeps between its tries.
    """
    turn = threading.Lock()

    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        for pragma in ("busy_timeout=15000", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")
        _keep_in_wal(connection)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get("troth_reads_only"):
            connection.exec_driver_sql("BEGIN")
            return
        if "troth_turn" not in connection.info:
            if not turn.acquire(timeout=30):
                raise TimeoutError("another thread has held SQLite's only writer for 30 s")
            connection.info["troth_turn"] = turn
        synced = "NORMAL" if connection.get_execution_options().get("troth_relaxed") else "FULL"
        if connection.info.get("troth_synced") != synced:  # cannot be changed inside a transaction
            connection.exec_driver_sql(f"PRAGMA synchronous={synced}")
            connection.info["troth_synced"] = synced
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    # A connection goes back to the pool when its transaction has ended, however it ended.
    @event.listens_for(engine, "checkin")
    def _checkin(connection: sqlite3.Connection | None, record: ConnectionPoolEntry) -> None:
        if record.info.pop("troth_bulk", False) and connection is not None:
            for name, value in _USUAL.items():
                connection.execute(f"PRAGMA {name}={value}")
        held = record.info.pop("troth_turn", None)
        if held is not None:
            held.release()


def in_bulk(connection: Connection) -> None:
    """This transaction changes thousands of pages. On SQLite they stay in its memory until the commit instead of being written
    twice, and the commit leaves it to `Database.checkpoint` to carry them over, which does not hold the writer's lock."""
    if connection.dialect.name == "sqlite" and "troth_bulk" not in connection.info:
        connection.info["troth_bulk"] = True
        for name, value in _BULK.items():
            connection.exec_driver_sql(f"PRAGMA {name}={value}")


def _keep_in_wal(connection: sqlite3.Connection) -> None:
    """The journal of a new file: two that switch it at once may be told "locked" without the wait of `busy_timeout`."""
    deadline = time.monotonic() + 15
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _at_connect(engine: Engine, statements: str) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: object) -> None:
        before, connection.autocommit = connection.autocommit, True
        try:
            connection.execute(statements)
        finally:
            connection.autocommit = before


def is_away(error: DBAPIError) -> bool:
    """Whether the database could not be reached or broke the connection, as opposed to refusing a statement."""
    return error.connection_invalidated or error.__class__.__name__ in {"OperationalError", "InterfaceError"}


def past_deadlocks(transaction: Callable[[], Result]) -> Result:
    """Run a transaction, or all that it has done so far, again when the database undid it to let another one pass.

    The order in which rows are taken keeps PostgreSQL free of deadlocks; InnoDB also locks gaps between rows, and wants
    this of everyone: https://mariadb.com/docs/server/server-usage/storage-engines/innodb/innodb-lock-modes
    """
    for turn in range(1, _DEADLOCKS_IN_A_ROW):
        try:
            return transaction()
        except OperationalError as error:
            if error.orig is None or error.orig.args[:1] != (_INNODB_DEADLOCK,):
                raise
            time.sleep(random() * turn * _STEP_ASIDE)  # noqa: S311 - no secret, only out of step with the others
    return transaction()
