"""`bulletins.send`: claim the pushes of a chunk that are due, commit, post, record; and again while there are any."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    TIMEOUT,
    Channel,
    Message,
    Post,
    Verdict,
    Writer,
)
from integrations.push.message import plain
from models import bulletin as bulletins
from models import device as devices
from models import push as states
from models import push_chunk as pushes
from models.bulletin import SENDING, STARTING, STOPPED, Announced, Content
from models.push_chunk import Chunk, Claimed, Result
from models.tenancy import plan_by_key
from models.vault import Keyring, VaultError
from worker import jobs
from worker.push_pace import Allowance
from worker.retries import backoff
from worker.task import Ticket
from worker.tasks.bulletins import CHUNK
from worker.work import Work

log = structlog.get_logger(__name__)

FIRST_SLICE, SLICE = 10, CHUNK + 1
"""Pushes that are claimed, posted and recorded together: so many may be sent twice when a worker dies. One more than a chunk
has: whoever claims it knows that it was all. The first are few until a provider has taken one, so that a bulletin that it will
not have is stopped after them."""
A_FEW = 3
CREDENTIALS_WAIT, HUNG_WAIT = timedelta(minutes=5), timedelta(minutes=1)
_STOPPED = "The provider says that this bulletin is not valid ({code}); it was stopped, and no device was removed."


@dataclass(frozen=True, slots=True)
class Text:
    """A bulletin as a run sends it."""

    row: Announced
    content: Content
    keyring: Keyring


class Way(NamedTuple):
    """How one kind of device gets the words of one locale."""

    channel: Channel
    writer: Writer


class Sent(NamedTuple):
    """What became of a push that was not taken: by which way, and whose answer it is; None where nothing was posted."""

    push: Claimed
    verdict: Verdict
    channel: str | None = None
    service: str | None = None


@dataclass(slots=True)
class Slice:
    """What came of the pushes of a slice. `proven` are the channels that took one, `heard` the services that answered."""

    taken: list[str] = field(default_factory=list)
    others: list[Sent] = field(default_factory=list)
    proven: set[str] = field(default_factory=set)
    heard: set[str] = field(default_factory=set)


def send(ticket: Ticket) -> None:
    """Every push of the job's chunk that is due, as far as quota and pace allow. No transaction waits for a provider."""
    services = ticket.services
    with services.pushes.paces.allow(services.database, ticket.tenant_id, CHUNK) as allowance:
        _send(ticket, allowance)


def _send(ticket: Ticket, allowance: Allowance) -> None:
    args = ticket.run.args
    chunk = Chunk(ticket.tenant_id, str(args["bulletin"]), args["after"], str(args["last"]))
    limit, sent = SLICE, Slice()
    claimed: list[Claimed] = []
    while True:
        with ticket.work() as work:
            plan_by_key(work.session)
            if claimed:
                _record(ticket, work, chunk, sent)
            if claimed and len(claimed) < limit:  # these were all, or all that it may
                _end(ticket, work, chunk, until=allowance.until)
                return
            text = _text(ticket, work, chunk)
            if text is None:
                _end(ticket, work, chunk, is_over=True)
                return
            limit = SLICE if _is_taken(ticket, work, chunk) else FIRST_SLICE
            claimed = allowance.claim(work.session, chunk, ticket.now(), limit=limit)
            if not claimed:
                _end(ticket, work, chunk, until=allowance.until)
                return
        sent = _post(ticket, text, claimed)
        _heed(ticket, sent)


def _is_taken(ticket: Ticket, work: Work, chunk: Chunk) -> bool:
    """Whether a provider has taken any push of the bulletin."""
    services = ticket.services.pushes
    if services.last_taken == chunk.bulletin_id:
        return True
    if not pushes.is_taken(work.session, chunk):
        return False
    services.last_taken = chunk.bulletin_id
    return True


def _text(ticket: Ticket, work: Work, chunk: Chunk) -> Text | None:
    """What is to be sent; None when nothing more may be, or when its tenant's key is gone."""
    row = bulletins.announced(work.session, chunk.tenant_id, chunk.bulletin_id)
    if row is None or row.status not in (STARTING, SENDING) or row.expires_at <= ticket.now():
        return None
    keyring = ticket.services.vault.existing(work.session, chunk.tenant_id, chunk.tenant_id)
    return None if keyring is None else Text(row, bulletins.content_of(keyring, row), keyring)


def _post(ticket: Ticket, text: Text, claimed: Sequence[Claimed]) -> Slice:
    """Post all that can be posted, and wait for the answers; the rest has its verdict without."""
    services, sent = ticket.services.pushes, Slice()
    ways = {key: _way(ticket, text, *key) for key in {(push.kind, push.locale) for push in claimed}}
    with services.writing:
        written = _written(text.keyring, ways, claimed, sent.others)
    held = {service: services.held(service) for service in {post.service for _, _, post in written}}
    ready = []
    for push, channel, post in written:
        if (until := held[post.service]) is not None:
            sent.others.append(Sent(push, Verdict(AGAIN, "held", until - ticket.now())))
        else:
            ready.append((push, channel, post))
    answers = services.send([post for _, _, post in ready])
    for (push, channel, post), answer in zip(ready, answers, strict=True):
        verdict = channel.verdict(answer)
        if answer.status:
            sent.heard.add(post.service)
        if verdict.kind == ACCEPTED:
            sent.taken.append(push.id)
            sent.proven.add(channel.name)
        else:
            sent.others.append(Sent(push, verdict, channel.name, post.service))
    return sent


def _written(
    keyring: Keyring, ways: Mapping[tuple[str | None, str | None], Way | Verdict], claimed: Sequence[Claimed],
    others: list[Sent],
) -> list[tuple[Claimed, Channel, Post]]:  # fmt: skip
    """A request for each that can have one; `others` gets the rest, with its verdict."""
    written, unseal = [], keyring.unseal
    for push in claimed:
        way = ways[push.kind, push.locale]
        if push.spared is not None:
            way = Verdict(push.spared, push.spared)
        if isinstance(way, Verdict):
            others.append(Sent(push, way))
            continue
        try:
            sealed = push.address or b""
            address = orjson.loads(unseal(sealed, table="devices", row=push.device_id, column="address"))
            written.append((push, way.channel, way.writer.post(address)))
        except (VaultError, ValueError):  # this one's own; its neighbours are sent to
            others.append(Sent(push, Verdict(INVALID, "unreadable")))
    return written


def _way(ticket: Ticket, text: Text, kind: str | None, locale: str | None) -> Way | Verdict:
    """A message in the words of one locale, for one way; or why nothing goes that way now."""
    if kind is None:
        return Verdict(DEAD, devices.GONE)
    channel = ticket.services.pushes.channel(kind)
    if channel is None:
        return Verdict(INVALID, "turned_off")
    row, content = text.row, text.content
    title, body = content.words(locale)
    message = Message(row.id, title, plain(body), row.expires_at - ticket.now(), content.url, content.image_url,
                      row.priority == "high")  # fmt: skip
    try:
        return Way(channel, channel.begin(message, kind))
    except IntegrationError as error:
        log.warning("push_not_begun", channel=channel.name, error=error.kind, sentence=str(error))
        return Verdict(AGAIN if isinstance(error, Transient) else CREDENTIALS, error.code or error.kind)


def _heed(ticket: Ticket, sent: Slice) -> None:
    """The longest pause that each service asks for is kept by all; one that only hangs is left alone for a while, or it would
    hold up slice after slice."""
    hung = {one.service for one in sent.others if one.verdict.code == TIMEOUT and one.service is not None} - sent.heard
    waits = dict.fromkeys(hung, HUNG_WAIT)
    for one in sent.others:
        if one.service is not None and one.verdict.wait is not None:
            waits[one.service] = max(one.verdict.wait, waits.get(one.service, one.verdict.wait))
    for service, wait in waits.items():
        ticket.services.pushes.hold(service, ticket.now() + wait)


def _record(ticket: Ticket, work: Work, chunk: Chunk, sent: Slice) -> None:
    """Results in bulk; a bulletin that the provider will not have stops."""
    now = ticket.now()
    results: dict[Result, list[str]] = {Result(states.SENT): sent.taken} if sent.taken else {}
    waits: dict[tuple[str, int], datetime] = {}
    for one in sent.others:
        results.setdefault(_result(one, waits, now), []).append(one.push.id)
    pushes.record(work.session, chunk, results, now)
    refused = refused_as_a_whole(sent)
    if refused is not None and not pushes.any_sent(work.session, chunk, refused.kinds):
        _stop(work, chunk, refused.code, now)


def _result(one: Sent, waits: dict[tuple[str, int], datetime], now: datetime) -> Result:
    verdict = one.verdict
    if verdict.kind in (DEAD, FOREIGN):
        return Result(states.REMOVED, devices.GONE if verdict.kind == DEAD else devices.FOREIGN)
    if verdict.kind in (states.RESTRICTED, states.OPTED_OUT):
        return Result(verdict.kind)
    if verdict.kind == INVALID:
        return Result(states.FAILED, verdict.code)
    key = verdict.code, one.push.attempts
    if key not in waits:
        usual = CREDENTIALS_WAIT if verdict.kind == CREDENTIALS else backoff(one.push.attempts + 1)
        waits[key] = now + (verdict.wait or usual)
    return Result(states.RETRY, verdict.code, waits[key])


class Refused(NamedTuple):
    """The word by which a provider refuses what is sent, and the kinds of device it was sent to."""

    code: str
    kinds: set[str]


def refused_as_a_whole(sent: Slice) -> Refused | None:
    """What one way refuses, whomever it is sent to: a few times by the same word, and none of these was taken."""
    for channel in {one.channel for one in sent.others} - {None} - sent.proven:
        mine = [one for one in sent.others if one.channel == channel and one.verdict.kind == INVALID]
        codes = {one.verdict.code for one in mine}
        if len(mine) >= A_FEW and len(codes) == 1:
            return Refused(codes.pop(), {one.push.kind for one in mine if one.push.kind is not None})
    return None


def _stop(work: Work, chunk: Chunk, code: str, now: datetime) -> None:
    row = bulletins.locked(work.session, chunk.bulletin_id)
    if row is not None and row.status in (STARTING, SENDING):
        bulletins.end(row, STOPPED, now, _STOPPED.format(code=code))
        work.session.flush()
        work.put(jobs.bulletins_settle(chunk.tenant_id, chunk.bulletin_id))
        log.warning("bulletin_stopped", bulletin=row.id, code=code)


def _end(
    ticket: Ticket, work: Work, chunk: Chunk, *, is_over: bool = False, until: datetime | None = None
) -> None:  # fmt: skip
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
