"""Fills a database in bulk, by the database's own means, with the rows that an erasure is measured on; it measures nothing."""

from sqlalchemy import Engine, text

WHEN = "'2026-03-02 09:00:00.000000'"
LATER = "'2036-03-02 09:00:00.000000'"


class _Words:
    """What the two databases spell differently; `number` is an expression."""

    def __init__(self, kind: str) -> None:
        self.is_postgresql = kind == "postgresql"

    def known(self, row: str) -> str:
        """An id as a literal."""
        return f"'{row}'" if self.is_postgresql else f"'{row.replace('-', '')}'"

    def id(self, number: str) -> str:
        """A new id; greater numbers have later ids, as ours have."""
        if self.is_postgresql:
            return f"(lpad(to_hex({number}), 8, '0') || '-0000-7000-8000-000000000000')::uuid"
        return f"printf('%08x000070008000000000000000', {number})"

    def bytes(self, number: str, sixteens: int) -> str:
        """Bytes as no two rows have them."""
        if self.is_postgresql:
            return f"decode(repeat(md5(({number})::text), {sixteens}), 'hex')"
        return f"randomblob({16 * sixteens})"

    def text(self, number: str) -> str:
        """The number as text."""
        return f"CAST({number} AS text)"


def fill_leads(engine: Engine, tenant: str, connection: str, *, leads: int, lines_each: int) -> None:
    """Leads as large as real ones; their lines of history lie apart, as they are written at different times."""
    w = _Words(engine.dialect.name)
    _insert(
        engine, "leads", leads,
        {"id": w.id("n"), "tenant_id": w.known(tenant), "connection_id": w.known(connection), "external_id": w.text("n"),
         "page_external_id": "'5'", "form_external_id": "'6'", "form_name": "'A form'", "created_at": WHEN,
         "received_at": WHEN, "source": "'webhook'", "is_test": "false", "ad": "'{}'", "contact": w.bytes("n", 10),
         "answers": w.bytes("n", 20), "consents": w.bytes("n", 5), "email_hash": w.bytes("n", 1),
         "phone_hash": w.bytes("n + 1", 1)},
    )  # fmt: skip
    _insert(
        engine, "lead_history", leads * lines_each,
        {"id": w.id("n"), "tenant_id": w.known(tenant), "lead_id": w.id(f"(n - 1) % {leads} + 1"), "kind": "'note'",
         "text": w.bytes("n", 5), "occurred_at": WHEN, "recorded_at": WHEN},
    )  # fmt: skip


def fill_deletions(engine: Engine, tenant: str, *, pending: int, due: int) -> None:
    """Deletions that wait for a day far away, but for a few."""
    w = _Words(engine.dialect.name)
    _insert(
        engine, "deletions", pending,
        {"id": w.id("n"), "tenant_id": w.known(tenant), "confirmation_code": w.text("n"), "kind": "'subject'",
         "status": "'scheduled'", "requested_by": "'api'", "urgent": "false", "needs_approval": "false",
         "host_needed": "false", "alarm": "0", "requested_at": WHEN, "undo_until": WHEN, "safe_due_at": LATER,
         "promise_due_at": LATER, "act_at": f"CASE WHEN n % {pending // due} = 0 THEN {WHEN} ELSE {LATER} END"},
    )  # fmt: skip


def analyse(engine: Engine) -> None:
    """What a database does by itself sooner or later."""
    with engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")


def _insert(engine: Engine, table: str, rows: int, values: dict[str, str]) -> None:
    numbers = f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows})"
    instants = ("created_at", "received_at", "occurred_at", "recorded_at", "requested_at", "undo_until", "safe_due_at",
                "promise_due_at", "act_at")  # fmt: skip
    is_postgresql = engine.dialect.name == "postgresql"
    given = [
        f"({value})::timestamptz" if is_postgresql and name in instants else value for name, value in values.items()
    ]
    with engine.begin() as connection:
        connection.execute(
            text(f"INSERT INTO {table} ({', '.join(values)}) {numbers} SELECT {', '.join(given)} FROM s")
        )
