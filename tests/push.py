"""What tests of devices and bulletins share: browsers' subscriptions with real keys, and devices as a host registers them."""

import os
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from integrations.push.subscription import text_of


def subscription(endpoint: str) -> dict[str, Any]:
    """A browser that nobody can read for: its private key is thrown away."""
    point = ec.generate_private_key(ec.SECP256R1()).public_key()
    p256dh = text_of(point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
    return {"endpoint": endpoint, "keys": {"p256dh": p256dh, "auth": text_of(os.urandom(16))}}
