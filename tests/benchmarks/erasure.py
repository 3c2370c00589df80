"""`erasure`: 100,000 leads with five lines of history each, beside the bare statements; and finding due ones in a million."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import make_url, select

from models.connection import Connection
from models.database import Database
from models.deletion import due
from models.tenancy import system_session
from tests.benchmarks.dialogue import Dialogue
from tests.benchmarks.figures import Figure, at_least, percentile, progress, told, within
from tests.benchmarks.ours import Ours
from tests.benchmarks.stage import Stage, stage
from tests.benchmarks.stock import analyse, fill_deletions, fill_leads
from worker.services import keep_for_good

KINDS = ("postgresql", "sqlite")
LEADS, LINES_EACH = 100_000, 5
ROWS = LEADS * (1 + LINES_EACH)
SIZES = (500, 1_000, 5_000)
"""Leads a chunk of the limit; the best counts."""
WANTED, MOST_GROWN_MIB, NEIGHBOUR_SECONDS, CHUNK_SECONDS = 0.6, 10, 1.0, 0.1
PENDING, DUE, DUE_LIMIT_MS, LOOKS = 1_000_000, 100, 10, 50
TENANT, NEIGHBOUR = "tenant-0", "tenant-1"


@dataclass(frozen=True, slots=True)
class Stock:
    """A filled database: whose leads, and the connections of both tenants."""

    ours: Ours
    connection: str
    page: str

    @property
    def tenant(self) -> str:
        """Whose leads go."""
        return self.ours.tenants[TENANT]


def run() -> Iterator[Figure]:
    """On each database: the limit in three sizes and ours on the same rows, then a million deletions of which few are due."""
    for kind in KINDS:
        with stage() as here:
            stock = _stock(here, kind)
            limit = max(_limit(here, stock, _copy(here, stock), size) for size in SIZES)
            beside = _ours(here, stock, _url(here, kind, _copy(here, stock)), busy=True)
            found = _ours(here, stock, stock.ours.database_url, busy=False)
            looks = _looks(stock)
        yield at_least("erasure", f"{kind}_rows_per_second", _rate(found), limit, WANTED)
        yield told("erasure", f"{kind}_rows_per_second_beside_a_neighbour", _rate(beside), limit)
        yield within("erasure", f"{kind}_mib_grown", found["mib_grown"], MOST_GROWN_MIB)
        yield within(
            "erasure", f"{kind}_neighbours_lead_p99_s", percentile(beside["neighbour"], 0.99), NEIGHBOUR_SECONDS
        )
        yield within("erasure", f"{kind}_chunk_p99_s", found["chunk_p99"], CHUNK_SECONDS)
        yield within("erasure", f"{kind}_due_of_a_million_p50_ms", 1000 * percentile(looks, 0.5), DUE_LIMIT_MS)
        yield told("erasure", f"{kind}_due_of_a_million_p99_ms", 1000 * percentile(looks, 0.99))


def _stock(here: Stage, kind: str) -> Stock:
    ours = Ours(here, kind, names=[TENANT, NEIGHBOUR])
    with _opened(ours.database_url) as database:
        with system_session(database, reads_only=True) as session:
            pages = {row.tenant_id: row.id for row in session.scalars(select(Connection))}
        stock = Stock(ours, *(pages[ours.tenants[name]] for name in (TENANT, NEIGHBOUR)))
        fill_leads(database.engine, stock.tenant, stock.connection, leads=LEADS, lines_each=LINES_EACH)
        analyse(database.engine)
    ours.stop()  # a copy is made of what nobody uses
    progress(f"{kind}: {ROWS} rows are there")
    return stock


@contextmanager
def _opened(url: str) -> Iterator[Database]:
    database = Database(url, owner=True, pool_size=1)
    try:
        yield database
    finally:
        database.close()


def _copy(here: Stage, stock: Stock) -> str:
    """The same database once more: the name of it, or its path."""
    source = make_url(stock.ours.database_url).database or ""
    name = here.name("copy")
    if stock.ours.kind == "sqlite":
        return str(shutil.copy(source, here.folder / f"{name}.db"))
    here.postgres.copy(source, name)
    return name


def _url(here: Stage, kind: str, database: str) -> str:
    return f"sqlite:///{database}" if kind == "sqlite" else here.postgres.url(database)


def _rate(found: dict[str, Any]) -> float:
    rate: float = found["rows"] / found["seconds"]
    return rate


def _limit(here: Stage, stock: Stock, database: str, size: int) -> float:
    """Rows per second."""
    database = database if stock.ours.kind == "sqlite" else here.postgres.dsn(database)
    orders = {"kind": stock.ours.kind, "database": database, "tenant": stock.tenant, "connection": stock.connection,
              "size": size}  # fmt: skip
    limit = Dialogue(here.processes, "limit", "tests.benchmarks.peer.erasure", orders)
    limit.go()
    found = limit.result()
    if found["rows"] != ROWS:
        raise RuntimeError(f"the limit erased {found['rows']} of {ROWS} rows")
    progress(f"{stock.ours.kind}, the limit in chunks of {size} leads: {_rate(found):.0f} rows/s")
    return _rate(found)


def _ours(here: Stage, stock: Stock, url: str, *, busy: bool) -> dict[str, Any]:
    orders = {"tenant": stock.tenant, "connection": stock.connection, "neighbour": stock.ours.tenants[NEIGHBOUR],
              "page": stock.page, "busy": busy}  # fmt: skip
    ours = Dialogue(
        here.processes, "eraser", "tests.benchmarks.eraser", orders, {**stock.ours.env, "TROTH_DATABASE_URL": url}
    )
    ours.go()
    found = ours.result()
    if (found["rows"], found["left"]) != (ROWS, 0):
        raise RuntimeError(f"{found['rows']} of {ROWS} rows were erased, {found['left']} are left")
    beside = f"beside {len(found['neighbour'])} leads of a neighbour" if busy else "alone"
    progress(
        f"{stock.ours.kind}, ours {beside}: {_rate(found):.0f} rows/s, {found['chunks']} chunks that took"
        f" {found['chunk_seconds']:.1f} of {found['seconds']:.1f} s, {found['cpu']:.1f} s of its own CPU"
    )
    return found


def _looks(stock: Stock) -> list[float]:
    """Seconds that each look for due deletions took."""
    now = datetime.now(UTC)
    took: list[float] = []
    with _opened(stock.ours.database_url) as owner:
        fill_deletions(owner.engine, stock.tenant, pending=PENDING, due=DUE)
        analyse(owner.engine)
    database = Database(stock.ours.database_url)
    keep_for_good()  # as a worker that is ready
    for _ in range(LOOKS + 1):  # the first opens the connection
        with system_session(database) as session:
            began = time.monotonic()
            found = due(session, now, limit=2 * DUE)
            took.append(time.monotonic() - began)
        if len(found) != DUE:
            raise RuntimeError(f"{len(found)} of {DUE} due deletions were found")
    database.close()
    return took[1:]
