"""`bulletins.start`: fix the recipients, a row for each device. `bulletins.send`: claim some, commit, post, record, and again.
`bulletins.settle`: end what is left when nothing more will be sent. `bulletins.sweep`: whose time has come. `devices.prune`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import orjson
import structlog

from integrations.errors import IntegrationError, Transient
from integrations.push.contract import (
    ACCEPTED,
    AGAIN,
    CREDENTIALS,
    DEAD,
    FOREIGN,
    INVALID,
    Message,
    Post,
    Verdict,
    Writer,
)
from integrations.push.message import plain
from models import bulletin as bulletins
from models import device as devices
from models import push as pushes
from models.bulletin import CANCELLED, COMPLETED, SCHEDULED, SENDING, STARTING, STOPPED, Bulletin, Content
from models.device import user_mark
from models.feed import BULLETIN_COMPLETED, emit
from models.push import Chunk, Claimed, Listed, Result
from models.tenant import Tenant
from models.vault import Keyring, VaultError
from worker import jobs
from worker.bulletin_times import Times, pace
from worker.retries import backoff
from worker.task import Ticket
from worker.work import Work

log = structlog.get_logger(__name__)

FIXED_AT_ONCE = 2_000
CHUNK = 500
FIRST_SLICE, SLICE = 10, 100
"""Pushes that are claimed, posted and recorded together: so many may be sent twice when a worker dies. The first are few, so
that a bulletin that the provider will not have is stopped after them."""
A_FEW = 3
SETTLED_AFTER = timedelta(seconds=2)
CLOSED_AT_ONCE, SWEPT_AT_ONCE, PRUNED_AT_ONCE = 2_000, 200, 500
CREDENTIALS_WAIT = timedelta(minutes=5)
_STOPPED = "The provider says that this bulletin is not valid ({code}); it was stopped, and no device was removed."


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
        users = [user_mark(keyring, user) for user in audience.users] if audience.kind == "users" else None
        found = pushes.listed(session, ticket.tenant_id, after=row.after, limit=FIXED_AT_ONCE, tags=audience.tags,
                              users=users)  # fmt: skip
        zone = session.get_one(Tenant, ticket.tenant_id).timezone
        times = Times(now, zone, row.send_at, row.local_at, row.respect_quiet_hours)
        _write(work, row, found, times, now)
        row.status = STARTING
        if len(found) == FIXED_AT_ONCE:
            return True
        missing = pushes.without(session, ticket.tenant_id, row.id, users) if users else []
        pushes.write(session, ticket.tenant_id, row.id, [(None, user, pushes.FEED_ONLY, now) for user in missing])
        row.recipients = pushes.recipients(session, ticket.tenant_id, row.id)
        row.status, row.fixed_at, row.wake_at = SENDING, now, row.expires_at
        if row.devices == 0:
            work.put(jobs.bulletins_settle(ticket.tenant_id, row.id))
        log.info("bulletin_fixed", bulletin=row.id, devices=row.devices, recipients=row.recipients)
        ticket.finish(work)
        return False


def _write(work: Work, row: Bulletin, found: Sequence[Listed], times: Times, now: datetime) -> None:
    """Rows for these devices, and the jobs that will send to them."""
    due = [times.due(one.timezone) for one in found]
    rows = [(one.id, one.user_hash, pushes.QUEUED, at) for one, at in zip(found, due, strict=True)]
    pushes.write(work.session, row.tenant_id, row.id, rows)
    for first in range(0, len(found), CHUNK):
        last = found[min(first + CHUNK, len(found)) - 1].id
        at = max(min(due[first : first + CHUNK]), now + pace(row.devices + first, row.per_minute))
        work.put(jobs.bulletins_send(row.tenant_id, row.id, row.after, last, at))
        row.after = last
    row.devices += len(found)


class Sent(NamedTuple):
    """What a post came to. `channel` is None where nothing was posted."""

    push: Claimed
    verdict: Verdict
    channel: str | None


@dataclass(frozen=True, slots=True)
class Text:
    """A bulletin as a run sends it."""

    row: Bulletin
    content: Content
    keyring: Keyring


def send(ticket: Ticket) -> None:
    """Every push of the job's chunk that is due. No transaction is open while we are at the providers."""
    args = ticket.run.args
    chunk = Chunk(ticket.tenant_id, str(args["bulletin"]), args["after"], str(args["last"]))
    sent: list[Sent] = []
    limit = FIRST_SLICE
    while True:
        with ticket.work() as work:
            if sent:
                _record(ticket, work, chunk, sent)
            text = _text(ticket, work, chunk)
            claimed = pushes.claim(work.session, chunk, ticket.now(), limit=limit) if text is not None else []
            if text is None or not claimed:
                _end(ticket, work, chunk, is_over=text is None)
                return
        sent = _post(ticket, text, claimed)
        limit = SLICE


def _text(ticket: Ticket, work: Work, chunk: Chunk) -> Text | None:
    """What is to be sent; None when nothing of it may be, or not any more."""
    row = work.session.get(Bulletin, chunk.bulletin_id, populate_existing=True)
    keyring = ticket.services.vault.existing(work.session, chunk.tenant_id, chunk.tenant_id)
    if row is None or keyring is None or row.status not in (STARTING, SENDING) or row.expires_at <= ticket.now():
        return None
    return Text(row, bulletins.content_of(keyring, row), keyring)


def _post(ticket: Ticket, text: Text, claimed: Sequence[Claimed]) -> list[Sent]:
    """Post all that can be posted; the rest has its verdict without."""
    found: list[Sent] = []
    writers: dict[tuple[str, str], Writer | Verdict] = {}
    ready: list[tuple[Claimed, str, Post]] = []
    for push in claimed:
        channel = ticket.services.pushes.channel(push.kind) if push.kind is not None else None
        if push.kind is None or push.address is None or channel is None:
            verdict = Verdict(DEAD, devices.GONE) if push.kind is None else Verdict(INVALID, "turned_off")
            found.append(Sent(push, verdict, None))
            continue
        title, body, locale = text.content.words(push.locale)
        key = push.kind, locale
        if key not in writers:
            writers[key] = _writer(ticket, text.row, text.content, title, body, push.kind)
        writer = writers[key]
        if isinstance(writer, Verdict):
            found.append(Sent(push, writer, None))
            continue
        try:
            opened = text.keyring.unseal(push.address, table="devices", row=push.device_id, column="address")
            ready.append((push, push.kind, writer.post(orjson.loads(opened))))
        except (VaultError, ValueError):  # this one's own; its neighbours are sent to
            found.append(Sent(push, Verdict(INVALID, "unreadable"), None))
    answers = ticket.services.pushes.send([post for _, _, post in ready])
    for (push, kind, _), answer in zip(ready, answers, strict=True):
        channel = ticket.services.pushes.channel(kind)
        if channel is not None:
            found.append(Sent(push, channel.verdict(answer), channel.name))
    return found


def _writer(ticket: Ticket, row: Bulletin, content: Content, title: str, body: str, kind: str) -> Writer | Verdict:
    """A message in the words of one locale, for one way; or why nothing goes that way now."""
    channel, now = ticket.services.pushes.channel(kind), ticket.now()
    if channel is None:
        return Verdict(INVALID, "turned_off")
    until = ticket.services.pushes.held(channel.name)
    if until is not None:
        return Verdict(AGAIN, "held", until - now)
    message = Message(row.id, title, plain(body), row.expires_at - now, content.url, content.image_url,
                      row.priority == "high")  # fmt: skip
    try:
        return channel.begin(message, kind)
    except IntegrationError as error:
        log.warning("push_not_begun", channel=channel.name, error=error.kind, sentence=str(error))
        return Verdict(AGAIN if isinstance(error, Transient) else CREDENTIALS, error.code or error.kind)


def _record(ticket: Ticket, work: Work, chunk: Chunk, sent: Sequence[Sent]) -> None:
    """Results in bulk; devices that are dead go; a bulletin that the provider will not have stops."""
    now = ticket.now()
    results: dict[Result, list[str]] = {}
    waits: dict[tuple[str, int], datetime] = {}
    for one in sent:
        results.setdefault(_result(one, waits, now), []).append(one.push.id)
        if one.verdict.wait is not None and one.channel is not None:
            ticket.services.pushes.hold(one.channel, now + one.verdict.wait)
    pushes.record(work.session, chunk.tenant_id, results, now)
    code = refused_as_a_whole(sent)
    if code is not None:
        _stop(work, chunk, code, now)
    for kind, reason in ((DEAD, devices.GONE), (FOREIGN, devices.FOREIGN)):
        dead = {(one.push.device_id, bytes(one.push.address_hash)) for one in sent
                if one.verdict.kind == kind and one.push.address_hash is not None}  # fmt: skip
        if dead:
            there = devices.still_there(work.session, chunk.tenant_id, dead)
            devices.remove(work.session, chunk.tenant_id, there, reason, now)


def _result(one: Sent, waits: dict[tuple[str, int], datetime], now: datetime) -> Result:
    verdict = one.verdict
    if verdict.kind == ACCEPTED:
        return Result(pushes.SENT)
    if verdict.kind in (DEAD, FOREIGN):
        return Result(pushes.REMOVED, verdict.code)
    if verdict.kind == INVALID:
        return Result(pushes.FAILED, verdict.code)
    key = verdict.code, one.push.attempts
    if key not in waits:
        usual = CREDENTIALS_WAIT if verdict.kind == CREDENTIALS else backoff(one.push.attempts + 1)
        waits[key] = now + (verdict.wait or usual)
    return Result(pushes.RETRY, verdict.code, waits[key])


def refused_as_a_whole(sent: Sequence[Sent]) -> str | None:
    """The code by which one way refuses what is sent, whomever it is sent to: a few times, and never anything else."""
    for channel in {one.channel for one in sent} - {None}:
        mine = [one.verdict for one in sent if one.channel == channel]
        codes = [verdict.code for verdict in mine if verdict.kind == INVALID]
        if len(codes) >= A_FEW and len(set(codes)) == 1 and not any(verdict.kind == ACCEPTED for verdict in mine):
            return codes[0]
    return None


def _stop(work: Work, chunk: Chunk, code: str, now: datetime) -> None:
    row = bulletins.locked(work.session, chunk.bulletin_id)
    if row is not None and row.status in (STARTING, SENDING):
        bulletins.end(row, STOPPED, now, _STOPPED.format(code=code))
        work.put(jobs.bulletins_settle(chunk.tenant_id, chunk.bulletin_id))
        log.warning("bulletin_stopped", bulletin=row.id, code=code)


def _end(ticket: Ticket, work: Work, chunk: Chunk, *, is_over: bool) -> None:
    """The job is done, or rests until the next push of its chunk is due."""
    due_at = None if is_over else pushes.next_due(work.session, chunk)
    if due_at is not None:
        ticket.rest(work, max(due_at, ticket.now()))
        return
    work.put(jobs.bulletins_settle(chunk.tenant_id, chunk.bulletin_id, ticket.now() + SETTLED_AFTER))
    ticket.finish(work)


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
