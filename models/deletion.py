"""What has to be deleted, who asked and agreed, by when, and how far it is; it deletes nothing, and holds no personal data.

    awaiting_approval --approve--> scheduled --freeze--> running --verified--> awaiting_host --acks--> completed
           '------hold/release------'  |                    ^                        |                    |
                        cancelled <----'                    '------- found again ----+--------------------'

Until the freeze a request can be held, released and cancelled; from then on it only goes forward.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ForeignKeyConstraint, Index, String, UniqueConstraint, exists, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Id, Instant, Json, Key, Sentence, Word, new_id, short_binary, table_args
from models.feed import DELETION_REQUESTED, emit
from models.tenancy import SYSTEM, TenantScoped, same_tenant
from models.tenant import Tenant
from models.workdays import deadline

CONNECTION, INTEGRATION, SUBJECT, TENANT, IDLE = "connection", "integration", "subject", "tenant", "idle"
SCOPES = (CONNECTION, INTEGRATION, SUBJECT, TENANT, IDLE)

AWAITING_APPROVAL, SCHEDULED, HELD = "awaiting_approval", "scheduled", "held"
RUNNING, AWAITING_HOST, COMPLETED = "running", "awaiting_host", "completed"
CANCELLED, NOTHING_HELD = "cancelled", "nothing_held"
NOT_BEGUN = (AWAITING_APPROVAL, SCHEDULED, HELD)
OPEN = (*NOT_BEGUN, RUNNING, AWAITING_HOST)

STEP_PENDING, STEP_DONE, STEP_SKIPPED, STEP_FAILED = "pending", "done", "skipped", "failed"
REMOVE_EVENTS = "remove_events"
STOP_NOTICES, REVOKE_GRANT, DESTROY_TOKENS = "stop_notices", "revoke_grant", "destroy_tokens"
GRANT_STEPS = (STOP_NOTICES, REVOKE_GRANT, DESTROY_TOKENS)
PROVIDER_STEPS = (REMOVE_EVENTS, *GRANT_STEPS)
"""With what is done first where the tenant chose so."""
FREEZE, VERIFY, HOST, RESCAN = "freeze", "verify", "host", "rescan"

HOLD_REASONS = ("legal_claim", "legal_obligation", "dispute", "requester_unverified", "other")
ASKED_BY_PERSON = ("meta_deletion", "meta_list")
"""Ways in by which the person, not the tenant, asks."""
WORKING_DAYS = 7


class Deletion(TenantScoped, Base):
    """One request. `promise_due_at` is what people are told, `safe_due_at` what Troth works towards; both are frozen here,
    with what they were counted by (`calendar*`, `skipped`).

    `kind` is the scope: a connection, all connections of an integration, a subject (by the look-up hashes `email` and
    `phone`; `found` are the ids of its leads at the freeze), the tenant, or what a retention rule (`rule_id`) found idle since
    `idle_since`, `at_most` so many leads at a time (`found` as for a subject). Requests of one cause (a person at Facebook with
    pages in several tenants) share a `confirmation_code`. `part_of`: the request of a wider scope that this one only ends a
    grant for. `requested_by` is the way it came, `requester` and `approver` keyed hashes of who asked and who agreed,
    `verification` how the requester was known. `act_at`: when to look at it next; `alarm`: how loudly it was told of;
    `moved_at`: when it last made progress.
    """

    __tablename__ = "deletions"
    __table_args__ = table_args(
        UniqueConstraint("tenant_id", "id"),
        same_tenant("connection_id", "connections"),
        ForeignKeyConstraint(["tenant_id", "part_of"], ["deletions.tenant_id", "deletions.id"]),
        Index("ix_deletions_confirmation_code", "confirmation_code"),
        Index("ix_deletions_connection", "tenant_id", "connection_id"),
        Index("ix_deletions_act_at", "act_at"),
    )

    id: Mapped[Key]
    confirmation_code: Mapped[str] = mapped_column(String(32))
    kind: Mapped[Word]
    connection_id: Mapped[Id | None]
    integration: Mapped[Word | None]
    email: Mapped[bytes | None] = mapped_column(short_binary(16))
    phone: Mapped[bytes | None] = mapped_column(short_binary(16))
    user: Mapped[bytes | None] = mapped_column(short_binary(16))
    part_of: Mapped[Id | None]
    rule_id: Mapped[Id | None]
    idle_since: Mapped[Instant | None]
    at_most: Mapped[int | None]
    scope_digest: Mapped[str | None] = mapped_column(String(64))
    status: Mapped[Word]
    urgent: Mapped[bool] = mapped_column(default=False)
    requested_by: Mapped[Word]
    verification: Mapped[Word | None]
    requester: Mapped[bytes | None] = mapped_column(short_binary(16))
    needs_approval: Mapped[bool] = mapped_column(default=False)
    approver: Mapped[bytes | None] = mapped_column(short_binary(16))
    hold_reason: Mapped[Word | None]
    calendar: Mapped[str | None] = mapped_column(String(120))
    calendar_version: Mapped[Word | None]
    calendar_digest: Mapped[str | None] = mapped_column(String(64))
    skipped: Mapped[Json | None]
    found: Mapped[Json | None]
    acks: Mapped[Json | None]
    host_needed: Mapped[bool] = mapped_column(default=False)
    alarm: Mapped[int] = mapped_column(default=0)
    requested_at: Mapped[Instant]
    approved_at: Mapped[Instant | None]
    undo_until: Mapped[Instant]
    safe_due_at: Mapped[Instant]
    promise_due_at: Mapped[Instant]
    frozen_at: Mapped[Instant | None]
    erased_at: Mapped[Instant | None]
    verified_at: Mapped[Instant | None]
    acknowledged_at: Mapped[Instant | None]
    rescanned_at: Mapped[Instant | None]
    completed_at: Mapped[Instant | None]
    moved_at: Mapped[Instant | None]
    act_at: Mapped[Instant | None]


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


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be deleted, and who wants it. `requester` is a keyed hash of the person or credential that asked;
    `code` names a cause that other requests share."""

    kind: str
    requested_by: str
    connection_id: str | None = None
    integration: str | None = None
    email: bytes | None = None
    phone: bytes | None = None
    user: bytes | None = None
    requester: bytes | None = None
    verification: str | None = None
    needs_approval: bool = False
    urgent: bool = False
    code: str | None = None
    part_of: str | None = None
    rule_id: str | None = None
    idle_since: datetime | None = None
    at_most: int | None = None


def new_code() -> str:
    """A confirmation code: public, and not to be guessed."""
    return secrets.token_hex(16)


def request_deletion(
    session: Session, *, tenant: Tenant, wish: Wish, steps: Sequence[str], undo: timedelta, now: datetime
) -> Deletion:
    """Store a request with its deadlines and steps, and tell the host."""
    due = deadline(now, WORKING_DAYS, country=tenant.country, subdivision=tenant.subdivision, zone=tenant.timezone,
                   work_week=tenant.work_week)  # fmt: skip
    undo_until = now if wish.urgent else now + undo
    row = Deletion(
        id=new_id(), tenant_id=tenant.id, confirmation_code=wish.code or new_code(), kind=wish.kind,
        connection_id=wish.connection_id, integration=wish.integration, email=wish.email, phone=wish.phone, user=wish.user,
        part_of=wish.part_of, rule_id=wish.rule_id, idle_since=wish.idle_since, at_most=wish.at_most,
        status=AWAITING_APPROVAL if wish.needs_approval else SCHEDULED, urgent=wish.urgent,
        requested_by=wish.requested_by, verification=wish.verification, requester=wish.requester,
        needs_approval=wish.needs_approval, host_needed=False, alarm=0, calendar=due.calendar,
        calendar_version=due.calendar_version, calendar_digest=due.calendar_digest,
        skipped=[{"day": one.day.isoformat(), "why": one.why} for one in due.skipped], requested_at=now,
        undo_until=undo_until, safe_due_at=due.safe_due_at, promise_due_at=due.promise_due_at, moved_at=now,
        act_at=now if wish.urgent else undo_until,
    )  # fmt: skip
    session.add(row)
    session.flush()
    session.add_all(
        DeletionStep(tenant_id=tenant.id, deletion_id=row.id, position=position, name=name, status=STEP_PENDING,
                     updated_at=now)
        for position, name in enumerate(steps, start=1)
    )  # fmt: skip
    if wish.part_of is None:
        emit(session, tenant.id, [(DELETION_REQUESTED, described(row))], now)
    return row


def described(row: Deletion) -> dict[str, str | None]:
    """What an event says of a deletion: ids, words and instants of ours."""
    return {
        "deletion_id": row.id,
        "scope": row.kind,
        "connection_id": row.connection_id,
        "integration": row.integration,
        "status": row.status,
        "promise_due_at": row.promise_due_at.isoformat(),
    }


def nothing_held(session: Session, *, requested_by: str, now: datetime) -> Deletion:
    """A request about somebody of whom nothing is here, so that its code can be answered (system session)."""
    row = Deletion(id=new_id(), tenant_id=SYSTEM, confirmation_code=new_code(), kind="person", status=NOTHING_HELD,
                   requested_by=requested_by, requested_at=now, undo_until=now, safe_due_at=now, promise_due_at=now,
                   completed_at=now)  # fmt: skip
    session.add(row)
    session.flush()
    return row


def locked(session: Session, deletion_id: str) -> Deletion | None:
    """A request whose row nobody else changes until this transaction ends."""
    query = select(Deletion).where(Deletion.id == deletion_id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def due(session: Session, now: datetime, *, limit: int) -> list[Deletion]:
    """Up to `limit` requests whose time to be looked at has come, and that nobody else looks at (system session)."""
    query = select(Deletion).where(Deletion.act_at <= now).order_by(Deletion.act_at).limit(limit)
    return list(session.scalars(query.with_for_update(skip_locked=True)))


def deletion_of(session: Session, connection_id: str) -> Deletion | None:
    """The deletion that a connection's revocation asked for: its steps end the grant.

    A wish that came afterwards is a request of its own, without these steps, and must not take their place.
    """
    ends_grant = exists().where(DeletionStep.deletion_id == Deletion.id, DeletionStep.name == STOP_NOTICES)
    return session.scalars(
        select(Deletion).where(Deletion.connection_id == connection_id, ends_grant).order_by(Deletion.id).limit(1)
    ).one_or_none()


def parts_of(session: Session, deletion_id: str) -> list[Deletion]:
    """The requests that end grants for this one."""
    return list(session.scalars(select(Deletion).where(Deletion.part_of == deletion_id).order_by(Deletion.id)))


def deletions_by_code(session: Session, code: str) -> list[Deletion]:
    """All requests that a confirmation code stands for (system session)."""
    query = select(Deletion).where(Deletion.confirmation_code == code, Deletion.part_of.is_(None))
    return list(session.scalars(query.order_by(Deletion.id)))


def steps_of(session: Session, deletion_id: str) -> list[DeletionStep]:
    """The steps of a deletion in their order."""
    query = select(DeletionStep).where(DeletionStep.deletion_id == deletion_id).order_by(DeletionStep.position)
    return list(session.scalars(query))


def step(session: Session, deletion_id: str, name: str) -> DeletionStep:
    """One step; NoResultFound when there is none of this name."""
    return session.scalars(
        select(DeletionStep).where(DeletionStep.deletion_id == deletion_id, DeletionStep.name == name)
    ).one()


def end_step(session: Session, deletion_id: str, name: str, status: str, sentence: str | None, now: datetime) -> None:
    """Record how a step went."""
    row = step(session, deletion_id, name)
    row.status, row.sentence, row.updated_at = status, sentence, now
    session.flush()
