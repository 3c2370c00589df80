"""`/connect/{token}`: what is asked of a person and what is promised, before the provider asks. It calls nobody outside.

Looking at the page spends nothing: programs that preview links look, too.
"""

import re
import secrets
from typing import Annotated, Final

from fastapi import APIRouter, Cookie
from starlette.responses import Response

from integrations.contract import Begun, Integration
from models.connect_link import STATE_LIVES, ConnectLink, begin_visit, live_link
from models.tenancy import system_session, tenant_session
from models.tenant import Tenant
from worker.grants import BY_NAME
from worker.services import Services
from worker.web.admin.rendering import page
from worker.web.callers import Parts
from worker.web.public import message

router = APIRouter(include_in_schema=False)

COOKIE: Final = "troth_connect"
Browser = Annotated[str | None, Cookie(alias=COOKIE)]
_OURS = re.compile(r"[\w-]{43}", re.ASCII)

_KEPT_SEALED = "The access you give is kept encrypted, and is never shown to anyone."
_ANY_TIME = "You can end it at any time: tell those who sent you the link, or do it in your settings at {provider}."
PROMISES: Final[dict[str, tuple[str, ...]]] = {
    "facebook_leads": (
        _KEPT_SEALED,
        "It is used to bring the leads of the Pages you choose into the CRM, and for nothing else. Nothing is posted,"
        " and no ad is changed.",
        _ANY_TIME.format(provider="Facebook"),
        "When it has ended, everything that was acquired from Facebook is deleted within seven working days.",
    ),
    "google_calendar": (
        _KEPT_SEALED,
        "It is used to show the CRM's appointments in a calendar of their own, and for nothing else. The calendars you"
        " have already are neither read nor changed.",
        _ANY_TIME.format(provider="Google"),
        "When it has ended, the access is destroyed, and only ids are kept.",
    ),
}


@router.get("/connect/{token}")
def connect(token: str, services: Parts, browser: Browser = None) -> Response:
    """The page behind a connect link. Each look begins a visit of its own, so that two tabs do not disturb each other."""
    with system_session(services.database, reads_only=True) as session:
        link = live_link(session, token, services.clock())
        tenant = None if link is None else session.get(Tenant, link.tenant_id)
    if link is None or tenant is None:
        return no_such_link()
    integration = BY_NAME[link.integration]
    if link.integration not in services.providers:
        return message(
            f"{integration.title} is turned off here just now",
            "Nothing is wrong with your link: open it again later, or tell the people who sent it to you.",
            status=503,
        )
    browser = browser if browser and _OURS.fullmatch(browser) else secrets.token_urlsafe(32)
    begun = _begin(services, link, browser, token)
    return _shown(services, tenant, integration, begun, browser)


def no_such_link() -> Response:
    """Unknown, spent and expired links look alike."""
    return message(
        "This link does not work any more",
        "It has been used, has run out, or was not copied whole.",
        "Ask the people who sent it to you for a new one.",
        status=404,
    )


def callback_address(services: Services, integration: str) -> str:
    """Where the provider sends people back to; it is registered there, letter by letter."""
    return f"{services.settings.base_url}/oauth/{integration}/callback"


def _begin(services: Services, link: ConnectLink, browser: str, token: str) -> Begun:
    state = secrets.token_urlsafe(32)
    provider = services.provider(link.integration)
    begun = provider.begin(redirect_uri=callback_address(services, link.integration), state=state)
    with tenant_session(services.database, link.tenant_id) as session:
        begin_visit(
            session, services.vault, link, state=state, browser=browser, verifier=begun.verifier, secret=token,
            now=services.clock(),
        )  # fmt: skip
    return begun


def _shown(services: Services, tenant: Tenant, integration: Integration, begun: Begun, browser: str) -> Response:
    response = page(
        "connect.html", tenant_name=tenant.name, integration=integration, address=begun.url,
        permissions=integration.permissions, promises=PROMISES[integration.name],
    )  # fmt: skip
    response.set_cookie(
        COOKIE,
        browser,
        max_age=int(STATE_LIVES.total_seconds()),
        path="/",
        secure=services.settings.base_url.startswith("https:"),
        httponly=True,
        # Lax: the provider sends the browser back from another site, by a plain link.
        samesite="lax",
    )
    return response
