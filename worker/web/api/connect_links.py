"""`/v1/connect-links`: a link by which a person connects an account for the tenant; its secret is shown once."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.responses import Response

from models.connect_link import add_link
from worker.services import Services
from worker.web.api.fields import Line, Wish
from worker.web.callers import Access, Parts, tenant_access
from worker.web.once import Asked, once
from worker.web.problems import Problem
from worker.work import Work

router = APIRouter(prefix="/v1/connect-links", tags=["connections"])
Writer = Annotated[Access, Depends(tenant_access("connections:write"))]


class NewLink(Wish):
    """A link to be. `user` is whom the host means it for; it is stored sealed, and shown nowhere."""

    integration: Literal["facebook_leads", "google_calendar"]
    user: Line | None = None


class LinkMade(BaseModel):
    """A new link; `url` is never shown again."""

    id: str
    integration: str
    url: str
    expires_at: datetime


@router.post("", status_code=201, response_model=LinkMade)
def make(wish: NewLink, access: Writer, services: Parts, ask: Asked) -> Response:
    """Make a link for the tenant. Whoever opens it first and allows access spends it."""
    require_on(services, wish.integration)

    def effect(work: Work) -> LinkMade:
        row, secret = add_link(
            work.session, services.vault, tenant_id=access.tenant_id, integration=wish.integration, user=wish.user,
            now=services.clock(),
        )  # fmt: skip
        url = f"{services.settings.base_url}/connect/{secret}"
        return LinkMade(id=row.id, integration=row.integration, url=url, expires_at=row.expires_at)

    return once(services, access, ask, 201, effect)


def require_on(services: Services, integration: str) -> None:
    """A problem that names the missing settings while an integration is turned off."""
    if integration not in services.providers:
        off = {"facebook_leads": services.settings.meta.missing, "google_calendar": services.settings.google.missing}
        raise Problem("turned-off", f"The operator turns it on by setting {', '.join(off[integration])}.")
