"""`/exports/{token}`: the copy behind its link, opened piece by piece as it is sent; the address names nobody."""

from collections.abc import Iterator

import structlog
from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from models.export import Export, begin_download, export_by_token, read_chunk
from models.tenancy import system_session, tenant_session
from models.vault import Keyring
from worker.services import Services
from worker.web.callers import Parts
from worker.web.public import message
from worker.work import Work

router = APIRouter(include_in_schema=False)
log = structlog.get_logger(__name__)
_LONGEST = 100


class Gone(Exception):
    """The copy was erased while it was being sent: the connection is cut, so that nobody takes the part for the whole."""


@router.get("/exports/{token}")
def take(token: str, services: Parts) -> Response:
    """The copy as a file. Each time is counted and told to the host."""
    found = None
    if len(token) <= _LONGEST:
        with system_session(services.database, reads_only=True) as session:
            found = export_by_token(session, token)
    if found is None:
        return _nothing()
    tenant_id, export_id = found
    with Work(services, tenant_id) as work:
        hashes = services.vault.existing(work.session, tenant_id, tenant_id)
        begun = begin_download(work.session, hashes, export_id, services.clock())
    if begun is None:
        return _nothing()
    row, keyring = begun
    log.info("export_downloaded", tenant=tenant_id, export=export_id, downloads=row.downloads)
    headers = {
        "content-length": str(row.size),
        "content-disposition": f'attachment; filename="export-{row.requested_at:%Y-%m-%d}.zip"',
    }
    return StreamingResponse(
        _pieces(services, keyring, row, row.size or 0), headers=headers, media_type="application/zip"
    )


def _nothing() -> Response:
    return message(
        "This link is over",
        "Links to a copy of data live for two days and open a few times.",
        "Ask whoever sent it to you for a new one.",
        status=404,
    )


def _pieces(services: Services, keyring: Keyring, row: Export, size: int) -> Iterator[bytes]:
    """Each piece is read in a transaction of its own: none is open while somebody downloads slowly."""
    number = 0
    while size > 0:
        with tenant_session(services.database, row.tenant_id, reads_only=True) as session:
            piece = read_chunk(session, keyring, row.id, number)
        if piece is None:
            raise Gone
        yield piece
        size, number = size - len(piece), number + 1
