"""Web Push: encrypted for one browser (RFC 8291, aes128gcm), signed for its push service (RFC 8292), asked by RFC 8030.

A fresh key and salt for each message. It knows no loop and no row.
"""

import hmac
import os
import struct
from collections.abc import Mapping, Sequence
from datetime import timedelta

import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from integrations.push.addresses import BadEndpoint, check_endpoint
from integrations.push.contract import AGAIN, CREDENTIALS, DEAD, INVALID, TAKEN, Answer, Message, Post, Verdict
from integrations.push.message import shortened, size
from integrations.push.subscription import bytes_of
from integrations.push.vapid import Vapid

MOST_BYTES = 2_700
"""Services take 3,993 bytes of text; where Mozilla goes through FCM to a phone, 2,744."""
LONGEST_TTL = timedelta(days=30)
_CURVE, _ECDH = ec.SECP256R1(), ec.ECDH()
_HEADER = struct.pack("!IB", 4096, 65)
"""The size of a record, and of the key that follows."""
_FORMAT = (Encoding.X962, PublicFormat.UncompressedPoint)
_BY_STATUS = {
    400: INVALID,
    401: CREDENTIALS,
    403: CREDENTIALS,
    404: DEAD,
    408: AGAIN,
    410: DEAD,
    413: INVALID,
    429: AGAIN,
}
_NOWHERE = Post("https://push.invalid", "https://push.invalid", [], b"")


class WebPush:
    """The channel to every browser's service."""

    name = "webpush"

    def __init__(self, vapid: Vapid, allowed: Sequence[str] = ()) -> None:
        self.vapid, self._allowed = vapid, tuple(allowed)

    def begin(self, message: Message, kind: str) -> "WebPushWriter":
        """As `Channel.begin`."""
        return WebPushWriter(self.vapid, message, self._allowed)

    def verdict(self, answer: Answer) -> Verdict:
        """As `Channel.verdict`. Chrome has answered 404 and 410 for the same: both are the end of a subscription."""
        if 200 <= answer.status < 300:
            return TAKEN
        if answer.status == 0:
            return Verdict(AGAIN, answer.failed)
        # A redirect is not followed: it could lead inwards.
        kind = _BY_STATUS.get(answer.status) or (AGAIN if answer.status >= 500 else INVALID)
        return Verdict(kind, f"http_{answer.status}", answer.retry_after if kind == AGAIN else None)


class WebPushWriter:
    """The text is the same for all, its cipher for nobody else."""

    def __init__(self, vapid: Vapid, message: Message, allowed: Sequence[str]) -> None:
        self._vapid, self._allowed, self._text = vapid, allowed, payload(message)
        ttl = max(0, int(min(message.ttl, LONGEST_TTL).total_seconds()))
        self._common = ["content-encoding: aes128gcm", "content-type: application/octet-stream", f"ttl: {ttl}",
                        f"urgency: {'high' if message.is_urgent else 'normal'}",
                        f"topic: {message.tag.replace('-', '')[:32]}"]  # fmt: skip
        self._headers: dict[str, list[str]] = {}

    def post(self, address: Mapping[str, str]) -> Post:
        """As `Writer.post`. An endpoint that is not allowed any more is answered for by a name that leads nowhere."""
        endpoint = address["endpoint"]
        if not endpoint.isascii():
            return _NOWHERE
        path = endpoint.find("/", len("https://"))
        service = endpoint[:path] if path > 0 else endpoint  # as it is spelled: another spelling is looked at anew
        headers = self._headers.get(service)
        if headers is None:
            try:
                # Its names are looked at when we connect; here it is the address as such.
                origin = check_endpoint(endpoint, self._allowed, resolve=lambda _host: ())
            except BadEndpoint:
                return _NOWHERE
            headers = [*self._common, f"authorization: {self._vapid.authorization(origin)}"]
            self._headers[service] = headers
        return Post(endpoint, service, headers, encrypted(self._text, address["p256dh"], address["auth"]))


def payload(message: Message) -> bytes:
    """What the host's service worker gets: JSON, no longer than every service takes."""
    rest = MOST_BYTES - sum(map(size, (message.title, message.url or "", message.image_url or ""))) - 200
    shown = {"bulletin": message.tag, "tag": message.tag, "title": message.title,
             "body": shortened(message.body, rest), "url": message.url, "image": message.image_url}  # fmt: skip
    return orjson.dumps({name: value for name, value in shown.items() if value is not None})


def encrypted(text: bytes, p256dh: str, auth: str) -> bytes:
    """One record of aes128gcm (RFC 8188) for a subscription's keys; ValueError when they are none."""
    theirs, secret_of_browser = bytes_of(p256dh), bytes_of(auth)
    their_key = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, theirs)
    key = ec.generate_private_key(_CURVE)
    ours = key.public_key().public_bytes(*_FORMAT)
    shared = key.exchange(_ECDH, their_key)
    salt = os.urandom(16)
    secret = hmac.digest(
        hmac.digest(secret_of_browser, shared, "sha256"), b"WebPush: info\0" + theirs + ours + b"\1", "sha256"
    )
    extracted = hmac.digest(salt, secret, "sha256")
    content_key = hmac.digest(extracted, b"Content-Encoding: aes128gcm\0\1", "sha256")[:16]
    nonce = hmac.digest(extracted, b"Content-Encoding: nonce\0\1", "sha256")[:12]
    return salt + _HEADER + ours + AESGCM(content_key).encrypt(nonce, text + b"\2", None)
