"""Copies that people ask for: of a person or of a tenant, sealed piece by piece, behind a link that expires. It makes none.

    pending --run--> ready --48 h, or something in it is erased--> expired
       '--no run brings it to its end--> failed

Each copy has a key of its own, sealed by the tenant's: when the key is gone, no piece can be read again, wherever it lies.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import BigInteger, Index, Table, UniqueConstraint, Uuid, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Id, Instant, Json, Key, Sealed, Sentence, Word, new_id, short_binary, table_args
from models.feed import EXPORT_DOWNLOADED, EXPORT_READY, emit
from models.host import digest
from models.statements import insert_all
from models.tenancy import TenantScoped, check_scope, same_tenant
from models.vault import Keyring

PENDING, READY, EXPIRED, FAILED = "pending", "ready", "expired", "failed"
LINK_LIVES = timedelta(hours=48)
MOST_DOWNLOADS = 5
"""A download that breaks off is begun again; a link that was passed around has an end."""
CHUNK = 256 * 1024
"""Bytes of a piece: small for the memory of whoever makes or reads it, large for a row."""
STALE = timedelta(hours=1)
"""How long a copy may wait before it is asked whether anybody is still to make it."""

_SPENT: dict[str, Any] = {"key": None, "link": None, "digest": None, "email": None, "phone": None, "user": None}
ERASED_MEANWHILE = "Something of it was erased or put right since; ask for a new copy."
EXPIRED_BY_ERASURE = {"status": EXPIRED, "sentence": ERASED_MEANWHILE, **_SPENT}
"""What a copy's row becomes when something in it is erased; its pieces go."""


class Export(TenantScoped, Base):
    """One copy. `email`, `phone` and `user` (of the host) are look-up hashes of the person it is about, `requester` another.

    `key` is the copy's own key and `link` the token of its address, both sealed by the tenant's; `digest` finds it by the
    token. `counts`: store -> rows; `size`: bytes of the file.
    """

    __tablename__ = "exports"
    __table_args__ = table_args(
        UniqueConstraint("tenant_id", "id"), Index("ix_exports_status_expires_at", "status", "expires_at")
    )

    id: Mapped[Key]
    kind: Mapped[Word]
    email: Mapped[bytes | None] = mapped_column(short_binary(16))
    phone: Mapped[bytes | None] = mapped_column(short_binary(16))
    user: Mapped[bytes | None] = mapped_column(short_binary(16))
    requester: Mapped[bytes | None] = mapped_column(short_binary(16))
    verification: Mapped[Word | None]
    status: Mapped[Word]
    counts: Mapped[Json | None]
    size: Mapped[int | None] = mapped_column(BigInteger)
    downloads: Mapped[int] = mapped_column(default=0)
    sentence: Mapped[Sentence | None]
    key: Mapped[bytes | None] = mapped_column(short_binary(100))
    link: Mapped[bytes | None] = mapped_column(short_binary(100))
    digest: Mapped[bytes | None] = mapped_column(short_binary(32), unique=True)
    requested_at: Mapped[Instant]
    ready_at: Mapped[Instant | None]
    expires_at: Mapped[Instant | None]


class ExportChunk(TenantScoped, Base):
    """One sealed piece of a copy, counted from 0."""

    __tablename__ = "export_chunks"
    __table_args__ = table_args(same_tenant("export_id", "exports"))

    tenant_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    export_id: Mapped[Id] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    data: Mapped[Sealed]


class NoLongerOurs(Exception):
    """The copy that is being made was erased, has expired, or is made by another run: nothing more may be written of it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A copy that is wanted: of the tenant, or of a person by look-up hashes."""

    kind: str
    email: bytes | None = None
    phone: bytes | None = None
    user: bytes | None = None
    requester: bytes | None = None
    verification: str | None = None


_CHUNKS: Table = ExportChunk.__table__  # type: ignore[assignment]


def ask_export(session: Session, tenant_id: str, asked: Asked, now: datetime) -> Export:
    """Store a request; one of the same scope that waits already is it."""
    same = select(Export).where(
        Export.status == PENDING, Export.kind == asked.kind, Export.email == asked.email, Export.phone == asked.phone,
        Export.user == asked.user,
    )  # fmt: skip
    row = session.scalars(same.limit(1)).one_or_none()
    if row is None:
        row = Export(id=new_id(), tenant_id=tenant_id, kind=asked.kind, email=asked.email, phone=asked.phone,
                     user=asked.user, requester=asked.requester, verification=asked.verification, status=PENDING, downloads=0,
                     requested_at=now)  # fmt: skip
        session.add(row)
        session.flush()
    return row


def begin_export(session: Session, hashes: Keyring, row: Export) -> Keyring:
    """A new key for a copy that is made from its beginning; what an earlier run left goes. `hashes` is the tenant's."""
    drop_chunks(session, row)
    key = AESGCM.generate_key(256)
    row.key = hashes.seal(key, table="exports", row=row.id, column="key")
    session.flush()
    return Keyring(row.tenant_id, row.id, key)


def held(session: Session, export_id: str) -> Export | None:
    """A copy whose row nobody else changes until this transaction ends."""
    query = select(Export).where(Export.id == export_id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def held_pending(session: Session, export_id: str, key: bytes | None) -> Export:
    """The copy that a run with this sealed key is making. Raises NoLongerOurs."""
    row = held(session, export_id)
    if row is None or row.status != PENDING or row.key != key:
        raise NoLongerOurs
    return row


def add_chunk(session: Session, keyring: Keyring, row: Export, number: int, plain: bytes) -> None:
    """Store a piece; `keyring` is the copy's own."""
    check_scope(session, (row.tenant_id,))
    data = keyring.seal(plain, table="export_chunks", row=f"{row.id}:{number}", column="data")
    insert_all(
        session.connection(),
        _CHUNKS,
        [{"tenant_id": row.tenant_id, "export_id": row.id, "number": number, "data": data}],
    )


def finish_export(
    session: Session, hashes: Keyring, row: Export, *, counts: Mapping[str, int], size: int, now: datetime
) -> None:
    """All pieces are there: the link lives from now on, and the host is told."""
    token = secrets.token_urlsafe(32)
    row.link = hashes.seal(token.encode(), table="exports", row=row.id, column="link")
    row.digest, row.status, row.counts, row.size = digest(token), READY, dict(counts), size
    row.ready_at, row.expires_at = now, now + LINK_LIVES
    emit(session, row.tenant_id, [(EXPORT_READY, {"export_id": row.id, "scope": row.kind})], now)


def status_of(row: Export, now: datetime) -> str:
    """Its state now: a link is over to the second, whenever its pieces go."""
    is_over = row.status == READY and row.expires_at is not None and row.expires_at <= now
    return EXPIRED if is_over else row.status


def token_of(hashes: Keyring | None, row: Export, now: datetime) -> str | None:
    """The token of its address while it can be downloaded; `hashes` is the tenant's keyring."""
    if hashes is None or row.link is None or not can_be_downloaded(row, now):
        return None
    return hashes.unseal(row.link, table="exports", row=row.id, column="link").decode()


def can_be_downloaded(row: Export, now: datetime) -> bool:
    """Whether its link still opens."""
    return status_of(row, now) == READY and row.downloads < MOST_DOWNLOADS


def export_by_token(session: Session, token: str) -> tuple[str, str] | None:
    """(tenant id, export id) that a token stands for (system session)."""
    row = session.execute(select(Export.tenant_id, Export.id).where(Export.digest == digest(token))).one_or_none()
    return None if row is None else (row[0], row[1])


def begin_download(
    session: Session, hashes: Keyring | None, export_id: str, now: datetime
) -> tuple[Export, Keyring] | None:
    """Count a download and tell the host; the copy and its keyring, or None when its link is over."""
    row = held(session, export_id)
    if row is None or hashes is None or row.key is None or not can_be_downloaded(row, now):
        return None
    row.downloads += 1
    emit(session, row.tenant_id, [(EXPORT_DOWNLOADED, {"export_id": row.id, "downloads": row.downloads})], now)
    return row, Keyring(row.tenant_id, row.id, hashes.unseal(row.key, table="exports", row=row.id, column="key"))


def read_chunk(session: Session, keyring: Keyring, export_id: str, number: int) -> bytes | None:
    """One piece in the clear; None behind the last one, and when it has gone."""
    query = select(ExportChunk.data).where(ExportChunk.export_id == export_id, ExportChunk.number == number)
    data = session.scalars(query).one_or_none()
    if data is None:
        return None
    return keyring.unseal(data, table="export_chunks", row=f"{export_id}:{number}", column="data")


def drop_chunks(session: Session, row: Export) -> None:
    """Its pieces go."""
    mine = (ExportChunk.tenant_id == row.tenant_id, ExportChunk.export_id == row.id)
    session.execute(delete(ExportChunk).where(*mine).execution_options(synchronize_session=False))


def expired(session: Session, now: datetime, *, limit: int) -> list[Export]:
    """Copies whose link is over (system session)."""
    query = select(Export).where(Export.status == READY, Export.expires_at <= now).order_by(Export.expires_at)
    return list(session.scalars(query.limit(limit).with_for_update(skip_locked=True)))


def waiting_long(session: Session, now: datetime, *, after: str | None, limit: int) -> list[Export]:
    """Copies that were asked for a while ago and are not ready, behind the id `after` (system session)."""
    query = select(Export).where(Export.status == PENDING, Export.requested_at <= now - STALE).order_by(Export.id)
    if after is not None:
        query = query.where(Export.id > after)
    return list(session.scalars(query.limit(limit).with_for_update(skip_locked=True)))


def end_export(session: Session, row: Export, sentence: str | None) -> None:
    """Its key, its link and its pieces go, and with them who it was about; that it was there stays."""
    row.status = EXPIRED if row.status == READY else FAILED
    row.sentence = sentence
    for name, value in _SPENT.items():
        setattr(row, name, value)
    drop_chunks(session, row)
    session.flush()


def expire_persons(session: Session, marks: Sequence[bytes]) -> None:
    """What these persons' copies say is not right any more: nobody is to get one from now on."""
    # Those without a key have not been begun, and will show what is right.
    about = select(Export).where(Export.key.is_not(None), Export.email.in_(marks) | Export.phone.in_(marks))
    for row in session.scalars(about.order_by(Export.id).with_for_update()) if marks else ():
        end_export(session, row, ERASED_MEANWHILE)
