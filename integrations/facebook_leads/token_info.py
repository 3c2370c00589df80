"""Meta's description of a token, read; it asks nobody and holds no token.

Source: https://developers.facebook.com/docs/graph-api/reference/debug_token
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from integrations.errors import IntegrationError, Transient
from integrations.facebook_leads.errors import classify
from integrations.facebook_leads.scalars import read_instant, read_text


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What a token is good for. Instants are UTC; None: it does not expire, or Meta did not say.

    `pages` says for which Pages a permission was given; a permission that is not in it holds for all.
    """

    is_valid: bool
    app_id: str | None
    user_id: str | None
    expires_at: datetime | None
    data_access_expires_at: datetime | None
    scopes: tuple[str, ...]
    error: IntegrationError | None
    pages: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def is_alive(self, now: datetime) -> bool:
        """Valid, and not past its end, which Meta's answer may lag behind."""
        return self.is_valid and (self.expires_at is None or now < self.expires_at)

    def granted_for(self, page_id: str) -> tuple[str, ...]:
        """The permissions that hold for this Page."""
        return tuple(scope for scope in self.scopes if scope not in self.pages or page_id in self.pages[scope])


def read_token_info(answer: Mapping[str, Any]) -> TokenInfo | IntegrationError:
    """The `data` of an answer, or Transient where it does not say what a valid token was granted."""
    data = answer.get("data")
    if not isinstance(data, dict):
        return Transient("Facebook did not say anything about the token.", code="shape")
    error, scopes = data.get("error"), data.get("scopes")
    if data.get("is_valid") is True and not isinstance(scopes, list):
        return Transient("Facebook did not say what the token may do.", code="shape")
    return TokenInfo(
        is_valid=data.get("is_valid") is True,
        app_id=read_text(data.get("app_id")),
        user_id=read_text(data.get("user_id")),
        expires_at=read_instant(data.get("expires_at")),
        data_access_expires_at=read_instant(data.get("data_access_expires_at")),
        scopes=_texts(scopes),
        # Here, and only here, Meta writes `subcode` for `error_subcode`.
        error=classify(200, {"error_subcode": error.get("subcode"), **error}, {}) if isinstance(error, dict) else None,
        pages=_pages(data.get("granular_scopes")),
    )


def _pages(granular: object) -> dict[str, frozenset[str]]:
    """[{scope, target_ids}]. Only the targets of `pages_...` are surely Pages: others name ad accounts and businesses."""
    found = {}
    for entry in granular if isinstance(granular, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("scope"), str) and entry["scope"].startswith("pages_"):
            targets = entry.get("target_ids")
            if isinstance(targets, list) and targets:
                found[entry["scope"]] = frozenset(str(one) for one in targets)
    return found


def _texts(values: object) -> tuple[str, ...]:
    return tuple(one for one in values if isinstance(one, str)) if isinstance(values, list) else ()
