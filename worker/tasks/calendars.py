"""`calendars.converge`: Google and the wishes of one connection are brought together: its changes read, ours written.
`calendars.watch`: notices are asked for. `calendars.sweep`: once a minute, whose time has come.

One job both reads and writes: what a pass shows is never older than what we know, so no change is taken for another's
(docs/decisions/0009).
"""

import secrets
from datetime import timedelta
from random import uniform

import structlog

from integrations.errors import Missing, OurBug, Transient
from integrations.google_calendar import GOOGLE_CALENDAR
from models import calendar as calendars
from models.base import new_id
from models.calendar import EXPLAIN, POLL_UNWATCHED, RENEW_BEFORE, Channel, due_calendars
from models.calendar_event import SEEN_WITHIN, forget_found, next_due
from models.connection import still
from worker.jobs import calendars_converge, calendars_watch
from worker.task import Ticket
from worker.tasks.calendar_pull import everything_gone, pull
from worker.tasks.calendar_push import push
from worker.tasks.calendar_run import CalendarRun, open_run
from worker.tasks.calendar_verdict import CalendarGone

log = structlog.get_logger(__name__)

SWEPT_AT_ONCE = 500
NOTICES = "/webhooks/google/calendar"


def converge(ticket: Ticket) -> None:
    """Until nothing is to be read and nothing is due to be written."""
    run = open_run(ticket)
    if run is not None:
        while _turn(run) and run.reread():
            pass
    with ticket.work() as work:
        due_at = None
        if run is not None and run.calendar.gone_at is None and still(work.session, ticket.connection_id):
            due_at = next_due(work.session, tenant_id=ticket.tenant_id, connection_id=ticket.connection_id)
        if due_at is None:
            ticket.finish(work)
        else:
            ticket.rest(work, max(due_at, ticket.now()))


def _turn(run: CalendarRun) -> bool:
    """One step towards agreement; False: there is none to be made now."""
    now = run.ticket.now()
    if run.calendar.gone_at is not None:
        return False
    try:
        if run.calendar.external_id is None:
            return _make(run)
        if run.calendar.dirty_at is not None and run.calendar.dirty_at <= now:
            pull(run)
            return True
        return push(run)
    except CalendarGone:
        _gone(run)
        return True


def _make(run: CalendarRun) -> bool:
    """The calendar is made when there is something to be written into it."""
    with run.ticket.work(reads_only=True) as work:
        due = next_due(work.session, tenant_id=run.tenant_id, connection_id=run.connection_id)
    if due is None or due > run.ticket.now():
        return False
    external_id = run.ask(lambda token: run.google.create(token, title=run.title, time_zone=run.time_zone))
    with run.ticket.work() as work:
        if not still(work.session, run.connection_id):
            return False
        calendars.made(work.session, run.connection_id, external_id, run.ticket.now())
        work.put(calendars_watch(run.tenant_id, run.connection_id))
        run.ticket.hold(work)
    log.info("calendar_made", connection=run.connection_id)
    return True


def _gone(run: CalendarRun) -> None:
    """Somebody deleted the calendar at Google. The host is told of each event, for what they said is not kept here."""
    if run.ask(lambda token: run.google.exists(token, run.place)):
        raise Transient("Google does not find a calendar that it has.", code="notFound")
    everything_gone(run)
    with run.ticket.work() as work:
        now = run.ticket.now()
        gone_at = now if run.calendar.on_gone == EXPLAIN else None
        calendars.lost(work.session, run.connection_id, now, gone_at=gone_at)
        ids = [one.id for one in calendars.channels_of(work.session, run.connection_id)]
        calendars.forget_channels(work.session, ids)
        run.ticket.hold(work)
    log.warning("calendar_gone", connection=run.connection_id, again=gone_at is None)


def watch(ticket: Ticket) -> None:
    """Have a channel that lives for more than a day; the one before it brings notices until the new one does."""
    run = open_run(ticket)
    if run is None or run.calendar.external_id is None or _is_watched_long(ticket):
        with ticket.work() as work:
            ticket.finish(work)
        return
    secret, channel_id = secrets.token_urlsafe(32), new_id()
    now = ticket.now()
    with ticket.work() as work:
        # Stored first: the first notice may come before the answer.
        work.session.add(Channel(id=channel_id, tenant_id=ticket.tenant_id, connection_id=ticket.connection_id,
                                 digest=calendars.token_digest(secret), created_at=now))  # fmt: skip
    address = ticket.services.settings.base_url + NOTICES
    try:
        watched = run.ask(
            lambda token: run.google.watch(token, run.place, channel_id=channel_id, secret=secret, address=address)
        )
    except (OurBug, Missing) as error:
        # No notices for this calendar or this address: it is read by the clock alone.
        log.warning("calendar_unwatched", connection=ticket.connection_id, code=error.code)
        with ticket.work() as work:
            calendars.forget_channels(work.session, [channel_id])
            ticket.finish(work)
        return
    with ticket.work() as work:
        row = work.session.get(Channel, channel_id)
        if row is not None:
            row.resource_id, row.expires_at = watched.resource_id, watched.expires_at
        # What changed before notices came has to be read.
        calendars.to_be_read(work.session, ticket.connection_id, ticket.now())
        work.put(calendars_converge(ticket.tenant_id, ticket.connection_id))
        others = [one for one in calendars.channels_of(work.session, ticket.connection_id) if one.id != channel_id]
    _stop(run, others)
    with ticket.work() as work:
        ticket.finish(work)


def _is_watched_long(ticket: Ticket) -> bool:
    with ticket.work(reads_only=True) as work:
        return calendars.is_watched(work.session, ticket.connection_id, ticket.now() + RENEW_BEFORE)


def _stop(run: CalendarRun, channels: list[Channel]) -> None:
    """Older channels are ended; one that cannot be ends by itself, and its notices are known."""
    now, over = run.ticket.now(), list[str]()
    for one in channels:
        if one.resource_id is not None and (one.expires_at is None or one.expires_at > now):
            resource_id, channel_id = one.resource_id, one.id
            run.ask(lambda token, c=channel_id, r=resource_id: run.google.stop(token, channel_id=c, resource_id=r))  # type: ignore[misc]
        elif one.resource_id is None and one.created_at > now - timedelta(hours=1):
            continue  # another run has just asked for it
        over.append(one.id)
    with run.ticket.work() as work:
        calendars.forget_channels(work.session, over)


def sweep(ticket: Ticket) -> None:
    """Calendars that are to be read by the clock, or whose channels end soon; and what no host has looked at is erased."""
    after: str | None = None
    while True:
        with ticket.work() as work:
            now = ticket.now()
            is_on = GOOGLE_CALENDAR.name in ticket.services.providers
            found = due_calendars(work.session, now, after=after, limit=SWEPT_AT_ONCE) if is_on else []
            for due in found:
                if due.to_watch:
                    work.put(calendars_watch(due.tenant_id, due.connection_id))
                calendars.to_be_read(work.session, due.connection_id, now)
                work.put(calendars_converge(due.tenant_id, due.connection_id))
            # The pass itself says when the next one is due; this is for one that does not come to its end.
            wait = POLL_UNWATCHED * uniform(0.75, 1.25)  # noqa: S311 - spreads load
            calendars.look_again(work.session, [due.connection_id for due in found], now + wait)
            if len(found) < SWEPT_AT_ONCE:
                break
            after = found[-1].connection_id
    while True:
        with ticket.work() as work:
            if forget_found(work.session, ticket.now() - SEEN_WITHIN, limit=SWEPT_AT_ONCE) < SWEPT_AT_ONCE:
                ticket.finish(work)
                return
