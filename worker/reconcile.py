"""The ledger against Redis: publish what is due or got lost, take back what a dead worker held. Harmless when run twice."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import redis
import structlog

from models import doubt as ledger
from models.doubt import Doubt
from models.job import DOUBT, QUEUED, RUNNING, WAITING, Message
from models.tenancy import system_session
from worker.jobs import MOST_ATTEMPTS
from worker.services import Services
from worker.work import publish

log = structlog.get_logger(__name__)

LOOK = 500
MOST_ROUNDS = 40
LONGEST_TRUST = timedelta(minutes=5)
"""A queued job whose message was found is asked after again when it is twice as old, but at least this often."""
ALIVE_KEY = "troth:alive"


@dataclass(slots=True)
class Found:
    """What one look did."""

    due: int = 0
    lost: int = 0
    taken_back: int = 0
    wiped: bool = False


def reconcile(services: Services) -> Found:
    """One look at every row whose `wake_at` has come."""
    found = Found()
    if _is_new(services.redis):
        with system_session(services.database) as session:
            queued = ledger.wake_all_queued(session, services.clock())
        services.redis.set(ALIVE_KEY, "1")  # only now: if we had failed, the next look would have tried again
        found.wiped = queued > 0
        log.info("redis_is_new", queued=queued)
    for _ in range(MOST_ROUNDS):
        if _round(services, found) < LOOK:
            break
    if found.due or found.lost or found.taken_back:
        log.info("reconciled", due=found.due, lost=found.lost, taken_back=found.taken_back)
    return found


def _is_new(connection: redis.Redis) -> bool:
    """Whether this Redis has never met us: fresh, wiped, or another one than before."""
    return not connection.exists(ALIVE_KEY)


def _round(services: Services, found: Found) -> int:
    now = services.clock()
    with system_session(services.database, reads_only=True) as session:
        doubts = ledger.awake(session, now, limit=LOOK)
    if not doubts:
        return 0
    lost = _lost(services, [doubt for doubt in doubts if doubt.state == QUEUED])
    messages: list[Message] = []
    with system_session(services.database) as session:
        due = [doubt for doubt in doubts if doubt.state == WAITING]
        kept = [doubt for doubt in doubts if doubt.state == QUEUED and doubt.message.job_id not in lost]
        gone = [doubt for doubt in doubts if doubt.message.job_id in lost]
        ledger.to_queued(session, due + gone, now + DOUBT)
        for wait, some in _by_trust(kept, now).items():
            ledger.to_queued(session, some, now + wait)
        for doubt in (doubt for doubt in doubts if doubt.state == RUNNING):
            back = ledger.lease_over(session, doubt, now, most_attempts=MOST_ATTEMPTS)
            if back is not None:
                messages.append(back)
    found.due, found.lost, found.taken_back = (
        found.due + len(due),
        found.lost + len(gone),
        found.taken_back + len(messages),
    )
    publish(services, messages + [doubt.message for doubt in due + gone])
    return len(doubts)


def _lost(services: Services, queued: list[Doubt]) -> set[str]:
    """Of the rows that should have a message, those that Redis knows nothing of, or moved out long ago."""
    lost: set[str] = set()
    moved_before = services.clock().timestamp() - DOUBT.total_seconds()
    for lane, gate in services.gates.items():
        ids = [doubt.message.job_id for doubt in queued if doubt.message.lane == lane]
        if ids:
            lost |= set(gate.missing(ids, moved_before=moved_before))
    return lost


def _by_trust(kept: list[Doubt], now: datetime) -> dict[timedelta, list[Doubt]]:
    grouped: dict[timedelta, list[Doubt]] = {}
    for doubt in kept:
        wait = min(max(DOUBT, now - doubt.created_at), LONGEST_TRUST)
        grouped.setdefault(timedelta(seconds=int(wait.total_seconds())), []).append(doubt)
    return grouped
