"""`leads.fetch`: drain what is pending for one page - read ids, ask Graph in batches of 50, store, and only then forget."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from integrations.errors import IntegrationError, Missing, NeedsUser, Throttled, Transient
from integrations.facebook_leads.graph import LeadReply
from integrations.facebook_leads.lead import parse
from models import inbox
from models.connection import ACTIVE, Connection, read_tokens, still
from models.inbox import Pending
from models.lead import NewLead, store
from models.tenant import Tenant
from models.vault import Keyring
from worker.retries import backoff
from worker.task import Ticket
from worker.work import Work

log = structlog.get_logger(__name__)

LEAD = "lead"
READ_AT_ONCE = 500
GRAPH_BATCH = 50  # Meta's own limit: developers.facebook.com/docs/graph-api/batch-requests
# A lead that Meta says is not there may be late (replication), or we may have no access: looked for again, then parked.
LOOK_AGAIN = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6))


@dataclass(frozen=True, slots=True)
class Page:
    """What a run needs to know of its connection; plain values, so that no session outlives its transaction."""

    tenant_id: str
    connection_id: str
    external_id: str
    country: str
    token: str
    keyring: Keyring
    hashes: Keyring


def fetch(ticket: Ticket) -> None:
    """Every pending lead of the connection that the job names."""
    while True:
        page, due = _read(ticket)
        if page is None or not due:
            with ticket.work() as work:
                _end(ticket, work)
            return
        last = len(due) < READ_AT_ONCE
        for batch, is_last in _batches(due):
            replies = ticket.graph().fetch_leads(page.token, [event.external_id for event in batch])
            with ticket.work() as work:
                _write(ticket, work.session, page, batch, replies)
                if last and is_last:
                    _end(ticket, work)
        if last:
            return


def _read(ticket: Ticket) -> tuple[Page | None, list[Pending]]:
    with ticket.work(reads_only=True) as work:
        session, vault = work.session, ticket.services.vault
        connection = session.get(Connection, ticket.connection_id)
        if connection is None or connection.status != ACTIVE:
            return None, []
        due = inbox.pending(session, tenant_id=connection.tenant_id, connection_id=connection.id, kind=LEAD,
                            now=ticket.now(), limit=READ_AT_ONCE)  # fmt: skip
        keyring = vault.existing(session, connection.tenant_id, connection.id)
        hashes = vault.existing(session, connection.tenant_id, connection.tenant_id)
        token = read_tokens(session, vault, connection).get("page_access_token")
        if not due or keyring is None or hashes is None or not token:
            return None, []
        country = session.scalars(select(Tenant.country).where(Tenant.id == connection.tenant_id)).one()
        page = Page(connection.tenant_id, connection.id, connection.external_id, country, token, keyring, hashes)
        return page, due


def _batches(due: Sequence[Pending]) -> Iterator[tuple[Sequence[Pending], bool]]:
    for start in range(0, len(due), GRAPH_BATCH):
        yield due[start : start + GRAPH_BATCH], start + GRAPH_BATCH >= len(due)


def _write(ticket: Ticket, session: Session, page: Page, batch: Sequence[Pending], replies: list[LeadReply]) -> None:
    """Leads, history and the events' end, unless the connection was closed while we were at Meta."""
    if not still(session, page.connection_id):
        return
    now = ticket.now()
    found = [(event, reply) for event, reply in zip(batch, replies, strict=True) if reply.lead is not None]
    leads = [_new_lead(page, event, reply.lead or {}, now) for event, reply in found]
    store(session, page.keyring, page.hashes, tenant_id=page.tenant_id, connection_id=page.connection_id,
          leads=leads, now=now)  # fmt: skip
    inbox.handled(session, tenant_id=page.tenant_id, ids=[event.id for event, _ in found], now=now)
    for event, reply in zip(batch, replies, strict=True):
        if reply.error is not None:
            _set_aside(ticket, session, event, reply.error)


def _new_lead(page: Page, event: Pending, raw: dict[str, Any], now: datetime) -> NewLead:
    data = parse(raw, default_region=page.country)
    # Dicts by hand: `dataclasses.asdict` copies deeply, and was a quarter of this job's CPU.
    return NewLead(
        external_id=event.external_id,
        page_external_id=page.external_id,
        form_external_id=data.form_external_id or event.refs.get("form_id"),
        form_name=None,
        created_at=data.created_at or event.received_at,
        received_at=event.received_at,
        source=event.source,
        platform=data.platform,
        is_test=data.is_test,
        is_organic=data.is_organic,
        ad=data.ad,
        contact={
            "full_name": data.contact.full_name,
            "email": data.contact.email,
            "phone": data.contact.phone,
            "phone_raw": data.contact.phone_raw,
        },
        answers=[{"key": answer.key, "label": answer.label, "values": answer.values} for answer in data.answers],
        consents=[{"key": consent.key, "is_checked": consent.is_checked} for consent in data.consents],
    )


def _set_aside(ticket: Ticket, session: Session, event: Pending, error: IntegrationError) -> None:
    """One lead could not be read. Its neighbours are stored; this one waits, or is kept with its reason."""
    if isinstance(error, NeedsUser | Throttled):
        raise error  # not this lead's own trouble: the whole connection has to wait
    wait: timedelta | None = None
    if isinstance(error, Transient):
        wait = backoff(event.attempts + 1)
    elif isinstance(error, Missing) and event.attempts < len(LOOK_AGAIN):
        wait = LOOK_AGAIN[event.attempts]
    due_at = None if wait is None else ticket.now() + wait
    inbox.unhandled(session, tenant_id=ticket.tenant_id, event_id=event.id, kind=error.kind,
                    sentence=str(error), due_at=due_at)  # fmt: skip
    log.info("lead_set_aside", lead=event.external_id, error=error.kind, code=error.code, again=due_at)


def _end(ticket: Ticket, work: Work) -> None:
    """The run is over: the job ends, or waits for the earliest event that was set aside."""
    status = work.session.scalars(select(Connection.status).where(Connection.id == ticket.connection_id)).one_or_none()
    due_at = None
    if status == ACTIVE:
        due_at = inbox.next_due(work.session, tenant_id=ticket.tenant_id, connection_id=ticket.connection_id, kind=LEAD)
    if due_at is None:
        ticket.finish(work)
    else:
        ticket.rest(work, max(due_at, ticket.now()))
