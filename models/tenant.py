"""The companies a CRM vendor serves; it knows nothing of what they connected."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, ExternalId, Instant, Json, Key, Word, new_id, table_args
from models.tenancy import SYSTEM

ACTIVE_TENANT, ERASING_TENANT, ERASED_TENANT = "active", "erasing", "erased"
ERASED_NAME = "(erased)"


class Tenant(Base):
    """A company. `external_id` is its id at the host CRM; `work_week` is a list such as ["mon", ..., "fri"].
    Since `retention_off_at` nothing of it goes for its age. Since `leads_merged_at` each person is listed
    once. `pushes_per_minute` is what all its bulletins together keep to."""

    __tablename__ = "tenants"
    __table_args__ = table_args()

    id: Mapped[Key]
    external_id: Mapped[ExternalId] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(String(190))
    country: Mapped[str] = mapped_column(String(2))
    subdivision: Mapped[str | None] = mapped_column(String(12))
    timezone: Mapped[str] = mapped_column(String(64))
    work_week: Mapped[Json]
    status: Mapped[Word]
    created_at: Mapped[Instant]
    retention_off_at: Mapped[Instant | None]
    leads_merged_at: Mapped[Instant | None]
    pushes_per_minute: Mapped[int | None]


def add_tenant(
    session: Session,
    *,
    external_id: str,
    name: str,
    country: str,
    timezone: str,
    now: datetime,
    subdivision: str | None = None,
    work_week: Sequence[str] = ("mon", "tue", "wed", "thu", "fri"),
) -> Tenant:
    """Store a tenant (system session). The caller has checked that `external_id` is free."""
    tenant = Tenant(
        id=new_id(),
        external_id=external_id,
        name=name,
        country=country,
        subdivision=subdivision,
        timezone=timezone,
        work_week=list(work_week),
        status=ACTIVE_TENANT,
        created_at=now,
    )
    session.add(tenant)
    session.flush()
    return tenant


def tenant_by_external_id(session: Session, external_id: str) -> Tenant | None:
    """The tenant that the host calls `external_id`."""
    return session.scalars(select(Tenant).where(Tenant.external_id == external_id, Tenant.id != SYSTEM)).one_or_none()


def pushes_per_minute(session: Session, tenant_id: str) -> int | None:
    """What all bulletins of a tenant together may send in a minute; None: it did not ask for a pace."""
    return session.scalars(select(Tenant.pushes_per_minute).where(Tenant.id == tenant_id)).one()


def tenants(session: Session, *, after: str | None = None, limit: int = 100) -> list[Tenant]:
    """Customers' tenants in the order they were added, a page at a time."""
    query = select(Tenant).where(Tenant.id != SYSTEM).order_by(Tenant.id).limit(limit)
    if after is not None:
        query = query.where(Tenant.id > after)
    return list(session.scalars(query))
