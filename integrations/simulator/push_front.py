"""The push services' front: FCM v1 with its token endpoint, and a Web Push service that reads what it is sent; no sockets.

Refusals as in https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode, RFC 8030 and RFC 8292.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import orjson
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from integrations.simulator.buttons import Button, Panel, Target
from integrations.simulator.calls import Calls
from integrations.simulator.meta_answers import Answer
from integrations.simulator.push_schema import fault
from integrations.simulator.push_world import PROJECT, PushWorld, as_json, bytes_of

TOKEN, BROWSERS, SEND = "/push/token", "/push/browsers/", f"/v1/projects/{PROJECT}/messages:send"
_LARGEST = 4096
_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
           429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}  # fmt: skip
_BY_CODE = {"UNREGISTERED": 404, "SENDER_ID_MISMATCH": 403, "QUOTA_EXCEEDED": 429, "INTERNAL": 500, "UNAVAILABLE": 503,
            "INVALID_ARGUMENT": 400, "THIRD_PARTY_AUTH_ERROR": 401}  # fmt: skip


def is_push(path: str) -> bool:
    """Whether an address is one of these."""
    return path.startswith(("/push/", "/v1/projects/"))


class PushFront:
    """Answers from its world."""

    def __init__(self, world: PushWorld, panel: Panel, calls: Calls) -> None:
        self.world, self.panel, self.calls = world, panel, calls
        self._answered: Counter[Any] = Counter()
        self._proven: set[str] = set()

    def kind(self, path: str) -> str:
        """What buttons and counts call it."""
        return "fcm_token" if path == TOKEN else "webpush" if path.startswith(BROWSERS) else "fcm"

    def answer(self, path: str, headers: Mapping[bytes, bytes], body: bytes, host: str) -> Answer:
        """The answer; raises nothing."""
        kind = self.kind(path)
        handlers: dict[str, Callable[[], Answer]] = {
            "fcm_token": lambda: self._token(body),
            "fcm": lambda: self._send(path, headers, body),
            "webpush": lambda: self._push(path, headers, body, host),
        }
        return handlers[kind]()

    def recycles(self, client: Any) -> bool:
        """Whether this connection has served enough."""
        if not self.world.recycle:
            return False
        self._answered[client] += 1
        return self._answered[client] % self.world.recycle == 0

    def _pressed(self, kind: str, name: str) -> Button | None:
        return self.panel.acting(Target(kind, name, "", "", ""), ("error", "throttle")) if self.panel.on else None

    def _token(self, body: bytes) -> Answer:
        """POST /push/token: a signed assertion for an access token (RFC 7523)."""
        form = parse_qs(body.decode("latin-1"))
        signed, _, signature = form.get("assertion", [""])[0].rpartition(".")
        try:
            public = self.world.service_key.public_key()
            public.verify(bytes_of(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError):
            told = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
            return Answer(400, orjson.dumps(told))
        told_token = {"access_token": self.world.issue(), "expires_in": 3600, "token_type": "Bearer"}
        return Answer(200, orjson.dumps(told_token))

    def _send(self, path: str, headers: Mapping[bytes, bytes], body: bytes) -> Answer:
        until = self.world.access.get(headers.get(b"authorization", b"").decode("latin-1").removeprefix("Bearer "))
        if until is None or until <= self.world.clock():
            return _refusal(401, "", "Request had invalid authentication credentials.")
        if path != SEND:
            return _refusal(403, "", "Permission denied on the project.")
        data = as_json(body)
        wrong = ("", "Invalid JSON payload received.") if data is None else fault(data)
        message = {} if data is None or wrong else data.get("message", {})
        targets = [name for name in ("fid", "token", "topic", "condition") if name in message]
        if wrong is None and len(targets) != 1:
            wrong = ("message", "Exactly one of the targets has to be set.")
        if wrong is None and len(body) > _LARGEST + 400:
            wrong = ("message", "Android message is too big")
        if wrong is not None:
            return _refusal(400, "INVALID_ARGUMENT", wrong[1], field=wrong[0])
        return self._taken(message, str(message[targets[0]]), f"message.{targets[0]}")

    def _taken(self, message: dict[str, Any], name: str, field: str) -> Answer:
        button = self._pressed("fcm", name)
        if button is not None:
            code = button.reason or ("QUOTA_EXCEEDED" if button.does == "throttle" else "INTERNAL")
            return _refusal(button.status or _BY_CODE.get(code, 500), code, button.message or code, wait=button.seconds)
        if self.world.is_dead(name):
            return _refusal(404, "UNREGISTERED", "Requested entity was not found.")
        if self.world.is_foreign(name):
            return _refusal(403, "SENDER_ID_MISMATCH", "SenderId mismatch")
        if name.startswith("bad-"):
            return _refusal(400, "INVALID_ARGUMENT", "The registration token is not a valid FCM registration token",
                            field=field)  # fmt: skip
        self.world.take(name, str(message.get("data", {}).get("bulletin", "")), message)
        return Answer(200, b'{"name":"projects/%s/messages/%d"}' % (PROJECT.encode(), len(self.world.taken)))

    def _push(self, path: str, headers: Mapping[bytes, bytes], body: bytes, host: str) -> Answer:
        name = path.removeprefix(BROWSERS)
        button = self._pressed("webpush", name)
        if button is not None:
            wait = (("Retry-After", str(int(button.seconds))),) if button.seconds else ()
            return Answer(button.status or (429 if button.does == "throttle" else 500), b"{}", wait)
        browser = self.world.browsers.get(name)
        if browser is None or self.world.is_dead(name):
            return Answer(410, b'{"code":410,"errno":106}')
        if b"ttl" not in headers or len(headers.get(b"topic", b"")) > 32:
            return Answer(400, b'{"code":400,"errno":111}')
        if len(body) > _LARGEST:
            return Answer(413, b'{"code":413,"errno":104}')
        if not self._is_signed(headers.get(b"authorization", b"").decode("latin-1"), host):
            return Answer(401, b'{"code":401,"errno":109}')
        tag = headers.get(b"topic", b"").decode("latin-1")
        try:
            shown = as_json(browser.read(body)) if self.world.read_all else {}
        except (InvalidTag, ValueError):
            return Answer(400, b'{"code":400,"errno":110}')
        if shown is None:
            return Answer(400, b'{"code":400,"errno":110}')
        self.world.take(name, tag, shown)
        return Answer(201, b"")

    def _is_signed(self, header: str, host: str) -> bool:
        """Whether a VAPID header is good; one that was, is."""
        if header in self._proven:
            return True
        parts = dict(part.strip().partition("=")[::2] for part in header.removeprefix("vapid ").split(","))
        signed, _, signature = parts.get("t", "").rpartition(".")
        try:
            point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes_of(parts.get("k", "")))
            raw = bytes_of(signature)
            whole = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
            point.verify(whole, signed.encode(), ec.ECDSA(hashes.SHA256()))
            claims = orjson.loads(bytes_of(signed.partition(".")[2]))
        except (InvalidSignature, ValueError, IndexError):
            return False
        if not (str(claims.get("aud", "")).endswith(f"//{host}") and "sub" in claims):
            return False
        self._proven.add(header)
        return True


def _refusal(status: int, code: str, message: str, *, field: str = "", wait: float = 0) -> Answer:
    details: list[dict[str, Any]] = []
    if code:
        details.append({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code})
    if field:
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest",
                        "fieldViolations": [{"field": field, "description": message}]})  # fmt: skip
    error = {"code": status, "message": message, "status": _STATUS.get(status, "UNKNOWN"), "details": details}
    return Answer(status, orjson.dumps({"error": error}), (("Retry-After", str(int(wait))),) if wait else ())
