"""Connections: the right set-up for each database, writers in turn, and errors that tell no secrets."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from models.database import Database, in_bulk, is_away, past_deadlocks
from models.refusal import Refusal, refuse
from models.tenancy import system_session
from tests.at_once import at_once

NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("sqlite:///x.db", "sqlite"), ("postgresql://h/x", "postgresql"), ("postgres://h/x", "postgresql"),
        ("postgresql+psycopg://h/x", "postgresql"), ("mysql://h/x", "mysql"), ("mariadb://h/x", "mysql"),
        ("mariadb+pymysql://h/x", "mysql"),
    ],
)  # fmt: skip
def test_one_name_for_each_kind_of_database(url: str, kind: str) -> None:
    database = Database(url)
    assert (database.kind, database.engine.dialect.name) == (kind, kind)
    database.close()


@pytest.mark.parametrize("url", ["oracle://h/x", "postgresql+asyncpg://h/x", "mssql://h/x"])
def test_an_unsupported_database_is_refused_with_those_that_are(url: str) -> None:
    with pytest.raises(ValueError, match="use sqlite, postgresql, mysql or mariadb"):
        Database(url)


@pytest.mark.parametrize(
    "url", ["postgresql://h@127.0.0.1:1/x", "mysql://h:secret@127.0.0.1:1/x", "sqlite:////nowhere/at/all.db"]
)
def test_a_database_that_cannot_be_reached_is_away(url: str) -> None:
    database = Database(url)
    with pytest.raises(DBAPIError) as refused, system_session(database) as session:
        session.execute(text("SELECT 1"))
    database.close()
    assert is_away(refused.value)
    assert "secret" not in str(refused.value)


def test_an_error_does_not_repeat_what_the_statement_carried(database: Database) -> None:
    with pytest.raises(DBAPIError) as refused, system_session(database) as session:
        session.execute(text("SELECT :personal FROM no_such_table"), {"personal": "ada@example.com"})
    assert "ada@example.com" not in str(refused.value)
    assert not is_away(refused.value) or database.kind == "sqlite"  # SQLite has one class for both


def count(database: Database) -> int:
    with system_session(database, reads_only=True) as session:
        return session.scalar(select(func.count()).select_from(Refusal)) or 0


def test_many_writers_all_get_their_turn(database: Database) -> None:
    def write() -> None:
        for _ in range(10):
            with system_session(database) as session:
                session.scalar(select(func.count()).select_from(Refusal))  # reads first, as most transactions do
                refuse(session, reason="x", now=NOW)

    at_once(*[partial(write)] * 8)
    assert count(database) == 80


def test_a_second_process_waits_for_the_writer(database: Database, database_url: str) -> None:
    other = Database(database_url)  # a pool of its own, as another process has it

    def write(through: Database) -> None:
        for _ in range(10):
            with system_session(through) as session:
                session.scalar(select(func.count()).select_from(Refusal))
                refuse(session, reason="x", now=NOW)

    at_once(partial(write, database), partial(write, other))
    other.close()
    assert count(database) == 20


@pytest.mark.parametrize("end", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_transaction_that_is_torn_down_gives_its_turn_to_the_next(
    database: Database, end: type[BaseException]
) -> None:
    def write_and_fail() -> None:
        with system_session(database) as session:
            refuse(session, reason="x", now=NOW)
            session.flush()
            raise end

    for _ in range(3):
        with pytest.raises(end):
            write_and_fail()
    assert count(database) == 0
    with system_session(database) as session:
        refuse(session, reason="x", now=NOW)
    assert count(database) == 1


def test_a_reader_sees_what_was_committed_while_a_writer_writes(database: Database) -> None:
    with system_session(database) as session:
        refuse(session, reason="x", now=NOW)
        session.flush()
        assert count(database) == 0
    assert count(database) == 1


def test_sqlite_keeps_its_promises(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/x.db")
    with database.engine.connect() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    database.close()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}


def test_what_is_changed_in_bulk_is_carried_into_the_file_when_asked_for_and_others_keep_their_settings(
    tmp_path: Path,
) -> None:
    file = tmp_path / "x.db"
    database = Database(f"sqlite:///{file}", pool_size=1)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE x (y blob)")
        in_bulk(connection)
        connection.exec_driver_sql("INSERT INTO x VALUES (zeroblob(5000000))")
    assert file.stat().st_size < 1_000_000
    database.checkpoint()
    assert file.stat().st_size > 5_000_000
    with database.engine.connect() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("cache_size", "wal_autocheckpoint")]
    database.close()
    assert found == [-2_000, 1_000]


def test_only_a_deadlock_is_tried_again(database: Database) -> None:
    tries = []

    def fail() -> None:
        tries.append(1)
        with system_session(database) as session:
            session.execute(text("SELECT * FROM no_such_table"))

    with pytest.raises(SQLAlchemyError):
        past_deadlocks(fail)
    assert len(tries) == 1
