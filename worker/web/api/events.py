"""`/v1/events`: the feed of what happened to a tenant, in order; ids and words of ours, never a person's data."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict

from models.base import is_id
from models.feed import events_after
from models.tenancy import tenant_session
from worker.web.api.paging import Limit
from worker.web.callers import Access, Parts, tenant_access
from worker.web.problems import Problem

router = APIRouter(prefix="/v1/events", tags=["events"])
Reader = Annotated[Access, Depends(tenant_access("events:read"))]
After = Annotated[
    str | None, Query(max_length=100, description="The id of the last event that was read; left out: from the first.")
]


class EventShown(BaseModel):
    """One event. `data` names what it is about; ask for that to see how it is now."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    type: str
    created_at: datetime
    data: dict[str, Any]


class Feed(BaseModel):
    """Events in their order. `next` is the `after` of the next request, also when there is nothing new."""

    items: list[EventShown]
    next: str | None


@router.get("")
def read(access: Reader, services: Parts, after: After = None, limit: Limit = 50) -> Feed:
    """What happened after an event. An event is never shown before all that precede it are."""
    found = None
    if after is None or is_id(after):
        with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
            found = events_after(session, after=after, limit=limit)
    if found is None:
        raise Problem("bad-cursor", "Send the id of an event of this feed as `after`, or leave it out.")
    return Feed(items=[EventShown.model_validate(event) for event in found], next=found[-1].id if found else after)
