"""A tenant's copies and restrictions as a page, and what people do about them. A person is posted, and never in an address."""

from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Form
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from models.database import past_deadlocks
from models.deletion import SUBJECT, TENANT
from models.export import EXPIRED, FAILED, MOST_DOWNLOADS, PENDING, READY, Asked, Export, status_of
from models.restricting import Freeze, devices_under, leads_under, restrict
from models.restriction import REASONS, Restriction
from models.tenancy import tenant_session
from models.vault import Keyring
from worker.web.admin.connection_forms import Chosen
from worker.web.admin.rendering import page
from worker.web.admin.visitors import AtDesk, Desk, OwnForm, Visitor, desk_of, mark_of
from worker.web.api.paging import known_id
from worker.web.callers import Parts
from worker.web.problems import Problem
from worker.web.rights import Marks, address_of, ask_copy, end_restriction, marks_of
from worker.work import Work

router = APIRouter(prefix="/admin/rights")
ROWS: Final = 50
STATUS_WORDS: Final = {PENDING: "Being made", READY: "Ready", EXPIRED: "Over", FAILED: "Failed"}
REASON_WORDS: Final = {
    "accuracy": "It may be wrong, and is checked",
    "unlawful": "Its use was unlawful, and it is not to be deleted",
    "legal_claim": "The person needs it for a legal claim",
    "objection": "The person objects, and that is weighed",
    "other": "Another reason",
}


@dataclass(frozen=True, slots=True)
class Whose:
    """Whom a form is about: the tenant, or a person in the clear."""

    kind: str
    person: dict[str, str] = field(default_factory=dict, repr=False)

    def marks(self, session: Session, tenant_id: str, hashes: Keyring) -> Marks:
        """The person's look-up hashes."""
        return marks_of(session, tenant_id, hashes, self.person)


def _whose(
    kind: Annotated[str, Form(max_length=20)] = "",
    email: Annotated[str, Form(max_length=320)] = "",
    phone: Annotated[str, Form(max_length=64)] = "",
    user: Annotated[str, Form(max_length=190)] = "",
) -> Whose:
    given = {"email": email.strip(), "phone": phone.strip(), "user": user.strip()}
    person = {name: text for name, text in given.items() if text}
    if (kind == TENANT and not person) or (kind == SUBJECT and person):
        return Whose(kind, person)
    raise Problem("invalid", "Write a person's e-mail address, phone number or user id, or choose everything.")


Sought = Annotated[Whose, Depends(_whose)]


@router.get("")
def rights(services: Parts, desk: AtDesk) -> Response:
    """The newest copies and restrictions, those in force first, and the forms to ask for more."""
    now = services.clock()
    with tenant_session(services.database, desk.tenant.id, reads_only=True) as session:
        hashes = services.vault.existing(session, desk.tenant.id, desk.tenant.id)
        exports = session.scalars(select(Export).order_by(Export.id.desc()).limit(ROWS)).all()
        found = select(Restriction).order_by(Restriction.lifted_at.is_not(None), Restriction.id.desc()).limit(ROWS)
        frozen = [(row, leads_under(session, row), devices_under(session, row)) for row in session.scalars(found)]
    copies = [(row, status_of(row, now), address_of(services, hashes, row)) for row in exports]
    return page(
        "rights.html", desk=desk, copies=copies, restrictions=frozen, statuses=STATUS_WORDS, most=MOST_DOWNLOADS,
        reasons=REASON_WORDS,
    )  # fmt: skip


@router.post("/exports", dependencies=[OwnForm])
def copy(services: Parts, visitor: Visitor, whose: Sought, tenant: Chosen = "") -> Response:
    """Ask for a copy."""
    desk, now = desk_of(services, visitor, tenant or None), services.clock()
    with Work(services, desk.tenant.id) as work:
        hashes = services.vault.keyring(work.session, desk.tenant.id, desk.tenant.id, now)
        marks = whose.marks(work.session, desk.tenant.id, hashes)
        ask_copy(work, desk.tenant.id, Asked(whose.kind, *marks, mark_of(hashes, visitor), "sign_in"), now)
    return _back(desk)


@router.post("/restrictions", dependencies=[OwnForm])
def freeze(
    services: Parts, visitor: Visitor, whose: Sought, reason: Annotated[str, Form(max_length=32)] = "",
    tenant: Chosen = "",
) -> Response:  # fmt: skip
    """Keep and do not process."""
    desk, now = desk_of(services, visitor, tenant or None), services.clock()
    if reason not in REASONS:
        raise Problem("invalid", "Choose the reason for which the data is kept and not processed.")

    def transaction() -> None:
        with Work(services, desk.tenant.id) as work:
            hashes = services.vault.keyring(work.session, desk.tenant.id, desk.tenant.id, now)
            marks = whose.marks(work.session, desk.tenant.id, hashes)
            restrict(work.session, desk.tenant.id, Freeze(whose.kind, *marks, reason, mark_of(hashes, visitor)), now)

    past_deadlocks(transaction)
    return _back(desk)


@router.post("/restrictions/{restriction_id}/lift", dependencies=[OwnForm])
def thaw(restriction_id: str, services: Parts, visitor: Visitor, tenant: Chosen = "") -> Response:
    """Lift it: what waited goes on."""
    desk = desk_of(services, visitor, tenant or None)
    known_id(restriction_id)

    def transaction() -> None:
        with Work(services, desk.tenant.id) as work:
            end_restriction(work, restriction_id, services.clock())

    past_deadlocks(transaction)
    return _back(desk)


def _back(desk: Desk) -> Response:
    return RedirectResponse(desk.address("/admin/rights"), 303)
