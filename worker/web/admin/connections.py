"""A tenant's connections as pages: how each is, what it may do, and what waits behind it; what people do is elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Query
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from integrations import INTEGRATIONS
from integrations.contract import Integration
from integrations.errors import OurBug
from models.connection import ACTIVE, LISTENING, NEEDS_RECONNECT, PENDING, REVOKED, REVOKING, Connection, account_names
from models.deletion import PROVIDER_STEPS, deletion_of
from models.tenancy import tenant_session
from worker.grants import BY_NAME
from worker.services import Services
from worker.web.admin.rendering import page
from worker.web.admin.visitors import AtDesk, Desk
from worker.web.api.paging import Cursor, cursor_to, known_id, read_cursor
from worker.web.callers import Parts
from worker.web.connection_health import Health, connections_page, healths
from worker.web.deletion_page import in_words
from worker.web.problems import not_found

router = APIRouter(prefix="/admin/connections")
ROWS: Final = 50
STATUS_WORDS: Final = {
    NEEDS_RECONNECT: "Needs to be reconnected",
    PENDING: "Not connected yet",
    ACTIVE: "Connected",
    REVOKING: "Being disconnected",
    REVOKED: "Disconnected",
}
"""In the order in which people want to see them."""
WAITING_WORDS: Final = {"facebook_leads": ("lead", "leads"), "google_calendar": ("change", "changes")}
SAID: Final = {"checking": "Troth is looking at this connection now. Load the page again in a few seconds."}


@dataclass(frozen=True, slots=True)
class Seen:
    """A connection in words. `name` is in the clear here; the template masks a person's."""

    row: Connection
    integration: Integration
    name: str
    health: Health
    allowed: Sequence[str]
    left_out: Sequence[str]

    @property
    def status(self) -> str:
        """Its state, for people."""
        return STATUS_WORDS[self.row.status]

    @property
    def wants_a_person(self) -> bool:
        """Whether connecting again is what helps."""
        return self.row.status in (NEEDS_RECONNECT, PENDING)

    @property
    def is_open(self) -> bool:
        """Whether it can still be disconnected."""
        return self.row.status not in (REVOKING, REVOKED)

    @property
    def can_be_checked(self) -> bool:
        """Whether there is a grant to look at."""
        return self.row.status in LISTENING

    @property
    def waiting(self) -> str:
        """What waits for it, in words; empty when nothing does."""
        one, many = WAITING_WORDS[self.integration.name]
        number = self.health.waiting
        return f"{number} {one if number == 1 else many}" if number else ""


@dataclass(frozen=True, slots=True)
class Offer:
    """An integration that can be connected, or `why_not` (the settings to make; for operators)."""

    integration: Integration
    why_not: str | None


@router.get("")
def connections(services: Parts, desk: AtDesk, cursor: Cursor = None) -> Response:
    """The tenant's connections; those that need somebody come first on their page."""
    with tenant_session(services.database, desk.tenant.id, reads_only=True) as session:
        rows = connections_page(session, after=read_cursor("connections", cursor), limit=ROWS + 1)
        shown = seen(session, services, rows[:ROWS])
    order = list(STATUS_WORDS)
    following = desk.address("/admin/connections", {"cursor": cursor_to("connections", rows[ROWS - 1].id)}) \
        if len(rows) > ROWS else None  # fmt: skip
    return page(
        "connections.html", desk=desk, connections=sorted(shown, key=lambda one: order.index(one.row.status)),
        offers=offers(services, desk), following=following, is_later=cursor is not None,
    )  # fmt: skip


@router.get("/{connection_id}")
def connection(
    connection_id: str, services: Parts, desk: AtDesk, said: Annotated[str, Query(max_length=20)] = ""
) -> Response:
    """One connection, and once it is closed how far its end is."""
    with tenant_session(services.database, desk.tenant.id, reads_only=True) as session:
        shown = one_of(session, services, connection_id)
        asked = None if shown.is_open else deletion_of(session, connection_id)
        ending = None if asked is None else in_words(session, asked)
    return page(
        "connection.html", desk=desk, one=shown, ending=ending, code=asked.confirmation_code if asked else None,
        said=SAID.get(said), is_on=shown.integration.name in services.providers, grant_steps=PROVIDER_STEPS,
    )  # fmt: skip


def one_of(session: Session, services: Services, connection_id: str) -> Seen:
    """A connection of the session's tenant; another tenant's does not exist."""
    row = session.scalars(select(Connection).where(Connection.id == known_id(connection_id))).one_or_none()
    if row is None:
        raise not_found()
    return seen(session, services, [row])[0]


def seen(session: Session, services: Services, rows: Sequence[Connection]) -> list[Seen]:
    """Connections in words."""
    names, health = account_names(session, services.vault, rows), healths(session, rows)
    return [
        Seen(row, BY_NAME[row.integration], names[row.id].name or "Name erased", health[row.id], *_permissions(row))
        for row in rows
    ]


def _permissions(row: Connection) -> tuple[list[str], list[str]]:
    """(allowed, left out although needed), in words. While it is not known what was granted both are empty."""
    asked = BY_NAME[row.integration].permissions
    allowed = [one.words for one in asked if one.scope in row.scopes]
    return allowed, [one.words for one in asked if row.scopes and one.required and one.scope not in row.scopes]


def offers(services: Services, desk: Desk) -> list[Offer]:
    """What can be connected. What is turned off is shown to operators only, who can turn it on."""
    found = [Offer(integration, _why_not(services, integration)) for integration in INTEGRATIONS]
    return [offer for offer in found if offer.why_not is None or desk.is_platform]


def _why_not(services: Services, integration: Integration) -> str | None:
    try:
        services.provider(integration.name)
    except OurBug as off:
        return off.sentence
    return None
