"""`/v1/lead-merging`: whether a tenant's lists show each person once. No lead is dropped, or told less of."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from models.tenancy import tenant_session
from models.tenant import Tenant
from worker.web.api.fields import Wish
from worker.web.callers import Access, Parts, tenant_access
from worker.work import Work

router = APIRouter(prefix="/v1/lead-merging", tags=["leads"])


class MergingWish(Wish):
    """On: a list of leads has the first one of each person, unless it is asked for with `merged=false`."""

    on: bool


class MergingShown(BaseModel):
    """Whether lists are merged."""

    on: bool


@router.get("")
def shown(access: Annotated[Access, Depends(tenant_access("leads:read"))], services: Parts) -> MergingShown:
    """As the tenant has set it; off until it does."""
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        return MergingShown(on=session.get_one(Tenant, access.tenant_id).leads_merged_at is not None)


@router.put("")
def turn(
    body: MergingWish, access: Annotated[Access, Depends(tenant_access("leads:write"))], services: Parts
) -> MergingShown:
    """Turn it on or off, at any time: it changes what lists show, and no lead."""
    with Work(services, access.tenant_id) as work:
        work.session.get_one(Tenant, access.tenant_id).leads_merged_at = services.clock() if body.on else None
    return MergingShown(on=body.on)
