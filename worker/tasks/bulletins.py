"""`bulletins.start`: fix the recipients, a row for each device. `bulletins.settle`: end what is left when nothing more will be
sent. `bulletins.sweep`: whose time has come. `devices.prune`."""

from collections.abc import Mapping
from datetime import datetime
from itertools import groupby
from math import ceil
from operator import itemgetter

import structlog

from models import bulletin as bulletins
from models import device as devices
from models import push as pushes
from models.bulletin import CANCELLED, COMPLETED, SCHEDULED, SENDING, STARTING, STOPPED, Bulletin
from models.feed import BULLETIN_COMPLETED, emit
from models.job import NewJob
from models.push import Chosen
from models.tenant import Tenant
from worker import jobs
from worker.bulletin_times import Times, pace
from worker.push_pace import alone
from worker.task import Ticket
from worker.work import Work

log = structlog.get_logger(__name__)

FIXED_AT_ONCE = 5_000
CHUNK = 500
CLOSED_AT_ONCE, SWEPT_AT_ONCE, PRUNED_AT_ONCE = 2_000, 200, 500
_NOBODY = "Everybody whom this bulletin named was erased; there is nobody left to send it to."


def start(ticket: Ticket) -> None:
    """Fix who gets the bulletin; a run that was cut short is followed by one that goes on behind the last device."""
    while _fix(ticket):
        pass


def _fix(ticket: Ticket) -> bool:
    """Some more devices; whether there may be others."""
    with ticket.work() as work:
        session, now = work.session, ticket.now()
        row = bulletins.locked(session, str(ticket.run.args["bulletin"]))
        keyring = ticket.services.vault.existing(session, ticket.tenant_id, ticket.tenant_id)
        if row is None or keyring is None or row.status not in (SCHEDULED, STARTING):
            ticket.finish(work)
            return False
        audience = bulletins.audience_of(keyring, row)
        chosen = pushes.chosen_by(audience, ticket.tenant_id, keyring)
        zone = session.get_one(Tenant, ticket.tenant_id).timezone
        times = Times(now, zone, row.send_at, row.local_at, row.respect_quiet_hours)
        row.status = STARTING
        if _write(work, row, chosen, times) >= FIXED_AT_ONCE:
            return True
        missing = pushes.without(session, ticket.tenant_id, row.id, chosen.users) if chosen.users else []
        pushes.write_feed_only(session, ticket.tenant_id, row.id, missing, now)
        row.recipients = pushes.recipients(session, ticket.tenant_id, row.id)
        row.status, row.fixed_at, row.wake_at = SENDING, now, row.expires_at
        row.sentence = _NOBODY if audience.kind == "users" and not audience.users else None
        bulletins.forget_users(keyring, row)
        if row.chunks <= 0:  # none was needed, or all have ended already
            work.put(jobs.bulletins_settle(ticket.tenant_id, row.id))
        log.info("bulletin_fixed", bulletin=row.id, devices=row.devices, recipients=row.recipients)
        ticket.finish(work)
        return False


def _write(work: Work, row: Bulletin, chosen: Chosen, times: Times) -> int:
    """Rows for the next devices, and the jobs that will send to them; how many devices there were."""
    session = work.session
    per_minute = alone(row.per_minute, session.get_one(Tenant, row.tenant_id).pushes_per_minute)
    size = min(CHUNK, ceil(per_minute or CHUNK))  # what is spread goes a minute's worth at a time
    found = pushes.stretches(session, chosen, after=row.after, size=size, limit=FIXED_AT_ONCE)
    turns = [times.now + pace(row.devices + size * number, per_minute) for number in range(len(found))]
    sends: list[NewJob] = []
    for turn, pairs in groupby(zip(turns, found, strict=True), itemgetter(0)):
        some = [one for _, one in pairs]
        due = {zone: times.due(zone, turn) for one in some for zone in (*one.zones, None)}
        row.devices += pushes.write(session, chosen, row.id, after=row.after, last=some[-1].last, due=due)
        for one in some:
            starts = min(due[zone] for zone in one.zones)
            sends.append(jobs.bulletins_send(row.tenant_id, row.id, row.after, one.last, starts))
            row.after, row.chunks = one.last, row.chunks + 1
    work.put(*sends)
    return sum(one.number for one in found)


_LEFT: Mapping[str, str] = {CANCELLED: pushes.CANCELLED, STOPPED: pushes.CANCELLED, SENDING: pushes.EXPIRED}


def settle(ticket: Ticket) -> None:
    """End what will not be sent any more, and the bulletin with its last push."""
    bulletin_id = str(ticket.run.args["bulletin"])
    while True:
        with ticket.work() as work:
            now = ticket.now()
            row = bulletins.locked(work.session, bulletin_id)
            if row is None:
                ticket.finish(work)
                return
            over = row.status in (CANCELLED, STOPPED) or (row.status == SENDING and row.expires_at <= now)
            closed = (
                pushes.close(work.session, row.tenant_id, row.id, _LEFT[row.status], now, limit=CLOSED_AT_ONCE)
                if over
                else 0
            )
            if closed < CLOSED_AT_ONCE:
                _settled(ticket, work, row, is_over=over, now=now)
                return


def _settled(ticket: Ticket, work: Work, row: Bulletin, *, is_over: bool, now: datetime) -> None:
    counts = pushes.counts(work.session, row.tenant_id, row.id)
    left = counts.number(*pushes.OPEN)
    if left and is_over:  # in flight: their results come, or their leases run out
        ticket.rest(work, now + pushes.LEASE)
        return
    if not left and row.status in (SENDING, CANCELLED, STOPPED) and row.counts is None:
        if row.status == SENDING:
            row.status, row.ended_at = COMPLETED, now
        row.wake_at, row.counts = None, {"states": dict(counts.states), "reasons": dict(counts.reasons)}
        row.prune_at = (row.ended_at or now) + bulletins.PUSHES_KEPT
        keyring = ticket.services.vault.existing(work.session, row.tenant_id, row.tenant_id)
        if keyring is not None:  # one that ended before its recipients were fixed
            bulletins.forget_users(keyring, row)
        told = {"bulletin_id": row.id, "status": row.status, "counts": dict(counts.states)}
        log.info("bulletin_over", bulletin=row.id, status=row.status, **counts.states)
        ticket.finish(work)
        emit(work.session, row.tenant_id, [(BULLETIN_COMPLETED, told)], now)
        return
    ticket.finish(work)


def sweep(ticket: Ticket) -> None:
    """Bulletins whose start was missed, or that have expired: whatever befell their jobs."""
    with ticket.work() as work:
        for tenant_id, bulletin_id, status in bulletins.due(work.session, ticket.now(), limit=SWEPT_AT_ONCE):
            begins = status in (SCHEDULED, STARTING)
            work.put((jobs.bulletins_start if begins else jobs.bulletins_settle)(tenant_id, bulletin_id))
        ticket.finish(work)


def prune(ticket: Ticket) -> None:
    """Forget devices that were not seen for 270 days, and tell their hosts."""
    while True:
        with ticket.work() as work:
            now = ticket.now()
            found = devices.stale(work.session, now, limit=PRUNED_AT_ONCE)
            for tenant_id, some in sorted(found.items()):
                devices.remove(work.session, tenant_id, some, devices.STALE, now)
            if sum(map(len, found.values())) < PRUNED_AT_ONCE:
                ticket.finish(work)
                return
