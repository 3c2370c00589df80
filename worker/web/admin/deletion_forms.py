"""What people do with deletions on the pages: count, ask, agree, cancel, hold, release. Every form is posted, so that no
e-mail address or number is ever in an address."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from models.decision import approve, cancel, hold, release
from models.deletion import CONNECTION, HOLD_REASONS, INTEGRATION, SUBJECT, WORKING_DAYS, Deletion, Wish
from models.erasure import count, target_of
from models.retention import legal_exceptions
from models.tenancy import tenant_session
from models.vault import Keyring
from models.workdays import deadline
from worker.grants import BY_NAME
from worker.services import Services
from worker.web.admin.connection_forms import Chosen
from worker.web.admin.connections import one_of
from worker.web.admin.rendering import page
from worker.web.admin.visitors import Desk, OwnForm, Visitor, desk_of, mark_of
from worker.web.api.paging import known_id
from worker.web.callers import Parts
from worker.web.deletion_page import last_day
from worker.web.deletion_requests import ask_for, decide, wish_of
from worker.web.problems import Problem
from worker.web.store_words import lines_of
from worker.work import Work

router = APIRouter(prefix="/admin/deletions", dependencies=[OwnForm])


@dataclass(frozen=True, slots=True)
class Scope:
    """What was chosen to be deleted; a person is in the clear."""

    kind: str
    connection_id: str | None = None
    integration: str | None = None
    person: dict[str, str] = field(default_factory=dict, repr=False)

    def wish(self, session: Session, desk: Desk, hashes: Keyring | None) -> Wish:
        """As a wish of these pages."""
        return wish_of(
            session, desk.tenant.id, hashes, way="admin", kind=self.kind, connection_id=self.connection_id,
            integration=self.integration, person=self.person,
        )  # fmt: skip


def _scope(
    kind: Annotated[str, Form(max_length=20)] = "",
    connection: Annotated[str, Form(max_length=36)] = "",
    integration: Annotated[str, Form(max_length=32)] = "",
    email: Annotated[str, Form(max_length=320)] = "",
    phone: Annotated[str, Form(max_length=64)] = "",
) -> Scope:
    person = {name: text.strip() for name, text in (("email", email), ("phone", phone)) if text.strip()}
    if kind == CONNECTION and connection:
        return Scope(CONNECTION, connection_id=known_id(connection))
    if kind == INTEGRATION and integration in BY_NAME:
        return Scope(INTEGRATION, integration=integration)
    if kind == SUBJECT and person:
        return Scope(SUBJECT, person=person)
    raise Problem(
        "invalid", "Choose a connection or an integration, or write a person's e-mail address or phone number."
    )


Sought = Annotated[Scope, Depends(_scope)]


@router.post("/preview")
def preview(services: Parts, visitor: Visitor, scope: Sought, tenant: Chosen = "") -> Response:
    """What a deletion would take, counted now, and the button to ask for it; nothing is changed."""
    desk, now = desk_of(services, visitor, tenant or None), services.clock()
    with tenant_session(services.database, desk.tenant.id, reads_only=True) as session:
        wish = scope.wish(session, desk, services.vault.existing(session, desk.tenant.id, desk.tenant.id))
        found = count(session, services.vault, target_of(session, desk.tenant.id, wish, now))
        kept = legal_exceptions(session, desk.tenant.id, {name for name, rows in found.items() if rows}, now)
        one = one_of(session, services, scope.connection_id) if scope.connection_id else None
    due = deadline(now, WORKING_DAYS, country=desk.tenant.country, subdivision=desk.tenant.subdivision,
                   zone=desk.tenant.timezone, work_week=desk.tenant.work_week)  # fmt: skip
    return page(
        "deletion_preview.html", desk=desk, scope=scope, one=one, integration=BY_NAME.get(scope.integration or ""),
        lines=lines_of(found), exceptions=kept, has_leads=bool(found["leads"]),
        due_on=last_day(due.promise_due_at, desk.tenant.timezone),
        undo_hours=int(services.settings.undo.total_seconds()) // 3600, working_days=WORKING_DAYS,
    )  # fmt: skip


@router.post("")
def ask(services: Parts, visitor: Visitor, scope: Sought, tenant: Chosen = "") -> Response:
    """Ask for it. Its grants end at once; what was acquired when a second person has agreed and the undo window is over."""
    desk, now = desk_of(services, visitor, tenant or None), services.clock()
    with Work(services, desk.tenant.id) as work:
        hashes = services.vault.keyring(work.session, desk.tenant.id, desk.tenant.id, now)
        wish = replace(
            scope.wish(work.session, desk, hashes), requester=mark_of(hashes, visitor), verification="sign_in"
        )
        row = ask_for(work, services, desk.tenant.id, wish, now)
    return _back(desk, row.id)


@router.post("/{deletion_id}/approve")
def agree(deletion_id: str, services: Parts, visitor: Visitor, tenant: Chosen = "") -> Response:
    """Agree to what somebody else asked for."""
    desk = desk_of(services, visitor, tenant or None)

    def change(work: Work, row: Deletion, now: datetime) -> None:
        hashes = services.vault.keyring(work.session, desk.tenant.id, desk.tenant.id, now)
        approve(row, mark_of(hashes, visitor), now)

    return _change(services, desk, deletion_id, change)


@router.post("/{deletion_id}/cancel")
def take_back(deletion_id: str, services: Parts, visitor: Visitor, tenant: Chosen = "") -> Response:
    """Cancel it, as long as nothing has been frozen."""
    desk = desk_of(services, visitor, tenant or None)
    return _change(services, desk, deletion_id, lambda _work, row, now: cancel(row, now))


@router.post("/{deletion_id}/hold")
def park(
    deletion_id: str, services: Parts, visitor: Visitor, reason: Annotated[str, Form(max_length=32)] = "",
    tenant: Chosen = "",
) -> Response:  # fmt: skip
    """Hold it for a lawful reason."""
    desk = desk_of(services, visitor, tenant or None)
    if reason not in HOLD_REASONS:
        raise Problem("invalid", "Choose the reason for which this deletion may lawfully wait.")
    return _change(services, desk, deletion_id, lambda _work, row, now: hold(row, reason, now))


@router.post("/{deletion_id}/release")
def rearm(deletion_id: str, services: Parts, visitor: Visitor, tenant: Chosen = "") -> Response:
    """End a hold."""
    desk = desk_of(services, visitor, tenant or None)
    return _change(services, desk, deletion_id, lambda _work, row, now: release(row, now))


def _change(
    services: Services, desk: Desk, deletion_id: str, change: Callable[[Work, Deletion, datetime], None]
) -> Response:
    known_id(deletion_id)
    now = services.clock()
    with Work(services, desk.tenant.id) as work:
        decide(work, deletion_id, lambda row: change(work, row, now), now)
    return _back(desk, deletion_id)


def _back(desk: Desk, deletion_id: str) -> Response:
    return RedirectResponse(desk.address(f"/admin/deletions/{deletion_id}"), 303)
