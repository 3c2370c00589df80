"""Group commit for what providers tell us: concurrent deliveries share a transaction, and each is answered after it.

It knows rows, and neither HTTP nor how a provider writes its bodies.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from integrations.facebook_leads.webhook import LeadChange
from models.connection import Owner, all_owners, owners
from models.database import is_away
from models.inbox import Notice, take_in
from models.job import Message, put
from models.tenancy import system_session
from models.tombstone import Arrival, refused
from worker import jobs
from worker.services import Services
from worker.work import publish

log = structlog.get_logger(__name__)

FACEBOOK_LEADS = "facebook_leads"
MOST_IN_ONE_COMMIT = 2_000
MOST_WAITING = 20_000


class Full(Exception):
    """More is waiting for a commit than we hold in memory: ask again later."""


class Away(Exception):
    """The database cannot be reached: nothing was stored."""


@dataclass(slots=True)
class _Waiting:
    changes: Sequence[LeadChange]
    answer: asyncio.Future[Counter[str]]


@dataclass(slots=True)
class FrontDoor:
    """Takes deliveries in. One commit is under way at a time; what arrives meanwhile goes into the next one."""

    services: Services
    _waiting: list[_Waiting] = field(default_factory=list)
    _held: int = 0
    _unpublished: list[Message] = field(default_factory=list)
    _flush: asyncio.Task[None] | None = None
    _publish: asyncio.Task[None] | None = None
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, thread_name_prefix="front-door"))

    async def take_in(self, changes: Sequence[LeadChange]) -> Counter[str]:
        """Store the changes; returns, after the commit, how many were of a known page and how many were not."""
        if self._held + len(changes) > MOST_WAITING:
            raise Full
        waiting = _Waiting(changes, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._held += len(changes)
        if self._flush is None:
            self._flush = asyncio.create_task(self._flush_all())
        return await waiting.answer

    async def close(self) -> None:
        """Wait until what was taken in is stored."""
        while self._flush is not None or self._publish is not None:
            await asyncio.gather(*filter(None, (self._flush, self._publish)), return_exceptions=True)
        self._threads.shutdown()

    async def _flush_all(self) -> None:
        try:
            while self._waiting:
                await self._store(self._next_group())
        finally:
            self._flush = None

    def _next_group(self) -> list[_Waiting]:
        size = taken = 0
        for waiting in self._waiting:
            size += len(waiting.changes)
            if taken and size > MOST_IN_ONE_COMMIT:
                break
            taken += 1
        group, self._waiting = self._waiting[:taken], self._waiting[taken:]
        self._held -= sum(len(waiting.changes) for waiting in group)
        return group

    async def _store(self, group: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        try:
            outcomes, messages = await loop.run_in_executor(self._threads, self._commit, group)
        except Exception as error:
            if len(group) > 1 and not isinstance(error, Away):
                for waiting in group:  # one of them must not cost the others their answer
                    await self._store([waiting])
                return
            for waiting in group:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
            return
        for waiting, outcome in zip(group, outcomes, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(outcome)
        self._unpublished += messages
        if self._unpublished and self._publish is None:
            self._publish = asyncio.create_task(self._publish_all())

    async def _publish_all(self) -> None:
        try:
            while self._unpublished:
                messages, self._unpublished = self._unpublished, []
                await asyncio.get_running_loop().run_in_executor(self._threads, publish, self.services, messages)
        finally:
            self._publish = None

    def _commit(self, group: list[_Waiting]) -> tuple[list[Counter[str]], list[Message]]:
        try:
            return self._commit_once(group)
        except DBAPIError as error:
            log.warning("front_door_failed", error=type(error.orig).__name__, away=is_away(error))
            if is_away(error):
                raise Away from None
            raise

    def _commit_once(self, group: list[_Waiting]) -> tuple[list[Counter[str]], list[Message]]:
        now = self.services.clock()
        with system_session(self.services.database) as session:
            pages = sorted({change.page_id for waiting in group for change in waiting.changes})
            known = owners(session, FACEBOOK_LEADS, pages)
            anothers = _anothers(session, known, [change for waiting in group for change in waiting.changes])
            dead = self._dead(session, known, group)
            notices = {}
            outcomes = []
            for waiting in group:
                outcome: Counter[str] = Counter()
                for change in waiting.changes:
                    owner = known.get(change.page_id)
                    if owner and change in anothers:
                        outcome["made_before"] += 1
                        continue
                    erased = owner is not None and (owner.tenant_id, change.lead_id) in dead
                    outcome["erased" if erased else "known" if owner else "unknown_page"] += 1
                    if owner and not erased:
                        notices[owner.tenant_id, change.lead_id] = _notice(owner, change)
                outcomes.append(outcome)
            take_in(session, notices.values(), now)
            triggered = sorted({(notice.tenant_id, notice.connection_id) for notice in notices.values()})
            messages = put(session, [jobs.leads_fetch(*owner) for owner in triggered], now)
        return outcomes, messages

    def _dead(self, session: Session, known: Mapping[str, Owner], group: list[_Waiting]) -> set[tuple[str, str]]:
        """(tenant id, lead id) of what a deletion has taken. What is newer than it, which is nearly all, costs nothing."""
        doubtful: dict[str, list[Arrival]] = {}
        for change in (change for waiting in group for change in waiting.changes):
            owner = known.get(change.page_id)
            if owner is None or owner.tombstoned_at is None:
                continue
            if change.created_at is None or change.created_at <= owner.tombstoned_at:
                arrival = Arrival(change.lead_id, change.page_id, change.created_at)
                doubtful.setdefault(owner.tenant_id, []).append(arrival)
        dead = set()
        for tenant_id, arrivals in sorted(doubtful.items()):
            hashes = self.services.vault.existing(session, tenant_id, tenant_id)
            if hashes is not None:
                dead |= {(tenant_id, lead) for lead in refused(session, hashes, tenant_id, arrivals)}
        return dead


def _anothers(session: Session, known: Mapping[str, Owner], changes: Sequence[LeadChange]) -> set[LeadChange]:
    """Late word of leads from before a page's connection, when another tenant had the page: they are not this one's."""
    old = [
        change for change in changes
        if change.created_at is not None and (owner := known.get(change.page_id)) is not None
        and change.created_at < owner.since.replace(microsecond=0)  # Meta tells whole seconds
    ]  # fmt: skip
    if not old:
        return set()
    histories = all_owners(session, FACEBOOK_LEADS, sorted({change.page_id for change in old}))
    found = set()
    for change in old:
        before = [one for one in histories[change.page_id] if change.created_at and one.since <= change.created_at]
        if before and before[-1].tenant_id != known[change.page_id].tenant_id:
            found.add(change)
    return found


def _notice(owner: Owner, change: LeadChange) -> Notice:
    refs = {"form_id": change.form_id} if change.form_id else None
    return Notice(owner.tenant_id, owner.connection_id, "lead", change.lead_id, "webhook", refs, change.created_at)
