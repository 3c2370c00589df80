"""A grant of Pages, from the consent page to its end; it stores nothing, knows no tenant and schedules nothing.

Sources: https://developers.facebook.com/docs/facebook-login/guides/advanced/manual-flow and
https://developers.facebook.com/docs/facebook-login/guides/access-tokens/get-long-lived
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar
from urllib.parse import urlencode

from integrations.contract import Account, Begun, Checkup, Tokens
from integrations.errors import GrantGone, IntegrationError, Missing, NeedsUser, OurBug, Throttled, Transient
from integrations.facebook_leads import batch, problems
from integrations.facebook_leads.errors import SETTINGS
from integrations.facebook_leads.graph import PAGES_AT_ONCE, Graph, require_page_id
from integrations.facebook_leads.managed_pages import ManagedPage, managed_pages
from integrations.facebook_leads.page_facts import PageFacts
from integrations.facebook_leads.permissions import PERMISSIONS
from integrations.facebook_leads.sdk import API_VERSION, NOT_DONE, ask, body_of
from integrations.facebook_leads.token_info import TokenInfo
from integrations.http import Http, Reply

PAGE_TOKEN, USER_TOKEN = "page_access_token", "user_access_token"
_FIELD = "leadgen"

T = TypeVar("T")


class FacebookPages:
    """The contract's LooksTogether, for one Meta app; an account is a Page. Safe to share between threads."""

    at_once = PAGES_AT_ONCE

    def __init__(
        self,
        http: Http,
        graph: Graph,
        *,
        dialog_url: str,
        base_url: str,
        app_id: str,
        app_secret: str,
        version: str = API_VERSION,
        clock: Callable[[], datetime],
    ) -> None:
        self._http = http
        self._graph = graph
        self._dialog = f"{dialog_url.rstrip('/')}/{version}/dialog/oauth"
        self._exchange = f"{base_url.rstrip('/')}/{version}/oauth/access_token"
        self._app_id = app_id
        self._app_secret = app_secret
        self._clock = clock

    def begin(self, *, redirect_uri: str, state: str) -> Begun:
        """The address of Facebook's dialog. It takes no PKCE: the code is worthless without the app's secret.

        `rerequest`, because the dialog otherwise never asks again for a permission that was once left out, and the way
        out of that is a new connect link. It changes nothing for a person who connects for the first time.
        https://developers.facebook.com/docs/facebook-login/guides/permissions/request-revoke
        """
        asked = {
            "client_id": self._app_id,
            "redirect_uri": redirect_uri,
            "state": state,
            "scope": ",".join(permission.scope for permission in PERMISSIONS),
            "response_type": "code",
            "auth_type": "rerequest",
        }
        return Begun(f"{self._dialog}?{urlencode(asked)}")

    def complete(self, *, code: str, verifier: str | None, redirect_uri: str) -> list[Account]:
        """An account for each Page given, with the problem that keeps it from being used; NeedsUser if there is none.

        Codes, secrets and tokens go in bodies and headers only. Meta's pages show GET for the two exchanges; its Graph
        takes their parameters by POST too, as OAuth clients have always sent the code.
        """
        short = self._exchanged(redirect_uri=redirect_uri, code=code)
        user_token = self._exchanged(grant_type="fb_exchange_token", fb_exchange_token=short)
        pages = managed_pages(self._graph.api(user_token))
        infos = self._looked_at([user_token, *(page.token for page in pages if page.token is not None)])
        user = infos[user_token]
        now = self._clock()
        if not user.is_alive(now):
            raise problems.dead_token(user)
        if not pages:
            raise problems.missing_scope(user.scopes, only=problems.LIST_PAGES) or problems.no_pages()
        return [_account(page, infos.get(page.token or ""), user_token, user, now) for page in pages]

    def refresh(self, tokens: Mapping[str, str]) -> Tokens:
        """Always OurBug: the token of a Page has no end of its own, and there is nothing to refresh it with."""
        raise OurBug("A Page's access is not refreshed: it lasts until it is taken back.", code="request")

    def check(self, tokens: Mapping[str, str], external_id: str) -> Checkup:
        """Looks at token, lead access and subscription in one call, and mends a subscription that was lost.

        Raises NeedsUser for what a person must mend (codes of ours: `token_missing`, `scope_missing`, `lead_access`,
        `page_hidden`), GrantGone when the person removed the app. What works is not called broken for a permission
        that it would be nicer to have.
        """
        [found] = self.check_all([(tokens, external_id)])
        return _told(found)

    def check_all(self, grants: Sequence[tuple[Mapping[str, str], str]]) -> list[Checkup | IntegrationError]:
        """As `check`, of at most `at_once` in one call (and one more for each subscription that was lost)."""
        found: dict[int, Checkup | IntegrationError] = {}
        asked: dict[int, tuple[str, str]] = {}
        for place, (tokens, page_id) in enumerate(grants):
            try:
                asked[place] = _askable(tokens, page_id)
            except IntegrationError as error:
                found[place] = error
        facts = self._graph.page_facts(list(asked.values())) if asked else []
        for (place, (token, page_id)), told in zip(asked.items(), facts, strict=True):
            try:
                found[place] = self._judged(told, token, page_id)
            except IntegrationError as error:
                found[place] = error
        return [found[place] for place in range(len(grants))]

    def _judged(self, facts: PageFacts, token: str, external_id: str) -> Checkup:
        info = _told(facts.token)
        if not info.is_alive(self._clock()):
            raise problems.dead_token(info)
        granted = info.granted_for(external_id)
        _require_leads(facts, granted)
        mended = self._require_subscription(facts, granted, token, external_id)
        holders = None if info.user_id is None else (info.user_id,)
        return Checkup(scopes=granted, holders=holders, expires_at=info.expires_at, mended=mended)

    def leave(self, tokens: Mapping[str, str], external_id: str) -> None:
        """The Page tells our app nothing any more.

        With the app's own token where the Page's is dead: deliveries go on for as long as the subscription stands,
        whatever became of the token. What neither may end is taken for gone.
        """
        require_page_id(external_id)
        token = tokens.get(PAGE_TOKEN)
        if token and self._left(token, external_id):
            return
        try:
            self._left(self._graph.app_token, external_id)
        except OurBug:
            return  # that an app may do this for a Page is told by users of the Graph, not promised by Meta

    def revoke(self, tokens: Mapping[str, str]) -> None:
        """Ends the person's grant to our app, of every Page at once. A token that is dead has nothing left to end.

        Missing where no user token is held, as after an import: the grant stands at Meta until the person removes the
        app, and that is what is to be recorded.
        """
        token = tokens.get(USER_TOKEN)
        if not token:
            raise Missing("No user token is held, so the grant cannot be ended from here.", code="token_missing")
        try:
            ask(self._graph.api(token), "DELETE", "me", "permissions")
        except GrantGone:
            return
        except NeedsUser as error:
            if (error.code or "").partition("/")[0] not in ("190", "102"):
                raise

    def _exchanged(self, **form: str) -> str:
        """The token for a code, or for a token."""
        app = {"client_id": self._app_id, "client_secret": self._app_secret}
        return _token_in(self._http.request("POST", self._exchange, form={**app, **form}))

    def _looked_at(self, tokens: Sequence[str]) -> dict[str, TokenInfo]:
        """Meta's word on each token. A code serves once, so that what is lost on the way is asked for once more."""
        known: dict[str, TokenInfo] = {}
        failure: IntegrationError | None = None
        for _ in range(2):
            failure = None
            waiting = [token for token in dict.fromkeys(tokens) if token not in known]
            for start in range(0, len(waiting), batch.LIMIT):
                asked = waiting[start : start + batch.LIMIT]
                for token, info in zip(asked, self._graph.debug_tokens(asked), strict=True):
                    if isinstance(info, IntegrationError):
                        failure = info
                    else:
                        known[token] = info
        if failure is not None:
            raise failure
        return known

    def _require_subscription(self, facts: PageFacts, granted: Sequence[str], token: str, page_id: str) -> bool:
        """Whether it was lost, and is there again."""
        present = _of_page(facts.fields, granted)
        if _FIELD in present:
            return False
        # Whether a new list replaces the former one is not documented: the union is right either way.
        fields = [*present, _FIELD]
        try:
            ask(self._graph.api(token), "POST", page_id, "subscribed_apps", subscribed_fields=fields)
        except NeedsUser as error:
            failure = problems.missing_scope(granted, only=problems.SUBSCRIBE) or error
        else:
            return True
        raise failure

    def _left(self, token: str, page_id: str) -> bool:
        """Whether this token could end the subscription, or could see that there is none to end."""
        try:
            ask(self._graph.api(token), "DELETE", page_id, "subscribed_apps")
        except (NeedsUser, Missing):
            return False
        except Transient as error:
            if error.code != NOT_DONE:
                raise
        return True


def _askable(tokens: Mapping[str, str], page_id: str) -> tuple[str, str]:
    """(token, page id), so that a grant that cannot be asked about does not cost the others their look."""
    require_page_id(page_id)
    token = tokens.get(PAGE_TOKEN)
    if not token:
        raise problems.no_token()
    return token, page_id


def _account(page: ManagedPage, info: TokenInfo | None, user_token: str, user: TokenInfo, now: datetime) -> Account:
    holder = user.user_id or (info.user_id if info else None)
    granted = info.granted_for(page.page_id) if info else ()
    tokens = {USER_TOKEN: user_token}
    if page.token is not None:
        tokens[PAGE_TOKEN] = page.token
    return Account(
        external_id=page.page_id,
        name=page.name,
        tokens=tokens,
        scopes=granted,
        holders=() if holder is None else (holder,),
        expires_at=info.expires_at if info else None,
        problem=_problem(page, info, granted, now),
    )


def _problem(page: ManagedPage, info: TokenInfo | None, granted: Sequence[str], now: datetime) -> NeedsUser | None:
    if info is not None and not info.is_alive(now):
        return problems.dead_token(info)
    return (
        problems.missing_task(page.tasks)
        or (problems.no_token() if info is None else None)
        or problems.missing_scope(granted)
    )


def _require_leads(facts: PageFacts, granted: Sequence[str]) -> None:
    failure = problems.missing_scope(granted, only=problems.LEADS)
    if failure is None:
        access = _of_page(facts.access, granted)
        if access.can_access_lead is False:
            failure = problems.missing_scope(granted) or problems.no_lead_access(access)
    if failure is not None:
        raise failure


def _of_page(told: T | IntegrationError, granted: Sequence[str]) -> T:
    """An answer about the Page; 100/33 is no lead here but the Page itself, and a refusal names what was left out."""
    match told:
        case Missing():
            raise problems.not_shown()
        case GrantGone():
            raise told
        case NeedsUser():
            raise problems.missing_scope(granted) or told
        case _:
            return _told(told)


def _told(told: T | IntegrationError) -> T:
    if isinstance(told, IntegrationError):
        raise told
    return told


def _token_in(reply: Reply) -> str:
    failure: IntegrationError | None = None
    body: object = None
    try:
        body = body_of(reply)
    except (Transient, Throttled) as error:
        # Here, and with this status, the code of every hiccup says that the secret is wrong.
        if reply.status != 400 or error.code != "1":
            raise
        failure = OurBug("Facebook did not accept the Meta app's secret.", code="1", fix=SETTINGS)
    token = body.get("access_token") if isinstance(body, dict) else None
    if isinstance(token, str) and token:
        return token
    raise failure or Transient("Facebook answered a login without a token.", code="shape")
