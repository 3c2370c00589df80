"""The receipts of deletions: signed, and chained to the one before within their tenant. It decides nothing and holds no person.

A chain has no gaps: its lock is held from a number's drawing to the commit.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ForeignKey, Index, String, Table, Text, UniqueConstraint, Uuid, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Id, Instant, Key, new_id, table_args
from models.ed25519 import ALGORITHM, SigningKey
from models.receipt_body import NONE_BEFORE, VERSION, UnfitBody, canonical, check_body
from models.statements import insert_new
from models.tenancy import TenantScoped, check_scope, same_tenant


class ReceiptChain(TenantScoped, Base):
    """Where a tenant's chain ends: the number of its newest receipt, and that one's digest."""

    __tablename__ = "receipt_chains"
    __table_args__ = table_args()

    tenant_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), ForeignKey("tenants.id"), primary_key=True)
    last: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))


class Receipt(TenantScoped, Base):
    """One receipt. `number` counts from 1 within the tenant; `body` is the JSON that was signed, `digest` its SHA-256.

    The public key stands here, too, for a tenant's session sees none of the platform's keys.
    """

    __tablename__ = "receipts"
    __table_args__ = table_args(
        UniqueConstraint("tenant_id", "number"),
        same_tenant("deletion_id", "deletions"),
        Index("ix_receipts_deletion", "tenant_id", "deletion_id"),
    )

    id: Mapped[Key]
    deletion_id: Mapped[Id]
    number: Mapped[int]
    previous: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))
    body: Mapped[str] = mapped_column(Text)
    key_id: Mapped[str] = mapped_column(String(16))
    public_key: Mapped[str] = mapped_column(String(43))
    signature: Mapped[str] = mapped_column(String(86))
    created_at: Mapped[Instant]


_CHAINS: Table = ReceiptChain.__table__  # type: ignore[assignment]


def issue(
    session: Session, key: SigningKey, *, tenant_id: str, deletion_id: str, body: Mapping[str, object], now: datetime
) -> Receipt:
    """Sign and store what a deletion came to (`models.receipt_body.Facts`), as the tenant's next receipt.

    Take it late, before events only: other transactions of the tenant that issue wait for the commit. UnfitBody when the
    body may not stand in a receipt; nothing is stored then.
    """
    check_scope(session, (tenant_id,))
    session.flush()
    number, previous = _next(session, tenant_id)
    receipt_id = new_id()
    own = {
        "id": receipt_id,
        "tenant": tenant_id,
        "number": number,
        "previous": previous,
        "issued_at": now,
        "key": key.id,
    }
    whole = {**body, "version": VERSION, "receipt": own}
    check_body(whole)
    if whole["deletion"]["id"] != deletion_id:  # type: ignore[index]
        raise UnfitBody("deletion.id must be the deletion that the receipt is for.")
    text = canonical(whole)
    row = Receipt(
        id=receipt_id, tenant_id=tenant_id, deletion_id=deletion_id, number=number, previous=previous,
        digest=hashlib.sha256(text).hexdigest(), body=text.decode(), key_id=key.id, public_key=key.public_key,
        signature=key.sign(text), created_at=now,
    )  # fmt: skip
    session.add(row)
    session.flush()
    ends = update(_CHAINS).where(_CHAINS.c.tenant_id == tenant_id).values(digest=row.digest)
    session.connection().execute(ends)
    return row


def _next(session: Session, tenant_id: str) -> tuple[int, str]:
    """(number, digest of the receipt before it), with the chain's lock taken."""
    connection, mine = session.connection(), _CHAINS.c.tenant_id == tenant_id
    step = update(_CHAINS).where(mine).values(last=_CHAINS.c.last + 1)
    if connection.execute(step).rowcount == 0:
        insert_new(connection, _CHAINS, [{"tenant_id": tenant_id, "last": 0, "digest": NONE_BEFORE}])
        connection.execute(step)
    number, previous = connection.execute(select(_CHAINS.c.last, _CHAINS.c.digest).where(mine)).one()
    return number, previous


def newest_of(session: Session, deletion_id: str) -> Receipt | None:
    """The newest receipt of a deletion."""
    query = select(Receipt).where(Receipt.deletion_id == deletion_id).order_by(Receipt.number.desc()).limit(1)
    return session.scalars(query).one_or_none()


def receipts_after(session: Session, *, after: str | None, limit: int) -> list[Receipt]:
    """The receipts of the session's tenant in the order of their chain, behind the one with the id `after`."""
    query = select(Receipt).order_by(Receipt.number).limit(limit)
    if after is not None:
        number = session.scalars(select(Receipt.number).where(Receipt.id == after)).one_or_none()
        if number is None:
            return []
        query = query.where(Receipt.number > number)
    return list(session.scalars(query))


def document(receipt: Receipt) -> dict[str, Any]:
    """What is given out: the body, and what its signature is checked with (`models.verdict`)."""
    signature = {"key": receipt.key_id, "public_key": receipt.public_key, "algorithm": ALGORITHM,
                 "digest": receipt.digest, "value": receipt.signature}  # fmt: skip
    return {"body": orjson.loads(receipt.body), "signature": signature}
