"""Asking for a deletion, and deciding on it: preview, request, approve, cancel, hold, release, and what the host attests."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field, StringConstraints, model_validator
from sqlalchemy.orm import Session
from starlette.responses import Response

from models.decision import NotNow, approve, cancel, hold, release, requester_mark
from models.deletion import CONNECTION, INTEGRATION, SUBJECT, TENANT, Deletion, Wish
from models.erasure import count, target_of
from models.retention import legal_exceptions
from models.tenancy import tenant_session
from models.vault import Keyring
from worker.grants import BY_NAME
from worker.receipts import acknowledged, receipt_key
from worker.services import Services
from worker.web.api.deletions import DeletionShown, ScopeShown, shown_deletions
from worker.web.api.fields import Wish as Body
from worker.web.api.ids import OurId
from worker.web.api.paging import known_id
from worker.web.callers import Access, Parts, tenant_access
from worker.web.deletion_requests import ask_for, decide, wish_of
from worker.web.once import Asked, once
from worker.web.problems import Problem
from worker.work import Work

router = APIRouter(prefix="/v1/deletions", tags=["deletions"])
Writer = Annotated[Access, Depends(tenant_access("deletions:write"))]
Who = Annotated[str, StringConstraints(min_length=1, max_length=190, strip_whitespace=True)]
System = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]

_ONE_OF = {
    CONNECTION: ({"connection_id"}, "connection_id"),
    INTEGRATION: ({"integration"}, "integration"),
    SUBJECT: ({"email", "phone", "user"}, "email, phone or user"),
    TENANT: (set(), ""),
}


class ScopeWish(Body):
    """What is to be deleted. `email`, `phone` and `user` (of the host's devices) are kept as keyed hashes only."""

    kind: Literal["connection", "integration", "subject", "tenant"]
    connection_id: OurId | None = None
    integration: Annotated[str, StringConstraints(max_length=32)] | None = None
    email: Annotated[str, StringConstraints(max_length=320)] | None = None
    phone: Annotated[str, StringConstraints(max_length=64)] | None = None
    user: Who | None = None

    @model_validator(mode="after")
    def _fits(self) -> "ScopeWish":
        allowed, words = _ONE_OF[self.kind]
        given = {
            name
            for name in ("connection_id", "integration", "email", "phone", "user")
            if getattr(self, name) is not None
        }
        if given - allowed or (allowed and not given):
            needs = f"Send {words} with this kind, and nothing else." if words else "This kind needs nothing else."
            raise ValueError(needs)
        if self.integration is not None and self.integration not in BY_NAME:
            raise ValueError(f"The integration is one of {', '.join(BY_NAME)}.")
        return self


class PreviewWish(Body):
    """A scope to be counted."""

    scope: ScopeWish


class NewDeletion(Body):
    """A request. `requested_by` names the person at the host, who cannot approve it; kept as a keyed hash. `verification`
    says how the host knew them. `urgent` (a child's data): of a person only, at once, without undo or approval."""

    scope: ScopeWish
    requested_by: Who | None = None
    verification: System | None = None
    urgent: bool = False


class Approval(Body):
    """Who agrees: another person than the one who asked. Without a name it is the key that speaks."""

    approved_by: Who | None = None


class Hold(Body):
    """Why the law or a dispute forbids deleting for now."""

    reason: Literal["legal_claim", "legal_obligation", "dispute", "requester_unverified", "other"]


class Attested(Body):
    """What the host attests: this system of its own holds nothing of it any more (and held so many)."""

    system: System = "host"
    deleted: Annotated[int, Field(ge=0, le=2**53 - 1)] | None = None


class StoreCounted(BaseModel):
    """A store and how many of its rows would go."""

    name: str
    rows: int


class Preview(BaseModel):
    """What a deletion would take, counted now; nothing was changed. `exceptions` are laws that ask to keep some of it: hold the
    request (`legal_obligation`) where they cover it."""

    scope: ScopeShown
    stores: list[StoreCounted]
    exceptions: list[str]
    counted_at: datetime


@router.post("/preview")
def preview(body: PreviewWish, access: Writer, services: Parts) -> Preview:
    """Count what a deletion of this scope would take."""
    now = services.clock()
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        hashes = services.vault.existing(session, access.tenant_id, access.tenant_id)
        wish = _wish(session, access, body.scope, hashes)
        found = count(session, services.vault, target_of(session, access.tenant_id, wish, now))
        kept = legal_exceptions(session, access.tenant_id, {name for name, rows in found.items() if rows}, now)
    shown = ScopeShown(kind=wish.kind, connection_id=wish.connection_id, integration=wish.integration)
    return Preview(
        scope=shown, stores=[StoreCounted(name=name, rows=rows) for name, rows in found.items()], exceptions=kept,
        counted_at=now,
    )  # fmt: skip


@router.post("", status_code=202, response_model=DeletionShown)
def request(body: NewDeletion, access: Writer, services: Parts, ask: Asked) -> Response:
    """Ask for a deletion. Its grants end at once; its data when a second person has agreed and the undo window is over."""
    if body.urgent and body.scope.kind != SUBJECT:
        raise Problem("invalid", "Only the deletion of a person can be urgent.")

    def effect(work: Work) -> DeletionShown:
        now = services.clock()
        hashes = services.vault.keyring(work.session, access.tenant_id, access.tenant_id, now)
        wish = replace(
            _wish(work.session, access, body.scope, hashes), urgent=body.urgent,
            requester=requester_mark(hashes, body.requested_by or access.caller.credential),
            verification=body.verification or "api_key",
        )  # fmt: skip
        row = ask_for(work, services, access.tenant_id, wish, now)
        return shown_deletions(work.session, [row], now)[row.id]

    return once(services, access, ask, 202, effect)


@router.post("/{deletion_id}/approve", response_model=DeletionShown)
def agree(deletion_id: str, access: Writer, services: Parts, ask: Asked, body: Approval | None = None) -> Response:
    """A second person agrees. Repeating it changes nothing."""
    who = body.approved_by if body is not None else None

    def change(work: Work, row: Deletion, now: datetime) -> None:
        hashes = services.vault.keyring(work.session, access.tenant_id, access.tenant_id, now)
        approve(row, requester_mark(hashes, who or access.caller.credential), now)

    return _change(deletion_id, access, services, ask, change)


@router.post("/{deletion_id}/cancel", response_model=DeletionShown)
def take_back(deletion_id: str, access: Writer, services: Parts, ask: Asked) -> Response:
    """Cancel it, as long as nothing has been frozen. Grants that were ended stay ended."""
    return _change(deletion_id, access, services, ask, lambda _work, row, now: cancel(row, now))


@router.post("/{deletion_id}/hold", response_model=DeletionShown)
def park(deletion_id: str, body: Hold, access: Writer, services: Parts, ask: Asked) -> Response:
    """Hold it for a lawful reason. Its due dates stay as they are, and its alarms go on."""
    return _change(deletion_id, access, services, ask, lambda _work, row, now: hold(row, body.reason, now))


@router.post("/{deletion_id}/release", response_model=DeletionShown)
def rearm(deletion_id: str, access: Writer, services: Parts, ask: Asked) -> Response:
    """End a hold: the deletion is armed again."""
    return _change(deletion_id, access, services, ask, lambda _work, row, now: release(row, now))


@router.post("/{deletion_id}/acks", response_model=DeletionShown)
def attest(deletion_id: str, access: Writer, services: Parts, ask: Asked, body: Attested | None = None) -> Response:
    """The host attests that its half is gone; with ours verified this completes the deletion."""
    said, key = body or Attested(), receipt_key(services)

    def change(work: Work, row: Deletion, now: datetime) -> None:
        if row.frozen_at is None:
            raise NotNow("This deletion has not begun; attest when deletion.action_needed has told of it.")
        acknowledged(work, row, key, system=said.system, deleted=said.deleted, now=now)

    return _change(deletion_id, access, services, ask, change)


def _change(
    deletion_id: str, access: Access, services: Services, ask: Asked, change: Callable[[Work, Deletion, datetime], None]
) -> Response:
    known_id(deletion_id)

    def effect(work: Work) -> DeletionShown:
        now = services.clock()
        row = decide(work, deletion_id, lambda row: change(work, row, now), now)
        return shown_deletions(work.session, [row], now)[row.id]

    return once(services, access, ask, 200, effect)


def _wish(session: Session, access: Access, scope: ScopeWish, hashes: Keyring | None) -> Wish:
    given = {name: value for name in ("email", "phone", "user") if (value := getattr(scope, name)) is not None}
    return wish_of(
        session, access.tenant_id, hashes, way="api", kind=scope.kind, connection_id=scope.connection_id,
        integration=scope.integration, person=given, at="body.scope.",
    )  # fmt: skip
