"""What a tenant lets go for its age, and what the law keeps: rules, legal retentions, the switch. It counts nothing.

    dry run --armed by a second person--> armed --something is idle--> noticed --the notice is over--> a deletion, in batches
       ^------------- disarmed, or its terms changed -------------------'

A change of terms is a new rule: it begins in dry run, and is armed only after somebody could see its count.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Date, Index, String, UniqueConstraint, or_, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Id, Instant, Key, Word, new_id, short_binary, table_args
from models.decision import NotNow, SamePerson
from models.tenancy import TenantScoped
from models.tenant import ACTIVE_TENANT, Tenant

LEAST_NOTICE = 48
"""Hours. Rule 8(2) of India's DPDP Rules asks for as much before an erasure for inactivity."""
MOST_AT_ONCE = 1_000
"""Leads of a batch: their ids stand in the deletion's row, and a text of MariaDB holds no more than 1,600."""


class RetentionRule(TenantScoped, Base):
    """Let go what was idle for `after_days`, `batch` leads at a time, `notice_hours` after the host was told.

    `author` and `armer` are keyed hashes of who set its terms and who armed it; `counted` is what a dry run found. While a
    notice runs: what was idle before `idle_since` at `noticed_at` (`noticed` leads) goes at `runs_at`, unless something is
    done with it. `deletion_id` is the last one that it opened; `next_at` when it is looked at again (None: never).
    """

    __tablename__ = "retention_rules"
    __table_args__ = table_args(UniqueConstraint("tenant_id", "name"), Index("ix_retention_rules_next_at", "next_at"))

    id: Mapped[Key]
    name: Mapped[Word]
    store: Mapped[Word]
    after_days: Mapped[int]
    notice_hours: Mapped[int]
    batch: Mapped[int]
    author: Mapped[bytes] = mapped_column(short_binary(16))
    armer: Mapped[bytes | None] = mapped_column(short_binary(16))
    armed_at: Mapped[Instant | None]
    counted: Mapped[int | None]
    counted_at: Mapped[Instant | None]
    noticed: Mapped[int | None]
    noticed_at: Mapped[Instant | None]
    idle_since: Mapped[Instant | None]
    runs_at: Mapped[Instant | None]
    deletion_id: Mapped[Id | None]
    next_at: Mapped[Instant | None]
    created_at: Mapped[Instant]

    def idle_before(self, now: datetime) -> datetime:
        """What is idle since before this instant is meant: while a notice runs that is fixed."""
        return self.idle_since or now - timedelta(days=self.after_days)

    def take_back(self) -> None:
        """There is no notice any more; a new one would have to be given first."""
        self.noticed = self.noticed_at = self.idle_since = self.runs_at = None


class LegalRetention(TenantScoped, Base):
    """A law of a jurisdiction that keeps a store: from the beginning of the first day to the end of the last (None: until it
    is taken away), in the tenant's zone. `reason` is the tenant's own words about the law, not about a person."""

    __tablename__ = "legal_retentions"
    __table_args__ = table_args(UniqueConstraint("tenant_id", "id"))

    id: Mapped[Key]
    store: Mapped[Word]
    jurisdiction: Mapped[str] = mapped_column(String(12))
    reason: Mapped[str] = mapped_column(String(190))
    effective_from: Mapped[date] = mapped_column(Date)
    until: Mapped[date | None] = mapped_column(Date)
    created_at: Mapped[Instant]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a rule says."""

    store: str
    after_days: int
    notice_hours: int
    batch: int


def rule_named(session: Session, name: str, *, lock: bool = False) -> RetentionRule | None:
    """A rule of the session's tenant."""
    query = select(RetentionRule).where(RetentionRule.name == name)
    return session.scalars(query.with_for_update() if lock else query).one_or_none()


def set_rule(
    session: Session, tenant: Tenant, name: str, terms: Terms, *, is_armed: bool, who: bytes, now: datetime
) -> RetentionRule:
    """Make a rule, change its terms, arm or disarm it. NotNow, or SamePerson when who set the terms would arm them."""
    row = rule_named(session, name, lock=True)
    if row is None or terms != Terms(row.store, row.after_days, row.notice_hours, row.batch):
        if is_armed:
            raise NotNow("New terms begin in dry run: send armed as false, look at the dry run's count, then arm it.")
        row = row or RetentionRule(id=new_id(), tenant_id=tenant.id, name=name, created_at=now)
        row.store, row.after_days, row.notice_hours = terms.store, terms.after_days, terms.notice_hours
        row.batch, row.author, row.counted, row.counted_at = terms.batch, who, None, None
        _disarm(row)
        session.add(row)
    elif is_armed and row.armed_at is None:
        arm(row, who, now)
    elif not is_armed:
        _disarm(row)
    row.next_at = None if tenant.retention_off_at is not None else now
    session.flush()
    return row


def arm(row: RetentionRule, who: bytes, now: datetime) -> None:
    """From now on it gives notice, and then deletes. NotNow before its dry run; SamePerson as `set_rule`."""
    if row.counted_at is None:
        raise NotNow("Nobody has seen yet what this rule would delete: ask for its dry run first.")
    if who == row.author:
        raise SamePerson("Whoever set the terms of a rule cannot arm it: leads are deleted only when two people agree.")
    row.armer, row.armed_at = who, now


def _disarm(row: RetentionRule) -> None:
    row.armer = row.armed_at = None
    row.take_back()


def switch(session: Session, tenant: Tenant, *, is_on: bool, now: datetime) -> None:
    """The tenant's kill switch. Off: nothing goes for its age, notices are void. On: rules are looked at again."""
    if is_on == (tenant.retention_off_at is None):
        return
    tenant.retention_off_at = None if is_on else now
    for row in session.scalars(select(RetentionRule).with_for_update()):
        row.take_back()
        row.next_at = now if is_on else None
    session.flush()


def due_rules(session: Session, now: datetime, *, again_at: datetime, limit: int) -> list[tuple[str, str]]:
    """(tenant id, rule id) of the rules whose time has come, the one that waits longest first (system session).

    Each is looked at again at `again_at` if nothing comes of this look, so that none is begun with twice before all others
    have had their turn; tenants without rules are never looked at.
    """
    query = select(RetentionRule.id, RetentionRule.tenant_id).where(RetentionRule.next_at <= now)
    rows = session.execute(query.order_by(RetentionRule.next_at).limit(limit).with_for_update(skip_locked=True)).all()
    if rows:
        ids = [row.id for row in rows]
        session.execute(update(RetentionRule).where(RetentionRule.id.in_(ids)).values(next_at=again_at))
    return [(row.tenant_id, row.id) for row in rows]


def legal_in_effect(session: Session, tenant: Tenant, store: str | None, now: datetime) -> list[LegalRetention]:
    """The laws that keep a store of the tenant today (None: any store)."""
    today = now.astimezone(ZoneInfo(tenant.timezone)).date()
    query = select(LegalRetention).where(
        LegalRetention.tenant_id == tenant.id, LegalRetention.effective_from <= today,
        or_(LegalRetention.until.is_(None), LegalRetention.until >= today),
    )  # fmt: skip
    return list(session.scalars((query if store is None else query.where(LegalRetention.store == store))
                                .order_by(LegalRetention.id)))  # fmt: skip


def exceptions(laws: Sequence[LegalRetention]) -> list[str]:
    """What previews and receipts say of laws: no word of the tenant's own."""
    return [
        f"The law of {one.jurisdiction} asks to keep {one.store} from {one.effective_from.isoformat()}"
        f"{f' until {one.until.isoformat()}' if one.until else ''}; no retention rule deletes them in that time."
        for one in laws
    ]  # fmt: skip


def legal_exceptions(session: Session, tenant_id: str, stores: Collection[str], now: datetime) -> list[str]:
    """The same of the laws that keep any of these stores."""
    laws = legal_in_effect(session, session.get_one(Tenant, tenant_id), None, now)
    return exceptions([one for one in laws if one.store in stores])


def may_go(session: Session, tenant_id: str, store: str, now: datetime) -> bool:
    """Whether a tenant's own switch is on and no law keeps the store."""
    tenant = session.get_one(Tenant, tenant_id, populate_existing=True)
    is_on = tenant.status == ACTIVE_TENANT and tenant.retention_off_at is None
    return is_on and not legal_in_effect(session, tenant, store, now)
