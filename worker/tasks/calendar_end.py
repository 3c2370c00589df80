"""The end of a connection at Google Calendar: its channels are stopped, and, where the tenant chose so, our events removed.

It runs before the grant is given back, for without it nothing can be removed. Every part can be done again.
"""

from collections.abc import Sequence
from functools import partial

from integrations.errors import IntegrationError, Missing, Throttled, Transient
from integrations.google_calendar import calendars, event
from integrations.google_calendar.calendars import Listed
from models import calendar as rows
from models.calendar_event import AGREED, REMOVED, Change, Keys, Known, counts_of, every_event, settle
from models.connection import Connection
from models.deletion import REMOVE_EVENTS, step
from models.job import are_open
from models.tenancy import tenant_session
from worker.jobs import calendars_converge
from worker.task import Ticket
from worker.tasks.calendar_run import CalendarRun

REMOVED_AT_ONCE = 200


def has_channels(ticket: Ticket) -> bool:
    """Whether Google tells us of changes."""
    with ticket.work(reads_only=True) as work:
        return bool(rows.channels_of(work.session, ticket.connection_id))


def stop_channels(ticket: Ticket, token: str) -> None:
    """Google tells of nothing any more. What it has forgotten is a success."""
    with ticket.work(reads_only=True) as work:
        channels = rows.channels_of(work.session, ticket.connection_id)
    for one in channels:
        if one.resource_id is not None:
            ticket.services.calendar_api.stop(token, channel_id=one.id, resource_id=one.resource_id)
    with ticket.work() as work:
        rows.forget_channels(work.session, [one.id for one in channels])


def remove_events(ticket: Ticket, deletion_id: str, token: str) -> str | None:
    """Delete every event of ours, and the calendar if nothing else is in it; why not, if there was nothing to do.

    The counts are in the step: how many there were, how many are gone.
    """
    run = _run(ticket, token)
    if run is None:
        return "There was no calendar of ours."
    key = str(calendars_converge(ticket.tenant_id, ticket.connection_id).key)
    with tenant_session(ticket.services.database, ticket.tenant_id, reads_only=True) as session:
        if are_open(session, ticket.tenant_id, [key]):
            # Its batch may be on its way: what it makes there has to be seen here.
            raise Transient("A run for this calendar has not ended yet.", code="busy")
    _count(run, deletion_id)
    after: str | None = None
    while True:
        with ticket.work(reads_only=True) as work:
            some = every_event(work.session, tenant_id=ticket.tenant_id, connection_id=ticket.connection_id, after=after,
                               limit=REMOVED_AT_ONCE)  # fmt: skip
        if not some:
            break
        _remove(run, deletion_id, [one for one in some if one.state != REMOVED])
        after = some[-1].id
    if _is_empty(run):
        run.ask(lambda access: run.google.delete(access, run.place))
    return None


def _run(ticket: Ticket, token: str) -> CalendarRun | None:
    services = ticket.services
    with ticket.work(reads_only=True) as work:
        row = work.session.get(Connection, ticket.connection_id)
        calendar = rows.calendar_of(work.session, ticket.connection_id)
        if row is None or calendar is None or calendar.external_id is None:
            return None
        keyrings = services.vault.keyrings(work.session, row.tenant_id, [row.id, row.tenant_id])
        if len(keyrings) < 2:
            return None
        return CalendarRun(
            ticket, calendar, row.external_id, "", "", Keys(keyrings[row.id], keyrings[row.tenant_id]), token
        )


def _count(run: CalendarRun, deletion_id: str) -> None:
    with run.ticket.work() as work:
        counts = step(work.session, deletion_id, REMOVE_EVENTS)
        if counts.before is None:
            states = counts_of(work.session, [run.connection_id]).get(run.connection_id, {})
            counts.before, counts.deleted = sum(states.values()) - states.get(REMOVED, 0), 0


def _remove(run: CalendarRun, deletion_id: str, some: Sequence[Known]) -> None:
    """What Google refuses to delete stays in the counts; a throttle stops the run, and the rest is done by the next one."""
    while some:
        now = some[: run.allow(len(some))]
        later = some[len(now) :]
        answers = run.send([calendars.delete(run.place, one.external_id) for one in now])
        gone, trouble = list[Known](), list[IntegrationError]()
        for one, answer in zip(now, answers, strict=True):
            error = calendars.error_of(answer)
            if error is None or calendars.is_absent(answer):
                gone.append(one)
            else:
                trouble.append(error)
        with run.ticket.work() as work:
            verdict = {**AGREED, "state": REMOVED, "etag": None, "content_hash": None}
            settle(work.session, run.tenant_id, [Change(one.id, one.version, verdict) for one in gone])
            counts = step(work.session, deletion_id, REMOVE_EVENTS)
            counts.deleted = (counts.deleted or 0) + len(gone)
        for error in trouble:
            if isinstance(error, Transient | Throttled):
                raise error
        some = later


def _is_empty(run: CalendarRun) -> bool:
    """Whether nobody has put anything of their own into our calendar."""
    listed: Listed | None = None
    try:
        while listed is None or listed.page_token is not None:
            listed = run.ask(partial(_list, run, None if listed is None else listed.page_token))
            if any(not event.is_cancelled(item) for item in listed.items):
                return False
    except Missing:  # the calendar itself is gone
        return False
    return True


def _list(run: CalendarRun, page_token: str | None, token: str) -> Listed:
    return run.google.changes(token, run.place, sync_token=None, page_token=page_token)
