"""`/v1/policy-notices`: a change of policy that people are told of, with the evidence of who was told and who read it."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field, StringConstraints
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from models.policy_notice import (
    BY_PLATFORM,
    BY_TENANT,
    OtherWords,
    PolicyNotice,
    PolicyRecipient,
    Words,
    announce,
    recipient,
    told_and_read,
)
from models.tenancy import SYSTEM, tenant_session
from worker.jobs import policies_announce
from worker.web.api.fields import ExternalId, Instant, Wish
from worker.web.api.paging import Cursor, Limit, Page, known_id, page_of, read_cursor
from worker.web.callers import Access, Parts, tenant_access, wide_access
from worker.web.once import Asked, once
from worker.web.problems import Problem, not_found
from worker.work import Work

router = APIRouter(prefix="/v1/policy-notices", tags=["rights"])
Reader = Annotated[Access, Depends(tenant_access("rights:read"))]
Writer = Annotated[Access, Depends(tenant_access("rights:write"))]
Announcer = Annotated[Access, Depends(wide_access("rights:write"))]
_TEXT = r"^[^\x00-\x1f\x7f]*$"


class NewNotice(Wish):
    """A new version of a policy. `users` are ids of the host's users who are to be told; send more by the same call again."""

    version: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_TEXT, strip_whitespace=True)]
    effective_at: Instant
    url: Annotated[str, StringConstraints(max_length=500, pattern=r"^https?://[^\x00-\x20\x7f]+$")]
    summary: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=_TEXT, strip_whitespace=True)]
    users: list[ExternalId] = Field(default_factory=list, max_length=1000)


class Ack(Wish):
    """Who read it: a user who was told, or, without one, the tenant itself."""

    user: ExternalId | None = None


class NoticeShown(BaseModel):
    """A notice. `recipients` were told of it (the tenant itself is one), `acknowledged` of them read it."""

    id: str
    origin: str
    version: str
    effective_at: datetime
    url: str
    summary: str
    recipients: int
    acknowledged: int
    created_at: datetime


class EvidenceShown(BaseModel):
    """What is known of one recipient."""

    sent_at: datetime
    acknowledged_at: datetime | None


@router.post("", status_code=202, response_model=NoticeShown)
def tell(body: NewNotice, access: Announcer, services: Parts, ask: Asked) -> Response:
    """Announce it: to the tenant's host by `policy.notice`; by a platform key that names no tenant to the hosts of all."""
    if access.tenant_id == SYSTEM and body.users:
        raise Problem("invalid", "Users are told tenant by tenant: name the tenant, or leave the users out.")
    words = Words(body.version, body.effective_at, body.url, body.summary)

    def effect(work: Work) -> NoticeShown:
        now = services.clock()
        hashes = services.vault.keyring(work.session, access.tenant_id, access.tenant_id, now)
        origin = BY_PLATFORM if access.is_platform else BY_TENANT
        try:
            row = announce(
                work.session, hashes, access.tenant_id, words, origin=origin, users=body.users, now=now
            )  # fmt: skip
        except OtherWords:
            raise Problem(
                "conflict", "This version was announced with other words: give the new words a new version."
            ) from None
        if access.tenant_id == SYSTEM:
            work.put(policies_announce(row.id))
        return _shown(work.session, row)

    return once(services, access, ask, 202, effect)


@router.get("")
def listed(access: Reader, services: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[NoticeShown]:
    """What the tenant was told, in that order."""
    after = read_cursor("policy-notices", cursor)
    query = select(PolicyNotice).order_by(PolicyNotice.id).limit(limit + 1)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        rows = session.scalars(query if after is None else query.where(PolicyNotice.id > after)).all()
        return page_of("policy-notices", rows, limit, id_of=lambda row: row.id, show=lambda row: _shown(session, row))


@router.get("/{notice_id}")
def one(notice_id: str, access: Reader, services: Parts) -> NoticeShown:
    """One notice."""
    known_id(notice_id)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        row = session.scalars(select(PolicyNotice).where(PolicyNotice.id == notice_id)).one_or_none()
        if row is None:
            raise not_found()
        return _shown(session, row)


@router.get("/{notice_id}/acks")
def evidence(notice_id: str, access: Reader, services: Parts, user: ExternalId | None = None) -> EvidenceShown:
    """When a user, or without one the tenant itself, was told and said so."""
    known_id(notice_id)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        hashes = services.vault.existing(session, access.tenant_id, access.tenant_id)
        row = None if hashes is None else recipient(session, hashes, notice_id, user)
        if row is None:
            raise not_found()
        return _evidence(row)


@router.post("/{notice_id}/acks", response_model=EvidenceShown)
def read(notice_id: str, access: Writer, services: Parts, ask: Asked, body: Ack | None = None) -> Response:
    """Somebody who was told says that it was read; the first time counts."""
    known_id(notice_id)
    user = None if body is None else body.user

    def effect(work: Work) -> EvidenceShown:
        now = services.clock()
        hashes = services.vault.keyring(work.session, access.tenant_id, access.tenant_id, now)
        row = recipient(work.session, hashes, notice_id, user)
        if row is None:
            raise not_found()
        row.acknowledged_at = row.acknowledged_at or now
        return _evidence(row)

    return once(services, access, ask, 200, effect)


def _evidence(row: PolicyRecipient) -> EvidenceShown:
    return EvidenceShown(sent_at=row.sent_at, acknowledged_at=row.acknowledged_at)


def _shown(session: Session, row: PolicyNotice) -> NoticeShown:
    told, acknowledged = told_and_read(session, row.id)
    return NoticeShown(
        id=row.id,
        origin=row.origin,
        version=row.version,
        effective_at=row.effective_at,
        url=row.url,
        summary=row.summary,
        recipients=told,
        acknowledged=acknowledged,
        created_at=row.created_at,
    )
