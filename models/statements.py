"""The few statements that SQL dialects spell differently: insert unless it is there, insert or touch what is there."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Insert, Table, literal_column
from sqlalchemy.dialects import mysql, postgresql, sqlite

Rows = Sequence[Mapping[str, Any]]


def insert_new(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert rows; one that meets a unique key that is already taken changes nothing."""
    if not rows:
        return
    connection.execute(_insert_new(connection.dialect.name, table), rows)


def insert_or_touch(connection: Connection, table: Table, rows: Rows, *, unique: Sequence[str], counter: str) -> None:
    """Insert rows; one that meets its `unique` columns adds one to `counter` there instead, which also locks that row.

    The lock is the point: who absorbs a trigger into a waiting row keeps others from claiming it before the commit.
    """
    if rows:
        statement = _insert_or_touch(connection.dialect.name, table, tuple(unique), counter)
        connection.execute(statement, rows)


_STATEMENTS: dict[tuple[Any, ...], Insert] = {}


def _insert_new(dialect: str, table: Table) -> Insert:
    key = ("new", dialect, table.name)
    if key not in _STATEMENTS:
        if dialect == "postgresql":
            _STATEMENTS[key] = postgresql.insert(table).on_conflict_do_nothing()
        elif dialect == "sqlite":
            _STATEMENTS[key] = sqlite.insert(table).on_conflict_do_nothing()
        else:
            # INSERT IGNORE would also swallow values that do not fit; this form swallows the unique key alone.
            identity = next(iter(table.primary_key.columns)).name
            _STATEMENTS[key] = mysql.insert(table).on_duplicate_key_update({identity: table.c[identity]})
    return _STATEMENTS[key]


def _insert_or_touch(dialect: str, table: Table, unique: tuple[str, ...], counter: str) -> Insert:
    key = ("touch", dialect, table.name, unique, counter)
    if key not in _STATEMENTS:
        # A literal: PyMySQL sends many rows as one INSERT and fills in no parameter behind its VALUES.
        change = {counter: table.c[counter] + literal_column("1")}
        if dialect == "postgresql":
            _STATEMENTS[key] = postgresql.insert(table).on_conflict_do_update(index_elements=unique, set_=change)
        elif dialect == "sqlite":
            _STATEMENTS[key] = sqlite.insert(table).on_conflict_do_update(index_elements=unique, set_=change)
        else:
            _STATEMENTS[key] = mysql.insert(table).on_duplicate_key_update(change)
    return _STATEMENTS[key]
