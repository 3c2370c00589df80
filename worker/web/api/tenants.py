"""`/v1/tenants`: the platform adds the companies it serves, and lists them."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from starlette.responses import Response

from models.tenancy import system_session
from models.tenant import Tenant, add_tenant, tenant_by_external_id, tenants
from worker.web.api.fields import Country, Line, Subdivision, TenantName, TimeZone, Wish
from worker.web.api.paging import Cursor, Limit, Page, page_of, read_cursor
from worker.web.callers import Access, Parts, platform_access
from worker.web.once import Asked, once
from worker.web.problems import Problem
from worker.work import Work

router = APIRouter(prefix="/v1/tenants", tags=["tenants"])
Platform = Annotated[Access, Depends(platform_access("tenants:write"))]

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEK: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class NewTenant(Wish):
    """A company. `external_id` is its id at the host; `country` and `work_week` say which days are working days."""

    external_id: TenantName
    name: Line
    country: Country
    subdivision: Subdivision | None = None
    timezone: TimeZone
    work_week: list[Day] = Field(default=list(WEEK[:5]), min_length=1, max_length=7)

    @field_validator("work_week")
    @classmethod
    def _each_day_once(cls, days: list[Day]) -> list[Day]:
        if len(set(days)) != len(days):
            raise ValueError("Name each day once.")
        return [day for day in WEEK if day in days]

    @model_validator(mode="after")
    def _subdivision_of_country(self) -> "NewTenant":
        if self.subdivision is not None and not self.subdivision.startswith(f"{self.country}-"):
            raise ValueError("The subdivision must belong to the country, such as IN-TN to IN.")
        return self


class TenantShown(BaseModel):
    """A tenant."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    external_id: str
    name: str
    country: str
    subdivision: str | None
    timezone: str
    work_week: list[str]
    status: str
    created_at: datetime


@router.post("", status_code=201, response_model=TenantShown)
def add(wish: NewTenant, access: Platform, services: Parts, ask: Asked) -> Response:
    """Add a tenant."""

    def effect(work: Work) -> TenantShown:
        if tenant_by_external_id(work.session, wish.external_id) is not None:
            raise Problem("tenant-exists", "A tenant with this external_id was added before; GET /v1/tenants lists it.")
        row = add_tenant(work.session, now=services.clock(), **wish.model_dump())
        return TenantShown.model_validate(row)

    return once(services, access, ask, 201, effect)


@router.get("")
def listed(access: Platform, services: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[TenantShown]:
    """All tenants, in the order they were added."""
    after = read_cursor("tenants", cursor)
    with system_session(services.database, reads_only=True) as session:
        rows = tenants(session, after=after, limit=limit + 1)
    return page_of("tenants", rows, limit, id_of=_id, show=TenantShown.model_validate)


def _id(row: Tenant) -> str:
    return row.id
