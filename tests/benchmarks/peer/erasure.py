"""The limit of an erasure: the bare statements, a chunk a transaction, that counts, proves and remembers nothing."""

import json
import sqlite3
import sys
import time
from collections.abc import Callable
from typing import Any

import psycopg

Chunk = Callable[[int], tuple[int, int]]
"""A chunk of so many leads: (leads, rows) that went. The transaction is committed."""


def _postgresql(orders: dict[str, Any]) -> Chunk:
    connection = psycopg.connect(orders["database"])
    tenant, page = orders["tenant"], orders["connection"]
    after = ["00000000-0000-0000-0000-000000000000"]

    def chunk(size: int) -> tuple[int, int]:
        with connection.transaction():
            found = connection.execute(
                "SELECT id FROM leads WHERE tenant_id = %s AND connection_id = %s AND id > %s ORDER BY id LIMIT %s",
                (tenant, page, after[0], size),
            ).fetchall()
            ids = [row[0] for row in found]
            history = connection.execute(
                "DELETE FROM lead_history WHERE tenant_id = %s AND lead_id = ANY(%s)", (tenant, ids)
            )
            leads = connection.execute("DELETE FROM leads WHERE tenant_id = %s AND id = ANY(%s)", (tenant, ids))
        after[0] = ids[-1] if ids else after[0]
        return len(ids), leads.rowcount + history.rowcount

    return chunk


def _sqlite(orders: dict[str, Any]) -> Chunk:
    connection = sqlite3.connect(orders["database"], isolation_level=None)
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):  # as ours: the same rows go as surely
        connection.execute(f"PRAGMA {pragma}")
    tenant, page = (orders[name].replace("-", "") for name in ("tenant", "connection"))
    after = [""]

    def chunk(size: int) -> tuple[int, int]:
        connection.execute("BEGIN IMMEDIATE")
        found = connection.execute(
            "SELECT id FROM leads WHERE tenant_id = ? AND connection_id = ? AND id > ? ORDER BY id LIMIT ?",
            (tenant, page, after[0], size),
        )
        ids = [row[0] for row in found]
        marks = ", ".join("?" * len(ids))
        history = connection.execute(
            f"DELETE FROM lead_history WHERE tenant_id = ? AND lead_id IN ({marks})", (tenant, *ids)
        )
        leads = connection.execute(f"DELETE FROM leads WHERE tenant_id = ? AND id IN ({marks})", (tenant, *ids))
        connection.execute("COMMIT")
        after[0] = ids[-1] if ids else after[0]
        return len(ids), leads.rowcount + history.rowcount

    return chunk


def main() -> None:
    """Orders are a JSON line: `kind`, `database` (a DSN or a path), `tenant`, `connection`, `size` of a chunk in leads."""
    orders = json.loads(sys.stdin.readline())
    chunk = (_postgresql if orders["kind"] == "postgresql" else _sqlite)(orders)
    print("ready", flush=True)
    sys.stdin.readline()
    began, rows = time.monotonic(), 0
    while True:
        leads, gone = chunk(orders["size"])
        rows += gone
        if leads < orders["size"]:
            break
    print(json.dumps({"rows": rows, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main()
