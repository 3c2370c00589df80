"""Who wants no bulletins: a preference per user of the host, as a keyed hash. Whoever sends asks here first."""

from datetime import datetime

from sqlalchemy import ColumnElement, Table, UniqueConstraint, delete, exists, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Instant, Key, new_id, short_binary, table_args
from models.statements import insert_new
from models.tenancy import TenantScoped, check_scope
from models.vault import Keyring


class OptOut(TenantScoped, Base):
    """One user who opted out. It is kept as long as the tenant: forgetting it would send again."""

    __tablename__ = "opt_outs"
    __table_args__ = table_args(UniqueConstraint("tenant_id", "mark"))

    id: Mapped[Key]
    mark: Mapped[bytes] = mapped_column(short_binary(16))
    created_at: Mapped[Instant]


_ROWS: Table = OptOut.__table__  # type: ignore[assignment]


def user_mark(hashes: Keyring, user: str) -> bytes:
    """The hash of a user's id at the host; `hashes` is the tenant's own keyring."""
    return hashes.fingerprint(f"user:{user}")


def opt_out(session: Session, hashes: Keyring, tenant_id: str, user: str, now: datetime) -> None:
    """From this commit on nothing is sent to the user; again changes nothing."""
    check_scope(session, (tenant_id,))
    row = {"id": new_id(), "tenant_id": tenant_id, "mark": user_mark(hashes, user), "created_at": now}
    insert_new(session.connection(), _ROWS, [row])


def opt_in(session: Session, hashes: Keyring, user: str) -> None:
    """The user wants bulletins again."""
    session.execute(delete(OptOut).where(OptOut.mark == user_mark(hashes, user)))


def opted_out_at(session: Session, hashes: Keyring, user: str) -> datetime | None:
    """Since when a user wants no bulletins; None: the user may get them."""
    return session.scalars(select(OptOut.created_at).where(OptOut.mark == user_mark(hashes, user))).one_or_none()


def user_opted_out(tenant: ColumnElement[str], user: ColumnElement[bytes]) -> ColumnElement[bool]:
    """As a condition of a statement: the user that a column names by hash wants no bulletins."""
    return exists().where(_ROWS.c.tenant_id == tenant, _ROWS.c.mark == user)
