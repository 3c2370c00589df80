"""People who are named inside a sealed column, where no index finds them: every row of the tenant is opened, and a row that
names one is sealed again without the name. The register (`models.personal`) says which columns these are.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from models.opt_out import user_mark
from models.personal import Names, Store, Target
from models.vault import Keyring, Vault, VaultError

Rows = Sequence[tuple[str, bytes]]
"""(id, the sealed column)."""
OPENED_AT_ONCE = 100
"""Rows that are in memory at a time: an audience may have a thousand names."""


def count_named(session: Session, vault: Vault, store: Store, target: Target) -> int:
    """How many rows of a store name a person."""
    keyring = _keyring(session, vault, target)
    total, after = 0, None
    while keyring is not None:
        rows = _behind(session, store, target, after, OPENED_AT_ONCE)
        total += len(_naming(keyring, store, target, rows))
        if len(rows) < OPENED_AT_ONCE:
            break
        after = rows[-1][0]
    return total


def forget_named(
    session: Session, vault: Vault, store: Store, target: Target, *, after: str | None, limit: int
) -> tuple[int, str | None]:
    """Take a person's name out of up to `limit` rows behind `after`, of which those that bear it are locked; how many these
    were, and the place to go on from (None: there are no more). Harmless when repeated."""
    keyring, limit = _keyring(session, vault, target), min(limit, OPENED_AT_ONCE)
    if keyring is None:
        return 0, None
    rows = _behind(session, store, target, after, limit)
    found = _naming(keyring, store, target, rows)
    if found:
        # Only now, and once more: whoever fixes a bulletin's recipients may have dropped all of its names meanwhile.
        held = _rows_of(store, target).where(store.table.c.id.in_(sorted(found))).with_for_update()
        found = _naming(keyring, store, target, _read(session, held))
    for row_id, left in found.items():
        mine = (store.table.c.tenant_id == target.tenant_id, store.table.c.id == row_id)
        session.connection().execute(update(store.table).where(*mine).values({_of(store).column: left}))
    return len(found), rows[-1][0] if len(rows) == limit else None


def _keyring(session: Session, vault: Vault, target: Target) -> Keyring | None:
    """None where nobody can be named: the person has no name at the host, or nothing was ever sealed."""
    return None if target.user is None else vault.existing(session, target.tenant_id, target.tenant_id)


def _of(store: Store) -> Names:
    if store.names is None:
        raise ValueError(f"{store.name} names nobody")
    return store.names


def _rows_of(store: Store, target: Target) -> Select[Any]:
    rows = store.table.c
    query = select(rows.id, rows[_of(store).column]).where(rows.tenant_id == target.tenant_id)
    return query.where(rows[_of(store).column].is_not(None)).order_by(rows.id)


def _behind(session: Session, store: Store, target: Target, after: str | None, limit: int) -> Rows:
    query = _rows_of(store, target).limit(limit)
    query = query if after is None else query.where(store.table.c.id > after)
    return _read(session, query)


def _read(session: Session, query: Select[Any]) -> Rows:
    return [(row[0], bytes(row[1])) for row in session.connection().execute(query)]


def _naming(keyring: Keyring, store: Store, target: Target, rows: Rows) -> dict[str, bytes | None]:
    """id -> the sealed column without the name, of those rows that name the person."""
    names = _of(store)
    found: dict[str, bytes | None] = {}
    for row_id, sealed in rows:
        place = {"table": store.name, "row": row_id, "column": names.column}
        try:
            plain = keyring.unseal(sealed, **place)
        except VaultError:  # nobody can read who is named in it
            continue
        value = {None: [plain.decode()]} if names.part is None else orjson.loads(plain)
        left = [user for user in value[names.part] if user_mark(keyring, user) != target.user]
        if len(left) < len(value[names.part]):
            whole = None if names.part is None else orjson.dumps({**value, names.part: left})
            found[row_id] = None if whole is None else keyring.seal(whole, **place)
    return found
