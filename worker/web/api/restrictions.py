"""`/v1/restrictions`: data that is kept and not processed, of a person or of the whole tenant, until that is lifted."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from models.database import past_deadlocks
from models.decision import requester_mark
from models.restricting import Freeze, devices_under, leads_under, restrict
from models.restriction import SUBJECT, Restriction, status_of
from models.tenancy import tenant_session
from worker.web.api.deletion_wishes import Who
from worker.web.api.fields import Wish
from worker.web.api.paging import Cursor, Limit, Page, known_id, page_of, read_cursor
from worker.web.api.person_scope import KindShown, PersonScope
from worker.web.callers import Access, Parts, tenant_access
from worker.web.once import Asked, once
from worker.web.problems import not_found
from worker.web.rights import end_restriction, marks_of
from worker.work import Work

router = APIRouter(prefix="/v1/restrictions", tags=["rights"])
Reader = Annotated[Access, Depends(tenant_access("rights:read"))]
Writer = Annotated[Access, Depends(tenant_access("rights:write"))]


class NewRestriction(Wish):
    """A freeze that is wanted. `reason` is the ground for it; `requested_by` who asked at the host, kept as a keyed hash."""

    scope: PersonScope
    reason: Literal["accuracy", "unlawful", "legal_claim", "objection", "other"] | None = None
    requested_by: Who | None = None


class RestrictionShown(BaseModel):
    """A freeze: `active` or `lifted`. `leads`: how many are kept and not processed because of it; `devices`: how many are not
    pushed to (a person's)."""

    id: str
    scope: KindShown
    status: str
    reason: str | None
    leads: int | None
    devices: int | None
    created_at: datetime
    lifted_at: datetime | None


@router.post("", status_code=201, response_model=RestrictionShown)
def freeze(body: NewRestriction, access: Writer, services: Parts, ask: Asked) -> Response:
    """Keep and do not process, from now on. The same scope a second time is the restriction that there is."""

    def effect(work: Work) -> RestrictionShown:
        now = services.clock()
        hashes = services.vault.keyring(work.session, access.tenant_id, access.tenant_id, now)
        marks = marks_of(work.session, access.tenant_id, hashes, body.scope.person, at="body.scope.")
        requester = requester_mark(hashes, body.requested_by or access.caller.credential)
        wish = Freeze(body.scope.kind, *marks, body.reason, requester)
        return _shown(work.session, restrict(work.session, access.tenant_id, wish, now))

    return once(services, access, ask, 201, effect)


@router.get("")
def listed(access: Reader, services: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[RestrictionShown]:
    """The tenant's restrictions, also those that are lifted, in the order they were set."""
    after = read_cursor("restrictions", cursor)
    query = select(Restriction).order_by(Restriction.id).limit(limit + 1)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        rows = session.scalars(query if after is None else query.where(Restriction.id > after)).all()
        return page_of("restrictions", rows, limit, id_of=lambda row: row.id, show=lambda row: _shown(session, row))


@router.get("/{restriction_id}")
def one(restriction_id: str, access: Reader, services: Parts) -> RestrictionShown:
    """One restriction."""
    known_id(restriction_id)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        row = session.scalars(select(Restriction).where(Restriction.id == restriction_id)).one_or_none()
        if row is None:
            raise not_found()
        return _shown(session, row)


@router.delete("/{restriction_id}")
def lifted(restriction_id: str, access: Writer, services: Parts) -> RestrictionShown:
    """Lift it: what waited goes on. The person is to be told before (GDPR 18 (3)). Again changes nothing."""
    known_id(restriction_id)

    def transaction() -> RestrictionShown:
        with Work(services, access.tenant_id) as work:
            return _shown(work.session, end_restriction(work, restriction_id, services.clock()))

    return past_deadlocks(transaction)


def _shown(session: Session, row: Restriction) -> RestrictionShown:
    is_in_force = row.kind == SUBJECT and row.lifted_at is None
    return RestrictionShown(
        id=row.id,
        scope=KindShown.model_validate(row),
        status=status_of(row),
        reason=row.reason,
        leads=leads_under(session, row) if is_in_force else None,
        devices=devices_under(session, row) if is_in_force else None,
        created_at=row.created_at,
        lifted_at=row.lifted_at,
    )
