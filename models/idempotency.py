"""Answers kept for `Idempotency-Key`: a request sent twice is carried out once; knows no HTTP beyond a status and a body.

A row is written in the transaction of the effect it stands for, so the two exist together or not at all. Neither the
client's key nor its request is readable here: both are keyed hashes, and the answer is sealed.
"""

import hashlib
from datetime import datetime, timedelta

from sqlalchemy import Index, String, UniqueConstraint, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Instant, Key, Sealed, Word, new_id, table_args
from models.tenancy import TenantScoped
from models.vault import Keyring

KEPT_FOR = timedelta(hours=48)


class KeptAnswer(TenantScoped, Base):
    """The answer to one request of one caller (`platform` or `tenant`); `answer` is None while it is being made."""

    __tablename__ = "kept_answers"
    __table_args__ = table_args(
        UniqueConstraint("tenant_id", "caller", "key_hash"),
        Index("ix_kept_answers_tenant_id_created_at", "tenant_id", "created_at"),
    )

    id: Mapped[Key]
    caller: Mapped[Word]
    key_hash: Mapped[str] = mapped_column(String(32))
    request_hash: Mapped[str] = mapped_column(String(32))
    status: Mapped[int | None]
    answer: Mapped[Sealed | None]
    created_at: Mapped[Instant]


def begin(
    session: Session, keyring: Keyring, *, tenant_id: str, caller: str, key: str, request: bytes, now: datetime
) -> tuple[KeptAnswer, bool]:
    """(row, whether it is for this very request): an answered row, or a new one that `keep` completes.

    Raises IntegrityError when a twin of the request was faster; roll back and begin again to find its answer.
    """
    _prune(session, tenant_id, now - KEPT_FOR)
    key_hash = keyring.fingerprint(key).hex()
    request_hash = keyring.fingerprint(hashlib.sha256(request).hexdigest()).hex()
    row = session.scalars(
        select(KeptAnswer).where(
            KeptAnswer.tenant_id == tenant_id, KeptAnswer.caller == caller, KeptAnswer.key_hash == key_hash
        )
    ).one_or_none()
    if row is None:
        row = KeptAnswer(
            id=new_id(), tenant_id=tenant_id, caller=caller, key_hash=key_hash, request_hash=request_hash,
            created_at=now,
        )  # fmt: skip
        session.add(row)
        session.flush()
    return row, row.request_hash == request_hash


def keep(row: KeptAnswer, keyring: Keyring, status: int, body: bytes) -> None:
    """Complete a row with its answer."""
    row.status = status
    row.answer = keyring.seal(body, table="kept_answers", row=row.id, column="answer")


def replay(row: KeptAnswer, keyring: Keyring) -> tuple[int, bytes] | None:
    """The (status, body) of an answered row; None for a new one."""
    if row.status is None or row.answer is None:
        return None
    return row.status, keyring.unseal(row.answer, table="kept_answers", row=row.id, column="answer")


def _prune(session: Session, tenant_id: str, before: datetime) -> None:
    session.execute(
        delete(KeptAnswer)
        .where(KeptAnswer.tenant_id == tenant_id, KeptAnswer.created_at < before)
        .execution_options(synchronize_session=False)
    )
