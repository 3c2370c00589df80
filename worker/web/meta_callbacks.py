"""`/meta/deauthorize` and `/meta/deletion`: what Meta signs when somebody removes the app or asks to be deleted.

Both close connections and schedule work, and answer at once. Replays are harmless.
Source: https://developers.facebook.com/docs/development/create-an-app/app-dashboard/data-deletion-callback
"""

from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from sqlalchemy import select

from integrations.errors import Refused
from integrations.facebook_leads import FACEBOOK_LEADS
from integrations.facebook_leads.signed_request import SignedRequest, read_signed_request
from models.connection import Connection
from models.deletion import nothing_held
from models.tenancy import system_session
from worker.meta_wishes import Known, ask_to_delete, close, granted_by, living
from worker.services import Services
from worker.web.api.connect_links import require_on
from worker.web.callers import Parts
from worker.web.problems import Problem

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/meta", include_in_schema=False)

MOST_BYTES: Final = 64 * 1024
_DEAUTHORIZE, _DELETION = "meta_deauthorize", "meta_deletion"


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
    if asked.page_id is not None:
        known = _of_page(services, asked.page_id, is_living=True)
    else:
        known = living(services, granted_by(services, asked.user_id or ""))
    for tenant_id, connection_id in known:
        close(services, tenant_id, connection_id, _DEAUTHORIZE, None)
    log.info("meta_deauthorized", connections=len(known))
    return {}


@router.post("/deletion")
def deletion(asked: Signed, services: Parts) -> Receipt:
    """Somebody asks that what was acquired through them is deleted, also where it was disconnected before."""
    if asked.page_id is not None:
        known = _of_page(services, asked.page_id, is_living=False)
    else:
        known = granted_by(services, asked.user_id or "")
    if not known:
        with system_session(services.database) as session:
            code = nothing_held(session, requested_by=_DELETION, now=services.clock()).confirmation_code
        return _receipt(services, code)
    code = ask_to_delete(services, known, _DELETION)
    log.info("meta_deletion_asked", connections=len(known))
    return _receipt(services, code)


def _receipt(services: Services, code: str) -> Receipt:
    return Receipt(url=f"{services.settings.base_url}/deletions/{code}", confirmation_code=code)


def _of_page(services: Services, page_id: str, *, is_living: bool) -> Known:
    query = select(Connection.tenant_id, Connection.id).order_by(Connection.id)
    query = query.where(Connection.integration == FACEBOOK_LEADS.name, Connection.external_id == page_id)
    if is_living:  # whoever only waits for a page that another tenant has (its claim says so) holds nothing of it
        query = query.where(Connection.claim == f"{FACEBOOK_LEADS.name}:{page_id}")
    with system_session(services.database, reads_only=True) as session:
        return [(tenant_id, connection_id) for tenant_id, connection_id in session.execute(query)]
