"""`/v1/exports`: portable copies of a person's or of the tenant's data; asked for here, made by a job, taken by a link."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from models.decision import requester_mark
from models.export import MOST_DOWNLOADS, Asked, Export, status_of
from models.tenancy import tenant_session
from models.vault import Keyring
from worker.services import Services
from worker.web.api.deletion_wishes import System, Who
from worker.web.api.fields import Wish
from worker.web.api.paging import Cursor, Limit, Page, known_id, page_of, read_cursor
from worker.web.api.person_scope import KindShown, PersonScope
from worker.web.callers import Access, Parts, tenant_access
from worker.web.once import Asked as Ask
from worker.web.once import once
from worker.web.problems import not_found
from worker.web.rights import address_of, ask_copy, marks_of
from worker.work import Work

router = APIRouter(prefix="/v1/exports", tags=["rights"])
Reader = Annotated[Access, Depends(tenant_access("rights:read"))]
Writer = Annotated[Access, Depends(tenant_access("rights:write"))]


class NewExport(Wish):
    """A copy that is wanted. `requested_by` names who asked at the host; kept as a keyed hash. `verification` says how the
    host knew them."""

    scope: PersonScope
    requested_by: Who | None = None
    verification: System | None = None


class StoreHeld(BaseModel):
    """A store and how many of its rows the copy has."""

    name: str
    rows: int


class ExportShown(BaseModel):
    """A copy: `pending`, `ready`, `expired` or `failed`. `url` opens it as often as `downloads_left` says, until
    `expires_at`; whoever has the address has the copy."""

    id: str
    status: str
    scope: KindShown
    counts: list[StoreHeld] | None
    size: int | None
    url: str | None
    downloads: int
    downloads_left: int
    sentence: str | None
    requested_at: datetime
    ready_at: datetime | None
    expires_at: datetime | None


@router.post("", status_code=202, response_model=ExportShown)
def ask(body: NewExport, access: Writer, services: Parts, asked: Ask) -> Response:
    """Ask for a copy. Of somebody who is not known here it is an empty one, which says so."""

    def effect(work: Work) -> ExportShown:
        now = services.clock()
        hashes = services.vault.keyring(work.session, access.tenant_id, access.tenant_id, now)
        marks = marks_of(work.session, access.tenant_id, hashes, body.scope.person, at="body.scope.")
        wish = Asked(
            body.scope.kind, *marks, requester_mark(hashes, body.requested_by or access.caller.credential),
            body.verification or "api_key",
        )  # fmt: skip
        return _shown(services, hashes, ask_copy(work, access.tenant_id, wish, now))

    return once(services, access, asked, 202, effect)


@router.get("")
def listed(access: Reader, services: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[ExportShown]:
    """The tenant's copies, in the order they were asked for."""
    after = read_cursor("exports", cursor)
    query = select(Export).order_by(Export.id).limit(limit + 1)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        rows = session.scalars(query if after is None else query.where(Export.id > after)).all()
        hashes = _hashes(session, services, access)
    return page_of("exports", rows, limit, id_of=lambda row: row.id, show=lambda row: _shown(services, hashes, row))


@router.get("/{export_id}")
def one(export_id: str, access: Reader, services: Parts) -> ExportShown:
    """One copy; its `url` when it is ready."""
    known_id(export_id)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        row = session.scalars(select(Export).where(Export.id == export_id)).one_or_none()
        if row is None:
            raise not_found()
        return _shown(services, _hashes(session, services, access), row)


def _hashes(session: Session, services: Services, access: Access) -> Keyring | None:
    return services.vault.existing(session, access.tenant_id, access.tenant_id)


def _shown(services: Services, hashes: Keyring | None, row: Export) -> ExportShown:
    return ExportShown(
        id=row.id,
        status=status_of(row, services.clock()),
        scope=KindShown.model_validate(row),
        counts=None if row.counts is None else [StoreHeld(name=name, rows=rows) for name, rows in row.counts.items()],
        size=row.size,
        url=address_of(services, hashes, row),
        downloads=row.downloads,
        downloads_left=max(0, MOST_DOWNLOADS - row.downloads),
        sentence=row.sentence,
        requested_at=row.requested_at,
        ready_at=row.ready_at,
        expires_at=row.expires_at,
    )
