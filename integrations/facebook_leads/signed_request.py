"""Reads what Meta signs when a person removes the app or asks for deletion; knows neither connections nor deadlines.

Source: https://developers.facebook.com/docs/development/create-an-app/app-dashboard/data-deletion-callback
"""

import base64
import hmac
import re
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from integrations.errors import BadPayload, BadSignature
from integrations.facebook_leads.scalars import read_id, read_instant

_LONGEST = 8192
# base64url; the padding is left off as a rule, and was seen.
_FORM = re.compile(r"([\w-]+)={0,2}\.([\w-]+)(={0,2})", re.ASCII)
_BROKEN = object()


class SignedRequest(NamedTuple):
    """Whom it is about: the app's own id of a person who logged in, or, where a Page dropped the app, the Page.

    Exactly one of the two is there. `issued_at` is in UTC; nothing may be refused for its age: Meta asks again late.
    """

    user_id: str | None
    page_id: str | None
    issued_at: datetime | None


def read_signed_request(value: str, app_secret: str) -> SignedRequest:
    """The form field `signed_request`; raises BadSignature unless Meta signed it, BadPayload if it names nobody.

    Nothing is read before the signature was found good. An end of its own (`expires`) is no reason to refuse: it is
    that of the person's session, and a wish for deletion outlives it.
    """
    if not app_secret.strip():
        raise BadSignature("No app secret is set, so signed requests cannot be checked and are refused.")
    parts = _FORM.fullmatch(value) if len(value) <= _LONGEST else None
    if parts is None:
        raise BadSignature("The signed request does not have the form signature.payload in base64url.")
    signature, payload, padding = parts.groups()
    if not _signed(_decoded(signature), payload, padding, app_secret.encode()):
        raise BadSignature("The signature does not fit the signed request.")
    return _read(_decoded(payload))


def _signed(given: bytes | None, payload: str, padding: str, secret: bytes) -> bool:
    """Over the payload as it is encoded; where it came padded, with or without that."""
    fits = [
        hmac.compare_digest(given or b"", hmac.digest(secret, text.encode(), "sha256"))
        for text in (payload + padding, payload)
    ]
    return any(fits)


def _decoded(text: str) -> bytes | None:
    with suppress(ValueError):
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return None


def _read(raw: bytes | None) -> SignedRequest:
    data: Any = _BROKEN
    # Raised after the block, not in it: the decoder's error carries the whole text with it.
    with suppress(orjson.JSONDecodeError):
        data = orjson.loads(raw or b"")
    if not isinstance(data, dict):
        raise BadPayload("The signed request is not a JSON object.")
    algorithm = data.get("algorithm")
    if not isinstance(algorithm, str) or algorithm.upper() != "HMAC-SHA256":
        raise BadSignature("The signed request names another algorithm than HMAC-SHA256.")
    user_id, page_id = read_id(data.get("user_id")), read_id(data.get("profile_id"))
    if user_id is None or not (user_id or page_id):
        raise BadPayload("The signed request names neither a person nor a Page.")
    return SignedRequest(user_id or None, None if user_id else page_id, read_instant(data.get("issued_at")))
