"""`deletions.run`: freeze, erase in chunks, verify in a new transaction, and look once more a day later; each step's place is
a row, so that whoever is killed is followed by one who goes on. `deletions.sweep`: look at every deletion whose time has
come, start it, remind, raise its alarms."""

from datetime import datetime, timedelta
from itertools import count as count_from
from time import perf_counter
from typing import Any

import structlog

from models.activity import LEADS
from models.decision import cancel
from models.deletion import (
    IDLE,
    RESCAN,
    RUNNING,
    STEP_DONE,
    STEP_FAILED,
    TENANT,
    VERIFY,
    Deletion,
    described,
    due,
    end_step,
    locked,
    step,
)
from models.ed25519 import SigningKey
from models.erasure import (
    action_needed,
    add_missing_steps,
    count,
    erase,
    forget_doubles,
    freeze,
    may_begin,
    note,
    still_revoking,
    target_of,
)
from models.feed import DELETION_ACTION_NEEDED, DELETION_DUE_SOON, DELETION_OVERDUE, emit
from models.personal import Store, Target, children_of, stores_of
from models.retention import may_go
from models.revocation import close_all
from models.watch import is_rescan_due, look
from worker.jobs import connections_revoke, deletions_run
from worker.receipts import issue_receipt, receipt_key, settle
from worker.task import Ticket
from worker.work import Work

log = structlog.get_logger(__name__)

SWEPT_AT_ONCE = 200
FIRST_CHUNK, LEAST_CHUNK, MOST_CHUNK = 200, 25, 5_000
LONGEST_CHUNK, USUAL_CHUNK = 0.1, 0.055
"""Seconds that a chunk may hold its locks, and that its size is made for: another's turn, or a sync, may come in between."""
MOST_SHRUNK, MOST_GROWN = 0.25, 1.25
CHUNKS_A_CHECKPOINT = 8
"""Small chunks change the same pages of indexes again and again: they are carried over once for a few of them."""
PROVIDER_AGAIN = timedelta(minutes=15)
"""How long until a grant that is still being revoked is looked at again; its end wakes the erasure earlier."""
FOUND_AGAIN = "Rows were found after they had been erased; they are erased again."


class Resized:
    """How many rows a chunk takes, so that it stays under `LONGEST_CHUNK` on this database."""

    def __init__(self) -> None:
        self.limit = FIRST_CHUNK

    def took(self, seconds: float) -> None:
        """Adapt to how long the last chunk took: at once where that was too long, step by step where it was short."""
        factor = max(MOST_SHRUNK, min(MOST_GROWN, USUAL_CHUNK / seconds))
        self.limit = max(LEAST_CHUNK, min(MOST_CHUNK, int(self.limit * factor)))


def run(ticket: Ticket) -> None:
    """Carry the deletion that the job names as far as it goes now."""
    target = _begin(ticket)
    if target is None:
        return
    size = Resized()
    for store in stores_of(target.kind):
        if store.waits and _waits_for_provider(ticket, target):
            return
        _erase(ticket, store, target, size)
    _verify(ticket, target)


def _id(ticket: Ticket) -> str:
    return str(ticket.run.args["deletion"])


def _row(ticket: Ticket, work: Work) -> Deletion | None:
    return locked(work.session, _id(ticket))


def _begin(ticket: Ticket) -> Target | None:
    """What is to be erased now, frozen; None: nothing, and the job has ended."""
    with ticket.work(reads_only=True) as work:
        row, now = work.session.get(Deletion, _id(ticket)), ticket.now()
        if row is not None and may_begin(row, now):
            target = target_of(work.session, row.tenant_id, row, row.requested_at)
            before = count(work.session, ticket.services.vault, target)
        else:
            before = {}
        is_second_look = row is not None and is_rescan_due(row, now)
    key = receipt_key(ticket.services) if is_second_look else None
    with ticket.work() as work:
        row, now = _row(ticket, work), ticket.now()
        if row is None or not (may_begin(row, now) or row.status == RUNNING):
            _rescan(ticket, work, row, key)
            return None
        add_missing_steps(work.session, row, now)
        if row.status != RUNNING:
            if row.kind == IDLE and not _may_go_for_its_age(ticket, work, row, now):
                return None
            if row.kind == TENANT:  # whatever was connected since it was asked for
                work.put(*(connections_revoke(row.tenant_id, one) for one in close_all(work.session, row, now)))
            target = target_of(work.session, row.tenant_id, row, row.requested_at)
            freeze(work.session, ticket.services.vault, row, target, before, now)
            log.info("deletion_frozen", deletion=row.id, scope=row.kind, rows=sum(before.values()))
            return target
        row.moved_at = now
        return target_of(work.session, row.tenant_id, row, row.requested_at)


def _may_go_for_its_age(ticket: Ticket, work: Work, row: Deletion, now: datetime) -> bool:
    """A switch that was turned off, or a law that came, since the rule opened it is the last word."""
    if ticket.services.settings.retention and may_go(work.session, row.tenant_id, LEADS, now):
        return True
    cancel(row, now)
    log.info("deletion_cancelled", deletion=row.id, scope=row.kind)
    ticket.finish(work)
    return False


def _waits_for_provider(ticket: Ticket, target: Target) -> bool:
    with ticket.work() as work:
        if not still_revoking(work.session, target):
            return False
        ticket.rest(work, ticket.now() + PROVIDER_AGAIN)
        return True


def _erase(ticket: Ticket, store: Store, target: Target, size: Resized) -> None:
    """All chunks of a store; one that was done before finds nothing."""
    after: Any = None
    for number in count_from(1):
        with ticket.work() as work:
            work.session.connection()
            started = perf_counter()  # of the locks: waiting for SQLite's only writer holds none
            chunk = erase(work.session, ticket.services.vault, store, target, after=after, limit=size.limit)
            row, now = _row(ticket, work), ticket.now()
            if row is None:
                return
            note(work.session, row, chunk, now)
            if chunk.done:
                if store.name == "leads":
                    forget_doubles(work.session, row.tenant_id)
                for one in (store, *children_of(store)):
                    end_step(work.session, row.id, one.name, STEP_DONE, None, now)
                return
        size.took(perf_counter() - started)
        after = chunk.after
        if number % CHUNKS_A_CHECKPOINT == 0:
            ticket.services.database.checkpoint()


def _verify(ticket: Ticket, target: Target) -> None:
    """Count again, in a transaction that saw none of the deletes; what is left is erased by the next run."""
    with ticket.work(reads_only=True) as work:
        left = count(work.session, ticket.services.vault, target)
    key = None if any(left.values()) else receipt_key(ticket.services)
    with ticket.work() as work:
        row, now = _row(ticket, work), ticket.now()
        if row is None or row.status != RUNNING:
            ticket.finish(work)
            return
        for name, number in left.items():
            step(work.session, row.id, name).after = number
        if key is None:
            _found_again(ticket, work, row, left, VERIFY)
            ticket.rest(work, now + timedelta(seconds=1))
            return
        end_step(work.session, row.id, VERIFY, STEP_DONE, None, now)
        row.erased_at = row.erased_at or now
        row.verified_at = row.moved_at = now
        row.rescanned_at = None
        settle(work, row, key, now)
        log.info("deletion_verified", deletion=row.id, scope=row.kind)
        ticket.finish(work)


def _rescan(ticket: Ticket, work: Work, row: Deletion | None, key: SigningKey | None) -> None:
    """A day later, when queues have drained and every source has had its chance to bring something back; without a key it
    was not due yet."""
    now = ticket.now()
    if row is not None and key is not None and is_rescan_due(row, now):
        target = target_of(work.session, row.tenant_id, row, row.requested_at)
        left = count(work.session, ticket.services.vault, target)
        row.rescanned_at = now
        if any(left.values()):
            _found_again(ticket, work, row, left, RESCAN)
            row.status, row.verified_at, row.completed_at = RUNNING, None, None
            work.put(deletions_run(row.tenant_id, row.id))
        else:
            end_step(work.session, row.id, RESCAN, STEP_DONE, None, now)
            issue_receipt(work.session, key, row, now)
        row.act_at = look(row, now).next_at
    ticket.finish(work)


def _found_again(ticket: Ticket, work: Work, row: Deletion, left: dict[str, int], name: str) -> None:
    end_step(work.session, row.id, name, STEP_FAILED, FOUND_AGAIN, ticket.now())
    found = {store: number for store, number in left.items() if number}
    log.error("deletion_found_again", deletion=row.id, step=name, rows=sum(found.values()))
    told = {**described(row), "reason": "found_again"}
    emit(work.session, row.tenant_id, [(DELETION_DUE_SOON, told)], ticket.now())


def sweep(ticket: Ticket) -> None:
    """Every deletion whose time has come; the gate lets tenants take turns."""
    while True:
        with ticket.work() as work:
            now = ticket.now()
            found = due(work.session, now, limit=SWEPT_AT_ONCE)
            for row in sorted(found, key=lambda row: (row.tenant_id, row.id)):
                _look_at(work, row, now)
            if len(found) < SWEPT_AT_ONCE:
                ticket.finish(work)
                return


def _look_at(work: Work, row: Deletion, now: datetime) -> None:
    seen = look(row, now)
    if seen.run:
        work.put(deletions_run(row.tenant_id, row.id))
    told: list[tuple[str, dict[str, Any]]] = []
    if seen.remind:
        told.append((DELETION_ACTION_NEEDED, action_needed(row)))
        row.moved_at = now
    if seen.alarm is not None:
        row.alarm = seen.alarm
        kind = DELETION_OVERDUE if seen.is_overdue else DELETION_DUE_SOON
        told.append((kind, {**described(row), "waits_for": seen.waits_for}))
        log.warning("deletion_alarm", deletion=row.id, alarm=seen.alarm, waits_for=seen.waits_for, tenant=row.tenant_id)
    row.act_at = look(row, now).next_at
    emit(work.session, row.tenant_id, told, now)
