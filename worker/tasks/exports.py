"""`exports.run`: a zip with a JSON and a CSV file of every store, sealed in pieces as it grows, so that memory stays flat.
`exports.sweep`: copies whose link is over go; one that nobody is making any more has failed."""

from collections.abc import Iterable, Iterator
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import orjson
import structlog

from models.base import new_id
from models.deletion import Wish
from models.erasure import target_of
from models.export import (
    CHUNK,
    PENDING,
    Export,
    NoLongerOurs,
    add_chunk,
    begin_export,
    end_export,
    expired,
    finish_export,
    held,
    held_pending,
    waiting_long,
)
from models.job import are_open
from models.personal import Store, Target, portable_stores
from models.portable import Row, as_json, columns_of, some_rows, spread
from models.vault import Keyring
from worker.jobs import exports_run
from worker.spreadsheet import MARK, lines
from worker.task import Ticket
from worker.work import Work

log = structlog.get_logger(__name__)

READ_AT_ONCE = 200
SWEPT_AT_ONCE = 50
FAILED_SENTENCE = "The copy could not be made; ask for a new one, and look at the dead jobs if that fails too."
README = """A copy of the data that this service holds: of each store a JSON file and a CSV file with the same rows.
manifest.json says what it is about, when it was made, and how many rows each store has. Keys and passwords are never in a copy.
In CSV files an apostrophe stands before what a spreadsheet would take for a formula.
"""


class Pieces:
    """The file that is written to: full pieces are sealed and stored at once, each in a transaction of its own."""

    def __init__(self, ticket: Ticket, export: Export, keyring: Keyring) -> None:
        self._ticket, self._id, self._key, self._keyring = ticket, export.id, export.key, keyring
        self._buffer = bytearray()
        self._number = 0
        self.size = 0

    def write(self, data: bytes) -> int:
        """Take bytes in. Raises NoLongerOurs."""
        self._buffer += data
        while len(self._buffer) >= CHUNK:
            with self._ticket.work() as work:
                self._store(work)
        return len(data)

    def flush(self) -> None:
        """What is not a whole piece yet waits for the next bytes, or for the end."""

    def close(self, work: Work) -> Export:
        """The last piece, in the caller's transaction; the copy's row, held. Raises NoLongerOurs."""
        if self._buffer:
            self._store(work)
        return held_pending(work.session, self._id, self._key)

    def _store(self, work: Work) -> None:
        row = held_pending(work.session, self._id, self._key)
        plain = bytes(self._buffer[:CHUNK])
        add_chunk(work.session, self._keyring, row, self._number, plain)
        del self._buffer[:CHUNK]
        self._number += 1
        self.size += len(plain)


def run(ticket: Ticket) -> None:
    """Make the copy that the job names, from its beginning: what a run that was killed left of it goes first."""
    begun = _begin(ticket)
    if begun is None:
        return
    pieces, target = begun
    try:
        counts = _write(ticket, pieces, target)
        with ticket.work() as work:
            row, now = pieces.close(work), ticket.now()
            hashes = ticket.services.vault.keyring(work.session, row.tenant_id, row.tenant_id, now)
            finish_export(work.session, hashes, row, counts=counts, size=pieces.size, now=now)
            ticket.finish(work)
    except NoLongerOurs:
        log.info("export_dropped", export=_id(ticket))
        with ticket.work() as work:
            ticket.finish(work)
        return
    log.info("export_ready", export=row.id, scope=row.kind, rows=sum(counts.values()), bytes=pieces.size)


def _id(ticket: Ticket) -> str:
    return str(ticket.run.args["export"])


def _begin(ticket: Ticket) -> tuple[Pieces, Target] | None:
    """The file to write, and what it is about; None: there is nothing to do, and the job has ended."""
    with ticket.work() as work:
        row, now = held(work.session, _id(ticket)), ticket.now()
        if row is None or row.status != PENDING:
            ticket.finish(work)
            return None
        hashes = ticket.services.vault.keyring(work.session, row.tenant_id, row.tenant_id, now)
        keyring = begin_export(work.session, hashes, row)
        scope = Wish(row.kind, "export", email=row.email, phone=row.phone, user=row.user)
        return Pieces(ticket, row, keyring), target_of(work.session, row.tenant_id, scope, now)


def _write(ticket: Ticket, pieces: Pieces, target: Target) -> dict[str, int]:
    """store -> rows."""
    counts: dict[str, int] = {}
    file: Any = pieces
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", README)
        for store in portable_stores(target.kind):
            until = new_id()

            def rows(store: Store = store, until: str = until) -> Iterator[Row]:
                return _rows(ticket, store, target, until)

            counts[str(store.name)] = _file(archive, f"{store.name}.json", _json(rows()))
            _file(archive, f"{store.name}.csv", _csv(store, rows()))
        manifest = {"version": 1, "scope": target.kind, "made_at": ticket.now().isoformat(), "rows": counts}
        archive.writestr("manifest.json", orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
    return counts


def _rows(ticket: Ticket, store: Store, target: Target, until: str) -> Iterator[Row]:
    after: Any = None
    while True:
        with ticket.work(reads_only=True) as work:
            found, after = some_rows(work.session, ticket.services.vault, store, target, after=after, until=until,
                                     limit=READ_AT_ONCE)  # fmt: skip
        yield from found
        if after is None:
            return


def _file(archive: ZipFile, name: str, parts: Iterable[tuple[bytes, int]]) -> int:
    """Write one file; how many rows it has."""
    number = 0
    with archive.open(name, "w", force_zip64=True) as file:
        for part, rows in parts:
            file.write(part)
            number += rows
    return number


def _json(rows: Iterable[Row]) -> Iterator[tuple[bytes, int]]:
    opening = b"[\n"
    for row in rows:
        yield opening + as_json(row), 1
        opening = b",\n"
    yield b"[]\n" if opening == b"[\n" else b"\n]\n", 0


def _csv(store: Store, rows: Iterable[Row]) -> Iterator[tuple[bytes, int]]:
    yield MARK + lines([columns_of(store)]), 0
    for row in rows:
        yield lines([spread(store, row)]), 1


def sweep(ticket: Ticket) -> None:
    """Every copy whose time is over; then those that wait although nobody is to make them."""
    while _expire(ticket) == SWEPT_AT_ONCE:
        pass
    after: str | None = None
    while True:
        with ticket.work() as work:
            found = waiting_long(work.session, ticket.now(), after=after, limit=SWEPT_AT_ONCE)
            for row in found:
                if not are_open(work.session, row.tenant_id, [str(exports_run(row.tenant_id, row.id).key)]):
                    end_export(work.session, row, FAILED_SENTENCE)
                    log.error("export_failed", export=row.id, tenant=row.tenant_id)
            if len(found) < SWEPT_AT_ONCE:
                ticket.finish(work)
                return
            after = found[-1].id


def _expire(ticket: Ticket) -> int:
    """Some that are over; how many."""
    with ticket.work() as work:
        found = expired(work.session, ticket.now(), limit=SWEPT_AT_ONCE)
        for row in found:
            end_export(work.session, row, None)
        if found:
            log.info("exports_expired", exports=len(found))
        return len(found)
