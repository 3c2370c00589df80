"""Notices of a change of policy: what was announced, to whom it was sent, and who said that they read it. Users are keyed
hashes. It reaches the host by the feed; how people are told there is the host's."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Index, String, Table, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Id, Instant, Key, Sentence, Word, new_id, short_binary, table_args
from models.feed import POLICY_NOTICE, emit
from models.opt_out import user_mark
from models.statements import insert_new
from models.tenancy import SYSTEM, TenantScoped, check_scope, same_tenant
from models.vault import Keyring

BY_TENANT, BY_PLATFORM = "tenant", "platform"
THE_TENANT, USER = "tenant", "user"


class PolicyNotice(TenantScoped, Base):
    """One version of one policy, announced to one tenant; `origin` is whose policy it is. The words are the host's."""

    __tablename__ = "policy_notices"
    __table_args__ = table_args(UniqueConstraint("tenant_id", "id"), UniqueConstraint("tenant_id", "origin", "version"))

    id: Mapped[Key]
    origin: Mapped[Word]
    version: Mapped[str] = mapped_column(String(64))
    effective_at: Mapped[Instant]
    url: Mapped[str] = mapped_column(String(500))
    summary: Mapped[Sentence]
    created_at: Mapped[Instant]


class PolicyRecipient(TenantScoped, Base):
    """The evidence for one recipient: the tenant itself, or a user of the host. `sent_at`: when it was in the feed."""

    __tablename__ = "policy_recipients"
    __table_args__ = table_args(
        same_tenant("notice_id", "policy_notices"),
        UniqueConstraint("tenant_id", "notice_id", "mark"),
        Index("ix_policy_recipients_acknowledged", "tenant_id", "notice_id", "acknowledged_at"),
    )

    id: Mapped[Key]
    notice_id: Mapped[Id]
    kind: Mapped[Word]
    mark: Mapped[bytes] = mapped_column(short_binary(16))
    sent_at: Mapped[Instant]
    acknowledged_at: Mapped[Instant | None]


@dataclass(frozen=True, slots=True)
class Words:
    """What is announced."""

    version: str
    effective_at: datetime
    url: str
    summary: str


class OtherWords(ValueError):
    """This version was announced with other words: what people were told is not changed behind them."""


_RECIPIENTS: Table = PolicyRecipient.__table__  # type: ignore[assignment]


def announce(
    session: Session,
    hashes: Keyring,
    tenant_id: str,
    words: Words,
    *,
    origin: str,
    users: Collection[str],
    now: datetime,
) -> PolicyNotice:
    """Store and tell it. The same once more adds the users who were not told yet; OtherWords. `hashes` is the tenant's."""
    check_scope(session, (tenant_id,))
    query = select(PolicyNotice).where(
        PolicyNotice.tenant_id == tenant_id, PolicyNotice.origin == origin, PolicyNotice.version == words.version
    )
    row = session.scalars(query.with_for_update()).one_or_none()
    is_new = row is None
    if row is None:
        row = PolicyNotice(id=new_id(), tenant_id=tenant_id, origin=origin, version=words.version, url=words.url,
                           effective_at=words.effective_at, summary=words.summary, created_at=now)  # fmt: skip
        session.add(row)
        session.flush()
    elif Words(row.version, row.effective_at, row.url, row.summary) != words:
        raise OtherWords
    if tenant_id == SYSTEM:  # what all are told: nobody is to be told of it there
        return row
    marks = {_tenant_mark(hashes): THE_TENANT, **{user_mark(hashes, user): USER for user in users}}
    fresh = {mark: kind for mark, kind in sorted(marks.items()) if mark not in _known(session, row, marks)}
    insert_new(
        session.connection(), _RECIPIENTS,
        [{"id": new_id(), "tenant_id": tenant_id, "notice_id": row.id, "kind": kind, "mark": mark, "sent_at": now,
          "acknowledged_at": None} for mark, kind in fresh.items()],
    )  # fmt: skip
    if is_new or fresh:
        emit(session, tenant_id, [(POLICY_NOTICE, _described(row))], now)
    return row


def _known(session: Session, row: PolicyNotice, marks: Collection[bytes]) -> set[bytes]:
    query = select(PolicyRecipient.mark).where(
        PolicyRecipient.tenant_id == row.tenant_id, PolicyRecipient.notice_id == row.id, PolicyRecipient.mark.in_(marks)
    )
    return {bytes(mark) for mark in session.scalars(query)}


def _tenant_mark(hashes: Keyring) -> bytes:
    return hashes.fingerprint("the tenant itself")


def _described(row: PolicyNotice) -> dict[str, str]:
    """What the host needs to tell its people."""
    return {"notice_id": row.id, "origin": row.origin, "version": row.version, "url": row.url,
            "effective_at": row.effective_at.isoformat()}  # fmt: skip


def recipient(session: Session, hashes: Keyring, notice_id: str, user: str | None) -> PolicyRecipient | None:
    """The evidence for a user, or for the tenant itself (None)."""
    mark = _tenant_mark(hashes) if user is None else user_mark(hashes, user)
    return session.scalars(
        select(PolicyRecipient).where(PolicyRecipient.notice_id == notice_id, PolicyRecipient.mark == mark)
    ).one_or_none()


def told_and_read(session: Session, notice_id: str) -> tuple[int, int]:
    """(how many recipients it was sent to, how many of them acknowledged it)."""
    query = select(func.count(), func.count(PolicyRecipient.acknowledged_at)).where(
        PolicyRecipient.notice_id == notice_id
    )
    told, read = session.execute(query).one()
    return told, read
