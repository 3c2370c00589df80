"""`/v1/leads`: a tenant's leads in the clear, for who holds `leads:read`; it changes none of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from sqlalchemy.orm import Session

from models.lead import Lead, history_counts
from models.tenancy import tenant_session
from worker.services import Services
from worker.web.api.fields import ExternalId, Instant, SearchText
from worker.web.api.ids import OurId
from worker.web.api.paging import Cursor, Limit, Page, known_id, page_of, read_cursor
from worker.web.callers import Access, Parts, tenant_access
from worker.web.lead_reader import Filters, LeadReader, Unsearchable
from worker.web.problems import Problem, not_found

router = APIRouter(prefix="/v1/leads", tags=["leads"])
Reader = Annotated[Access, Depends(tenant_access("leads:read"))]
Source = Literal["webhook", "catch_up", "backfill"]

_NOT_A_SEARCH = (
    "Leads are found by a whole e-mail address, a phone number or the lead's external_id; the rest is sealed."
)


class Contact(BaseModel):
    """How to reach the person. `phone` is E.164, `phone_raw` what was typed."""

    full_name: str | None
    email: str | None
    phone: str | None
    phone_raw: str | None


class AnswerShown(BaseModel):
    """A question and what was answered."""

    key: str
    label: str | None
    values: list[str]


class ConsentShown(BaseModel):
    """A checkbox of the form's disclaimer."""

    key: str
    is_checked: bool | None


class LeadShown(BaseModel):
    """A lead. `created_at` is when the form was sent, `received_at` when we heard of it.

    `duplicate_of` is the tenant's first lead of the same person, `acknowledged_at` when the host said that it has the lead.
    """

    id: str
    external_id: str
    connection_id: str
    page_id: str
    form_id: str | None
    form_name: str | None
    created_at: datetime
    received_at: datetime
    source: str
    platform: str | None
    is_test: bool
    is_organic: bool | None
    duplicate_of: str | None
    acknowledged_at: datetime | None
    contact: Contact
    answers: list[AnswerShown]
    consents: list[ConsentShown]
    ad: dict[str, str]
    history_count: int


@router.get("")
def listed(
    access: Reader,
    services: Parts,
    form_id: Annotated[ExternalId | None, Query()] = None,
    page_id: Annotated[ExternalId | None, Query()] = None,
    since: Annotated[Instant | None, Query(description="Sent at this instant or later.")] = None,
    until: Annotated[Instant | None, Query(description="Sent before this instant.")] = None,
    is_test: Annotated[bool | None, Query(description="Test leads only, or none.")] = None,
    source: Annotated[Source | None, Query(description="How the lead came.")] = None,
    acknowledged: Annotated[bool | None, Query(description="Whether the host said that it has the lead.")] = None,
    merged: Annotated[bool | None, Query(description="Of each person the first lead alone, or all.")] = None,
    duplicate_of: Annotated[OurId | None, Query(description="The later leads of the person who sent this one.")] = None,
    q: Annotated[SearchText | None, Query(description="An e-mail address, a phone number or a lead's id.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[LeadShown]:
    """The tenant's leads, newest first."""
    filters = Filters(
        page_id, form_id, since, until, read_cursor("leads", cursor), is_test, source, acknowledged,
        duplicate_of, merged,
    )  # fmt: skip
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        reader = LeadReader(session, services.vault, access.tenant_id)
        try:
            rows = reader.found(filters, limit=limit + 1, q=q)
        except Unsearchable:
            raise Problem("unsearchable", _NOT_A_SEARCH) from None
        shown = leads_shown(session, reader, rows[:limit])
    return page_of("leads", rows, limit, id_of=lambda row: row.id, show=lambda row: shown[row.id])


@router.get("/{lead_id}")
def one(lead_id: str, access: Reader, services: Parts) -> LeadShown:
    """One lead."""
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        reader, lead = lead_or_404(session, services, access.tenant_id, lead_id)
        return leads_shown(session, reader, [lead])[lead.id]


def lead_or_404(
    session: Session, services: Services, tenant_id: str, lead_id: str, *, to_change: bool = False
) -> tuple[LeadReader, Lead]:
    """The tenant's lead with its reader; what is not this tenant's is not found. A problem where it is restricted."""
    reader = LeadReader(session, services.vault, tenant_id)
    lead = reader.one(known_id(lead_id), to_change=to_change)
    if lead is None:
        raise not_found()
    return reader, lead


def leads_shown(session: Session, reader: LeadReader, leads: Sequence[Lead]) -> dict[str, LeadShown]:
    """id -> a lead in the clear."""
    counts = history_counts(session, [lead.id for lead in leads])
    return {lead.id: _one_shown(reader, lead, counts.get(lead.id, 0)) for lead in leads}


def _one_shown(reader: LeadReader, lead: Lead, history_count: int) -> LeadShown:
    personal: dict[str, Any] = {column: reader.opened(lead, column) for column in ("contact", "answers", "consents")}
    return LeadShown(
        id=lead.id,
        external_id=lead.external_id,
        connection_id=lead.connection_id,
        page_id=lead.page_external_id,
        form_id=lead.form_external_id,
        form_name=lead.form_name,
        created_at=lead.created_at,
        received_at=lead.received_at,
        source=lead.source,
        platform=lead.platform,
        is_test=lead.is_test,
        is_organic=lead.is_organic,
        duplicate_of=lead.duplicate_of,
        acknowledged_at=lead.acknowledged_at,
        ad=lead.ad,
        history_count=history_count,
        **personal,
    )
