"""Who gave whom what at Google, and when tokens end; knows no HTTP and no failure button.

Ends of tokens: https://developers.google.com/identity/protocols/oauth2#expiration
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from integrations.simulator.calendar_world import Calendars
from integrations.simulator.google_records import (
    GoogleAccount,
    GoogleClient,
    GoogleCode,
    GoogleGrant,
    GoogleToken,
    Holder,
)

ACCESS_LIFE = timedelta(seconds=3599)
CODE_LIFE = timedelta(minutes=10)
TESTING_LIFE = timedelta(days=7)
IDLE_LIFE = timedelta(days=180)
MOST_REFRESH_TOKENS = 100
EMAIL = "https://www.googleapis.com/auth/userinfo.email"
PROFILE = "https://www.googleapis.com/auth/userinfo.profile"
CALENDAR = "https://www.googleapis.com/auth/calendar.app.created"
SIGN_IN = frozenset({"openid", EMAIL, PROFILE})
_ALIASES = {"email": EMAIL, "profile": PROFILE}


class Google:
    """All of it. `refreshes` and `revocations` count by account; `most_at_once` is the most refreshes under way together."""

    def __init__(self, clock: Callable[[], datetime], *, seed: int = 1) -> None:
        self.clock, self.seed = clock, seed
        self.calendars = Calendars(clock, seed=seed)
        self.clients: dict[str, GoogleClient] = {}
        self.accounts: dict[str, GoogleAccount] = {}
        self.grants: dict[Holder, GoogleGrant] = {}
        self.tokens: dict[str, GoogleToken] = {}
        self.codes: dict[str, GoogleCode] = {}
        self.refreshes: Counter[str] = Counter()
        self.refresh_calls: Counter[str] = Counter()
        self.revocations: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()
        self._made = 0

    def account(self, name: str) -> GoogleAccount:
        """By sub or e-mail; LookupError for a stranger."""
        if name in self.accounts:
            return self.accounts[name]
        for account in self.accounts.values():
            if account.email == name:
                return account
        raise LookupError(f"no Google account {name!r}")

    def client(self, client_id: str | None = None) -> GoogleClient:
        """By id, or the first one; LookupError."""
        if client_id is None and self.clients:
            return next(iter(self.clients.values()))
        return self.clients[client_id or ""]

    def consent(self, holder: Holder, scopes: Iterable[str], *, forced: bool = True) -> bool:
        """The person ticks these scopes; whether a refresh token is due (the first time, or when consent was `forced`)."""
        grant = self.grants.setdefault(holder, GoogleGrant())
        grant.scopes = tuple(dict.fromkeys((*grant.scopes, *scopes)))
        return forced or not grant.offline

    def add_code(self, code: GoogleCode) -> str:
        """A new code's value; it has a slash in it, as Google's have."""
        value = self._value("4/0A")
        self.codes[value] = code
        return value

    def grant(
        self,
        account: str,
        scopes: Iterable[str] = ("openid", EMAIL, CALENDAR),
        *,
        client_id: str | None = None,
        value: str | None = None,
    ) -> GoogleToken:
        """A refresh token, as a CRM may hold one already; `account` is a sub or an e-mail."""
        holder = (self.client(client_id).id, self.account(account).sub)
        given = spelled(scopes)
        self.consent(holder, given)
        return self.issue_refresh(holder, given, value=value)

    def issue_refresh(self, holder: Holder, scopes: tuple[str, ...], *, value: str | None = None) -> GoogleToken:
        """A new refresh token; of more than a hundred living ones the oldest dies, and nobody is told."""
        now = self.clock()
        token = GoogleToken(value or self._value("1//0"), "refresh", holder, scopes, now, now)
        grant = self.grants[holder]
        grant.offline = True
        grant.refresh = [it for it in grant.refresh if not self.ended(it)]
        for old in grant.refresh[: max(0, len(grant.refresh) + 1 - MOST_REFRESH_TOKENS)]:
            old.dead = True
        grant.refresh.append(token)
        self.tokens[token.value] = token
        return token

    def issue_access(self, holder: Holder, scopes: tuple[str, ...]) -> GoogleToken:
        """A new access token; the ended ones of the same grant are forgotten."""
        now, grant = self.clock(), self.grants[holder]
        for old in [it for it in grant.access if self.ended(it)]:
            grant.access.remove(old)
            self.tokens.pop(old.value, None)
        token = GoogleToken(self._value("ya29.a0"), "access", holder, scopes, now, now, now + ACCESS_LIFE)
        grant.access.append(token)
        self.tokens[token.value] = token
        return token

    def ended(self, token: GoogleToken) -> bool:
        """Whether a token is good for nothing any more, for whatever reason."""
        now = self.clock()
        if token.dead or (token.expires_at is not None and token.expires_at <= now):
            return True
        if token.kind != "refresh":
            return False
        client, account = self.clients[token.holder[0]], self.accounts[token.holder[1]]
        # A grant of nothing but the sign-in scopes outlives a week in testing.
        testing = (client.testing or account.testing) and not SIGN_IN.issuperset(token.scopes)
        return now - token.used_at >= IDLE_LIFE or (testing and now - token.issued_at >= TESTING_LIFE)

    def living(self, kind: str, account: str) -> list[GoogleToken]:
        """The living "refresh" or "access" tokens of an account, oldest first, of every client."""
        sub = self.account(account).sub
        grants = [self.grants[client, sub] for client in self.clients if (client, sub) in self.grants]
        held = [token for grant in grants for token in (grant.refresh if kind == "refresh" else grant.access)]
        return [token for token in held if not self.ended(token)]

    def revoke(self, account: str, *, project: str | None = None) -> None:
        """Every token of the account ends: of one project, as a revoke does, or of all, as the account's own page does."""
        sub = self.account(account).sub
        for client in self.clients.values():
            if project in (None, client.project):
                grant = self.grants.pop((client.id, sub), GoogleGrant())
                for token in (*grant.refresh, *grant.access):
                    token.dead = True

    def change_password(self, account: str) -> None:
        """Refresh tokens end, access tokens live on for their hour. Google does so for Gmail's scopes; here for all."""
        for token in self.living("refresh", account):
            token.dead = True

    def expire_access(self, account: str) -> None:
        """The access tokens end now."""
        for token in self.living("access", account):
            token.expires_at = self.clock()

    def age(self, account: str, by: timedelta) -> None:
        """The grants' tokens were issued, and used last, so much earlier."""
        for token in self.living("refresh", account):
            token.issued_at -= by
            token.used_at -= by

    @contextmanager
    def refreshing(self, sub: str) -> Iterator[None]:
        """Counts a refresh call for as long as it is under way."""
        self.refresh_calls[sub] += 1
        self._under_way[sub] += 1
        self.most_at_once[sub] = max(self.most_at_once[sub], self._under_way[sub])
        try:
            yield
        finally:
            self._under_way[sub] -= 1

    def _value(self, beginning: str) -> str:
        self._made += 1
        digest = hashlib.blake2b(f"google:{self.seed}:{self._made}".encode(), digest_size=24).hexdigest()
        return f"{beginning}SIM{digest}"


def long_form(scope: str) -> str:
    """`email` and `profile` have a longer name, which Google answers with."""
    return _ALIASES.get(scope, scope)


def spelled(scopes: Iterable[str]) -> tuple[str, ...]:
    """Scopes as Google answers with them: in their long form, and `openid` with every one that is about the person."""
    found = dict.fromkeys(long_form(scope) for scope in scopes)
    if not SIGN_IN.isdisjoint(found):
        found.setdefault("openid")
    return tuple(found)


def unknown_scopes(scopes: Collection[str]) -> list[str]:
    """Those that are no scopes of Google's."""
    return [it for it in spelled(scopes) if it != "openid" and not it.startswith("https://www.googleapis.com/auth/")]
