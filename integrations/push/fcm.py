"""Firebase Cloud Messaging, HTTP v1: one request a message, to an installation id or an old token; knows no loop and no row.

https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages and .../ErrorCode.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from integrations.errors import IntegrationError, OurBug, Transient
from integrations.http import Http, Reply
from integrations.push.contract import AGAIN, CREDENTIALS, DEAD, FOREIGN, INVALID, TAKEN, Answer, Message, Post, Verdict
from integrations.push.message import shortened, size

logging.getLogger("google.auth").setLevel(logging.WARNING)  # at DEBUG it prints tokens

NAME = "fcm"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
MOST_BYTES = 4_000
"""FCM takes 4,096 for notification and data; some are left for what it counts beside them."""
LONGEST_TTL = timedelta(weeks=4)
RENEWED = timedelta(minutes=10)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
QUOTA_WAIT = timedelta(minutes=1)
"""What to wait after a 429 without a Retry-After: its bucket is filled each minute."""
_TARGETS = {"fid": "fid", "token": "token"}
_FIELDS = frozenset({"message.token", "message.fid"})
_UNFIT = "registration token is not a valid fcm registration token"

_BY_CODE = {
    "UNREGISTERED": DEAD,
    "SENDER_ID_MISMATCH": FOREIGN,
    "THIRD_PARTY_AUTH_ERROR": CREDENTIALS,
    "QUOTA_EXCEEDED": AGAIN,
    "UNAVAILABLE": AGAIN,
    "INTERNAL": AGAIN,
    "INVALID_ARGUMENT": INVALID,
}
_BY_STATUS = {401: CREDENTIALS, 403: CREDENTIALS, 408: AGAIN, 429: AGAIN}


class FcmTokens:
    """The access token of a service account: made by google-auth, kept until shortly before its end, one renewal at a time."""

    def __init__(self, http: Http, credentials: Mapping[str, str], clock: Callable[[], datetime]) -> None:
        self._http, self._info, self._clock = http, dict(credentials), clock
        self._turn = threading.Lock()
        self._value, self._until = "", _LONG_AGO

    def get(self) -> str:
        """A token that lives for some minutes. IntegrationError."""
        with self._turn:
            if self._until - RENEWED <= self._clock():
                self._value, self._until = self._fresh()
            return self._value

    def forget(self) -> None:
        """It was refused: the next one is a new one."""
        self._until = _LONG_AGO

    def _fresh(self) -> tuple[str, datetime]:
        from google.oauth2 import service_account  # noqa: PLC0415 - 6 MiB, for the processes that push alone

        transport, failure = _Transport(self._http), None
        try:
            credentials: Any = service_account.Credentials.from_service_account_info(self._info, scopes=[SCOPE])  # type: ignore[no-untyped-call]
            credentials.refresh(transport)
            return str(credentials.token), self._clock() + timedelta(seconds=transport.lives)
        except IntegrationError as error:
            failure = error
        except ValueError:
            failure = OurBug("The service account's key cannot be read: set TROTH_FCM_CREDENTIALS anew.", code="key")
        except Exception:  # google-auth's errors quote what was answered
            failure = OurBug(
                "Google does not take the service account's key; set TROTH_FCM_CREDENTIALS anew.", code="key"
            )
        raise failure  # outside of `except`, so that the library's error does not hang on ours


class _Transport:
    """google-auth's requests on our connections."""

    def __init__(self, http: Http) -> None:
        self._http, self.lives = http, 3600

    def __call__(
        self, url: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None, **_: Any
    ) -> "_Response":
        content = body.encode() if isinstance(body, str) else body
        reply = self._http.request(method, url, content=content, headers=headers)
        if reply.status >= 500:
            raise Transient("Google could not give an access token just now.", code=f"http_{reply.status}")
        if reply.status == 200 and isinstance(found := reply.json(), dict):
            self.lives = int(found.get("expires_in", 3600))
        return _Response(reply)


class _Response:
    def __init__(self, reply: Reply) -> None:
        self.status, self.headers, self.data = reply.status, reply.headers, reply.content


class Fcm:
    """The channel of one Firebase project."""

    name = NAME

    def __init__(self, tokens: FcmTokens, *, url: str, project: str) -> None:
        self._tokens = tokens
        self._url = f"{url}/v1/projects/{project}/messages:send"

    def begin(self, message: Message, kind: str) -> "FcmWriter":
        """As `Channel.begin`."""
        return FcmWriter(self._url, self._tokens.get(), message, _TARGETS[kind])

    def verdict(self, answer: Answer) -> Verdict:
        """As `Channel.verdict`; a token that was refused is not used again."""
        if answer.status == 200:
            return TAKEN
        found = verdict(answer)
        if answer.status == 401:
            self._tokens.forget()
        return found


class FcmWriter:
    """The body is the same for all but its first field."""

    def __init__(self, url: str, token: str, message: Message, target: str) -> None:
        self._url = url
        self._headers = [f"authorization: Bearer {token}", "content-type: application/json"]
        self._before = b'{"message":{"%s":' % target.encode()
        self._after = b"," + orjson.dumps(fields(message))[1:] + b"}"

    def post(self, address: Mapping[str, str]) -> Post:
        """As `Writer.post`."""
        target = orjson.dumps(address["token"])
        return Post(self._url, NAME, self._headers, self._before + target + self._after)


def fields(message: Message) -> dict[str, Any]:
    """A Message of FCM without its target. The tag makes Android, iOS and browsers show it once; it is no collapse key, of
    which a device may have four at a time only."""
    ttl = max(0, int(min(message.ttl, LONGEST_TTL).total_seconds()))
    data = {"bulletin": message.tag, **({"url": message.url} if message.url else {})}
    image = {"image": message.image_url} if message.image_url else {}
    rest = MOST_BYTES - sum(map(size, (message.title, message.url or "", message.image_url or ""))) - 200
    notification = {"title": message.title, "body": shortened(message.body, rest), **image}
    return {
        "notification": notification,
        "data": data,
        "android": {"priority": "HIGH" if message.is_urgent else "NORMAL", "ttl": f"{ttl}s",
                    "notification": {"tag": message.tag}},
        "apns": {"headers": {"apns-collapse-id": message.tag, "apns-priority": "10" if message.is_urgent else "5"}},
        "webpush": {"headers": {"TTL": str(ttl), "Topic": message.tag.replace("-", "")},
                    "notification": {"tag": message.tag},
                    **({"fcmOptions": {"link": message.url}} if (message.url or "").startswith("https:") else {})},
    }  # fmt: skip


def verdict(answer: Answer) -> Verdict:
    """A refusal, by FCM's own error code, which is not the status: a dead token comes as 404 NOT_FOUND with UNREGISTERED."""
    if answer.status == 0:
        return Verdict(AGAIN, answer.failed)
    error = _error(answer.body)
    code = next((str(it["errorCode"]) for it in _details(error, "FcmError") if "errorCode" in it), "")
    kind = _BY_CODE.get(code) or _BY_STATUS.get(answer.status) or (AGAIN if answer.status >= 500 else INVALID)
    if kind == INVALID and _names_the_target(error):
        kind = DEAD
    wait = answer.retry_after
    if answer.status == 429 and wait is None:
        wait = QUOTA_WAIT
    return Verdict(kind, (code or f"http_{answer.status}").lower()[:32], wait if kind == AGAIN else None)


def _error(body: bytes) -> Mapping[str, Any]:
    """The error object; {} where there is none: a 502 comes as HTML."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = found.get("error") if isinstance(found, dict) else None
    return error if isinstance(error, dict) else {}


def _details(error: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    details = error.get("details")
    found = details if isinstance(details, list) else []
    return [it for it in found if isinstance(it, dict) and str(it.get("@type", "")).endswith(kind)]


def _names_the_target(error: Mapping[str, Any]) -> bool:
    """INVALID_ARGUMENT is ambiguous: it is the device's own only when the field of its target is named."""
    for it in _details(error, "BadRequest"):
        violations = it.get("fieldViolations")
        if isinstance(violations, list):
            named = {str(one.get("field")) for one in violations if isinstance(one, dict)}
            return bool(named) and named <= _FIELDS
    return _UNFIT in str(error.get("message", "")).lower()
