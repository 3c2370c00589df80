"""What the push services hold: a Firebase project, its devices, browsers' subscriptions, and what arrived at each; no HTTP."""

import base64
import hashlib
import hmac
import os
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

PROJECT = "troth-demo"
ACCESS_LIFE = timedelta(hours=1)
DEAD, FOREIGN = "dead-", "foreign-"
"""A target or subscription whose name begins so is dead, or another project's, from the beginning."""


@dataclass(slots=True)
class Browser:
    """A subscription, which can read what is encrypted for it."""

    name: str
    key: ec.EllipticCurvePrivateKey
    auth: bytes
    shown: list[dict[str, Any]] = field(default_factory=list)

    @property
    def point(self) -> bytes:
        """Its public key."""
        return self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def read(self, body: bytes) -> bytes:
        """The text of one aes128gcm record; ValueError or InvalidTag for what is none."""
        salt, (_, length) = body[:16], struct.unpack("!IB", body[16:21])
        sender, record = body[21 : 21 + length], body[21 + length :]
        theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender)
        shared = self.key.exchange(ec.ECDH(), theirs)
        info = b"WebPush: info\0" + self.point + sender + b"\1"
        secret = hmac.digest(hmac.digest(self.auth, shared, "sha256"), info, "sha256")
        extracted = hmac.digest(salt, secret, "sha256")
        key = hmac.digest(extracted, b"Content-Encoding: aes128gcm\0\1", "sha256")[:16]
        nonce = hmac.digest(extracted, b"Content-Encoding: nonce\0\1", "sha256")[:12]
        return AESGCM(key).decrypt(nonce, record, None).rstrip(b"\0").removesuffix(b"\2")


class PushWorld:
    """All of it. `taken` counts accepted posts by target and tag; `recycle` closes a connection after so many requests.

    `read_all`: every message of a browser is decrypted; else the first of each tag and browser are only counted (benchmarks).
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.read_all = True
        self.recycle = 0
        self.access: dict[str, datetime] = {}
        self.dead: set[str] = set()
        self.foreign: set[str] = set()
        self.browsers: dict[str, Browser] = {}
        self.taken: Counter[tuple[str, str]] = Counter()
        self.shown: dict[str, dict[str, Any]] = {}
        self._given = 0

    @cached_property
    def service_key(self) -> rsa.RSAPrivateKey:
        """The service account's, made when first asked for: it takes a moment."""
        return rsa.generate_private_key(65537, 2048)

    def adopt(self, pem: str) -> None:
        """Use a service account's key that somebody has already; ValueError when it is none."""
        key = load_pem_private_key(pem.encode(), None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("a service account's key is one of RSA")
        self.service_key = key

    def credentials(self, url: str) -> dict[str, str]:
        """The service account's key file, as the console would give it."""
        pem = self.service_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        email = f"pusher@{PROJECT}.iam.gserviceaccount.com"
        return {"type": "service_account", "project_id": PROJECT, "private_key_id": "1", "private_key": pem,
                "client_email": email, "client_id": "1", "token_uri": f"{url}/push/token"}  # fmt: skip

    def issue(self) -> str:
        """A new access token."""
        self._given += 1
        value = f"ya29.push{hashlib.sha256(str(self._given).encode()).hexdigest()[:20]}"
        self.access[value] = self.clock() + ACCESS_LIFE
        return value

    def subscribe(self, name: str, url: str) -> dict[str, Any]:
        """A browser subscribes; what its `toJSON()` gives."""
        made = self.browsers.setdefault(name, Browser(name, ec.generate_private_key(ec.SECP256R1()), os.urandom(16)))
        keys = {"p256dh": text_of(made.point), "auth": text_of(made.auth)}
        return {"endpoint": f"{url}/push/browsers/{name}", "keys": keys}

    def is_dead(self, name: str) -> bool:
        """Whether nobody will ever be reached by it."""
        return name.startswith(DEAD) or name in self.dead

    def is_foreign(self, name: str) -> bool:
        """Whether it belongs to another project's app."""
        return name.startswith(FOREIGN) or name in self.foreign

    def take(self, target: str, tag: str, shown: dict[str, Any]) -> None:
        """A message arrives."""
        self.taken[target, tag] += 1
        if self.read_all:
            self.shown[target] = shown

    def summary(self) -> dict[str, Any]:
        """For the control page: how many targets were reached so often, by tag."""
        found: dict[str, Counter[str]] = {}
        for (_, tag), times in self.taken.items():
            found.setdefault(tag, Counter())[str(times)] += 1
        return {"taken": {tag: dict(counted) for tag, counted in found.items()}, "browsers": len(self.browsers)}


def text_of(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def bytes_of(text: str) -> bytes:
    """Of base64url; ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def as_json(body: bytes) -> dict[str, Any] | None:
    """An object, or None."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
