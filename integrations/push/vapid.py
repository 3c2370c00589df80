"""Who we are to browsers' push services: VAPID (RFC 8292), one signed token per origin for half a day."""

import time
from collections.abc import Callable

import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from integrations.push.subscription import bytes_of, text_of

_LIVES, _RENEWED = 12 * 3600, 3600
"""Seconds: services take at most 24 hours."""


def private_key(text: str) -> ec.EllipticCurvePrivateKey:
    """A key of P-256 from 32 bytes in base64url, or PEM; ValueError otherwise."""
    if text.lstrip().startswith("-----BEGIN"):
        found = load_pem_private_key(text.replace("\\n", "\n").encode(), None)
        if not isinstance(found, ec.EllipticCurvePrivateKey) or not isinstance(found.curve, ec.SECP256R1):
            raise ValueError("this is no key of P-256")
        return found
    raw = bytes_of(text)
    if len(raw) != 32:
        raise ValueError("this is not 32 bytes")
    return ec.derive_private_key(int.from_bytes(raw, "big"), ec.SECP256R1())


class Vapid:
    """Signs. The public key is what the host's pages subscribe browsers with."""

    def __init__(self, key: str, subject: str, clock: Callable[[], float] = time.time) -> None:
        self._key, self._subject, self._clock = private_key(key), subject, clock
        self.public_key = text_of(self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
        self._headers: dict[str, tuple[float, str]] = {}

    def authorization(self, origin: str) -> str:
        """The Authorization header for an origin, port included; signed anew an hour before its end."""
        now = self._clock()
        ends, header = self._headers.get(origin, (0.0, ""))
        if ends - _RENEWED <= now:
            ends = now + _LIVES
            header = f"vapid t={self._token(origin, int(ends))}, k={self.public_key}"
            self._headers[origin] = ends, header
        return header

    def _token(self, origin: str, ends: int) -> str:
        claims = {"aud": origin, "exp": ends, "sub": self._subject}
        signed = ".".join(text_of(orjson.dumps(part)) for part in ({"typ": "JWT", "alg": "ES256"}, claims))
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{text_of(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
