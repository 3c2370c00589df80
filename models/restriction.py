"""Whose data is kept and not processed: persons and tenants who are restricted, since when and why. `models.restricting`
sets and lifts; this is asked by whoever claims jobs (`models.run`) or pushes (`models.push`) and whoever stores leads
(`models.lead`)."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, Index, Table, UniqueConstraint, exists, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Instant, Key, Word, short_binary, table_args
from models.tenancy import TenantScoped

SUBJECT, TENANT = "subject", "tenant"
REASONS = ("accuracy", "unlawful", "legal_claim", "objection", "other")
"""The grounds of GDPR 18 (1), and whatever else a person says."""


class Restriction(TenantScoped, Base):
    """One freeze, in force until `lifted_at`: of the tenant, or of a person by look-up hashes; `user` is who they are at the
    host. `requester` is a keyed hash."""

    __tablename__ = "restrictions"
    __table_args__ = table_args(
        UniqueConstraint("tenant_id", "id"),
        Index("ix_restrictions_in_force", "tenant_id", "kind", "lifted_at"),
        Index("ix_restrictions_user", "tenant_id", "user"),
    )

    id: Mapped[Key]
    kind: Mapped[Word]
    email: Mapped[bytes | None] = mapped_column(short_binary(16))
    phone: Mapped[bytes | None] = mapped_column(short_binary(16))
    user: Mapped[bytes | None] = mapped_column(short_binary(16))
    reason: Mapped[Word | None]
    requester: Mapped[bytes | None] = mapped_column(short_binary(16))
    created_at: Mapped[Instant]
    lifted_at: Mapped[Instant | None]


_ROWS: Table = Restriction.__table__  # type: ignore[assignment]


def tenant_is_restricted(tenant: ColumnElement[str]) -> ColumnElement[bool]:
    """As a condition of a statement: the tenant that a column names is restricted as a whole."""
    return exists().where(_ROWS.c.tenant_id == tenant, _ROWS.c.kind == TENANT, _ROWS.c.lifted_at.is_(None))


def is_restricted(session: Session, tenant_id: str) -> bool:
    """Whether a tenant is restricted as a whole."""
    query = select(_ROWS.c.id).where(
        _ROWS.c.tenant_id == tenant_id, _ROWS.c.kind == TENANT, _ROWS.c.lifted_at.is_(None)
    )
    return session.connection().execute(query.limit(1)).first() is not None


def restricted_marks(session: Session, tenant_id: str, marks: Collection[bytes]) -> set[bytes]:
    """Those of these look-up hashes whose persons are restricted."""
    if not marks:
        return set()
    connection = session.connection()
    in_force = (_ROWS.c.tenant_id == tenant_id, _ROWS.c.kind == SUBJECT, _ROWS.c.lifted_at.is_(None))
    # Hardly a tenant has one: to send a thousand hashes for nothing cost a fifth of a part of a backfill.
    if connection.execute(select(_ROWS.c.id).where(*in_force).limit(1)).first() is None:
        return set()
    query = select(_ROWS.c.email, _ROWS.c.phone).where(
        *in_force, or_(_ROWS.c.email.in_(marks), _ROWS.c.phone.in_(marks))
    )
    return {bytes(mark) for row in connection.execute(query) for mark in row if mark is not None}


def user_is_restricted(tenant: ColumnElement[str], user: ColumnElement[bytes]) -> ColumnElement[bool]:
    """As a condition of a statement: the user of the host that a column names by hash is restricted."""
    return exists().where(_ROWS.c.tenant_id == tenant, _ROWS.c.user == user, _ROWS.c.lifted_at.is_(None))


def restricted_by(
    session: Session, *, kind: str, email: bytes | None, phone: bytes | None, user: bytes | None
) -> Restriction | None:
    """The restriction of this very scope that is in force."""
    query = select(Restriction).where(
        Restriction.kind == kind, Restriction.email == email, Restriction.phone == phone, Restriction.user == user,
        Restriction.lifted_at.is_(None),
    )  # fmt: skip
    return session.scalars(query.order_by(Restriction.id).limit(1)).one_or_none()


def status_of(row: Restriction) -> str:
    """In force, or over."""
    return "active" if row.lifted_at is None else "lifted"
