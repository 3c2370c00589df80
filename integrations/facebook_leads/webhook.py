"""Reads Meta's signed deliveries of the `page` object; knows neither tenants nor what is done with a change.

Source: https://developers.facebook.com/docs/graph-api/webhooks/getting-started
"""

import hmac
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from integrations.errors import BadPayload, BadSignature
from integrations.facebook_leads.scalars import read_id, read_instant

_PREFIX = "sha256="
_HEX_DIGITS = 64
_CHALLENGE_DIGITS = 64
_BROKEN = object()


class LeadChange(NamedTuple):
    """One announced lead: ids only, as decimal text. `created_at` is the lead's own instant, in UTC."""

    page_id: str
    lead_id: str
    form_id: str | None
    ad_id: str | None
    adgroup_id: str | None
    created_at: datetime | None


class Delivery(NamedTuple):
    """All that one delivery said, in its order. `skipped` counts by reason what could not be used."""

    changes: list[LeadChange]
    skipped: dict[str, int]


def verify(raw: bytes, header: str | None, app_secret: str) -> None:
    """Raises BadSignature unless `header` (X-Hub-Signature-256) signs exactly these bytes with the app's secret.

    The received bytes are hashed as they are: written anew, the same JSON would not give the same signature.
    """
    if not app_secret.strip():
        raise BadSignature("No app secret is set, so deliveries cannot be checked and are refused.")
    if header is None:
        raise BadSignature("The delivery is not signed.")
    if not header.startswith(_PREFIX) or len(header) != len(_PREFIX) + _HEX_DIGITS:
        raise BadSignature("The signature does not have the form sha256=<64 hex digits>.")
    # compare_digest refuses non-ASCII text; "?" is no hex digit, so what is replaced cannot match.
    given = header[len(_PREFIX) :].encode("ascii", "replace").lower()
    expected = hmac.digest(app_secret.encode(), raw, "sha256").hex().encode()
    if not hmac.compare_digest(given, expected):
        raise BadSignature("The signature does not fit the delivery.")


def handshake(params: Mapping[str, str], verify_token: str) -> str:
    """The challenge to echo when Meta asks whether this address is ours; raises BadSignature if it is not Meta."""
    if not verify_token.strip():
        raise BadSignature("No verify token is set, so subscriptions are refused.")
    given = params.get("hub.verify_token", "")
    challenge = params.get("hub.challenge", "")
    if params.get("hub.mode") != "subscribe":
        raise BadSignature("This is not a subscription handshake.")
    if not hmac.compare_digest(given.encode("utf-8", "replace"), verify_token.encode()):
        raise BadSignature("The verify token does not fit.")
    # "An int you must pass back": echoing anything else would lend our address to foreign text.
    if not (challenge.isascii() and challenge.isdigit() and len(challenge) <= _CHALLENGE_DIGITS):
        raise BadSignature("The challenge is not a number.")
    return challenge


def read(raw: bytes) -> Delivery:
    """Every usable lead change of a delivery, of every entry; raises BadPayload if the whole cannot be read.

    Reasons in `skipped`: `bad_entry`, `no_changes` (an entry that names fields but brings no values), `unknown_field`,
    `bad_change` (no usable page or lead id), `unknown_object` (the whole delivery is about something else).
    """
    payload: Any = _BROKEN
    # Raised after the block, not in it: the decoder's error carries the whole body with it.
    with suppress(orjson.JSONDecodeError):
        payload = orjson.loads(raw)
    if payload is _BROKEN:
        raise BadPayload("The delivery is not valid JSON.")
    if not isinstance(payload, dict) or not isinstance(payload.get("entry"), list):
        raise BadPayload("The delivery is not an object with a list of entries.")
    return _delivery(payload.get("object"), payload["entry"])


def _delivery(about: object, entries: list[Any]) -> Delivery:
    changes: list[LeadChange] = []
    skipped: dict[str, int] = {}
    if about != "page":
        return Delivery(changes, {"unknown_object": len(entries) or 1})
    for entry in entries:
        announced = entry.get("changes", []) if isinstance(entry, dict) else None
        if not isinstance(announced, list):
            skipped["bad_entry"] = skipped.get("bad_entry", 0) + 1
        elif not announced:
            # "Include values" is off in the subscription, or the entry is of another product (a chat message).
            skipped["no_changes"] = skipped.get("no_changes", 0) + 1
        else:
            for announcement in announced:
                change = _change(announcement, entry)
                if isinstance(change, LeadChange):
                    changes.append(change)
                else:
                    skipped[change] = skipped.get(change, 0) + 1
    return Delivery(changes, skipped)


def _change(change: Any, entry: dict[str, Any]) -> LeadChange | str:
    """The change, or the reason why it is skipped."""
    if not isinstance(change, dict):
        return "bad_change"
    if change.get("field") != "leadgen":
        return "unknown_field" if isinstance(change.get("field"), str) else "bad_change"
    value = change.get("value")
    if not isinstance(value, dict):
        return "bad_change"
    find = value.get
    lead_id, page_id = read_id(find("leadgen_id")), read_id(find("page_id"))
    if page_id == "":
        page_id = read_id(entry.get("id"))
    if not lead_id or not page_id:
        return "bad_change"
    # What follows is also in the lead itself: when malformed it is left out, and the lead is not given up for it.
    form_id, ad_id, adgroup_id = (read_id(find("form_id")), read_id(find("ad_id")), read_id(find("adgroup_id")))
    return LeadChange(
        page_id, lead_id, form_id or None, ad_id or None, adgroup_id or None, read_instant(find("created_time"))
    )
