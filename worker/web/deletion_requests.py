"""Asking for a deletion and deciding on one, as the API and the pages both do it: in the caller's transaction."""

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from integrations.facebook_leads.lead import contact_from
from models.connection import REVOKING, Connection
from models.decision import NotNow, SamePerson
from models.deletion import Deletion, Wish, locked
from models.erasure import may_begin
from models.lead import email_fingerprint
from models.opt_out import user_mark
from models.revocation import request_erasure
from models.tenant import Tenant
from models.vault import Keyring
from worker.jobs import connections_revoke, deletions_run
from worker.services import Services
from worker.web.problems import Problem, not_found
from worker.work import Work

WRONG = {"email": "This is not an e-mail address.", "phone": "Write the phone number as +353 1 234 5678."}


def wish_of(
    session: Session, tenant_id: str, hashes: Keyring | None, *, way: str, kind: str, connection_id: str | None = None,
    integration: str | None = None, person: Mapping[str, str] | None = None, at: str = "",
) -> Wish:  # fmt: skip
    """A scope as a wish that came by `way`; `person` is an e-mail, a phone and a user of the host in the clear, and leaves
    it as look-up hashes.

    Without a keyring nobody was ever stored. A problem for a connection of another tenant, and for what is no address
    or number; `at` is where the caller's fields are.
    """
    if connection_id is not None:
        integration = session.scalars(
            select(Connection.integration).where(Connection.id == connection_id)
        ).one_or_none()
        if integration is None:
            raise not_found()
    email, phone = _read(session, tenant_id, person or {}, at)
    user = (person or {}).get("user") or (person or {}).get("email")  # a host may call its users by their addresses
    return Wish(
        kind, way, connection_id=connection_id, integration=integration,
        email=email_fingerprint(hashes, email) if email and hashes else None,
        phone=hashes.fingerprint(phone) if phone and hashes else None,
        user=user_mark(hashes, user) if user and hashes else None,
    )  # fmt: skip


def _read(session: Session, tenant_id: str, person: Mapping[str, str], at: str) -> tuple[str | None, str | None]:
    """E-mail and phone as leads have them."""
    country = session.scalars(select(Tenant.country).where(Tenant.id == tenant_id)).one()
    read = contact_from({name: text for name, text in person.items() if name in WRONG}, country)
    wrong = [
        {"field": f"{at}{one}", "problem": WRONG[one]} for one in WRONG if one in person and getattr(read, one) is None
    ]
    if wrong:
        raise Problem("invalid", "Mend the fields listed under errors, and send the request again.", errors=wrong)
    return read.email, read.phone


def ask_for(work: Work, services: Services, tenant_id: str, wish: Wish, now: datetime) -> Deletion:
    """Store the request, end its grants, and begin what may begin."""
    tenant = work.session.get_one(Tenant, tenant_id)
    row, closed = request_erasure(work.session, tenant=tenant, wish=wish, undo=services.settings.undo, now=now)
    revoking = select(Connection.id).where(Connection.id.in_(closed), Connection.status == REVOKING)
    work.put(*(connections_revoke(tenant_id, one) for one in sorted(work.session.scalars(revoking))))
    _begin(work, row, now)
    return row


def decide(work: Work, deletion_id: str, change: Callable[[Deletion], None], now: datetime) -> Deletion:
    """Change a locked request. A problem when its state does not allow it, or when who asked would agree."""
    row = locked(work.session, deletion_id)
    if row is None or row.part_of is not None:
        raise not_found()
    try:
        change(row)
    except SamePerson as error:
        raise Problem("second-person-needed", str(error)) from None
    except NotNow as error:
        raise Problem("wrong-state", str(error)) from None
    _begin(work, row, now)
    return row


def _begin(work: Work, row: Deletion, now: datetime) -> None:
    """What may begin begins at once, not at the next sweep."""
    if may_begin(row, now):
        work.put(deletions_run(row.tenant_id, row.id))
    work.session.flush()
