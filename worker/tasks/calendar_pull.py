"""From Google's changes to the host: a pass over a calendar, from the place where the last complete one ended.

It writes page by page; the place is stored with the end of the last one, so a pass that is cut short is made again. Our own
changes come back in it and are known by their etag, or by what they say. Events that are not ours are not looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import uniform
from typing import Any

import structlog

from integrations.errors import Missing, Transient
from integrations.google_calendar import event
from integrations.google_calendar.calendars import Listed, PlaceForgotten
from models import calendar as calendars
from models import calendar_event as rows
from models.calendar import POLL_EVERY, POLL_UNWATCHED
from models.calendar_event import ABSENT, AGREED, CONFLICT, PENDING, REMOVED, SYNCED, Change, Known
from models.connection import still
from models.feed import CALENDAR_EVENT_CHANGED, emit
from worker.tasks.calendar_run import CalendarRun
from worker.tasks.calendar_verdict import CalendarGone, Told, content_hash
from worker.work import Work

log = structlog.get_logger(__name__)

COMPARED_AT_ONCE = 1_000


@dataclass(slots=True)
class Noted:
    """What a page changes, and what the host is told."""

    changes: list[Change] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)


def pull(run: CalendarRun) -> None:
    """One complete pass. Raises what Google's answers raise, and CalendarGone."""
    began, dirty_at, sync_token = run.ticket.now(), run.calendar.dirty_at, run.calendar.sync_token
    seen: set[str] | None = set() if sync_token is None else None
    listed: Listed | None = None
    while listed is None or listed.page_token is not None:
        listed = _page(run, sync_token, None if listed is None else listed.page_token)
        if listed is None:  # Google has forgotten the place: everything once more
            return
        _take(run, listed.items)
        if seen is not None:
            seen.update(item["id"] for item in listed.items if not event.is_cancelled(item))
    if not listed.sync_token:
        raise Transient("Google's list of events ends without a place to go on from.", code="answer")
    if seen is not None:
        _miss(run, seen)
    with run.ticket.work() as work:
        now = run.ticket.now()
        is_watched = calendars.is_watched(work.session, run.connection_id, now)
        wait = (POLL_EVERY if is_watched else POLL_UNWATCHED) * uniform(0.75, 1)  # noqa: S311 - spreads load
        calendars.passed(work.session, run.calendar, sync_token=listed.sync_token, began_at=began, dirty_at=dirty_at,
                         next_look=now + wait, now=now)  # fmt: skip
        run.ticket.hold(work)
    log.info("calendar_read", connection=run.connection_id, whole=seen is not None)


def _page(run: CalendarRun, sync_token: str | None, page_token: str | None) -> Listed | None:
    try:
        return run.ask(lambda token: run.google.changes(token, run.place, sync_token=sync_token, page_token=page_token))
    except PlaceForgotten:
        with run.ticket.work() as work:
            calendars.token_expired(work.session, run.connection_id, run.ticket.now())
        log.info("calendar_place_forgotten", connection=run.connection_id)
        return None
    except Missing:
        raise CalendarGone from None


def _take(run: CalendarRun, items: Sequence[Mapping[str, Any]]) -> None:
    """Write what a page shows of our events."""
    for start in range(0, len(items), COMPARED_AT_ONCE):
        some = items[start : start + COMPARED_AT_ONCE]
        ids = list({str(item.get("recurringEventId") or item["id"]) for item in some})
        with run.ticket.work() as work:
            if not still(work.session, run.connection_id):
                return
            known = rows.known_events(
                work.session, tenant_id=run.tenant_id, connection_id=run.connection_id, external_ids=ids
            )
            noted, series = Noted(), dict[str, list[Mapping[str, Any]]]()
            for item in some:
                master = item.get("recurringEventId")
                row = known.get(str(master or item["id"]))
                if row is not None and master is not None:
                    series.setdefault(row.external_id, []).append(item)
                elif row is not None:
                    _compare(run, noted, row, item)
            for external_id, exceptions in series.items():
                _except(run, noted, known[external_id], exceptions)
            _write(run, work, noted)


def _write(run: CalendarRun, work: Work, noted: Noted) -> None:
    if noted.changes:
        rows.settle(work.session, run.tenant_id, noted.changes)
        emit(work.session, run.tenant_id, noted.told, run.ticket.now())
        run.ticket.hold(work)


def _compare(run: CalendarRun, noted: Noted, row: Known, item: Mapping[str, Any]) -> None:
    """One event of ours as Google has it. What has a wish under way is left to the push, which meets the other version."""
    if row.state == PENDING or (item.get("etag") == row.etag and not event.is_cancelled(item)):
        return
    if event.is_cancelled(item):
        if row.etag is not None:
            _deleted(run, noted, row)
        return
    now, found = run.ticket.now(), content_hash(run.keys, item)
    facts = {"etag": item.get("etag"), "content_hash": found, "is_dressed": event.is_dressed(item)}
    if row.state == REMOVED and row.wanted == ABSENT:  # somebody brought back what the host does not want
        wish = run.keys.seal({"content": None, "notify": "none"}, row=row.id, column="wish")
        noted.changes.append(_change(row, {**facts, "state": PENDING, "wish": wish, "due_at": now}))
    elif found == row.content_hash:
        noted.changes.append(_change(row, facts))
    else:
        sealed = _sealed(run, row, event.from_google(item), {})
        state = {"state": CONFLICT if row.state == CONFLICT else SYNCED}
        noted.changes.append(_change(row, {**facts, **state, **sealed, "wished_hash": None}))
        noted.told.append(_told(run, row, deleted=False))


def _change(row: Known, values: Mapping[str, Any]) -> Change:
    """Only if the host does not wish anew meanwhile: then its wish meets this version at Google, and is decided there."""
    return Change(row.id, row.version, {}, values)


def _deleted(run: CalendarRun, noted: Noted, row: Known, reason: str | None = None) -> None:
    verdict = {**AGREED, "state": REMOVED, "etag": None, "content_hash": None, "is_dressed": False, "wished_hash": None,
               "found": None, "told_at": None, "instances": None}  # fmt: skip
    noted.changes.append(_change(row, verdict))
    noted.told.append(_told(run, row, deleted=True, **({} if reason is None else {"reason": reason})))


def _except(run: CalendarRun, noted: Noted, row: Known, exceptions: Sequence[Mapping[str, Any]]) -> None:
    """Single events of a series that somebody moved, changed or cancelled."""
    # Also with a wish under way: that is about the series, and its write does not meet what became of one day.
    if row.state == REMOVED:
        return
    known, changed = dict(row.instances or {}), dict[str, dict[str, Any] | None]()
    for item in exceptions:
        is_cancelled = event.is_cancelled(item)
        mark = "cancelled" if is_cancelled else content_hash(run.keys, item).hex()
        if known.get(item["id"]) != mark:
            known[item["id"]] = mark
            changed[_original(item)] = None if is_cancelled else event.from_google(item)
    if changed:
        noted.changes.append(_change(row, {"instances": known, **_sealed(run, row, None, changed)}))
        noted.told.append(_told(run, row, deleted=False, instances=sorted(changed)))


def _original(item: Mapping[str, Any]) -> str:
    """When an event of a series would have begun: by this it is known, wherever it was moved."""
    start = item.get("originalStartTime")
    found = start.get("dateTime") or start.get("date") if isinstance(start, dict) else None
    return str(found or item["id"])


def _sealed(
    run: CalendarRun, row: Known, content: dict[str, Any] | None, instances: Mapping[str, dict[str, Any] | None]
) -> dict[str, Any]:
    """What the host is to see, beside what it has not seen yet."""
    before: dict[str, Any] = {"event": None, "instances": {}}
    if row.found is not None:
        before = run.keys.unseal(row.found, row=row.id, column="found")
    found = {
        "event": content if content is not None else before["event"],
        "instances": {**(before["instances"] or {}), **instances},
    }
    return {"found": run.keys.seal(found, row=row.id, column="found"), "told_at": run.ticket.now()}


def _told(run: CalendarRun, row: Known, *, deleted: bool, **more: object) -> Told:
    return CALENDAR_EVENT_CHANGED, {
        "host_id": row.host_id, "connection_id": run.connection_id, "version": row.version, "deleted": deleted, **more
    }  # fmt: skip


def _miss(run: CalendarRun, seen: set[str]) -> None:
    """A full list does not show what was deleted: what we know of and it lacks is gone."""
    _each(run, lambda noted, row: _deleted(run, noted, row) if _is_missed(row, seen) else None)


def _is_missed(row: Known, seen: set[str]) -> bool:
    return row.etag is not None and row.state != PENDING and row.external_id not in seen


def _each(run: CalendarRun, look: Any) -> None:
    after: str | None = None
    while True:
        with run.ticket.work() as work:
            if not still(work.session, run.connection_id):
                return
            some = rows.every_event(work.session, tenant_id=run.tenant_id, connection_id=run.connection_id, after=after,
                                    limit=COMPARED_AT_ONCE)  # fmt: skip
            noted = Noted()
            for row in some:
                look(noted, row)
            _write(run, work, noted)
            if len(some) < COMPARED_AT_ONCE:
                return
            after = some[-1].id


def everything_gone(run: CalendarRun) -> None:
    """The calendar was deleted at Google, and all events with it: what was there is told, what waits is sent anew."""

    def look(noted: Noted, row: Known) -> None:
        if row.state == PENDING:
            noted.changes.append(Change(row.id, row.version, {"etag": None, "content_hash": None, "is_dressed": False}))
        elif row.etag is not None:
            _deleted(run, noted, row, "calendar_deleted")

    _each(run, look)
