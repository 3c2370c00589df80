"""`bulletins.start`: fix the recipients, a row for each device. `bulletins.send`: claim some, commit, post, record, and again.
`bulletins.settle`: end what is left when nothing more will be sent. `bulletins.sweep`: whose time has come. `devices.prune`."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from operator import itemgetter
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
    Answer,
    Channel,
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
from models.feed import BULLETIN_COMPLETED, emit
from models.opt_out import user_mark
from models.push import Chunk, Claimed, Listed, Result
from models.tenancy import plan_by_key
from models.tenant import Tenant
from models.vault import Keyring, VaultError
from worker import jobs
from worker.bulletin_times import Times, pace
from worker.push_pace import Allowance, alone
from worker.retries import backoff
from worker.task import Ticket
from worker.work import Work

log = structlog.get_logger(__name__)

FIXED_AT_ONCE = 2_000
CHUNK = 500
FIRST_SLICE, SLICE = 10, 245
"""Pushes that are claimed, posted and recorded together, two slices at a time: so many may be sent twice when a worker dies.
The first are few, so that a bulletin that the provider will not have is stopped after them."""
A_FEW = 3
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
        if row.chunks <= 0:  # none was needed, or all have ended already
            work.put(jobs.bulletins_settle(ticket.tenant_id, row.id))
        log.info("bulletin_fixed", bulletin=row.id, devices=row.devices, recipients=row.recipients)
        ticket.finish(work)
        return False


def _write(work: Work, row: Bulletin, found: Sequence[Listed], times: Times, now: datetime) -> None:
    """Rows for these devices, and the jobs that will send to them."""
    rows: list[tuple[str, bytes, str, datetime]] = []
    per_minute = alone(row.per_minute, work.session.get_one(Tenant, row.tenant_id).pushes_per_minute)
    size = min(CHUNK, ceil(per_minute or CHUNK))  # what is spread goes a minute's worth at a time
    for first in range(0, len(found), size):
        turn, some = now + pace(row.devices + first, per_minute), found[first : first + size]
        due = [times.due(one.timezone, turn) for one in some]
        rows += [(one.id, one.user_hash, pushes.QUEUED, at) for one, at in zip(some, due, strict=True)]
        work.put(jobs.bulletins_send(row.tenant_id, row.id, row.after, some[-1].id, min(due)))
        row.after, row.chunks = some[-1].id, row.chunks + 1
    pushes.write(work.session, row.tenant_id, row.id, rows)
    row.devices += len(found)


class Sent(NamedTuple):
    """What a post came to: by which way, and whose answer it is; None where nothing was posted."""

    push: Claimed
    verdict: Verdict
    channel: str | None = None
    service: str | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A bulletin as a run sends it."""

    row: Bulletin
    content: Content
    keyring: Keyring


@dataclass(frozen=True, slots=True)
class Flight:
    """Pushes that are on their way, and those that have their verdict without."""

    ready: Sequence[tuple[Claimed, Channel, str]]
    answers: "Future[list[Answer]]"
    known: Sequence[Sent]

    def landed(self) -> list[Sent]:
        """Wait for the answers."""
        told = [
            Sent(push, channel.verdict(answer), channel.name, service)
            for (push, channel, service), answer in zip(self.ready, self.answers.result(), strict=True)
        ]
        return [*self.known, *told]


def send(ticket: Ticket) -> None:
    """Every push of the job's chunk that is due. While some are at the providers, those before them are recorded and those
    after them claimed, in one transaction; none waits for a provider."""
    services = ticket.services
    with services.pushes.paces.allow(services.database, ticket.tenant_id, CHUNK) as allowance:
        _send(ticket, allowance)


def _send(ticket: Ticket, allowance: Allowance) -> None:
    args = ticket.run.args
    chunk = Chunk(ticket.tenant_id, str(args["bulletin"]), args["after"], str(args["last"]))
    text: Text | None = None
    sent: list[Sent] = []
    flight: Flight | None = None
    limit = FIRST_SLICE
    while True:
        with ticket.work() as work:
            plan_by_key(work.session)
            if sent:
                _record(ticket, work, chunk, sent)
            goes_on = _goes_on(ticket, work, chunk)
            if goes_on and text is None:
                text = _text(ticket, work, chunk)
            claimed = (
                allowance.claim(work.session, chunk, ticket.now(), limit=limit) if goes_on and text is not None else []
            )
            if not claimed and flight is None:
                _end(ticket, work, chunk, is_over=not goes_on or text is None, until=allowance.until)
                return
        begun = _begin(ticket, text, claimed) if claimed and text is not None else None
        if limit == FIRST_SLICE:  # nothing follows before these are known to be taken
            flight, begun, limit = begun, None, SLICE
        sent, flight = (flight.landed() if flight is not None else []), begun
        _heed(ticket, sent)


def _heed(ticket: Ticket, sent: Sequence[Sent]) -> None:
    """The longest pause that each service asks for is kept by all."""
    waits = [
        (one.service, one.verdict.wait) for one in sent if one.verdict.wait is not None and one.service is not None
    ]
    for service, wait in dict(sorted(waits, key=itemgetter(1))).items():
        ticket.services.pushes.hold(service, ticket.now() + wait)


def _goes_on(ticket: Ticket, work: Work, chunk: Chunk) -> bool:
    """Whether more of the bulletin may be sent."""
    found = bulletins.state_of(work.session, chunk.tenant_id, chunk.bulletin_id)
    return found is not None and found[0] in (STARTING, SENDING) and found[1] > ticket.now()


def _text(ticket: Ticket, work: Work, chunk: Chunk) -> Text | None:
    """What is to be sent; None when its tenant's key is gone."""
    row = work.session.get_one(Bulletin, chunk.bulletin_id)
    keyring = ticket.services.vault.existing(work.session, chunk.tenant_id, chunk.tenant_id)
    return None if keyring is None else Text(row, bulletins.content_of(keyring, row), keyring)


def _begin(ticket: Ticket, text: Text, claimed: Sequence[Claimed]) -> Flight:
    """Post all that can be posted; the rest has its verdict without."""
    known: list[Sent] = []
    writers: dict[tuple[str, str | None], Writer | Verdict] = {}
    ready: list[tuple[Claimed, Channel, str]] = []
    held: dict[str, datetime | None] = {}
    posts: list[Post] = []
    for push in claimed:
        if push.spared is not None:
            known.append(Sent(push, Verdict(push.spared, push.spared)))
            continue
        channel = ticket.services.pushes.channel(push.kind) if push.kind is not None else None
        if push.kind is None or push.address is None or channel is None:
            verdict = Verdict(DEAD, devices.GONE) if push.kind is None else Verdict(INVALID, "turned_off")
            known.append(Sent(push, verdict))
            continue
        key = push.kind, push.locale
        if key not in writers:
            writers[key] = _writer(ticket, channel, text, push.kind, push.locale)
        writer = writers[key]
        if isinstance(writer, Verdict):
            known.append(Sent(push, writer))
            continue
        try:
            opened = text.keyring.unseal(push.address, table="devices", row=push.device_id, column="address")
            address = orjson.loads(opened)
            service = channel.service(address)
            if service not in held:
                held[service] = ticket.services.pushes.held(service)
            if (until := held[service]) is not None:
                known.append(Sent(push, Verdict(AGAIN, "held", until - ticket.now())))
                continue
            posts.append(writer.post(address))
            ready.append((push, channel, service))
        except (VaultError, ValueError):  # this one's own; its neighbours are sent to
            known.append(Sent(push, Verdict(INVALID, "unreadable")))
    return Flight(ready, ticket.services.pushes.send(posts), known)


def _writer(ticket: Ticket, channel: Channel, text: Text, kind: str, locale: str | None) -> Writer | Verdict:
    """A message in the words of one locale, for one way; or why nothing goes that way now."""
    row, content = text.row, text.content
    title, body = content.words(locale)
    message = Message(row.id, title, plain(body), row.expires_at - ticket.now(), content.url, content.image_url,
                      row.priority == "high")  # fmt: skip
    try:
        return channel.begin(message, kind)
    except IntegrationError as error:
        log.warning("push_not_begun", channel=channel.name, error=error.kind, sentence=str(error))
        return Verdict(AGAIN if isinstance(error, Transient) else CREDENTIALS, error.code or error.kind)


def _record(ticket: Ticket, work: Work, chunk: Chunk, sent: Sequence[Sent]) -> None:
    """Results in bulk; a bulletin that the provider will not have stops."""
    now = ticket.now()
    results: dict[Result, list[str]] = {}
    waits: dict[tuple[str, int], datetime] = {}
    for one in sent:
        results.setdefault(_result(one, waits, now), []).append(one.push.id)
    pushes.record(work.session, chunk, results, now)
    refused = refused_as_a_whole(sent)
    if refused is not None and not pushes.any_sent(work.session, chunk, refused.kinds):
        _stop(work, chunk, refused.code, now)


def _result(one: Sent, waits: dict[tuple[str, int], datetime], now: datetime) -> Result:
    verdict = one.verdict
    if verdict.kind == ACCEPTED:
        return Result(pushes.SENT)
    if verdict.kind in (DEAD, FOREIGN):
        return Result(pushes.REMOVED, devices.GONE if verdict.kind == DEAD else devices.FOREIGN)
    if verdict.kind in (pushes.RESTRICTED, pushes.OPTED_OUT):
        return Result(verdict.kind)
    if verdict.kind == INVALID:
        return Result(pushes.FAILED, verdict.code)
    key = verdict.code, one.push.attempts
    if key not in waits:
        usual = CREDENTIALS_WAIT if verdict.kind == CREDENTIALS else backoff(one.push.attempts + 1)
        waits[key] = now + (verdict.wait or usual)
    return Result(pushes.RETRY, verdict.code, waits[key])


class Refused(NamedTuple):
    """The word by which a provider refuses what is sent, and the kinds of device it was sent to."""

    code: str
    kinds: set[str]


def refused_as_a_whole(sent: Sequence[Sent]) -> Refused | None:
    """What one way refuses, whomever it is sent to: a few times by the same word, and none of these was taken."""
    for channel in {one.channel for one in sent} - {None}:
        mine = [one for one in sent if one.channel == channel]
        codes = [one.verdict.code for one in mine if one.verdict.kind == INVALID]
        if len(codes) >= A_FEW and len(set(codes)) == 1 and not any(one.verdict.kind == ACCEPTED for one in mine):
            return Refused(codes[0], {one.push.kind for one in mine if one.push.kind is not None})
    return None


def _stop(work: Work, chunk: Chunk, code: str, now: datetime) -> None:
    row = bulletins.locked(work.session, chunk.bulletin_id)
    if row is not None and row.status in (STARTING, SENDING):
        bulletins.end(row, STOPPED, now, _STOPPED.format(code=code))
        work.session.flush()
        work.put(jobs.bulletins_settle(chunk.tenant_id, chunk.bulletin_id))
        log.warning("bulletin_stopped", bulletin=row.id, code=code)


def _end(ticket: Ticket, work: Work, chunk: Chunk, *, is_over: bool, until: datetime | None) -> None:
    """The job rests until the next push of its chunk is due and not held back, or is done: dead devices go."""
    due_at = None if is_over else pushes.next_due(work.session, chunk)
    if due_at is not None:
        ticket.rest(work, max(due_at, until or ticket.now()))
        return
    ticket.finish(work)
    if bulletins.chunk_ended(work.session, chunk.tenant_id, chunk.bulletin_id):
        work.put(jobs.bulletins_settle(chunk.tenant_id, chunk.bulletin_id))
    for reason, dead in sorted(pushes.dead_devices(work.session, chunk).items()):
        devices.remove(work.session, chunk.tenant_id, dead, reason, ticket.now())


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
