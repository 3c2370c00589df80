"""What has to be deleted, by when, and how far it is; it deletes nothing, and holds no personal data."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Index, String, UniqueConstraint, exists, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Id, Instant, Key, Sentence, Word, new_id, table_args
from models.feed import DELETION_REQUESTED, emit
from models.tenancy import SYSTEM, TenantScoped, same_tenant
from models.tenant import Tenant
from models.workdays import deadline

SCHEDULED, NOTHING_HELD = "scheduled", "nothing_held"
STEP_PENDING, STEP_DONE, STEP_SKIPPED, STEP_FAILED = "pending", "done", "skipped", "failed"
WORKING_DAYS = 7


class Deletion(TenantScoped, Base):
    """One request. `promise_due_at` is what people are told, `safe_due_at` what Troth works towards; both are frozen here.

    Requests of one cause (a person at Facebook with pages in several tenants) share a `confirmation_code`.
    """

    __tablename__ = "deletions"
    __table_args__ = table_args(
        UniqueConstraint("tenant_id", "id"),
        same_tenant("connection_id", "connections"),
        Index("ix_deletions_confirmation_code", "confirmation_code"),
        Index("ix_deletions_connection", "tenant_id", "connection_id"),
    )

    id: Mapped[Key]
    confirmation_code: Mapped[str] = mapped_column(String(32))
    kind: Mapped[Word]
    connection_id: Mapped[Id | None]
    integration: Mapped[Word | None]
    status: Mapped[Word]
    requested_by: Mapped[Word]
    requested_at: Mapped[Instant]
    undo_until: Mapped[Instant]
    safe_due_at: Mapped[Instant]
    promise_due_at: Mapped[Instant]
    completed_at: Mapped[Instant | None]


class DeletionStep(TenantScoped, Base):
    """One step of a deletion and its outcome: `sentence` says why it was skipped, failed or is still pending."""

    __tablename__ = "deletion_steps"
    __table_args__ = table_args(same_tenant("deletion_id", "deletions"))

    deletion_id: Mapped[Id] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[Word]
    status: Mapped[Word]
    sentence: Mapped[Sentence | None]
    before: Mapped[int | None]
    deleted: Mapped[int | None]
    after: Mapped[int | None]
    updated_at: Mapped[Instant]


def new_code() -> str:
    """A confirmation code: public, and not to be guessed."""
    return secrets.token_hex(16)


def request_deletion(
    session: Session,
    *,
    tenant: Tenant,
    connection_id: str,
    integration: str,
    requested_by: str,
    steps: Sequence[str],
    undo: timedelta,
    now: datetime,
    code: str | None = None,
) -> Deletion:
    """Store a request to delete all that came through a connection, with its deadlines, and tell the host."""
    due = deadline(now, WORKING_DAYS, country=tenant.country, subdivision=tenant.subdivision, zone=tenant.timezone,
                   work_week=tenant.work_week)  # fmt: skip
    row = Deletion(
        id=new_id(), tenant_id=tenant.id, confirmation_code=code or new_code(), kind="connection",
        connection_id=connection_id, integration=integration, status=SCHEDULED, requested_by=requested_by,
        requested_at=now, undo_until=now + undo, safe_due_at=due.safe_due_at, promise_due_at=due.promise_due_at,
    )  # fmt: skip
    session.add(row)
    session.flush()
    session.add_all(
        DeletionStep(tenant_id=tenant.id, deletion_id=row.id, position=position, name=name, status=STEP_PENDING,
                     updated_at=now)
        for position, name in enumerate(steps, start=1)
    )  # fmt: skip
    emit(session, tenant.id, [(DELETION_REQUESTED, {"deletion_id": row.id, "connection_id": connection_id})], now)
    return row


def nothing_held(session: Session, *, requested_by: str, now: datetime) -> Deletion:
    """A request about somebody of whom nothing is here, so that its code can be answered (system session)."""
    row = Deletion(id=new_id(), tenant_id=SYSTEM, confirmation_code=new_code(), kind="person", status=NOTHING_HELD,
                   requested_by=requested_by, requested_at=now, undo_until=now, safe_due_at=now, promise_due_at=now,
                   completed_at=now)  # fmt: skip
    session.add(row)
    session.flush()
    return row


def deletion_of(session: Session, connection_id: str) -> Deletion | None:
    """The deletion that a connection's revocation asked for: its steps end the grant.

    A wish that came afterwards is a request of its own, without steps, and must not take their place.
    """
    has_steps = exists().where(DeletionStep.deletion_id == Deletion.id)
    return session.scalars(
        select(Deletion).where(Deletion.connection_id == connection_id, has_steps).order_by(Deletion.id).limit(1)
    ).one_or_none()


def deletions_by_code(session: Session, code: str) -> list[Deletion]:
    """All requests that a confirmation code stands for (system session)."""
    return list(session.scalars(select(Deletion).where(Deletion.confirmation_code == code).order_by(Deletion.id)))


def steps_of(session: Session, deletion_id: str) -> list[DeletionStep]:
    """The steps of a deletion in their order."""
    query = select(DeletionStep).where(DeletionStep.deletion_id == deletion_id).order_by(DeletionStep.position)
    return list(session.scalars(query))


def end_step(session: Session, deletion_id: str, name: str, status: str, sentence: str | None, now: datetime) -> None:
    """Record how a step went."""
    row = session.scalars(
        select(DeletionStep).where(DeletionStep.deletion_id == deletion_id, DeletionStep.name == name)
    ).one()
    row.status, row.sentence, row.updated_at = status, sentence, now
    session.flush()
