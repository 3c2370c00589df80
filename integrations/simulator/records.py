"""The things Meta holds: apps, users, tokens, pages, forms and leads; plain records that know no rules."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from integrations.simulator.people import Person, Question

TASKS = ["ADVERTISE", "ANALYZE", "CREATE_CONTENT", "MANAGE", "MESSAGING", "MODERATE"]


@dataclass(slots=True)
class Subscription:
    """The one callback of an app for one kind of object."""

    object: str
    callback_url: str
    fields: list[str]
    include_values: bool


@dataclass(slots=True)
class App:
    """A Meta app. `requires_proof` is the dashboard's "Require App Secret"."""

    id: str
    secret: str
    verify_token: str
    name: str = "Troth (simulated)"
    requires_proof: bool = True
    subscriptions: dict[str, Subscription] = field(default_factory=dict)


@dataclass(slots=True)
class User:
    """A person with a Facebook login who manages `pages`. Page `empty_page` of their listing holds nothing."""

    id: str
    name: str
    pages: list[str] = field(default_factory=list)
    empty_page: int | None = None


@dataclass(slots=True)
class Token:
    """An access token. `dead` is None or the (code, subcode) that its use is answered with."""

    value: str
    kind: str
    app_id: str
    user_id: str
    page_id: str | None
    scopes: frozenset[str]
    issued_at: datetime
    expires_at: datetime | None = None
    dead: tuple[int, int | None] | None = None

    @property
    def label(self) -> str:
        """A name for counts and logs that is not the token."""
        return f"{self.kind}:{self.page_id or self.user_id}"


@dataclass(slots=True)
class Page:
    """A Facebook page. `tenant` is only a label for the counts; Meta knows no tenants.

    `tasks` are what its people may do; without ADVERTISE nobody reads leads. `former` managed it before. Page
    `empty_page` of its forms' listing holds nothing.
    """

    id: str
    name: str
    tenant: str
    lead_access: bool = True
    subscribed: dict[str, list[str]] = field(default_factory=dict)
    forms: list["Form"] = field(default_factory=list)
    tasks: list[str] = field(default_factory=lambda: list(TASKS))
    former: list[str] = field(default_factory=list)
    empty_page: int | None = None


@dataclass(slots=True)
class Form:
    """A lead form; `leads` are in order of (created_at, id). Page `empty_page` of its listing holds nothing.

    More than `most` leads at once are too much for Meta, as of a form with many or long answers.
    """

    id: str
    page: Page
    name: str
    locale: str
    questions: tuple[Question, ...]
    created_at: datetime
    consents: tuple[tuple[str, str, bool], ...] = ()
    status: str = "ACTIVE"
    empty_page: int | None = None
    most: int = 1000
    leads: list["Lead"] = field(default_factory=list)
    test_lead: "Lead | None" = None


@dataclass(slots=True, eq=False)
class Lead:
    """A filled-in form. `rendered` caches bodies by what was asked for."""

    id: str
    form: Form
    created_at: datetime
    field_data: list[dict[str, Any]]
    disclaimers: list[dict[str, str]]
    ad: dict[str, str]
    platform: str
    is_test: bool
    person: Person | None
    rendered: dict[tuple[str, bool], bytes] = field(default_factory=dict)

    def __lt__(self, other: "Lead") -> bool:
        return (self.created_at, int(self.id)) < (other.created_at, int(other.id))

    @property
    def is_organic(self) -> bool:
        """Whether no ad brought it."""
        return not self.ad
