"""A grant of one Google account, for its whole life; it stores nothing, schedules nothing and touches no calendar.

Sources: https://developers.google.com/identity/protocols/oauth2/web-server and
https://developers.google.com/identity/openid-connect/openid-connect
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from google.oauth2.credentials import Credentials
from google_auth_oauthlib.flow import Flow  # type: ignore[import-untyped]

from integrations.contract import Account, Begun, Checkup, Tokens
from integrations.errors import GrantGone, IntegrationError, NeedsUser, OurBug, Throttled, Transient
from integrations.google_calendar import identity, scopes
from integrations.google_calendar.errors import classify
from integrations.google_calendar.transport import TokenAdapter, TokenRequest, as_https, json_of, through
from integrations.http import Http

_AGAIN = "Someone opens the connect link again, chooses the Google account and leaves every box ticked."
_LONGEST_CODE = 2048
# What the account's page calls a token that is worth nothing. Other refusals are about the question: a living token
# without openid or e-mail may not ask, and gets a 403, or a 401 that names no reason.
_WORTHLESS = {"invalid_token", "authError"}


class GoogleAccounts:
    """One OAuth client of Google, for the grants of all tenants; safe to share between threads.

    Tokens are "refresh_token" and "access_token". Addresses are whole, but `api_url` (https://www.googleapis.com),
    under which the account's page is found. `clock` gives aware instants.
    """

    def __init__(
        self,
        http: Http,
        *,
        client_id: str,
        client_secret: str,
        auth_url: str,
        token_url: str,
        revoke_url: str,
        api_url: str,
        scopes: Sequence[str],
        clock: Callable[[], datetime],
    ) -> None:
        if not (client_id and client_secret and scopes):
            raise ValueError("Google needs the client's id and secret, and at least one scope.")
        self._http = http
        self._client_id = client_id
        self._client_secret = client_secret
        self._auth_url = auth_url
        self._token_url = token_url
        self._revoke_url = revoke_url
        self._userinfo_url = api_url.rstrip("/") + "/oauth2/v3/userinfo"
        self._scopes = list(scopes)
        self._clock = clock

    def begin(self, *, redirect_uri: str, state: str) -> Begun:
        """The consent page, with a fresh PKCE verifier (S256).

        prompt=consent: without it Google gives a refresh token only the first time. include_granted_scopes stays
        unset: what this account allowed elsewhere is not for us to hold.
        """
        flow = self._flow(self._scopes, redirect_uri)
        url, _ = flow.authorization_url(state=state, access_type="offline", prompt="consent")
        return Begun(url.replace(as_https(self._auth_url), self._auth_url, 1), flow.code_verifier)

    def complete(self, *, code: str, verifier: str | None, redirect_uri: str) -> list[Account]:
        """The one account of this code. Scopes are those of the token answer: one that tells none has granted none.

        `problem` is set when the calendar was left out or no lasting access came; its tokens are given all the same,
        so that they can be revoked.
        """
        if not (code.isascii() and code.isprintable() and 0 < len(code) <= _LONGEST_CODE):
            raise _code_refused()
        answer = self._exchange(code, verifier, redirect_uri)
        holder = identity.of_id_token(answer.get("id_token"), self._client_id) or self._ask(answer["access_token"])
        if holder is None:
            raise NeedsUser("Google did not say which account this is.", code="no_account", fix=_AGAIN)
        granted = scopes.granted(answer.get("scope"))
        return [
            Account(
                external_id=holder.sub,
                name=holder.email or holder.sub,
                tokens={name: answer[name] for name in ("refresh_token", "access_token") if answer.get(name)},
                scopes=granted,
                holders=holder.names,
                expires_at=self._expiry(answer),
                problem=_problem(answer, granted),
            )
        ]

    def refresh(self, tokens: Mapping[str, str]) -> Tokens:
        """A new access token, and a new refresh token if Google sent one; the rest of `tokens` is carried over.

        One call, never repeated here. GrantGone when Google has ended the grant. Two at once for one grant are the
        caller's to prevent.
        """
        held = tokens.get("refresh_token")
        if not held:
            raise OurBug("This connection holds no refresh token.", code="no_refresh_token")
        request = TokenRequest(self._http)
        credentials = Credentials(  # type: ignore[no-untyped-call]
            token=None,
            refresh_token=held,
            token_uri=self._token_url,
            client_id=self._client_id,
            client_secret=self._client_secret,
        )
        through(lambda: credentials.refresh(request))  # type: ignore[no-untyped-call]
        values = {**tokens, "access_token": str(credentials.token), "refresh_token": credentials.refresh_token or held}
        told = request.answer.get("scope")
        return Tokens(values, self._expiry(request.answer), scopes.granted(told) if told else None)

    def check(self, tokens: Mapping[str, str], external_id: str) -> Checkup:
        """Asks Google who holds the grant; the caller refreshes first, which is what proves that the grant lives.

        A grant without openid or e-mail may not ask: nothing is known then, and nothing is wrong. A token that is
        refused by name is a NeedsUser; whoever gets it without having refreshed just before refreshes and asks again.
        """
        token = tokens.get("access_token")
        if not token:
            raise OurBug(
                "This connection holds no access token; it is refreshed before it is checked.", code="no_token"
            )
        found = self._userinfo(token)
        if isinstance(found, IntegrationError):
            raise found
        return Checkup(holders=found.names if found else None)

    def leave(self, tokens: Mapping[str, str], external_id: str) -> None:
        """Nothing: what Google sends is about a calendar, and its channels are stopped by who knows their names."""

    def revoke(self, tokens: Mapping[str, str]) -> None:
        """Ends every grant of this account to the whole Google project, in other tenants too: the caller has counted.

        The token travels in the body. One that Google no longer knows is a success.
        """
        token = tokens.get("refresh_token") or tokens.get("access_token")
        if not token:
            raise OurBug("This connection holds no token that could be revoked.", code="no_token")
        reply = self._http.request("POST", self._revoke_url, form={"token": token})
        if reply.status == 200:
            return
        error = classify(reply.status, json_of(reply), reply.headers)
        if not (reply.status == 400 and error.code in ("invalid_token", "invalid_grant")):
            raise error

    def _flow(self, asked: list[str] | None, redirect_uri: str, verifier: str | None = None) -> Flow:
        client = {
            "client_id": self._client_id,
            "client_secret": self._client_secret,
            "auth_uri": as_https(self._auth_url),
            "token_uri": as_https(self._token_url),
        }
        return Flow.from_client_config({"web": client}, asked, redirect_uri=redirect_uri, code_verifier=verifier)

    def _exchange(self, code: str, verifier: str | None, redirect_uri: str) -> Mapping[str, Any]:
        """The token answer for this code."""
        # No asked scopes: oauthlib would compare, and raise where a box was not ticked. Comparing is ours.
        flow = self._flow(None, redirect_uri, verifier)
        adapter = TokenAdapter(self._http, self._token_url)
        flow.oauth2session.trust_env = False
        flow.oauth2session.mount("https://", adapter)
        # There is no grant yet that could be gone: the code was used, is too old, or belongs to another verifier.
        with suppress(GrantGone):
            through(lambda: flow.fetch_token(code=code, include_client_id=True))
            return adapter.answer
        raise _code_refused()

    def _ask(self, access_token: str) -> identity.Holder | None:
        """Who gave this token; None if Google does not tell. A failure that passes is raised as such."""
        found = self._userinfo(access_token)
        if isinstance(found, Transient | Throttled):
            raise found
        return found if isinstance(found, identity.Holder) else None

    def _userinfo(self, access_token: str) -> identity.Holder | IntegrationError | None:
        """Who holds this token; None where Google does not tell, and an error that says something against the token."""
        reply = self._http.request("GET", self._userinfo_url, bearer=access_token)
        body = json_of(reply)
        if reply.status == 200:
            return identity.of_claims(body)
        error = classify(reply.status, body, reply.headers)
        closed = reply.status in (401, 403) and error.code not in _WORTHLESS and not isinstance(error, Throttled)
        return None if closed else error

    def _expiry(self, answer: Mapping[str, Any]) -> datetime | None:
        seconds = answer.get("expires_in")
        return None if seconds is None else self._clock() + timedelta(seconds=seconds)


def _problem(answer: Mapping[str, Any], granted: Sequence[str]) -> NeedsUser | None:
    """Why a grant cannot be used as it is."""
    left_out = next((one for one in scopes.PERMISSIONS if one.required and one.scope not in granted), None)
    if left_out is not None:
        return NeedsUser(
            f"Google was not allowed one thing that is needed: {left_out.words}.", code="scope_missing", fix=_AGAIN
        )
    if not answer.get("refresh_token"):
        return NeedsUser(
            "Google gave access for one hour only, and none that lasts.",
            code="no_refresh_token",
            fix="That person removes the app at myaccount.google.com/connections, then opens the connect link again.",
        )
    return None


def _code_refused() -> NeedsUser:
    return NeedsUser(
        "This sign-in at Google was used already, or took too long.",
        code="code_refused",
        fix="Someone opens the connect link again.",
    )
