"""What must not come back after an erasure: accounts, leads and persons as keyed hashes, each with the instant up to which
they are dead. It holds no personal data, and outlives what it stands for.

Every writer of leads asks here, in its own transaction. What was made after `until` belongs to a new consent and is taken in:
a page that is connected again brings new leads, and never the old ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Index, Table, Uuid, bindparam, delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Id, Instant, short_binary, table_args
from models.tenancy import TenantScoped, check_scope, same_tenant
from models.vault import Keyring


class Tombstone(TenantScoped, Base):
    """One hash of one tenant: whatever bears it and was made at or before `until` is refused."""

    __tablename__ = "tombstones"
    __table_args__ = table_args(
        same_tenant("deletion_id", "deletions"), Index("ix_tombstones_until", "tenant_id", "until")
    )

    tenant_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    mark: Mapped[bytes] = mapped_column(short_binary(16), primary_key=True)
    until: Mapped[Instant]
    deletion_id: Mapped[Id]
    created_at: Mapped[Instant]


@dataclass(frozen=True, slots=True)
class Arrival:
    """Something that wants in: its id at the provider, the account it came through, when it was made (None: not said),
    and the look-up hashes of its person as far as they are known."""

    external_id: str
    account: str
    made_at: datetime | None
    persons: tuple[bytes, ...] = ()


_TOMBSTONES: Table = Tombstone.__table__  # type: ignore[assignment]
_MOST_ASKED = 500


def account_mark(hashes: Keyring, account: str) -> bytes:
    """The hash of a page or account; `hashes` is the tenant's own keyring."""
    return hashes.fingerprint(f"account:{account}")


def lead_mark(hashes: Keyring, external_id: str) -> bytes:
    """The hash of a lead's id at its provider."""
    return hashes.fingerprint(f"lead:{external_id}")


def bury(session: Session, tenant_id: str, marks: Mapping[bytes, datetime], *, deletion_id: str, now: datetime) -> None:
    """Hash -> the instant up to which it is dead. One that is dead already stays so, until the later of both instants."""
    check_scope(session, (tenant_id,))
    known: dict[bytes, Tombstone] = {}
    for some in _portions(sorted(marks)):
        query = select(Tombstone).where(Tombstone.tenant_id == tenant_id, Tombstone.mark.in_(some))
        known |= {bytes(row.mark): row for row in session.scalars(query)}
    for mark, until in sorted(marks.items()):
        row = known.get(mark)
        if row is None:
            session.add(Tombstone(tenant_id=tenant_id, mark=mark, until=until, deletion_id=deletion_id, created_at=now))
        else:
            row.until = max(row.until, until)
    session.flush()


_NEWEST = select(func.max(_TOMBSTONES.c.until)).where(_TOMBSTONES.c.tenant_id == bindparam("tenant"))


def newest(session: Session, tenant_id: str) -> datetime | None:
    """What was made after this instant is not dead by any tombstone of the tenant; None: there are none."""
    return session.connection().execute(_NEWEST, {"tenant": tenant_id}).scalar()


def refused(session: Session, hashes: Keyring, tenant_id: str, arrivals: Sequence[Arrival]) -> set[str]:
    """The ids of those that are dead. Ask only of what is not newer than `newest`."""
    marks = [
        (one, lead_mark(hashes, one.external_id), (account_mark(hashes, one.account), *one.persons)) for one in arrivals
    ]
    until = _until(session, tenant_id, {mark for _, lead, others in marks for mark in (lead, *others)})
    return {
        one.external_id
        for one, lead, others in marks
        # Where nobody says when it was made, a lead's own hash is enough; its page's or its person's is not.
        if (one.made_at is None and lead in until)
        or (one.made_at is not None and any(one.made_at <= until[mark] for mark in (lead, *others) if mark in until))
    }


def _until(session: Session, tenant_id: str, marks: Iterable[bytes]) -> dict[bytes, datetime]:
    found: dict[bytes, datetime] = {}
    query = select(_TOMBSTONES.c.mark, _TOMBSTONES.c.until).where(_TOMBSTONES.c.tenant_id == tenant_id)
    for some in _portions(sorted(marks)):
        rows = session.connection().execute(query.where(_TOMBSTONES.c.mark.in_(some)))
        found |= {bytes(mark): until for mark, until in rows}
    return found


def _portions(marks: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    return (marks[start : start + _MOST_ASKED] for start in range(0, len(marks), _MOST_ASKED))


def prune_tombstones(session: Session, before: datetime) -> int:
    """Forget those that were written before an instant, when no source can replay so old a thing; how many (system
    session)."""
    gone = session.execute(delete(Tombstone).where(Tombstone.created_at < before))
    return int(gone.rowcount)  # type: ignore[attr-defined]
