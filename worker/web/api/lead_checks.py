"""`/v1/lead-checks`: a line for each form and day - leads at Meta, here, and acknowledged - and fetching what is missing."""

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, BeforeValidator
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from models.form import LeadCheck
from models.tenancy import tenant_session
from worker.web.api.ids import OurId
from worker.web.api.leads import Reader
from worker.web.api.paging import Cursor, Limit, Page, known_id, page_of, read_cursor
from worker.web.callers import Access, Parts, tenant_access
from worker.web.lead_repairs import fetch_missing
from worker.web.once import Asked, once
from worker.web.problems import not_found
from worker.work import Work

router = APIRouter(prefix="/v1/lead-checks", tags=["forms"])
Writer = Annotated[Access, Depends(tenant_access("leads:write"))]


def _day(value: object) -> date:
    try:
        if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise ValueError("Write a day such as 2026-11-23.")


Day = Annotated[date, BeforeValidator(_day, json_schema_input_type=date)]


class LeadCheckShown(BaseModel):
    """One form, one day (UTC). `missing` are Meta's ids of leads that are there and not here, a hundred at most.

    `status` is `green`, or `red` while any is missing.
    """

    id: str
    form_id: str
    day: date
    provider: int
    received: int
    acknowledged: int
    missing: list[str]
    status: str
    checked_at: datetime


class Fetching(BaseModel):
    """How many missing leads are being fetched."""

    fetching: int


@router.get("")
def listed(
    access: Reader,
    services: Parts,
    form_id: Annotated[OurId | None, Query(description="Our id of a form.")] = None,
    since: Annotated[Day | None, Query(description="This day or later.")] = None,
    until: Annotated[Day | None, Query(description="Before this day.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[LeadCheckShown]:
    """The tenant's lines, the newest first."""
    before = read_cursor("lead-checks", cursor)
    query = select(LeadCheck).order_by(LeadCheck.id.desc()).limit(limit + 1)
    if form_id is not None:
        query = query.where(LeadCheck.form_id == form_id)
    if since is not None:
        query = query.where(LeadCheck.day >= since)
    if until is not None:
        query = query.where(LeadCheck.day < until)
    if before is not None:
        query = query.where(LeadCheck.id < before)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        rows: Sequence[LeadCheck] = session.scalars(query).all()
    return page_of("lead-checks", rows, limit, id_of=lambda row: row.id, show=_shown)


@router.post("/{check_id}/fetch", status_code=202, response_model=Fetching)
def fetch(check_id: str, access: Writer, services: Parts, ask: Asked) -> Response:
    """Fetch what is missing; the line turns green when it is counted again and all are here."""

    def effect(work: Work) -> Fetching:
        return Fetching(fetching=fetch_missing(work, services, check_or_404(work.session, check_id)))

    return once(services, access, ask, 202, effect)


def check_or_404(session: Session, check_id: str) -> LeadCheck:
    """The tenant's line."""
    row = session.scalars(select(LeadCheck).where(LeadCheck.id == known_id(check_id))).one_or_none()
    if row is None:
        raise not_found()
    return row


def _shown(row: LeadCheck) -> LeadCheckShown:
    return LeadCheckShown(
        id=row.id,
        form_id=row.form_id,
        day=row.day,
        provider=row.provider,
        received=row.received,
        acknowledged=row.acknowledged,
        missing=[str(one) for one in row.missing],
        status=row.status,
        checked_at=row.checked_at,
    )
