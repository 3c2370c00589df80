"""Messages that were refused: kept for inspection, never run. Holds what a message claimed, not what it carried."""

from datetime import datetime

from sqlalchemy import String, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Instant, Key, Word, new_id, table_args


class Refusal(Base):
    """One refused message: why, and the names it bore. Its body is kept only as a SHA-256 and a size."""

    __tablename__ = "refusals"
    __table_args__ = table_args()

    id: Mapped[Key]
    reason: Mapped[Word]
    claimed_job: Mapped[str | None] = mapped_column(String(64))
    claimed_tenant: Mapped[str | None] = mapped_column(String(64))
    claimed_kind: Mapped[str | None] = mapped_column(String(64))
    body_digest: Mapped[str | None] = mapped_column(String(64))
    body_size: Mapped[int | None]
    refused_at: Mapped[Instant]


def refuse(
    session: Session,
    *,
    reason: str,
    now: datetime,
    job: object = None,
    tenant: object = None,
    kind: object = None,
    body_digest: str | None = None,
    body_size: int | None = None,
) -> None:
    """Keep a refused message (system session)."""
    session.add(
        Refusal(
            id=new_id(),
            reason=reason,
            claimed_job=_name(job),
            claimed_tenant=_name(tenant),
            claimed_kind=_name(kind),
            body_digest=body_digest,
            body_size=body_size,
            refused_at=now,
        )
    )


def _name(value: object) -> str | None:
    """A stranger's value as text that every database takes: no NUL, no half of a surrogate pair."""
    return None if value is None else str(value).encode(errors="replace").decode().replace("\0", "?")[:64]


def refusals_by_reason(session: Session) -> dict[str, int]:
    """reason -> count."""
    return {
        reason: count
        for reason, count in session.execute(select(Refusal.reason, func.count()).group_by(Refusal.reason))
    }
