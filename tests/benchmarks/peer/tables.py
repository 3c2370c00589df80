"""The peer's two tables, each statement a transaction of its own."""

import sqlite3
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Column, DateTime, Engine, Integer, MetaData, String, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite

from tests.benchmarks.peer import settings

METADATA = MetaData()

INBOX = Table(
    "peer_inbox",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("page_id", String(32), nullable=False),
    Column("lead_id", String(32), nullable=False, unique=True),
    Column("form_id", String(32)),
    Column("received_at", DateTime(timezone=True), nullable=False),
)

LEADS = Table(
    "peer_leads",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("page_id", String(32), nullable=False),
    Column("external_id", String(32), nullable=False, unique=True),
    Column("full_name", String(190)),
    Column("email", String(190)),
    Column("phone", String(64)),
    Column("answers", JSON),
    Column("created_at", String(40)),
    Column("stored_at", DateTime(timezone=True), nullable=False),
)


def connect(url: str = settings.DATABASE_URL, pool: int = 32) -> Engine:
    """Autocommit, as the usual recipe's one-row writes are; on SQLite with a write-ahead log, which is kind to the peer."""
    if url.startswith("sqlite"):
        engine = create_engine(url, isolation_level="AUTOCOMMIT", connect_args={"timeout": 30})

        @event.listens_for(engine, "connect")
        def _connect(connection: sqlite3.Connection, _record: object) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")

        return engine
    return create_engine(url, isolation_level="AUTOCOMMIT", pool_size=pool, max_overflow=10)


def insert_once(engine: Engine, table: Table, row: dict[str, Any]) -> bool:
    """One row, one commit; False when it was there already."""
    insert = sqlite.insert if engine.dialect.name == "sqlite" else postgresql.insert
    statement = insert(table).values(row).on_conflict_do_nothing().returning(table.c.id)
    with engine.connect() as connection:
        return connection.execute(statement).first() is not None


def now() -> datetime:
    """UTC."""
    return datetime.now(UTC)
