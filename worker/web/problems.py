"""Every error answer as problem+json (RFC 9457): stable types and how to mend each; it never repeats what was sent."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response

from models.database import is_away
from models.vault import VaultError

# kind -> (status, title). `type` is /problems/<kind>; a kind, once published, keeps its meaning.
KINDS: Final[dict[str, tuple[int, str]]] = {
    "bad-request": (400, "The request could not be read"),
    "bad-cursor": (400, "The cursor is not one of ours"),
    "bad-signed-request": (400, "The signed request was not accepted"),
    "bad-idempotency-key": (400, "The Idempotency-Key cannot be used"),
    "tenant-missing": (400, "The tenant was not named"),
    "tenant-not-needed": (400, "This key needs and accepts no tenant"),
    "unsearchable": (400, "The search text is not something leads can be found by"),
    "missing-key": (401, "A key is needed"),
    "unknown-key": (401, "The key was not accepted"),
    "missing-scope": (403, "The key was not given the scope"),
    "platform-only": (403, "Only a platform key may do this"),
    "cross-site": (403, "The form was sent from another site"),
    "not-found": (404, "There is nothing here"),
    "no-receipt-yet": (404, "There is no receipt yet"),
    "unknown-tenant": (404, "The tenant is not known"),
    "method-not-allowed": (405, "The method is not allowed here"),
    "conflict": (409, "Another request was faster"),
    "tenant-exists": (409, "The tenant exists already"),
    "account-claimed": (409, "The account is connected elsewhere"),
    "being-erased": (409, "The data is being erased"),
    "restricted": (409, "The data is kept and not processed"),
    "wrong-state": (409, "The state does not allow it"),
    "second-person-needed": (409, "A second person has to agree"),
    "too-large": (413, "The body is too large"),
    "not-json": (415, "The body must be JSON"),
    "invalid": (422, "Some fields are not valid"),
    "idempotency-key-reused": (422, "The Idempotency-Key belongs to another request"),
    "internal": (500, "Something went wrong on our side"),
    "vault": (500, "Stored data could not be opened"),
    "provider-refused": (502, "The provider refused it"),
    "provider-busy": (503, "The provider cannot do it just now"),
    "unavailable": (503, "The database cannot be reached"),
    "turned-off": (503, "The integration is turned off here"),
}

_BY_STATUS: Final[dict[int, tuple[str, str]]] = {
    400: ("bad-request", "The body could not be read: send valid JSON in UTF-8."),
    404: ("not-found", "Check the address and the id; what belongs to another tenant does not exist for this key."),
    405: ("method-not-allowed", "The header Allow lists the methods of this address."),
    413: ("too-large", "Send at most 256 KiB."),
}


class Problem(HTTPException):
    """An error answer. `detail` says how to mend it and holds nothing of what the caller sent."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, str]] | None = None,
    ) -> None:
        super().__init__(KINDS[kind][0], detail, dict(headers or {}))
        self.kind = kind
        self.errors = errors

    def response(self) -> Response:
        """As problem+json."""
        status, title = KINDS[self.kind]
        return problem(status, self.kind, title, self.detail, headers=self.headers, errors=self.errors)


def problem(
    status: int,
    kind: str,
    title: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[Mapping[str, str]] | None = None,
) -> Response:
    """One problem+json answer; `errors` lists {field, problem}."""
    body: dict[str, Any] = {"type": f"/problems/{kind}", "title": title, "status": status, "detail": detail}
    if errors is not None:
        body["errors"] = errors
    return Response(orjson.dumps(body), status, headers, media_type="application/problem+json")


def not_found() -> Problem:
    """The same words for what never was, what is gone and what is another tenant's."""
    return Problem(*_BY_STATUS[404])


def problem_of(error: Exception) -> Problem:
    """The problem that an exception is for the caller. An unexpected one tells nothing about our insides."""
    match error:
        case Problem():
            return error
        case HTTPException():
            kind, detail = _BY_STATUS.get(error.status_code, _BY_STATUS[400])
            return Problem(kind, detail, headers=error.headers)
        # TimeoutError: SQLite's only writer was held for too long; PoolTimeout: every connection is busy.
        case PoolTimeout() | TimeoutError():
            return _unavailable()
        case DBAPIError() if is_away(error):
            return _unavailable()
        case VaultError():
            return Problem("vault", "A master key is missing or wrong: the operator runs `troth doctor`.")
        case _:
            return Problem("internal", "Try again; if it stays so, tell the operator the time of this request.")


def _unavailable() -> Problem:
    return Problem("unavailable", "Nothing was changed; send the request again later.", headers={"retry-after": "5"})
