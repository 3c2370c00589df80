"""Meta's signed callbacks: who removed the app, and who asks for deletion; knows not who receives them.

https://developers.facebook.com/docs/development/create-an-app/app-dashboard/data-deletion-callback
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx
import orjson

from integrations.simulator.deliver import NO_AUTHORITIES


def signed_request(app_secret: str, payload: Mapping[str, Any]) -> str:
    """The form field `signed_request`: unpadded base64url, the HMAC-SHA256 over the encoded payload, a dot between."""
    encoded = _base64(orjson.dumps(payload))
    return f"{_base64(hmac.new(app_secret.encode(), encoded.encode(), hashlib.sha256).digest())}.{encoded}"


def callback_payload(now: datetime, *, user_id: str | None = None, page_id: str | None = None) -> dict[str, Any]:
    """What Meta says about a person, or about a page that dropped the app: then user_id is 0 and profile_id the page."""
    issued = int(now.timestamp())
    expires = int((now + timedelta(hours=1)).timestamp())
    payload = {"algorithm": "HMAC-SHA256", "expires": expires, "issued_at": issued, "user_id": user_id or "0"}
    return payload if page_id is None else {**payload, "profile_id": page_id}


def post_callback(callback_url: str, value: str) -> httpx.Response:
    """Deliver one, as Meta does: a form with one field, and no second try."""
    with httpx.Client(timeout=20, trust_env=False, verify=NO_AUTHORITIES) as client:
        return client.post(callback_url, data={"signed_request": value}, headers={"User-Agent": "facebookexternalua"})


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
