"""`/v1/bulletin-pace`: how many messages a minute all bulletins of a tenant together may send."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from models.tenancy import tenant_session
from models.tenant import Tenant, pushes_per_minute
from worker.web.api.fields import Wish
from worker.web.callers import Access, Parts, tenant_access
from worker.work import Work

router = APIRouter(prefix="/v1/bulletin-pace", tags=["bulletins"])
PerMinute = Annotated[int, Field(ge=1, le=600_000)]


class PaceWish(Wish):
    """No minute sees more than `per_minute`; null: as many as the push services take."""

    per_minute: PerMinute | None


class PaceShown(BaseModel):
    """What the tenant's bulletins keep to."""

    per_minute: int | None


@router.get("")
def shown(access: Annotated[Access, Depends(tenant_access("bulletins:read"))], services: Parts) -> PaceShown:
    """As the tenant has set it; none until it does."""
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        return PaceShown(per_minute=pushes_per_minute(session, access.tenant_id))


@router.put("")
def keep(
    body: PaceWish, access: Annotated[Access, Depends(tenant_access("bulletins:write"))], services: Parts
) -> PaceShown:
    """Set it, at any time: bulletins that are under way keep to it within seconds."""
    with Work(services, access.tenant_id) as work:
        work.session.get_one(Tenant, access.tenant_id).pushes_per_minute = body.per_minute
    return PaceShown(per_minute=body.per_minute)
