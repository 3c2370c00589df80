"""`/v1/leads/{id}/history`: what happened to a lead, and the entries that the host adds."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.responses import Response

from models.base import new_id
from models.lead import LeadHistory
from models.tenancy import tenant_session
from worker.web.api.fields import EntryKind, EntryText, Instant, Wish
from worker.web.api.leads import Reader, lead_or_404
from worker.web.api.paging import Cursor, Limit, Page, page_of, read_cursor
from worker.web.callers import Access, Parts, tenant_access
from worker.web.lead_reader import add_history
from worker.web.once import Asked, once
from worker.web.problems import Problem
from worker.work import Work

router = APIRouter(prefix="/v1/leads/{lead_id}/history", tags=["leads"])
Writer = Annotated[Access, Depends(tenant_access("leads:write"))]


class NewEntry(Wish):
    """What happened. `kind` is a word of the host's own, such as `called`; `text` is stored sealed."""

    kind: EntryKind
    text: EntryText | None = None
    occurred_at: Instant | None = None


class EntryShown(BaseModel):
    """One entry. `recorded_at` is when we were told."""

    id: str
    kind: str
    text: str | None
    occurred_at: datetime
    recorded_at: datetime


def _shown(entry: LeadHistory, text: str | None) -> EntryShown:
    return EntryShown(
        id=entry.id, kind=entry.kind, text=text, occurred_at=entry.occurred_at, recorded_at=entry.recorded_at
    )


@router.get("")
def listed(lead_id: str, access: Reader, services: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[EntryShown]:
    """The lead's history, in the order it was recorded."""
    after = read_cursor("history", cursor)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        reader, lead = lead_or_404(session, services, access.tenant_id, lead_id)
        rows = reader.history(lead, after=after, limit=limit + 1)
    return page_of("history", rows, limit, id_of=lambda row: row[0].id, show=lambda row: _shown(*row))


@router.post("", status_code=201, response_model=EntryShown)
def add(lead_id: str, wish: NewEntry, access: Writer, services: Parts, ask: Asked) -> Response:
    """Add an entry; without `occurred_at` it happened now."""

    def effect(work: Work) -> EntryShown:
        reader, lead = lead_or_404(work.session, services, access.tenant_id, lead_id, to_change=True)
        keyring = reader.keyring(lead.connection_id)
        if keyring is None:
            raise Problem("being-erased", "The connection of this lead is being erased; nothing can be added to it.")
        now = services.clock()
        entry = LeadHistory(
            id=new_id(), tenant_id=access.tenant_id, lead_id=lead.id, kind=wish.kind,
            occurred_at=wish.occurred_at or now, recorded_at=now,
        )  # fmt: skip
        add_history(work.session, keyring, entry, wish.text)
        return _shown(entry, wish.text)

    return once(services, access, ask, 201, effect)
