"""The few statements that SQL dialects spell differently: insert unless it is there, insert or touch what is there, find
many by their keys, and make ids."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any

import orjson
from sqlalchemy import (
    ARRAY,
    JSON,
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Insert,
    Select,
    Table,
    TableValuedAlias,
    Text,
    Uuid,
    any_,
    bindparam,
    cast,
    func,
    insert,
    literal,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.types import TypeDecorator

from models.base import new_id

Rows = Sequence[Mapping[str, Any]]


def insert_new(connection: Connection, table: Table, rows: Rows) -> bool:
    """Insert rows, all of the same columns, none left to a default; one that meets a unique key changes nothing.

    False: all were new, for certain."""
    if not rows:
        return False
    given: Any = rows
    if connection.dialect.name == "postgresql":
        statement, given = _insert_given(table, tuple(rows[0]), is_new=True), {"rows": as_json(table, rows)}
    else:
        statement = _insert_new(connection.dialect.name, table)
    inserted = connection.execute(statement, given, execution_options={"preserve_rowcount": True}).rowcount
    # MariaDB counts those that were there too.
    return connection.dialect.name == "mysql" or inserted != len(rows)


def insert_all(connection: Connection, table: Table, rows: Rows, same: Mapping[str, Any] | None = None) -> None:
    """As `insert_new`; a unique key that is taken is an error. `same`: the columns of which all rows have the same value."""
    if not rows:
        return
    same = same or {}
    if connection.dialect.name == "postgresql":
        statement = _insert_given(table, tuple(rows[0]), tuple(same))
        connection.execute(statement, {"rows": as_json(table, rows), **{f"same_{name}": same[name] for name in same}})
    else:
        connection.execute(insert(table), [{**same, **row} for row in rows])


@cache
def _insert_given(table: Table, names: tuple[str, ...], same: tuple[str, ...] = (), *, is_new: bool = False) -> Insert:
    given = given_rows(*(table.c[name] for name in names))
    values = [bindparam(f"same_{name}", type_=table.c[name].type) for name in same]
    statement = postgresql.insert(table).from_select(
        names + same, select(*given.c, *values), include_defaults=False
    )  # fmt: skip
    return statement.on_conflict_do_nothing() if is_new else statement


def given_rows(*columns: Column[Any]) -> TableValuedAlias:
    """PostgreSQL: the parameter "rows" (`as_json`) as a table. A statement a row costs it, and us, twice as much and more."""
    rows = func.json_to_recordset(cast(bindparam("rows", type_=Text), JSON))
    return rows.table_valued(*columns).render_derived(with_types=True)


def as_json(table: Table, rows: Rows) -> str:
    """Rows of a table, all of the same columns, for `given_rows`."""
    own = [(name, type_) for name in rows[0] if isinstance(type_ := table.c[name].type, TypeDecorator)]
    if own:
        rows = [
            {**row, **{name: type_.process_bind_param(row[name], _POSTGRESQL) for name, type_ in own}} for row in rows
        ]
    return orjson.dumps(rows, default=_hex).decode()


_POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]


def _hex(value: object) -> str:
    """Bytes as PostgreSQL reads them from text."""
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    raise TypeError(f"{type(value).__name__} is no value of a column")


def rows_by(
    connection: Connection, key: Column[Any], values: Collection[Any], *give: ColumnElement[Any],
    where: Sequence[ColumnElement[bool]],
) -> Select[Any]:  # fmt: skip
    """What to `give` of the rows of which `key` is one of many values, and all of `where` is true.

    There is an index of the columns of `where` and this one. PostgreSQL is held to it, a value at a time: left to itself
    it takes a tenant that grew since the last ANALYZE for a small one, and reads all of the tenant's rows instead.
    """
    if connection.dialect.name != "postgresql":
        return select(*give).where(*where, key.in_(values))
    text = bindparam(None, orjson.dumps(list(values), default=_hex).decode(), type_=Text, unique=True)
    given = func.json_array_elements_text(cast(text, JSON)).table_valued("value").render_derived()
    # OFFSET 0 keeps the look-up from being merged into the query around it.
    found = select(*give).where(*where, key == cast(given.c.value, key.type)).offset(literal_column("0")).lateral()
    return select(*found.c).select_from(given.join(found, true()))


def id_as_text(dialect: str, column: Column[Any]) -> ColumnElement[Any]:
    """An id to be selected by thousands: PostgreSQL's driver would make an object of each first."""
    return cast(column, Text) if dialect == "postgresql" else column


def id_in_sql(dialect: str) -> ColumnElement[str]:
    """A fresh id for each row that a statement selects, of the kind of `models.base.new_id`."""
    begins: ColumnElement[str] = literal(new_id().replace("-", "")[:13], Text)  # the millisecond and the version
    if dialect == "postgresql":
        of_chance = func.substr(func.replace(cast(func.gen_random_uuid(), Text), "-", "", type_=Text), 14, type_=Text)
        return cast(begins + of_chance, Uuid)
    return begins + _digits(dialect, 3) + "8" + _digits(dialect, 15)  # 8: the variant


def _digits(dialect: str, number: int) -> ColumnElement[str]:
    some = func.hex(func.randomblob(number)) if dialect == "sqlite" else func.md5(func.uuid())
    return func.substr(func.lower(some), 1, number, type_=Text)


def among(connection: Connection, column: Column[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """The rows in which a column is one of many values.

    To PostgreSQL and SQLite they are one parameter: the statement is the same for any number of them, is prepared once, and
    leaves no long text in a cache for each number.
    """
    return _among(connection.dialect.name, column, None, value=as_given(connection.dialect, column, values))


def among_given(dialect: str, column: Column[Any], name: str) -> ColumnElement[bool]:
    """As `among`, with the values as the parameter `name` (`as_given`): for a statement that is made once."""
    return _among(dialect, column, name)


def _among(dialect: str, column: Column[Any], name: str | None, **value: Any) -> ColumnElement[bool]:
    many: Any = column.type
    if dialect == "postgresql":
        many = Text() if isinstance(column.type, Uuid) else ARRAY(column.type)
    elif dialect == "sqlite":
        many = Text()
    is_list = dialect not in ("postgresql", "sqlite")
    given: BindParameter[Any] = bindparam(name, **value, type_=many, expanding=is_list, unique=name is None)
    if dialect == "sqlite":
        return column.in_(select(func.json_each(given).table_valued("value").c.value))
    if dialect == "postgresql":
        return column == any_(cast(given, ARRAY(column.type)))
    return column.in_(given)


def as_given(dialect: Dialect, column: Column[Any], values: Sequence[Any]) -> Any:
    """Many values of a column as `among_given` takes them."""
    if dialect.name == "postgresql" and isinstance(column.type, Uuid):
        # Of an array the driver looks at each member for what to quote; an id has nothing of that.
        return "{" + ",".join(values) + "}"
    if dialect.name != "sqlite":
        return list(values)
    ready: Callable[[Any], Any] | None = column.type.dialect_impl(dialect).bind_processor(dialect)
    return orjson.dumps([ready(value) for value in values] if ready is not None else list(values)).decode()


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
        if dialect == "sqlite":
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
            mine = (postgresql if dialect == "postgresql" else sqlite).insert(table)
            changes = dict(touch(mine.excluded))
            _STATEMENTS[key] = mine.on_conflict_do_update(index_elements=unique, set_=changes)
    return _STATEMENTS[key]
