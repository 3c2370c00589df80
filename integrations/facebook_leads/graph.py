"""Calls to Meta's Graph with a tenant's token; it stores nothing, schedules nothing and reads no lead's content.

Tokens travel in the Authorization header or in a request body, never in an address.
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode

from facebook_business.adobjects.page import Page  # type: ignore[import-untyped]
from facebook_business.api import FacebookAdsApi  # type: ignore[import-untyped]
from facebook_business.exceptions import FacebookError  # type: ignore[import-untyped]

from integrations.errors import IntegrationError, NeedsUser, OurBug, Transient
from integrations.facebook_leads import batch, problems
from integrations.facebook_leads.errors import SETTINGS
from integrations.facebook_leads.page_facts import PageAccess, PageFacts, read_page_access, read_subscription
from integrations.facebook_leads.scalars import read_id
from integrations.facebook_leads.sdk import API_VERSION, LEAD_FIELDS, ads_api, body_of
from integrations.facebook_leads.token_info import TokenInfo, read_token_info
from integrations.http import Http

T = TypeVar("T")

PAGES_AT_ONCE = batch.LIMIT // 3
"""Three calls look at a Page."""

_FORM = {"content-type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, slots=True)
class LeadReply:
    """What Facebook said about one lead: the lead, as it came, or the error."""

    lead_id: str
    lead: dict[str, Any] | None = field(default=None, repr=False)
    error: IntegrationError | None = None


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

    def get(self, token: str, path: str, params: Mapping[str, str]) -> tuple[dict[str, Any], Mapping[str, str]]:
        """One object, or one part of a list, and the headers it came with. `path` holds ids that were checked.

        Without the SDK: its objects cost more than twice the reading, and it hides the headers.
        """
        reply = self._http.request(
            "GET",
            f"{self._base_url}/{self._version}/{path}",
            params={**params, "appsecret_proof": self._proof(token)},
            bearer=token,
        )
        answer = body_of(reply)
        if not isinstance(answer, dict):
            raise Transient("Facebook answered without saying what we asked.", code="shape")
        return answer, reply.headers

    def page_access(self, token: str, page_id: str) -> PageAccess:
        """Asks Meta whether this token may read the Page's leads (Leads Access Manager)."""
        page: Mapping[str, Any] | None = None
        # These are the SDK's ways to say that the answer has not the shape of a Page (where warnings are errors, too).
        with suppress(FacebookError, TypeError, KeyError, AttributeError, UserWarning):
            page = Page(page_id, api=self.api(token)).api_get(fields=[Page.Field.has_lead_access])
        return _or_raise(read_page_access(page))

    def debug_token(self, token: str) -> TokenInfo:
        """Asks Meta about a token."""
        [info] = self.debug_tokens([token])
        return _or_raise(info)

    def debug_tokens(self, tokens: Sequence[str]) -> list[TokenInfo | IntegrationError]:
        """Asks Meta about at most 50 tokens in one call; an error of one token is in its place, of the call is raised.

        The question is put inside a batch, where the tokens are in the body, not in an address.
        """
        return [_token_info(answer) for answer in self._ask([_debug(token) for token in tokens])]

    def page_facts(self, asked: Sequence[tuple[str, str]]) -> list[PageFacts]:
        """All that a check-up of a Page needs to know, for (token, page id) of at most `PAGES_AT_ONCE` in one call.

        What failed for one Page is in its facts; an error of the call is raised.
        """
        for _, page_id in asked:
            require_page_id(page_id)
        answers = iter(self._ask([url for token, page_id in asked for url in self._about(token, page_id)]))
        return [
            PageFacts(
                token=_token_info(info),
                access=_then(access, read_page_access),
                fields=_then(apps, lambda answer: read_subscription(answer, self._app_id)),
            )
            for info, access, apps in zip(answers, answers, answers, strict=True)
        ]

    def api(self, token: str) -> FacebookAdsApi:
        """The SDK for one token, on our connections."""
        return ads_api(
            self._http, base_url=self._base_url, version=self._version, token=token, proof=self._proof(token)
        )

    @property
    def app_token(self) -> str:
        """The token of the app itself; whoever holds it holds the app's secret."""
        return f"{self._app_id}|{self._app_secret.decode()}"

    def _ask(self, relative_urls: Sequence[str]) -> list[dict[str, Any] | IntegrationError]:
        """Questions of the app itself, or of the token that one of them names."""
        token = self.app_token
        try:
            items, headers = self._batch(token, batch.encode(relative_urls, self._proof(token)), len(relative_urls))
        except NeedsUser as error:
            refused = _app_refused(error)
        else:
            return [batch.read_item(item, headers) for item in items]
        raise refused

    def _about(self, token: str, page_id: str) -> tuple[str, str, str]:
        """The calls of one Page: of its token by the app, and of the Page with its own token."""
        own = urlencode({"access_token": token, "appsecret_proof": self._proof(token)})
        return (
            _debug(token),
            f"{page_id}?fields={Page.Field.has_lead_access}&{own}",
            f"{page_id}/subscribed_apps?limit=100&{own}",
        )

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


def require_page_id(page_id: str) -> None:
    """Raises OurBug for what is no id, before it becomes part of an address."""
    require_id(page_id, "A Page's id is digits.")


def require_id(value: str, sentence: str) -> None:
    """As `require_page_id`, for an id of anything."""
    if read_id(value) != value or not value:
        raise OurBug(sentence, code="request")


def _debug(token: str) -> str:
    return f"debug_token?{urlencode({'input_token': token})}"


def _token_info(answer: dict[str, Any] | IntegrationError) -> TokenInfo | IntegrationError:
    """Here the app asks: where Meta refuses, it refuses the app, or to speak of a token that is not the app's."""
    match answer:
        case NeedsUser():
            return _app_refused(answer)
        case OurBug(code="100"):
            return problems.other_app()
        case IntegrationError():
            return answer
        case _:
            return read_token_info(answer)


def _app_refused(error: IntegrationError) -> OurBug:
    """What would be a tenant's broken grant, had it been the tenant's token: no person there can mend it."""
    return OurBug("Facebook did not accept the Meta app's own token.", code=error.code, fix=SETTINGS, trace=error.trace)


def _then(answer: dict[str, Any] | IntegrationError, read: Callable[[dict[str, Any]], T]) -> T | IntegrationError:
    return answer if isinstance(answer, IntegrationError) else read(answer)


def _or_raise(told: T | IntegrationError) -> T:
    if isinstance(told, IntegrationError):
        raise told
    return told
