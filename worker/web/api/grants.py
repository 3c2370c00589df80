"""What a host sends to import a grant: a shape for each integration, and the account it stands for; it stores nothing."""

from typing import Annotated, Literal

from pydantic import Field

from integrations.contract import Account
from integrations.google_calendar.scopes import granted
from worker.grants import BY_NAME, missing_permission
from worker.web.api.fields import ExternalId, Instant, Line, PageId, Scope, Token, Wish


class FacebookPage(Wish):
    """The account of `facebook_leads` is the page."""

    external_id: PageId
    name: Line


class PageTokens(Wish):
    """What Meta gave to the host for this page; with the person's own token the grant can be ended at Meta, too."""

    page_access_token: Token
    user_access_token: Token | None = None


class FacebookGrant(Wish):
    """A page that the host holds a token of."""

    integration: Literal["facebook_leads"]
    account: FacebookPage
    tokens: PageTokens


class GoogleAccount(Wish):
    """The account of `google_calendar` is a person: Google's id of them (`sub`), and the e-mail address as name."""

    external_id: ExternalId
    name: Line


class GoogleTokens(Wish):
    """What Google gave to the host for this person. Without `scopes` it is not known what was granted."""

    refresh_token: Token
    access_token: Token | None = None
    expires_at: Instant | None = None
    scopes: list[Scope] | None = Field(default=None, max_length=50)


class GoogleGrant(Wish):
    """An account that the host holds a refresh token of."""

    integration: Literal["google_calendar"]
    account: GoogleAccount
    tokens: GoogleTokens


NewConnection = Annotated[FacebookGrant | GoogleGrant, Field(discriminator="integration")]
"""A grant to import."""


def account_in(wish: FacebookGrant | GoogleGrant) -> Account:
    """The account as a provider would have given it; whose it is besides, the first check finds out."""
    tokens = wish.tokens.model_dump(exclude_none=True, exclude={"expires_at", "scopes"})
    name = wish.account.name
    if isinstance(wish, FacebookGrant):
        return Account(wish.account.external_id, name, tokens, scopes=(), holders=())
    scopes = granted(" ".join(wish.tokens.scopes or ()))
    problem = missing_permission(BY_NAME[wish.integration], scopes)
    # An access token of unknown age is refreshed before it is used.
    return Account(wish.account.external_id, name, tokens, scopes, (), wish.tokens.expires_at, problem)
