"""Writes a Graph batch as bytes and reads its items back; it knows neither tokens nor connections.

Source: https://developers.facebook.com/docs/graph-api/batch-requests
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson

from integrations.errors import IntegrationError, Transient
from integrations.facebook_leads.errors import classify

LIMIT = 50


def encode(relative_urls: Sequence[str], proof: str) -> bytes:
    """The form body of one batch of GETs."""
    calls = orjson.dumps([{"method": "GET", "relative_url": url} for url in relative_urls])
    return _body(quote(calls, safe="").encode(), proof)


class SameRead:
    """Batches that read the same fields of many objects.

    Everything but the ids is url-encoded once: encoding 50 calls anew costs as much as the rest of the request.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        self._before = quote('{"method":"GET","relative_url":"', safe="").encode()
        self._after = quote(f'?fields={",".join(fields)}"}}', safe="").encode()

    def encode(self, ids: Sequence[str], proof: str) -> bytes:
        """The form body of one batch; `ids` are decimal digits and need no encoding."""
        between = self._after + b"%2C" + self._before
        calls = between.join(one.encode("ascii") for one in ids)
        return _body(b"%5B" + self._before + calls + self._after + b"%5D", proof)


def _body(calls: bytes, proof: str) -> bytes:
    return b"appsecret_proof=" + proof.encode() + b"&batch=" + calls


def read_item(item: object, headers: Mapping[str, str]) -> dict[str, Any] | IntegrationError:
    """The object of one item, or why there is none. `headers` are those of the whole answer.

    A null item ran out of time at Meta: only it has to be asked for again.
    """
    if item is None:
        return Transient("Facebook did not get to this part of the batch.", code="batch_null")
    if not isinstance(item, dict):
        return _unreadable(0)
    status = item.get("code")
    if type(status) is not int:
        status = 0
    try:
        body = orjson.loads(item.get("body") or b"")
    except (orjson.JSONDecodeError, TypeError):
        return classify(status, None, _item_headers(item, headers))
    if not isinstance(body, dict):
        return _unreadable(status)
    error = body.get("error")
    if error is not None or status != 200:
        return classify(status, error if isinstance(error, dict) else None, _item_headers(item, headers))
    return body


def _unreadable(status: int) -> IntegrationError:
    return Transient("Facebook answered a part of the batch with something unreadable.", code=f"http_{status}")


def _item_headers(item: Mapping[str, Any], outer: Mapping[str, str]) -> dict[str, str]:
    """The usage headers of a throttled item are its own, written as [{name, value}]."""
    headers = dict(outer)
    own = item.get("headers")
    for header in own if isinstance(own, list) else ():
        if isinstance(header, dict) and isinstance(header.get("name"), str) and isinstance(header.get("value"), str):
            headers[header["name"].lower()] = header["value"]
    return headers
