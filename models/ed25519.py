"""Signatures by ed25519 and their keys as text (base64url without padding); it knows neither rows nor what is signed."""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM: Final = "ed25519"
_KEY, _SIGNATURE = 32, 64


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that can sign, in memory. `id` is the beginning of its public key's SHA-256, so that it names itself."""

    id: str
    public_key: str
    private: Ed25519PrivateKey = field(repr=False)

    def sign(self, text: bytes) -> str:
        """The signature over these bytes."""
        return as_text(self.private.sign(text))


def fresh_key() -> SigningKey:
    """A key that nobody has yet."""
    return _named(Ed25519PrivateKey.generate())


def opened_key(private: bytes) -> SigningKey:
    """The key of these 32 private bytes."""
    return _named(Ed25519PrivateKey.from_private_bytes(private))


def _named(private: Ed25519PrivateKey) -> SigningKey:
    public = private.public_key().public_bytes_raw()
    return SigningKey(key_id(public), as_text(public), private)


def key_id(public: bytes) -> str:
    """The name of a public key: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(public).hexdigest()[:16]


def keys_by_id(public_keys: Iterable[str]) -> Mapping[str, str]:
    """id -> public key; ValueError when one is not 32 bytes in base64url."""
    return {key_id(_bytes_of(key, _KEY)): key for key in public_keys}


def is_signed(text: bytes, signature: str, public_key: str) -> bool:
    """Whether this is the public key's signature over these bytes."""
    try:
        key = Ed25519PublicKey.from_public_bytes(_bytes_of(public_key, _KEY))
        key.verify(_bytes_of(signature, _SIGNATURE), text)
    except (InvalidSignature, ValueError):
        return False
    return True


def as_text(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes_of(text: str, size: int) -> bytes:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    # Written again and compared: base64 has several spellings of one value, and only ours is taken.
    if len(raw) != size or as_text(raw) != text:
        raise ValueError(f"this is not {size} bytes in base64url without padding")
    return raw
