"""Calls to Meta's Graph with a tenant's token; it stores nothing, schedules nothing and reads no lead's content.

Tokens travel in the Authorization header or in a request body, never in an address.
"""

import hmac
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from facebook_business.adobjects.hasleadaccess import HasLeadAccess  # type: ignore[import-untyped]
from facebook_business.adobjects.page import Page  # type: ignore[import-untyped]
from facebook_business.exceptions import FacebookError  # type: ignore[import-untyped]

from integrations.errors import IntegrationError, OurBug, Transient
from integrations.facebook_leads import batch
from integrations.facebook_leads.errors import classify
from integrations.facebook_leads.sdk import API_VERSION, LEAD_FIELDS, ads_api, body_of
from integrations.http import Http

_FORM = {"content-type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, slots=True)
class LeadReply:
    """What Facebook said about one lead: the lead, as it came, or the error."""

    lead_id: str
    lead: dict[str, Any] | None = field(default=None, repr=False)
    error: IntegrationError | None = None


@dataclass(frozen=True, slots=True)
class PageAccess:
    """Whether leads of a Page may be read, and if not, Meta's own reason. None: Meta did not say."""

    can_access_lead: bool | None
    app_has_leads_permission: bool | None
    user_has_leads_permission: bool | None
    enabled_lead_access_manager: bool | None
    is_page_admin: bool | None
    failure_reason: str | None
    failure_resolution: str | None


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What a token is good for. Instants are UTC; None: it does not expire, or Meta did not say."""

    is_valid: bool
    app_id: str | None
    user_id: str | None
    expires_at: datetime | None
    data_access_expires_at: datetime | None
    scopes: tuple[str, ...]
    error: IntegrationError | None


class Graph:
    """The Graph of one Meta app, for the tokens of all tenants; safe to share between threads."""

    def __init__(self, http: Http, *, base_url: str, app_id: str, app_secret: str, version: str = API_VERSION) -> None:
        if not (app_id and app_secret):
            raise ValueError("The Graph needs the app's id and secret.")
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._version = version
        self._app_id = app_id
        self._app_secret = app_secret.encode()
        self._leads = batch.SameRead(LEAD_FIELDS)

    def fetch_leads(self, token: str, lead_ids: Sequence[str]) -> list[LeadReply]:
        """At most 50 leads in one call, answered in the order asked, one reply for each id.

        An error of one lead is in its reply; an error of the whole call is raised.
        """
        if len(lead_ids) > batch.LIMIT or not all(one.isascii() and one.isdigit() for one in lead_ids):
            raise OurBug("A batch holds at most 50 leads, and their ids are digits.", code="request")
        if not lead_ids:
            return []
        items, headers = self._batch(token, self._leads.encode(lead_ids, self._proof(token)), len(lead_ids))
        return [_lead_reply(asked, item, headers) for asked, item in zip(lead_ids, items, strict=True)]

    def page_access(self, token: str, page_id: str) -> PageAccess:
        """Asks Meta whether this token may read the Page's leads (Leads Access Manager)."""
        api = ads_api(self._http, base_url=self._base_url, version=self._version, token=token, proof=self._proof(token))
        page: Mapping[str, Any] | None = None
        # These are the SDK's ways to say that the answer has not the shape of a Page (where warnings are errors, too).
        with suppress(FacebookError, TypeError, KeyError, AttributeError, UserWarning):
            page = Page(page_id, api=api).api_get(fields=[Page.Field.has_lead_access])
        access = page.get(Page.Field.has_lead_access) if page is not None else None
        if not isinstance(access, Mapping):
            raise Transient("Facebook did not say who may read this Page's leads.", code="shape")
        return _page_access(access)

    def debug_token(self, token: str) -> TokenInfo:
        """Asks Meta about a token. The question is put inside a batch, where the token is in the body, not the URL."""
        app_token = f"{self._app_id}|{self._app_secret.decode()}"
        body = batch.encode([f"debug_token?input_token={quote(token, safe='')}"], self._proof(app_token))
        items, headers = self._batch(app_token, body, 1)
        answer = batch.read_item(items[0], headers)
        if isinstance(answer, IntegrationError):
            raise answer
        data = answer.get("data")
        if not isinstance(data, dict):
            raise Transient("Facebook did not say anything about the token.", code="shape")
        return _token_info(data)

    def _batch(self, token: str, body: bytes, expected: int) -> tuple[list[Any], Mapping[str, str]]:
        reply = self._http.request(
            "POST", f"{self._base_url}/{self._version}/", content=body, headers=_FORM, bearer=token
        )
        items = body_of(reply)
        if not isinstance(items, list) or len(items) != expected:
            raise Transient("Facebook answered a batch with something else than its parts.", code="shape")
        return items, reply.headers

    def _proof(self, token: str) -> str:
        # https://developers.facebook.com/docs/graph-api/guides/secure-requests
        return hmac.digest(self._app_secret, token.encode(), "sha256").hex()


def _lead_reply(asked: str, item: object, headers: Mapping[str, str]) -> LeadReply:
    answer = batch.read_item(item, headers)
    if isinstance(answer, IntegrationError):
        return LeadReply(asked, error=answer)
    if answer.get("id") != asked:
        return LeadReply(asked, error=Transient("Facebook answered with another lead than asked for.", code="shape"))
    return LeadReply(asked, answer)


def _page_access(access: Mapping[str, Any]) -> PageAccess:
    names = HasLeadAccess.Field
    return PageAccess(
        can_access_lead=_flag(access.get(names.can_access_lead)),
        app_has_leads_permission=_flag(access.get(names.app_has_leads_permission)),
        user_has_leads_permission=_flag(access.get(names.user_has_leads_permission)),
        enabled_lead_access_manager=_flag(access.get(names.enabled_lead_access_manager)),
        is_page_admin=_flag(access.get(names.is_page_admin)),
        failure_reason=_text(access.get(names.failure_reason)),
        failure_resolution=_text(access.get(names.failure_resolution)),
    )


def _token_info(data: Mapping[str, Any]) -> TokenInfo:
    error, scopes = data.get("error"), data.get("scopes")
    return TokenInfo(
        is_valid=data.get("is_valid") is True,
        app_id=_text(data.get("app_id")),
        user_id=_text(data.get("user_id")),
        expires_at=_instant(data.get("expires_at")),
        data_access_expires_at=_instant(data.get("data_access_expires_at")),
        scopes=tuple(one for one in scopes if isinstance(one, str)) if isinstance(scopes, list) else (),
        # Here, and only here, Meta writes `subcode` for `error_subcode`.
        error=classify(200, {"error_subcode": error.get("subcode"), **error}, {}) if isinstance(error, dict) else None,
    )


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, (str, int)) and value not in ("", 0) else None


def _instant(value: object) -> datetime | None:
    """Unix seconds; 0 stands for never."""
    return datetime.fromtimestamp(value, UTC) if type(value) is int and 0 < value < 2**34 else None
