"""Who gave a grant, as Google tells it; it calls nobody.

Source: https://developers.google.com/identity/openid-connect/openid-connect#an-id-tokens-payload
"""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from google.auth import jwt

_ISSUERS = ("https://accounts.google.com", "accounts.google.com")
_LONGEST = 255


@dataclass(frozen=True, slots=True)
class Holder:
    """One Google account. `sub` never changes and is never given again; the address, in small letters, may change."""

    sub: str = field(repr=False)
    email: str | None = field(default=None, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """What the account is known by, the lasting name first."""
        return (self.sub,) if self.email is None else (self.sub, self.email)


def of_id_token(token: str | None, client_id: str) -> Holder | None:
    """Who an id_token is about; None if there is none, or it is no token of Google's for this client.

    Only for a token that came straight from the token endpoint: the connection proves it, so that its signature is
    not checked, as Google's page allows.
    """
    claims: Any = None
    # The library's errors quote the token.
    with suppress(ValueError):
        claims = jwt.decode(token, verify=False) if token else None  # type: ignore[no-untyped-call]
    if not isinstance(claims, dict) or claims.get("iss") not in _ISSUERS or claims.get("aud") != client_id:
        return None
    return of_claims(claims)


def of_claims(claims: object) -> Holder | None:
    """Who an id_token's payload or an answer of the account's page is about; None where it names nobody."""
    if not isinstance(claims, dict):
        return None
    sub, email = _text(claims.get("sub")), _text(claims.get("email"))
    return Holder(sub, email.lower() if email else None) if sub else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable() else None
