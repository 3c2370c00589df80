"""What an integration is, as far as the rest of Troth may know; it names no provider."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, runtime_checkable

from integrations.errors import IntegrationError, NeedsUser


@dataclass(frozen=True, slots=True)
class Case:
    """One line of an error table: what a provider's code means for us.

    `wait` is used for a throttle that came without the provider's own delay.
    """

    error: type[IntegrationError]
    sentence: str
    fix: str | None = None
    wait: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Permission:
    """A scope, and in words for the person who is asked: what it opens, and why it is needed."""

    scope: str
    words: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Begun:
    """Where the person is sent, and the PKCE verifier to keep until they come back (None where the provider has none)."""

    url: str = field(repr=False)
    verifier: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Account:
    """One account that a person gave: a calendar user, a page.

    `problem` says why it cannot be used as it is (a scope left out, a token that is not valid). `holders` are the
    provider's names for the person behind the grant: revoking it ends every grant that one of them gave.
    """

    external_id: str
    name: str = field(repr=False)
    tokens: Mapping[str, str] = field(repr=False)
    scopes: tuple[str, ...]
    holders: tuple[str, ...] = field(repr=False)
    expires_at: datetime | None = None
    problem: NeedsUser | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a refresh gave: all tokens to be stored from now on, a rotated refresh token among them."""

    values: Mapping[str, str] = field(repr=False)
    expires_at: datetime | None
    scopes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Checkup:
    """What a look at a grant showed; the parts that the provider did not tell are None.

    `mended`: notices did not come for a while, and do so again from now on.
    """

    scopes: tuple[str, ...] | None = None
    holders: tuple[str, ...] | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    mended: bool = False


class Provider(Protocol):
    """How a tenant's grant at a provider is got, kept and given back. It stores nothing and knows no tenant.

    Every method but `begin` calls the outside and raises IntegrationError. `tokens` are those of one connection.
    """

    def begin(self, *, redirect_uri: str, state: str) -> Begun:
        """The address of the consent page."""

    def complete(self, *, code: str, verifier: str | None, redirect_uri: str) -> list[Account]:
        """What the person gave for this code. Granted scopes are read, never assumed; no account is a NeedsUser."""

    def refresh(self, tokens: Mapping[str, str]) -> Tokens:
        """Fresh tokens; GrantGone when the provider has ended the grant. OurBug where tokens are not refreshed."""

    def check(self, tokens: Mapping[str, str], external_id: str) -> Checkup:
        """Looks at the grant and mends what can be mended without a person (a lost subscription)."""

    def leave(self, tokens: Mapping[str, str], external_id: str) -> None:
        """Ends what the provider sends us for this account. What is gone already is a success."""

    def revoke(self, tokens: Mapping[str, str]) -> None:
        """Ends the whole grant, of every account its holder gave. What is gone already is a success."""


@runtime_checkable
class LooksTogether(Provider, Protocol):
    """A provider that can be asked about many grants in one call."""

    at_once: int
    """So many fit into a call."""

    def check_all(self, grants: Sequence[tuple[Mapping[str, str], str]]) -> list[Checkup | IntegrationError]:
        """As `check`, of (tokens, external id): an error of one grant is in its place, an error of the call is raised."""


@dataclass(frozen=True, slots=True)
class Integration:
    """One product of one provider.

    `name` is the folder and the word in addresses and rows; `title` is for people; `permissions` is what is asked of
    the person who connects. `errors` maps the provider's code, as text, to its case. `is_person`: an account is a person,
    whom several tenants may have connected and whose id is personal; else it is a page, which one tenant has.
    `verify(raw, signature_header, secret)` raises BadSignature; `read(raw)` gives the provider's own delivery type or
    raises BadPayload (None: its notices have no body of their own).
    """

    name: str
    title: str
    permissions: tuple[Permission, ...]
    errors: Mapping[str, Case]
    is_person: bool = False
    verify: Callable[[bytes, str | None, str], None] | None = None
    read: Callable[[bytes], Any] | None = None

    @property
    def scopes(self) -> tuple[str, ...]:
        """What is asked for, in the provider's words."""
        return tuple(permission.scope for permission in self.permissions)
