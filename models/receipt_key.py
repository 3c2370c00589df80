"""The keys that receipts are signed with: made on first use, sealed by the vault, their public halves kept for ever."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import String, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Instant, Sealed, table_args
from models.ed25519 import SigningKey, fresh_key, opened_key
from models.tenancy import SYSTEM
from models.vault import Keyring, Vault, VaultError


class ReceiptKey(Base):
    """A key of the platform; the one with the highest `position` signs. `private` is None once another has taken over."""

    __tablename__ = "receipt_keys"
    __table_args__ = table_args()

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    position: Mapped[int] = mapped_column(unique=True)
    public_key: Mapped[str] = mapped_column(String(43))
    private: Mapped[Sealed | None]
    created_at: Mapped[Instant]


def signing_key(session: Session, vault: Vault, now: datetime) -> SigningKey:
    """The key that signs now, made when there is none (system session that writes; a tenant's cannot open it)."""
    keyring = vault.keyring(session, SYSTEM, SYSTEM, now)
    row = _newest(session)
    if row is None:
        try:
            with session.begin_nested():
                return _add(session, keyring, 1, now)
        except IntegrityError:  # another process made it just now
            row = _newest(session)
            if row is None:
                raise
    if row.private is None:
        raise VaultError("the newest receipt key has no private half: `troth receipts rotate` makes a new one")
    return opened_key(keyring.unseal(row.private, **_place(row.id)))


def rotate_signing_key(session: Session, vault: Vault, now: datetime) -> SigningKey:
    """Sign with a new key from now on (system session). The private halves before it are forgotten.

    Who holds the one before it in memory may still sign; such receipts verify, for its public key stays.
    """
    keyring = vault.keyring(session, SYSTEM, SYSTEM, now)
    known = public_keys(session)
    key = _add(session, keyring, known[-1].position + 1 if known else 1, now)
    for row in known:
        row.private = None
    session.flush()
    return key


def public_keys(session: Session) -> Sequence[ReceiptKey]:
    """Every key there ever was, the oldest first (system session)."""
    return session.scalars(select(ReceiptKey).order_by(ReceiptKey.position)).all()


def known_keys(session: Session) -> dict[str, str]:
    """id -> public key, of every key there ever was (system session)."""
    return {row.id: row.public_key for row in public_keys(session)}


def _newest(session: Session) -> ReceiptKey | None:
    return session.scalars(select(ReceiptKey).order_by(ReceiptKey.position.desc()).limit(1)).one_or_none()


def _add(session: Session, keyring: Keyring, position: int, now: datetime) -> SigningKey:
    key = fresh_key()
    sealed = keyring.seal(key.private.private_bytes_raw(), **_place(key.id))
    session.add(
        ReceiptKey(id=key.id, position=position, public_key=key.public_key, private=sealed, created_at=now)
    )  # fmt: skip
    session.flush()
    return key


def _place(row_id: str) -> dict[str, str]:
    return {"table": ReceiptKey.__tablename__, "row": row_id, "column": "private"}
