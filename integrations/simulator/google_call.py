"""One call to Google as it came in: the parameters, who the client says it is, and the bearer; knows no answers."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from integrations.simulator.query import read_query


@dataclass(frozen=True, slots=True)
class GoogleCall:
    """`kind` is the name for counts and buttons; `body` the raw form, for who must see repeated fields."""

    kind: str
    method: str
    path: str
    params: Mapping[str, str]
    authorization: str = ""
    body: bytes = b""

    @property
    def bearer(self) -> str:
        """The access token: from the header, or the parameter; "" without one."""
        scheme, _, value = self.authorization.partition(" ")
        return value.strip() if scheme.lower() == "bearer" else self.params.get("access_token", "")

    @property
    def client(self) -> tuple[str, str]:
        """(client id, secret), from the body or the Basic header."""
        if "client_id" in self.params:
            return self.params["client_id"], self.params.get("client_secret", "")
        scheme, _, value = self.authorization.partition(" ")
        if scheme.lower() != "basic":
            return "", ""
        try:
            name, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return name, secret


def read_call(
    path: str, method: str, query: bytes, body: bytes, headers: Mapping[bytes, bytes], kind: str
) -> GoogleCall:
    """A call from the parts of an HTTP request; a refresh is told from the other uses of the token endpoint."""
    params = read_query(query)
    if body:
        is_json = headers.get(b"content-type", b"").startswith(b"application/json")
        params.update(_json(body) if is_json else read_query(body))
    if kind == "google_token" and params.get("grant_type") == "refresh_token":
        kind = "google_refresh"
    return GoogleCall(kind, method, path, params, headers.get(b"authorization", b"").decode("latin-1"), body)


def _json(body: bytes) -> dict[str, str]:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return {name: str(value) for name, value in data.items()} if isinstance(data, dict) else {}
