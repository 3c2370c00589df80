"""What a copy for people is made of: the rows of the portable stores, opened, a page at a time; it writes no file.

Which stores, which rows and which columns is the register's to say (`models.personal`). Nothing is kept open between pages,
and no key: what is erased meanwhile is left out.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Table, select
from sqlalchemy.orm import Session

from models.personal import BY_NAME, Seal, Store, Target
from models.statements import among
from models.vault import Keyring, Vault

Row = dict[str, Any]
_SCOPE = "scope_of_key"


def columns_of(store: Store) -> list[str]:
    """The columns of a store's table, as `spread` fills them."""
    found: list[str] = []
    for column in store.shown:
        parts = store.sealed[column.name].parts if column.name in store.sealed else ()
        found += [f"{column.name}.{part}" for part in parts] or [column.name]
    return found


def some_rows(
    session: Session, vault: Vault, store: Store, target: Target, *, after: Any, until: str, limit: int
) -> tuple[list[Row], Any]:
    """Up to `limit` rows behind the place `after`, in the clear, and the place to go on from (None: there are no more).

    Of a store whose rows go with a parent's: all of so many parents. `until` is an id: what was made after it is left to
    another copy, so that each pass over a store finds the same.
    """
    walked = store if store.parent is None else BY_NAME[store.parent]
    place = walked.table.c[walked.walk or "id"]
    query = select(walked.table.c.id, place.label("place"), *_scopes(store, walked.table)).order_by(place).limit(limit)
    query = query.where(walked.belongs(target), walked.table.c.id <= until)
    if after is not None:
        query = query.where(place > after)
    if walked is store:
        query = query.add_columns(*(column for column in store.shown if column.name != "id"))
    connection = session.connection()
    found: list[Row] = [dict(row) for row in connection.execute(query).mappings()]
    following = found[-1]["place"] if len(found) == limit else None
    if walked is not store and found:
        found = _with_parents(connection, store, target, found, until)
    keys = _keys(session, vault, target.tenant_id, found)
    return [_opened(store, row, keys) for row in found], following


def _scopes(store: Store, table: Table) -> list[ColumnElement[Any]]:
    """The columns that name the scopes of the keys by which a store's columns are sealed."""
    return [table.c[by].label(f"{_SCOPE}_{by}") for by in sorted({seal.by for seal in store.sealed.values()})]


def _with_parents(
    connection: Connection, store: Store, target: Target, parents: Sequence[Row], until: str
) -> list[Row]:
    """The rows of these parents, each with what its parent says of its key. By the index that leads from a parent."""
    of = {row["id"]: {name: value for name, value in row.items() if name.startswith(_SCOPE)} for row in parents}
    query = select(*store.shown, store.link.label("parent")).where(
        store.table.c.tenant_id == target.tenant_id, among(connection, store.link, list(of)), store.table.c.id <= until
    )
    rows = connection.execute(query.order_by(store.link, store.table.c.id)).mappings()
    return [{**row, **of[row["parent"]]} for row in rows]


def _keys(session: Session, vault: Vault, tenant_id: str, rows: Sequence[Row]) -> Mapping[str, Keyring]:
    scopes = {value for row in rows for name, value in row.items() if name.startswith(_SCOPE)}
    return vault.keyrings(session, tenant_id, sorted(scopes)) if scopes else {}


def _opened(store: Store, row: Row, keys: Mapping[str, Keyring]) -> Row:
    return {
        one.name: _unsealed(store, row, one.name, store.sealed[one.name], keys) if one.name in store.sealed
        else row[one.name]
        for one in store.shown
    }  # fmt: skip


def _unsealed(store: Store, row: Row, name: str, seal: Seal, keys: Mapping[str, Keyring]) -> Any:
    """None where there is nothing, and where the key has been destroyed."""
    keyring = keys.get(row[f"{_SCOPE}_{seal.by}"])
    if keyring is None or row[name] is None:
        return None
    plain = keyring.unseal(row[name], table=store.name, row=row["id"], column=name)
    if seal.is_text:
        return plain.decode()
    value = orjson.loads(plain)
    return dict(zip(seal.parts, value, strict=True)) if seal.parts and isinstance(value, list) else value


def as_json(row: Row) -> bytes:
    """One row as a JSON object; instants are RFC 3339."""
    ready = {name: _instant(value) if isinstance(value, datetime) else value for name, value in row.items()}
    return orjson.dumps(ready, default=str)


def spread(store: Store, row: Row) -> list[str]:
    """One row as the cells of a table: what has parts in a cell each, other JSON as text."""
    cells: list[str] = []
    for column in store.shown:
        value = row[column.name]
        parts = store.sealed[column.name].parts if column.name in store.sealed else ()
        cells += [_cell((value or {}).get(part)) for part in parts] if parts else [_cell(value)]
    return cells


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return _instant(value)
    if isinstance(value, dict | list):
        return orjson.dumps(value, default=str).decode()
    return str(value)


def _instant(value: date) -> str:
    return value.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z" if isinstance(value, datetime) else str(value)
