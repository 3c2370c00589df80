"""Who looks at a page: the browser's session, the tenant it may see, and whether a form came from our own page."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final
from urllib.parse import urlencode, urlsplit

from fastapi import Cookie, Depends, Request
from sqlalchemy import select
from starlette.responses import Response

from models.base import is_id
from models.decision import requester_mark
from models.host import SignIn, add_sign_in, session_of
from models.tenancy import SYSTEM, system_session
from models.tenant import Tenant
from models.vault import Keyring
from worker.services import Services
from worker.web.callers import Parts
from worker.web.problems import Problem, not_found

COOKIE: Final = "troth_session"
LIVES: Final = timedelta(hours=12)


class GoTo(Exception):
    """The visitor must go to another page first (303)."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


@dataclass(frozen=True, slots=True)
class Desk:
    """A signed-in visitor at the pages of one tenant. `is_platform`: an operator, who chose that tenant."""

    tenant: Tenant
    is_platform: bool

    def address(self, path: str, query: Mapping[str, str | None] | None = None) -> str:
        """A link within these pages; an operator's links carry the tenant. Never give it personal data."""
        chosen = {"tenant": self.tenant.id if self.is_platform else None, **(query or {})}
        text = urlencode({name: value for name, value in chosen.items() if value})
        return f"{path}?{text}" if text else path


SessionCookie = Annotated[str | None, Cookie(alias=COOKIE)]


def _visitor(services: Parts, secret: SessionCookie = None) -> SignIn:
    signed_in = None
    if secret:
        with system_session(services.database, reads_only=True) as session:
            signed_in = session_of(session, secret, services.clock())
    if signed_in is None:
        raise GoTo("/admin")
    return signed_in


Visitor = Annotated[SignIn, Depends(_visitor)]


def desk_of(services: Services, visitor: SignIn, tenant: str | None) -> Desk:
    """The desk of a visitor; `tenant` is the id that an operator chose. A tenant's people have only their own."""
    is_platform = visitor.tenant_id is None
    wanted = tenant or visitor.tenant_id
    if wanted is None:
        raise GoTo("/admin/tenants")
    if not is_id(wanted) or wanted == SYSTEM or (not is_platform and wanted != visitor.tenant_id):
        raise not_found()
    with system_session(services.database, reads_only=True) as session:
        row = session.scalars(select(Tenant).where(Tenant.id == wanted)).one_or_none()
    if row is None:
        raise not_found()
    return Desk(row, is_platform)


def _desk(services: Parts, visitor: Visitor, tenant: str | None = None) -> Desk:
    return desk_of(services, visitor, tenant)


AtDesk = Annotated[Desk, Depends(_desk)]


def mark_of(hashes: Keyring, visitor: SignIn) -> bytes:
    """By what a deletion knows who asked for it and who agreed; the pages know no people by name."""
    return requester_mark(hashes, visitor.credential)


def start_session(services: Services, response: Response, tenant_id: str | None, key_id: str | None = None) -> Response:
    """Sign the browser in: a new session, its secret in a cookie that scripts and other sites never get."""
    with system_session(services.database) as session:
        secret = add_sign_in(
            session, kind="session", tenant_id=tenant_id, now=services.clock(), lives=LIVES, key_id=key_id
        )
    response.set_cookie(
        COOKIE,
        secret,
        max_age=int(LIVES.total_seconds()),
        path="/admin",
        secure=services.settings.base_url.startswith("https:"),
        httponly=True,
        samesite="lax",
    )
    return response


def end_session(services: Services, secret: str | None) -> None:
    """Sign out; an unknown session is signed out already."""
    if not secret:
        return
    with system_session(services.database) as session:
        row = session_of(session, secret, services.clock())
        if row is not None:
            row.expires_at = services.clock()


def from_our_own_page(request: Request, services: Parts) -> None:
    """Refuse forms that another site made a browser send.

    Browsers say where a form comes from in Sec-Fetch-Site. One that does not (an old one, or any on plain http) sends
    Origin, but writes `null` there because of our no-referrer policy; then the cookie's SameSite=Lax has to do.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        is_ours = site in ("same-origin", "none")
    elif origin is not None and origin != "null":
        ours = {services.settings.base_url, f"{request.url.scheme}://{request.headers.get('host', '')}"}
        is_ours = origin in {f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, ours)}
    else:
        is_ours = True
    if not is_ours:
        raise Problem("cross-site", "Open the page here and send the form again.")


OwnForm = Depends(from_our_own_page)
