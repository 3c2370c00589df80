"""What a host does to a lead: it says that it has it, and it puts a contact right. The answers stay as they were given."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, StringConstraints
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from integrations.facebook_leads.lead import contact_from
from models.export import expire_persons
from models.feed import LEAD_UPDATED, emit, hold_feed
from models.lead import Lead, acknowledge, described
from models.lead_facts import mark_again
from models.tenant import Tenant
from worker.web.api.fields import Line, Wish
from worker.web.api.ids import Ids
from worker.web.api.leads import LeadShown, lead_or_404, leads_shown
from worker.web.api.paging import known_id
from worker.web.callers import Access, Parts, tenant_access
from worker.web.lead_reader import rectify
from worker.web.once import Asked, once
from worker.web.problems import Problem, not_found
from worker.work import Work

router = APIRouter(prefix="/v1/leads", tags=["leads"])
Writer = Annotated[Access, Depends(tenant_access("leads:write"))]
Email = Annotated[
    str, StringConstraints(min_length=3, max_length=254, pattern=r"^[^\x00-\x20\x7f]+$", strip_whitespace=True)
]
Phone = Annotated[
    str, StringConstraints(min_length=3, max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$", strip_whitespace=True)
]


class Had(Wish):
    """Leads that the host has; at most 500."""

    ids: Ids


class Acknowledged(BaseModel):
    """How many leads were not acknowledged before. Unknown ones are left out."""

    acknowledged: int


class LeadAcknowledged(BaseModel):
    """A lead, and when the host first said that it has it."""

    id: str
    acknowledged_at: datetime


class NewContact(Wish):
    """What is right. A field that is left out stays as it is; null empties it."""

    full_name: Line | None = None
    email: Email | None = None
    phone: Phone | None = None


class Rectification(Wish):
    """A contact put right."""

    contact: NewContact


@router.post("/acknowledge", response_model=Acknowledged)
def acknowledge_many(wish: Had, access: Writer, services: Parts, ask: Asked) -> Response:
    """Say that the host has these leads; a second time changes nothing."""

    def effect(work: Work) -> Acknowledged:
        count = acknowledge(work.session, access.tenant_id, list(dict.fromkeys(wish.ids)), services.clock())
        return Acknowledged(acknowledged=count)

    return once(services, access, ask, 200, effect)


@router.post("/{lead_id}/acknowledge", response_model=LeadAcknowledged)
def acknowledge_one(lead_id: str, access: Writer, services: Parts, ask: Asked) -> Response:
    """Say that the host has this lead; a second time changes nothing."""
    known_id(lead_id)

    def effect(work: Work) -> LeadAcknowledged:
        lead_or_404(work.session, services, access.tenant_id, lead_id)
        acknowledge(work.session, access.tenant_id, [lead_id], services.clock())
        at = work.session.scalars(select(Lead.acknowledged_at).where(Lead.id == lead_id)).one_or_none()
        if at is None:  # it went at this moment
            raise not_found()
        return LeadAcknowledged(id=lead_id, acknowledged_at=at)

    return once(services, access, ask, 200, effect)


@router.patch("/{lead_id}")
def put_right(lead_id: str, wish: Rectification, access: Writer, services: Parts) -> LeadShown:
    """Put the contact of a lead right. It is found by the new one from now on, and so are its copies: a person's that shows
    the old one is gone, and who is one person is found anew. Sending the same again changes nothing."""
    known_id(lead_id)
    with Work(services, access.tenant_id) as work:
        hold_feed(work.session, access.tenant_id)
        # Two corrections at once: the second builds on the first.
        work.session.scalars(select(Lead.id).where(Lead.id == lead_id).with_for_update()).one_or_none()
        reader, lead = lead_or_404(work.session, services, access.tenant_id, lead_id, to_change=True)
        keyring = reader.keyring(lead.connection_id)
        if keyring is None:
            raise Problem("being-erased", "The connection of this lead is being erased; nothing of it can be changed.")
        before = reader.opened(lead, "contact")
        contact = {**before, **_right(wish.contact, _country(work.session, access.tenant_id))}
        if contact != before:
            now = services.clock()
            hashes = services.vault.keyring(work.session, access.tenant_id, access.tenant_id, now)
            marks = [lead.email_hash, lead.phone_hash]
            fields = [name for name in NewContact.model_fields if contact[name] != before[name]]
            rectify(work.session, keyring, hashes, lead, contact, fields, now)
            marks += [lead.email_hash, lead.phone_hash]
            expire_persons(work.session, [mark for mark in marks if mark is not None])
            emit(work.session, access.tenant_id, [(LEAD_UPDATED, described(lead, lead.connection_id))], now)
            mark_again(work.session, access.tenant_id, lead.id, marks)
        return leads_shown(work.session, reader, [lead])[lead.id]


def _right(wish: NewContact, country: str) -> dict[str, str | None]:
    """The fields that were sent, each as it is stored."""
    sent = wish.model_dump(include=set(wish.model_fields_set))
    read = contact_from({name: value for name, value in sent.items() if value is not None}, country)
    found: dict[str, str | None] = {name: getattr(read, name) for name in sent}
    wrong = {
        "email": "This is not an e-mail address.",
        "phone": "This is not a phone number; write it as +353 1 234 5678.",
    }
    errors = [
        {"field": f"body.contact.{name}", "problem": words}
        for name, words in wrong.items()
        if sent.get(name) is not None and found[name] is None
    ]
    if errors:
        raise Problem("invalid", "Mend the fields listed under errors, and send the request again.", errors=errors)
    return found | ({"phone_raw": sent["phone"]} if "phone" in sent else {})


def _country(session: Session, tenant_id: str) -> str:
    return session.scalars(select(Tenant.country).where(Tenant.id == tenant_id)).one()
