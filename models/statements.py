"""The few statements that SQL dialects spell differently: insert unless it is there, insert or touch what is there."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Insert, Table
from sqlalchemy.dialects import mysql, postgresql, sqlite

Rows = Sequence[Mapping[str, Any]]


def insert_new(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert rows; one that meets a unique key that is already taken changes nothing."""
    if not rows:
        return
    connection.execute(_insert_new(connection.dialect.name, table), rows)


Touch = Callable[[Any], list[tuple[str, Any]]]
"""What becomes of a row that is there: (column, value) in order, from the row that was to be inserted. Literals only:
PyMySQL sends many rows as one INSERT and fills in no parameter behind its VALUES."""


def insert_or_touch(connection: Connection, table: Table, rows: Rows, *, unique: Sequence[str], touch: Touch) -> None:
    """Insert rows; one that meets its `unique` columns changes the row there as `touch` says, which also locks that row.

    The lock is the point: who absorbs a trigger into a waiting row keeps others from claiming it before the commit.
    """
    if rows:
        statement = _insert_or_touch(connection.dialect.name, table, tuple(unique), touch)
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


def _insert_or_touch(dialect: str, table: Table, unique: tuple[str, ...], touch: Touch) -> Insert:
    key = ("touch", dialect, table.name, unique, touch)
    if key not in _STATEMENTS:
        if dialect == "mysql":
            mine = mysql.insert(table)
            _STATEMENTS[key] = mine.on_duplicate_key_update(touch(mine.inserted))
        else:
            insert = (postgresql if dialect == "postgresql" else sqlite).insert(table)
            changes = dict(touch(insert.excluded))
            _STATEMENTS[key] = insert.on_conflict_do_update(index_elements=unique, set_=changes)
    return _STATEMENTS[key]
