"""`/meta/deauthorize` and `/meta/deletion`: what Meta signs when somebody removes the app or asks to be deleted.

Both close connections and schedule work, and answer at once. Replays are harmless.
Source: https://developers.facebook.com/docs/development/create-an-app/app-dashboard/data-deletion-callback
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from sqlalchemy import select

from integrations.errors import Refused
from integrations.facebook_leads import FACEBOOK_LEADS
from integrations.facebook_leads.signed_request import SignedRequest, read_signed_request
from models.connection import LIVING, REVOKING, Connection
from models.deletion import SCHEDULED, Deletion, new_code, nothing_held
from models.grant import held_by, marks_of
from models.revocation import begin_revocation
from models.tenancy import SYSTEM, system_session
from worker.jobs import connections_revoke
from worker.services import Services
from worker.web.api.connect_links import require_on
from worker.web.callers import Parts
from worker.web.problems import Problem
from worker.work import Work

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/meta", include_in_schema=False)

MOST_BYTES: Final = 64 * 1024
_DEAUTHORIZE, _DELETION = "meta_deauthorize", "meta_deletion"
Known = list[tuple[str, str]]
"""(tenant id, connection id)"""


class Receipt(BaseModel):
    """What Meta shows to the person who asked: where to look, and the code to name."""

    url: str
    confirmation_code: str


async def _signed(request: Request, services: Parts) -> SignedRequest:
    require_on(services, FACEBOOK_LEADS.name)
    body = await request.body()
    if len(body) > MOST_BYTES:
        raise Problem("too-large", f"Send at most {MOST_BYTES // 1024} KiB.")
    value = (await request.form(max_files=0, max_fields=10)).get("signed_request")
    try:
        return read_signed_request(value if isinstance(value, str) else "", services.settings.meta.app_secret)
    except Refused as error:
        reason = str(error)
    raise Problem("bad-signed-request", reason)


Signed = Annotated[SignedRequest, Depends(_signed)]


@router.post("/deauthorize")
def deauthorize(asked: Signed, services: Parts) -> dict[str, str]:
    """Somebody removed the app, or a page dropped it: every connection that lives by that grant is closed."""
    known = _connections(services, asked, living=True)
    for tenant_id, connection_id in known:
        _close(services, tenant_id, connection_id, _DEAUTHORIZE, None)
    log.info("meta_deauthorized", connections=len(known))
    return {}


@router.post("/deletion")
def deletion(asked: Signed, services: Parts) -> Receipt:
    """Somebody asks that what was acquired through them is deleted, also where it was disconnected before."""
    known = _connections(services, asked, living=False)
    if not known:
        with system_session(services.database) as session:
            code = nothing_held(session, requested_by=_DELETION, now=services.clock()).confirmation_code
        return _receipt(services, code)
    code = _asked_before(services, known) or new_code()
    for tenant_id, connection_id in known:
        _close(services, tenant_id, connection_id, _DELETION, code)
    log.info("meta_deletion_asked", connections=len(known))
    return _receipt(services, code)


def _receipt(services: Services, code: str) -> Receipt:
    return Receipt(url=f"{services.settings.base_url}/deletions/{code}", confirmation_code=code)


def _connections(services: Services, asked: SignedRequest, *, living: bool) -> Known:
    with system_session(services.database, reads_only=True) as session:
        if asked.page_id is not None:
            query = select(Connection.tenant_id, Connection.id).order_by(Connection.id)
            of_page = query.where(
                Connection.integration == FACEBOOK_LEADS.name, Connection.external_id == asked.page_id
            )  # fmt: skip
            # Whoever only waits for a page that another tenant has (its claim says so) holds nothing of it.
            of_page = of_page.where(Connection.claim == f"{FACEBOOK_LEADS.name}:{asked.page_id}") if living else of_page
            return [(tenant_id, connection_id) for tenant_id, connection_id in session.execute(of_page)]
        if services.vault.existing(session, SYSTEM, SYSTEM) is None:
            return []  # nobody was ever marked
        marks = marks_of(session, services.vault, FACEBOOK_LEADS.name, [asked.user_id or ""], services.clock())
        known = held_by(session, marks)
        ids = [connection_id for _, connection_id in known]
        alive = set(session.scalars(select(Connection.id).where(Connection.id.in_(ids), Connection.status.in_(LIVING))))
    return [one for one in known if one[1] in alive] if living else known


def _close(services: Services, tenant_id: str, connection_id: str, requested_by: str, code: str | None) -> None:
    now, undo = services.clock(), services.settings.undo
    with Work(services, tenant_id) as work:
        if code is None or not _has(work, connection_id, code):
            begin_revocation(work.session, connection_id, requested_by=requested_by, undo=undo, now=now, code=code)
        row = work.session.get_one(Connection, connection_id)
        if row.status == REVOKING:
            work.put(connections_revoke(tenant_id, connection_id))


def _has(work: Work, connection_id: str, code: str) -> bool:
    query = select(Deletion.id).where(Deletion.connection_id == connection_id, Deletion.confirmation_code == code)
    return work.session.scalars(query.limit(1)).one_or_none() is not None


def _asked_before(services: Services, known: Sequence[tuple[str, str]]) -> str | None:
    """The code of a request that is open and covers all of these: this one is its repetition."""
    covers: dict[str, set[str]] = defaultdict(set)
    ids = {connection_id for _, connection_id in known}
    query = select(Deletion.confirmation_code, Deletion.connection_id).where(
        Deletion.connection_id.in_(ids), Deletion.requested_by == _DELETION, Deletion.status == SCHEDULED
    )
    with system_session(services.database, reads_only=True) as session:
        for code, connection_id in session.execute(query.order_by(Deletion.id)):
            covers[code].add(str(connection_id))
    return next((code for code, covered in covers.items() if covered >= ids), None)
