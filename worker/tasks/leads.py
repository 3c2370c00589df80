"""`leads.fetch`: drain what is pending for one page - read ids, ask Graph in batches of 50, store, and only then forget.
`leads.sweep`: once an hour, put what is due for every page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import random

import structlog
from sqlalchemy import func, select

from integrations.errors import IntegrationError, Missing, NeedsUser, Throttled, Transient
from integrations.facebook_leads.graph import LeadReply
from integrations.facebook_leads.lead import DASHBOARD_LEAD
from models import inbox
from models.connection import ACTIVE, Connection, still
from models.form import KEPT, Form, known_forms
from models.inbox import Pending
from models.lead import ReadyLeads, store
from models.reading import Due, due_connections
from worker.jobs import connections_check, forms_discover, leads_catch_up, leads_check
from worker.retries import backoff
from worker.task import Ticket
from worker.tasks.storing import LEAD, Known, Page, access_problem, known, made_ready, new_lead, open_page, tell
from worker.work import Work

log = structlog.get_logger(__name__)

READ_AT_ONCE = 500
GRAPH_BATCH = 50  # Meta's own limit: developers.facebook.com/docs/graph-api/batch-requests
# A lead that Meta says is not there may be late (replication), or we may have no access: looked for again, then parked.
LOOK_AGAIN = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6))

FORMS_LISTED_EVERY, FORMS_LISTED_LATE = timedelta(hours=20), timedelta(hours=26)
UNKNOWN_FORM_EVERY = timedelta(hours=1)
"""How often a page's forms are listed because of leads of a form that is not among them: once more an hour at most."""
SWEPT_AT_ONCE = 500
SPREAD = timedelta(minutes=50)
"""What is due in an hour begins within so long: less than the time between two sweeps."""

_EXAMPLE = "The example that Meta's dashboard sends: it stands for no lead, and the way to here is open."
_EXPIRED = "Facebook no longer has this lead: it keeps leads for about 90 days."


@dataclass(slots=True)
class Fetch:
    """One run. `trouble` is why leads of the page are not shown, once somebody asked Meta (`asked`)."""

    page: Page
    forms: dict[str, Known]
    asked: bool = False
    trouble: NeedsUser | None = field(default=None)

    def ask(self, ticket: Ticket, replies: Sequence[LeadReply]) -> None:
        """Ask once a run, when a lead is not shown."""
        if not self.asked and any(isinstance(reply.error, Missing) for reply in replies):
            self.asked, self.trouble = True, access_problem(ticket.graph(), self.page)


def fetch(ticket: Ticket) -> None:
    """Every pending lead of the connection that the job names."""
    run: Fetch | None = None
    while True:
        run, due = _read(ticket, run)
        if run is None or not due:
            with ticket.work() as work:
                _end(ticket, work)
            return
        last = len(due) < READ_AT_ONCE
        for batch, is_last in _batches(due):
            replies = _replies(ticket, run, batch)
            leads = _leads(run, batch, replies)
            with ticket.work() as work:
                _write(ticket, work, run, batch, replies, leads)
                if last and is_last:
                    _end(ticket, work)
        if last:
            return


def _read(ticket: Ticket, run: Fetch | None) -> tuple[Fetch | None, list[Pending]]:
    with ticket.work(reads_only=True) as work:
        session = work.session
        page = open_page(session, ticket.services.vault, ticket.connection_id)
        if page is None:
            return None, []
        due = inbox.pending(session, tenant_id=page.tenant_id, connection_id=page.connection_id, kind=LEAD,
                            now=ticket.now(), limit=READ_AT_ONCE)  # fmt: skip
        forms = known(known_forms(session, page.connection_id, {event.refs.get("form_id", "") for event in due}))
        asked, trouble = (run.asked, run.trouble) if run is not None else (False, None)
        return Fetch(page, forms, asked, trouble), due


def _batches(due: Sequence[Pending]) -> Iterator[tuple[Sequence[Pending], bool]]:
    for start in range(0, len(due), GRAPH_BATCH):
        yield due[start : start + GRAPH_BATCH], start + GRAPH_BATCH >= len(due)


def _replies(ticket: Ticket, run: Fetch, batch: Sequence[Pending]) -> dict[str, LeadReply]:
    """lead id -> what Meta said; without the dashboard's example, of which Meta itself knows nothing."""
    asked = [event.external_id for event in batch if event.external_id != DASHBOARD_LEAD]
    replies = ticket.graph().fetch_leads(run.page.token, asked) if asked else []
    run.ask(ticket, replies)
    return dict(zip(asked, replies, strict=True))


def _leads(run: Fetch, batch: Sequence[Pending], replies: Mapping[str, LeadReply]) -> ReadyLeads:
    """Those that Meta gave."""
    return made_ready(run.page, [
        new_lead(run.page, run.forms, lead, external_id=event.external_id, form_external_id=event.refs.get("form_id"),
                 received_at=event.received_at, source=event.source)
        for event in batch
        if (reply := replies.get(event.external_id)) is not None and (lead := reply.lead) is not None
    ])  # fmt: skip


def _write(ticket: Ticket, work: Work, run: Fetch, batch: Sequence[Pending], replies: Mapping[str, LeadReply],
           leads: ReadyLeads) -> None:  # fmt: skip
    """Leads, history and the events' end, unless the connection was closed while we were at Meta."""
    session, page, now = work.session, run.page, ticket.now()
    if not still(session, page.connection_id):
        return
    stored = store(session, page.hashes, leads, now)
    found = {row["external_id"] for row in leads.rows}
    handled = [event.id for event in batch if event.external_id in found]
    inbox.handled(session, tenant_id=page.tenant_id, ids=handled, now=now)
    for event in batch:
        reply = replies.get(event.external_id)
        if reply is None:
            inbox.handled(session, tenant_id=page.tenant_id, ids=[event.id], now=now, sentence=_EXAMPLE)
        elif reply.error is not None:
            _set_aside(ticket, work, run, event, reply.error)
    _learn_forms(ticket, work, run, {lead.form_external_id for lead in stored} - {None})
    tell(session, page, stored, now)


def _learn_forms(ticket: Ticket, work: Work, run: Fetch, forms: set[str | None]) -> None:
    """A form that nobody has listed yet is asked for, together with all of its page's."""
    strange = {str(form) for form in forms} - run.forms.keys()
    if not strange:
        return
    page = run.page
    if len(known_forms(work.session, page.connection_id, strange)) < len(strange):
        listed = work.session.scalar(select(func.max(Form.seen_at)).where(Form.connection_id == page.connection_id))
        due_at = None if listed is None else max(listed + UNKNOWN_FORM_EVERY, ticket.now())
        work.put(forms_discover(page.tenant_id, page.connection_id, due_at))


def _set_aside(ticket: Ticket, work: Work, run: Fetch, event: Pending, error: IntegrationError) -> None:
    """One lead could not be read. Its neighbours are stored; this one waits, or is kept with its reason."""
    if isinstance(error, NeedsUser | Throttled):
        raise error  # not this lead's own trouble: the whole connection has to wait
    wait: timedelta | None = None
    sentence = str(error)
    if isinstance(error, Transient):
        wait = backoff(event.attempts + 1)
    elif isinstance(error, Missing):
        if run.trouble is not None:
            # Every lead of the page is withheld: a look at the connection says so, and what waits comes when it is well.
            sentence, wait = str(run.trouble), LOOK_AGAIN[min(event.attempts, len(LOOK_AGAIN) - 1)]
            work.put(connections_check(run.page.tenant_id, run.page.connection_id))
        elif event.occurred_at is not None and event.occurred_at < ticket.now() - KEPT:
            sentence = _EXPIRED
        elif event.attempts < len(LOOK_AGAIN):
            wait = LOOK_AGAIN[event.attempts]
    due_at = None if wait is None else ticket.now() + wait
    inbox.unhandled(work.session, tenant_id=ticket.tenant_id, event_id=event.id, kind=error.kind, sentence=sentence,
                    due_at=due_at)  # fmt: skip
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


def sweep(ticket: Ticket) -> None:
    """What is due at every page: its forms listed, read from their proven points, counted. Spread, and no page twice."""
    after: str | None = None
    while True:
        with ticket.work() as work:
            now = ticket.now()
            is_on = ticket.services.graph is not None
            found = (
                due_connections(work.session, "facebook_leads", after=after, limit=SWEPT_AT_ONCE, now=now)
                if is_on
                else []
            )
            for due in found:
                at = now + SPREAD * random()  # noqa: S311 - spreads load
                page = (due.tenant_id, due.connection_id, at)
                if _is_to_list(due, now):
                    work.put(forms_discover(*page))
                if due.is_to_read:
                    work.put(leads_catch_up(*page))
                if due.is_to_check:
                    work.put(leads_check(*page))
            if len(found) < SWEPT_AT_ONCE:
                ticket.finish(work)
                return
            after = found[-1].connection_id


def _is_to_list(due: Due, now: datetime) -> bool:
    """Daily. A page that has no forms to be seen has an hour of the day for it, instead of being asked in each."""
    if due.seen_at is None or due.seen_at < now - FORMS_LISTED_LATE:
        return now.hour == int(due.connection_id[-4:], 16) % 24
    return due.seen_at < now - FORMS_LISTED_EVERY
