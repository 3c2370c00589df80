"""What the API and the pages both do about people's rights, in the caller's transaction."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.deletion import SUBJECT
from models.export import Asked, Export, ask_export, token_of
from models.restricting import lift
from models.restriction import Restriction
from models.vault import Keyring
from worker.jobs import exports_run
from worker.services import Services
from worker.web.deletion_requests import wish_of
from worker.web.problems import not_found
from worker.work import Work

log = structlog.get_logger(__name__)


class Marks(NamedTuple):
    """A person's look-up hashes; `user` is who they are at the host."""

    email: bytes | None
    phone: bytes | None
    user: bytes | None


def marks_of(session: Session, tenant_id: str, hashes: Keyring, person: Mapping[str, str], *, at: str = "") -> Marks:
    """The look-up hashes of a person in the clear. A problem for what is no address or number."""
    wish = wish_of(session, tenant_id, hashes, way="", kind=SUBJECT, person=person, at=at)
    return Marks(wish.email, wish.phone, wish.user)


def ask_copy(work: Work, tenant_id: str, asked: Asked, now: datetime) -> Export:
    """Store the request for a copy, and the job that makes it."""
    row = ask_export(work.session, tenant_id, asked, now)
    work.put(exports_run(tenant_id, row.id))
    return row


def address_of(services: Services, hashes: Keyring | None, row: Export) -> str | None:
    """Where a copy can be had now; None: nowhere. `hashes` is its tenant's keyring."""
    token = token_of(hashes, row, services.clock())
    return None if token is None else f"{services.settings.base_url}/exports/{token}"


def end_restriction(work: Work, restriction_id: str, now: datetime) -> Restriction:
    """Lift it; it is the tenant's, or not found."""
    row = work.session.scalars(
        select(Restriction).where(Restriction.id == restriction_id).with_for_update()
    ).one_or_none()
    if row is None:
        raise not_found()
    number = lift(work.session, row, now)
    log.info("restriction_lifted", restriction=row.id, tenant=row.tenant_id, scope=row.kind, went_on=number)
    return row
