"""`leads.check`: yesterday's leads of each form, counted beside Meta's; what is missing here is fetched, and named."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from integrations.errors import Missing
from integrations.facebook_leads.paging import CursorGone, PageTooLarge, smaller
from integrations.facebook_leads.reading import LeadPages
from models import inbox
from models.connection import still
from models.form import ARCHIVED, Form, due_to_check, forms_of, is_read_seldom
from models.inbox import Notice
from models.lead import known_leads
from models.lead_check import MOST_NAMED, open_checks, write_check
from models.lead_facts import LEAST_SILENCE, counts_of, silence, times_of
from models.tombstone import Arrival, refused
from worker.jobs import leads_fetch
from worker.task import Ticket
from worker.tasks.storing import CATCH_UP, LEAD, Page, open_page
from worker.work import Work

log = structlog.get_logger(__name__)

PART = 1_000
"""Ids asked for at once; they are short."""
MOST_DAYS = 7
"""After an outage so many days are counted; the ones before lie open in the catch-up's proven point."""
RECHECKED_FOR = timedelta(days=3)
LOOK_AGAIN = timedelta(minutes=10)
"""What was missing is fetched at once; then its line is looked at again."""
SETTLED = timedelta(minutes=30)
"""A day is counted when its last leads have had so long to be told."""
SPREAD = timedelta(hours=12)
"""Then pages have their turns."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A form whose days are to be counted; plain values."""

    form_id: str
    external_id: str
    days: tuple[date, ...]


def check(ticket: Ticket) -> None:
    """Every form of the page whose count is due, then the lines of the last days that are not closed yet."""
    page, due = _due(ticket)
    is_missing = False
    if page is not None:
        for one in due:
            is_missing |= _count(ticket, page, one) if one.days else False
        _move_on(ticket, page, [one.form_id for one in due if not one.days])
        is_missing |= _recheck(ticket, page)
    with ticket.work() as work:
        if is_missing:
            ticket.rest(work, ticket.now() + LOOK_AGAIN)
        else:
            ticket.finish(work)


def _due(ticket: Ticket) -> tuple[Page | None, list[Counted]]:
    with ticket.work(reads_only=True) as work:
        page = open_page(work.session, ticket.services.vault, ticket.connection_id)
        if page is None:
            return None, []
        now = ticket.now()
        forms = due_to_check(work.session, page.connection_id, now)
        return page, [Counted(form.id, form.external_id, _days(form, page, now)) for form in forms]


def _days(form: Form, page: Page, now: datetime) -> tuple[date, ...]:
    """The whole days that the count is due for, none from before the connection. None of a form that has no leads to be
    read, or not yet as far as we know: the daily list of forms says when there are, and the catch-up brings them."""
    if is_read_seldom(form, now) or form.leads_count == 0 or form.check_due_at is None:
        return ()
    today = now.date()
    first = max(form.check_due_at.date() - timedelta(days=1), page.connected_at.date(),
                today - timedelta(days=MOST_DAYS))  # fmt: skip
    return tuple(first + timedelta(days=step) for step in range((today - first).days))


def _count(ticket: Ticket, page: Page, one: Counted) -> bool:
    """Whether leads are missing here."""
    is_missing, is_gone = False, False
    for day in one.days:
        try:
            ids = _at_meta(ticket.services.lead_pages, page, one.external_id, day)
        except Missing:
            is_gone = True  # the catch-up finds out why
            break
        with ticket.work() as work:
            if not still(work.session, page.connection_id):
                return False
            is_missing |= _write(ticket, work, page, one.form_id, one.external_id, day, ids)
    _move_on(ticket, page, [one.form_id], listen=not is_gone)
    return is_missing


def _move_on(ticket: Ticket, page: Page, form_ids: Sequence[str], *, listen: bool = True) -> None:
    """Tomorrow again, at the page's own time, so that one job counts all of its forms."""
    if not form_ids:
        return
    with ticket.work() as work:
        if not still(work.session, page.connection_id):
            return
        now = ticket.now()
        own_time = SPREAD * (int(page.connection_id[-4:], 16) / 0x10000)
        for form in work.session.scalars(select(Form).where(Form.id.in_(form_ids)).order_by(Form.id)):
            form.check_due_at = _start(now.date() + timedelta(days=1)) + SETTLED + own_time
            if listen:
                _listen(work.session, form, now)


def _at_meta(pages: LeadPages, page: Page, form: str, day: date) -> list[str]:
    """The ids of all leads made on a day, since the page was connected."""
    since, until = _span(page, day)
    found: dict[str, None] = {}
    limit, after, seen, is_again = PART, None, set[str](), False
    while True:
        try:
            part = pages.lead_ids(page.token, form, since=since, until=until, after=after, limit=limit,
                                  page_id=page.external_id)  # fmt: skip
        except PageTooLarge:
            limit = smaller(limit) or limit
            continue
        except CursorGone:
            if is_again:
                raise
            is_again, after = True, None
            seen.clear()
            continue
        found.update((str(lead["id"]), None) for lead in part.leads)
        if part.after is None or part.after in seen:
            return list(found)
        seen.add(part.after)
        after = part.after


def _write(
    ticket: Ticket, work: Work, page: Page, form_id: str, external_id: str, day: date, ids: Sequence[str]
) -> bool:
    """The day's line, if there is anything to be said; what is missing is fetched. Whether something is."""
    session, now = work.session, ticket.now()
    missing = _missing(session, page, ids)
    received, acknowledged = counts_of(session, [external_id], *_span(page, day)).get(external_id, (0, 0))
    if ids or received:
        write_check(session, tenant_id=page.tenant_id, form_id=form_id, day=day, provider=len(ids), received=received,
                    acknowledged=acknowledged, missing=missing, now=now)  # fmt: skip
    if missing:
        log.warning("leads_missing", form=external_id, day=day.isoformat(), missing=len(missing))
        notices = [
            Notice(page.tenant_id, page.connection_id, LEAD, one, CATCH_UP, {"form_id": external_id}) for one in missing
        ]
        inbox.take_in(session, notices, now)
        work.put(leads_fetch(page.tenant_id, page.connection_id))
    return bool(missing)


def _missing(session: Session, page: Page, ids: Sequence[str]) -> list[str]:
    """Those of these ids that are not here and ought to be: what a deletion has taken is not missed."""
    here = known_leads(session, page.tenant_id, ids)
    absent = [Arrival(one, page.external_id, None) for one in ids if one not in here]
    erased = refused(session, page.hashes, page.tenant_id, absent)
    return [one.external_id for one in absent if one.external_id not in erased]


def _recheck(ticket: Ticket, page: Page) -> bool:
    """Lines whose leads have come turn green; acknowledgements that came late are counted. Whether a day that lacked more
    than a line can name has to be counted once more."""
    is_missing = False
    with ticket.work() as work:
        session, now = work.session, ticket.now()
        if not still(session, page.connection_id):
            return False
        forms = {form.id: form.external_id for form in forms_of(session, page.connection_id)}
        for line in open_checks(session, list(forms), (now - RECHECKED_FOR).date()):
            left = _missing(session, page, line.missing)
            form = forms[line.form_id]
            received, acknowledged = counts_of(session, [form], *_span(page, line.day)).get(form, (0, 0))
            if len(line.missing) == MOST_NAMED and not left:
                is_missing = True
                session.get_one(Form, line.form_id).check_due_at = _start(line.day + timedelta(days=1))
                continue
            write_check(session, tenant_id=page.tenant_id, form_id=line.form_id, day=line.day, provider=line.provider,
                        received=received, acknowledged=acknowledged, missing=left, now=now)  # fmt: skip
    return is_missing


def _listen(session: Session, form: Form, now: datetime) -> None:
    """A form that fell quiet; the next lead says that it speaks again."""
    if form.silent_since is None and form.last_lead_at is not None and form.status != ARCHIVED \
            and now - form.last_lead_at > LEAST_SILENCE:  # fmt: skip
        form.silent_since = silence(times_of(session, form.external_id, now), now)


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _span(page: Page, day: date) -> tuple[datetime, datetime]:
    return max(_start(day), page.connected_at), _start(day + timedelta(days=1))
