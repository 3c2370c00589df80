"""What a look at a retention rule finds, and what follows from it: a count, a notice, or a deletion like any other."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Table, and_, func, select
from sqlalchemy.orm import Session

from models.activity import idle_leads
from models.deletion import HELD, IDLE, RUNNING, SCHEDULED, Deletion, Wish, locked
from models.erasure import ask
from models.feed import RETENTION_NOTICE, emit
from models.lead import Lead, LeadHistory
from models.retention import RetentionRule, exceptions, legal_in_effect
from models.tenant import ACTIVE_TENANT, Tenant

LOOK_EVERY = timedelta(days=1)
BATCH_EVERY = timedelta(hours=1)
"""How long between two batches of one rule."""
BY_RULE = "retention_rule"

_LEADS: Table = Lead.__table__  # type: ignore[assignment]
_HISTORY: Table = LeadHistory.__table__  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule means now: rows by store, idle since before an instant; `kept_by` are sentences about laws that keep it."""

    idle_since: datetime
    rows: dict[str, int]
    kept_by: list[str]

    @property
    def leads(self) -> int:
        """How many leads."""
        return self.rows["leads"]


def survey(session: Session, rule: RetentionRule, now: datetime) -> Found:
    """Count what a rule would take, and what keeps it (a session of its tenant); nothing is changed."""
    since = rule.idle_before(now)
    mine = idle_leads(rule.tenant_id, since)
    same = and_(_HISTORY.c.tenant_id == _LEADS.c.tenant_id, _HISTORY.c.lead_id == _LEADS.c.id)
    with_history = _LEADS.join(_HISTORY, same)
    count = session.connection().execute
    rows = {
        "leads": count(select(func.count()).select_from(_LEADS).where(mine)).scalar_one(),
        "lead_history": count(select(func.count()).select_from(with_history).where(mine)).scalar_one(),
    }
    laws = legal_in_effect(session, session.get_one(Tenant, rule.tenant_id), rule.store, now)
    return Found(since, rows, exceptions(laws))


def idle_page(session: Session, rule: RetentionRule, now: datetime, *, after: str | None, limit: int) -> Sequence[Any]:
    """(id, received_at) of the leads that a rule means now, a page at a time."""
    query = select(_LEADS.c.id, _LEADS.c.received_at).where(idle_leads(rule.tenant_id, rule.idle_before(now)))
    query = query if after is None else query.where(_LEADS.c.id > after)
    return session.connection().execute(query.order_by(_LEADS.c.id).limit(limit)).all()


def advance(session: Session, rule: RetentionRule, found: Found, now: datetime) -> Deletion | None:
    """The next step of a locked rule; the deletion, if one was opened. `found` is a look at the rule as it is."""
    tenant = session.get_one(Tenant, rule.tenant_id)
    if tenant.retention_off_at is not None or tenant.status != ACTIVE_TENANT:
        rule.next_at = None
        return None
    rule.counted, rule.counted_at, rule.next_at = found.leads, now, now + LOOK_EVERY
    if found.kept_by or rule.armed_at is None or not found.leads:
        rule.take_back()
        return None
    if rule.runs_at is None:
        _give_notice(session, rule, found, now)
        return None
    if now < rule.runs_at:
        rule.next_at = rule.runs_at
        return None
    rule.next_at = now + BATCH_EVERY
    last = None if rule.deletion_id is None else locked(session, rule.deletion_id)
    if last is not None and last.status in (SCHEDULED, HELD, RUNNING):
        return None
    return _open(session, tenant, rule, now)


def _give_notice(session: Session, rule: RetentionRule, found: Found, now: datetime) -> None:
    rule.noticed, rule.noticed_at, rule.idle_since = found.leads, now, found.idle_since
    rule.runs_at = rule.next_at = now + timedelta(hours=rule.notice_hours)
    told = {
        "rule_id": rule.id, "rule": rule.name, "store": rule.store, "rows": found.leads,
        "idle_since": found.idle_since.isoformat(), "runs_at": rule.runs_at.isoformat(),
    }  # fmt: skip
    emit(session, rule.tenant_id, [(RETENTION_NOTICE, told)], now)


def _open(session: Session, tenant: Tenant, rule: RetentionRule, now: datetime) -> Deletion:
    """Its two people are those of the rule, and the notice was the time for second thoughts."""
    wish = Wish(IDLE, BY_RULE, rule_id=rule.id, idle_since=rule.idle_since, at_most=rule.batch, requester=rule.author,
                verification="notice")  # fmt: skip
    row = ask(session, tenant=tenant, wish=wish, undo=timedelta(0), now=now)
    row.needs_approval, row.approver, row.approved_at = True, rule.armer, rule.armed_at
    rule.deletion_id = row.id
    session.flush()
    return row
