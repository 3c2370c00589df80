"""What a browser's PushSubscription is: an endpoint and two keys, checked before they are kept."""

import base64
import binascii
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec

_POINT, _AUTH = 65, 16


class BadKeys(ValueError):
    """The keys cannot be encrypted for; the text says which, without repeating it."""


def checked_keys(keys: Mapping[str, str]) -> dict[str, str]:
    """{"p256dh", "auth"} without padding; BadKeys when one is not what RFC 8291 asks for."""
    point, auth = _bytes(keys.get("p256dh", "")), _bytes(keys.get("auth", ""))
    try:
        if len(point) != _POINT:
            raise ValueError
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise BadKeys("keys.p256dh is no uncompressed point of the curve P-256 in base64url.") from None
    if len(auth) != _AUTH:
        raise BadKeys("keys.auth is not 16 bytes in base64url.")
    return {"p256dh": text_of(point), "auth": text_of(auth)}


def _bytes(text: str) -> bytes:
    try:
        return bytes_of(text)
    except (binascii.Error, ValueError):
        return b""


def bytes_of(text: str) -> bytes:
    """base64url, with or without padding."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def text_of(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
