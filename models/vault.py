"""Envelope encryption: a data key per (tenant, connection), wrapped by a versioned master key; knows no table but its own."""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import ForeignKey, Row, Uuid, bindparam, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Instant, Word, short_binary, table_args
from models.tenancy import TenantScoped

_NONCE = 12
_VERSION = b"\x01"


class VaultError(Exception):
    """The vault refused: a key is missing or a ciphertext is not what it claims to be. Never carries a plaintext."""


class DataKey(TenantScoped, Base):
    """The wrapped key of one scope: a connection's id, or the tenant's own id for what belongs to no connection."""

    __tablename__ = "data_keys"
    __table_args__ = table_args()

    tenant_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), ForeignKey("tenants.id"), primary_key=True)
    scope: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    master_key_id: Mapped[Word]
    wrapped: Mapped[bytes] = mapped_column(short_binary(100))
    created_at: Mapped[Instant]


# Every job asks for a keyring or more: no object is made of the row, and the statement is built once.
_KeyRow = Row[str, str, str, bytes]
_WRAPPED = select(DataKey.tenant_id, DataKey.scope, DataKey.master_key_id, DataKey.wrapped)
_OF_SCOPE = _WRAPPED.where(DataKey.tenant_id == bindparam("tenant"), DataKey.scope == bindparam("scope"))


class Keyring:
    """One unwrapped data key. Ciphertexts are bound to tenant, table, row and column, so none can be moved."""

    def __init__(self, tenant_id: str, scope: str, key: bytes) -> None:
        self._tenant_id = tenant_id
        self._aead = AESGCM(key)
        self._mac_key = hashlib.sha256(b"troth look-up" + key).digest()
        self.scope = scope

    def seal(self, plaintext: bytes, *, table: str, row: str, column: str) -> bytes:
        """AES-256-GCM: version (1 byte), nonce (12 bytes), ciphertext and tag."""
        return self._seal(os.urandom(_NONCE), plaintext, self._place(table, row, column))

    def seal_all(self, table: str, plaintexts: Iterable[tuple[str, str, bytes]]) -> list[bytes]:
        """As `seal`, of many: (row, column, plaintext). Nonces are drawn at once, and each is used once."""
        given = list(plaintexts)
        nonces = os.urandom(_NONCE * len(given))
        return [
            self._seal(nonces[_NONCE * n : _NONCE * (n + 1)], plaintext, self._place(table, row, column))
            for n, (row, column, plaintext) in enumerate(given)
        ]

    def _seal(self, nonce: bytes, plaintext: bytes, place: bytes) -> bytes:
        return _VERSION + nonce + self._aead.encrypt(nonce, plaintext, place)

    def unseal(self, sealed: bytes, *, table: str, row: str, column: str) -> bytes:
        """The plaintext; VaultError when the bytes were changed, moved, or sealed with another key."""
        if sealed[:1] != _VERSION:
            raise VaultError(f"{table}.{column} is not in a format this version knows")
        try:
            return self._aead.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], self._place(table, row, column))
        except (InvalidTag, ValueError):  # ValueError: too short to be one
            raise VaultError(f"{table}.{column} does not open with the key of its row") from None

    def fingerprint(self, value: str) -> bytes:
        """A keyed hash (16 bytes) by which a value can be looked up, but not read or compared across tenants."""
        return hmac.digest(self._mac_key, value.encode(), "sha256")[:16]

    def _place(self, table: str, row: str, column: str) -> bytes:
        return f"{self._tenant_id}|{table}|{row}|{column}".encode()


class Vault:
    """Opens keyrings. `master_keys` maps a key's id to its 32 bytes; the first one wraps new data keys."""

    def __init__(self, master_keys: Mapping[str, bytes]) -> None:
        if not master_keys:
            raise VaultError("no master key: set TROTH_MASTER_KEYS to id:base64 (32 random bytes)")
        self._masters = {name: AESGCM(key) for name, key in master_keys.items()}
        self._active = next(iter(master_keys))

    def keyring(self, session: Session, tenant_id: str, scope: str, now: datetime) -> Keyring:
        """The keyring of a scope, its data key made on first use. Nothing is cached: a destroyed key is dead at once."""
        row = self._row(session, tenant_id, scope)
        if row is not None:
            return Keyring(tenant_id, scope, self._open(row))
        try:
            with session.begin_nested():
                return self.new_keyring(session, tenant_id, scope, now)
        except IntegrityError:  # another run made it just now
            row = self._row(session, tenant_id, scope)
            if row is None:
                raise
            return Keyring(tenant_id, scope, self._open(row))

    def new_keyring(self, session: Session, tenant_id: str, scope: str, now: datetime) -> Keyring:
        """The keyring of a scope that was drawn just now, so that nobody can have made its data key."""
        key = AESGCM.generate_key(256)
        session.add(
            DataKey(tenant_id=tenant_id, scope=scope, master_key_id=self._active, created_at=now,
                    wrapped=self._wrap(key, tenant_id, scope))
        )  # fmt: skip
        return Keyring(tenant_id, scope, key)

    def existing(self, session: Session, tenant_id: str, scope: str) -> Keyring | None:
        """The keyring of a scope, or None when its data key was never made or has been destroyed."""
        row = self._row(session, tenant_id, scope)
        return None if row is None else Keyring(tenant_id, scope, self._open(row))

    def keyrings(self, session: Session, tenant_id: str, scopes: Sequence[str]) -> dict[str, Keyring]:
        """scope -> keyring, in one query, for those that exist."""
        rows = session.execute(_WRAPPED.where(DataKey.tenant_id == tenant_id, DataKey.scope.in_(scopes)))
        return {row.scope: Keyring(tenant_id, row.scope, self._open(row)) for row in rows}

    def destroy(self, session: Session, tenant_id: str, scope: str) -> None:
        """Forget a scope's data key: whatever it sealed, wherever a copy lies, cannot be read again."""
        session.execute(delete(DataKey).where(DataKey.tenant_id == tenant_id, DataKey.scope == scope))

    def rewrap(self, session: Session, *, limit: int) -> int:
        """Wrap up to `limit` data keys of older master keys with the active one; how many (system session).

        What they sealed stays as it is. Harmless beside running workers, which open both, and when it is cut short.
        """
        rows = session.scalars(
            select(DataKey).where(DataKey.master_key_id != self._active)
            .order_by(DataKey.tenant_id, DataKey.scope).limit(limit).with_for_update(skip_locked=True)
        ).all()  # fmt: skip
        for row in rows:
            row.wrapped = self._wrap(self._open(row), row.tenant_id, row.scope)
            row.master_key_id = self._active
        session.flush()
        return len(rows)

    @property
    def active(self) -> str:
        """The id of the master key that wraps new data keys."""
        return self._active

    def _row(self, session: Session, tenant_id: str, scope: str) -> _KeyRow | None:
        return session.execute(_OF_SCOPE, {"tenant": tenant_id, "scope": scope}).one_or_none()

    def _wrap(self, key: bytes, tenant_id: str, scope: str) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._masters[self._active].encrypt(nonce, key, f"{tenant_id}|{scope}".encode())

    def _open(self, row: DataKey | _KeyRow) -> bytes:
        master = self._masters.get(row.master_key_id)
        if master is None:
            raise VaultError(
                f"master key {row.master_key_id!r} is not in TROTH_MASTER_KEYS; add it behind the active one"
            )
        try:
            return master.decrypt(row.wrapped[:_NONCE], row.wrapped[_NONCE:], f"{row.tenant_id}|{row.scope}".encode())
        except (InvalidTag, ValueError):  # ValueError: too short to be one
            raise VaultError(f"master key {row.master_key_id!r} is not the one that wrapped this data key") from None


def wrapped_by(session: Session) -> dict[str, int]:
    """master key id -> how many data keys it wraps (system session)."""
    query = select(DataKey.master_key_id, func.count()).group_by(DataKey.master_key_id)
    return {name: count for name, count in session.execute(query)}


def parse_master_keys(value: str) -> dict[str, bytes]:
    """`id:base64[,id:base64...]` to keys; ValueError says which entry is wrong, never what it holds."""
    keys: dict[str, bytes] = {}
    for position, entry in enumerate(filter(None, (part.strip() for part in value.split(","))), start=1):
        name, separator, encoded = entry.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        if not separator or not name or len(name) > 32 or name in keys or len(key) != 32:
            raise ValueError(f"entry {position} is not id:base64 of 32 bytes with an id of its own")
        keys[name] = key
    return keys
