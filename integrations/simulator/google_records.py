"""The things Google holds about logins: clients, accounts, grants, codes and tokens; plain records that know no rules."""

from dataclasses import dataclass, field
from datetime import datetime

Holder = tuple[str, str]
"""(client id, sub of the account)"""


@dataclass(slots=True)
class GoogleClient:
    """An OAuth client. A revoke reaches every client of the same `project`; in `testing` a grant lives for seven days."""

    id: str
    secret: str
    project: str = "troth"
    testing: bool = False
    name: str = "Troth (simulated)"


@dataclass(slots=True)
class GoogleAccount:
    """A person's account. `tenant` is only a label for the counts.

    `rotate`: each refresh gives a new refresh token and ends the old one. `admin_policy`: an administrator shut the
    app out. `testing`: this account's grants die as those of a client in testing.
    """

    sub: str
    email: str
    name: str
    tenant: str = ""
    rotate: bool = False
    admin_policy: bool = False
    testing: bool = False


@dataclass(slots=True)
class GoogleToken:
    """A refresh or an access token; `used_at` is what the six months of idleness count from."""

    value: str = field(repr=False)
    kind: str
    holder: Holder
    scopes: tuple[str, ...]
    issued_at: datetime
    used_at: datetime
    expires_at: datetime | None = None
    dead: bool = False


@dataclass(slots=True)
class GoogleGrant:
    """What one account has given one client so far; `offline` once a refresh token came of it."""

    scopes: tuple[str, ...] = ()
    offline: bool = False
    refresh: list[GoogleToken] = field(default_factory=list)
    access: list[GoogleToken] = field(default_factory=list)


@dataclass(slots=True)
class GoogleCode:
    """An authorization code, and what the authorize address said that its exchange is held to."""

    holder: Holder
    redirect_uri: str
    scopes: tuple[str, ...]
    issued_at: datetime
    refreshable: bool
    challenge: str = ""
    challenge_method: str = ""
    nonce: str = ""
    used: bool = False
