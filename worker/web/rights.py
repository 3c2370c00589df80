"""What the API and the pages both do about people's rights, in the caller's transaction."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.orm import Session

from models.deletion import SUBJECT
from models.export import Asked, Export, ask_export
from models.vault import Keyring
from worker.jobs import exports_run
from worker.web.deletion_requests import wish_of
from worker.work import Work


def marks_of(
    session: Session, tenant_id: str, hashes: Keyring, person: Mapping[str, str], *, at: str = ""
) -> tuple[bytes | None, bytes | None]:
    """The look-up hashes of a person in the clear: (e-mail, phone). A problem for what is no address or number."""
    wish = wish_of(session, tenant_id, hashes, way="", kind=SUBJECT, person=person, at=at)
    return wish.email, wish.phone


def ask_copy(work: Work, tenant_id: str, asked: Asked, now: datetime) -> Export:
    """Store the request for a copy, and the job that makes it."""
    row = ask_export(work.session, tenant_id, asked, now)
    work.put(exports_run(tenant_id, row.id))
    return row
