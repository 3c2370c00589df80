"""`/v1/connections`: importing a grant that the host holds, and how each connection is. Tokens go in, never out."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from models.connection import Connection, claimed_elsewhere, import_connection
from models.job import hurry
from models.tenancy import system_session, tenant_session
from worker import jobs
from worker.services import Services
from worker.web.api.fields import Line, PageId, Token, Wish
from worker.web.api.paging import Cursor, Limit, Page, known_id, page_of, read_cursor
from worker.web.callers import Access, Parts, tenant_access
from worker.web.connection_health import Health, connections_page, healths
from worker.web.once import Asked, once
from worker.web.problems import Problem, not_found
from worker.work import Work

router = APIRouter(prefix="/v1/connections", tags=["connections"])
Importer = Annotated[Access, Depends(tenant_access("connections:write", platform_only=True))]
Reader = Annotated[Access, Depends(tenant_access("connections:read"))]


class FacebookPage(Wish):
    """The account of `facebook_leads` is the page."""

    external_id: PageId
    name: Line


class PageTokens(Wish):
    """What Meta gave to the host for this page."""

    page_access_token: Token
    user_access_token: Token | None = None


class NewConnection(Wish):
    """A grant to import."""

    integration: Literal["facebook_leads"]
    account: FacebookPage
    tokens: PageTokens


class Account(BaseModel):
    """The account at the provider."""

    external_id: str
    name: str


class HealthShown(BaseModel):
    """What only a person can mend, and how much waits for it."""

    model_config = ConfigDict(from_attributes=True)

    sentence: str | None
    fix: str | None
    since: datetime | None
    waiting: int


class ConnectionShown(BaseModel):
    """A connection."""

    id: str
    integration: str
    status: str
    account: Account
    scopes: list[str]
    health: HealthShown
    created_at: datetime


def _shown(row: Connection, health: Health) -> ConnectionShown:
    return ConnectionShown(
        id=row.id,
        integration=row.integration,
        status=row.status,
        account=Account(external_id=row.external_id, name=row.name),
        scopes=row.scopes,
        health=HealthShown.model_validate(health),
        created_at=row.created_at,
    )


@router.post("", status_code=201, response_model=ConnectionShown)
def import_grant(wish: NewConnection, access: Importer, services: Parts, ask: Asked) -> Response:
    """Import a grant; a known account gets the new tokens, and the leads that waited for them are fetched."""
    return once(services, access, ask, 201, lambda work: _import(work, services, access.tenant_id, wish))


def _import(work: Work, services: Services, tenant_id: str, wish: NewConnection) -> ConnectionShown:
    account = wish.account.external_id
    with system_session(services.database, reads_only=True) as everyone:
        if claimed_elsewhere(everyone, tenant_id=tenant_id, integration=wish.integration, external_id=account):
            detail = "This account is connected to another tenant; it must be disconnected there first."
            raise Problem("account-claimed", detail)
    row, created = import_connection(
        work.session,
        services.vault,
        tenant_id=tenant_id,
        integration=wish.integration,
        external_id=account,
        name=wish.account.name,
        tokens=wish.tokens.model_dump(exclude_none=True),
        scopes=[],
        now=services.clock(),
    )
    # Look-ups by e-mail or phone use the tenant's own key; it is made here, where nothing races for it.
    services.vault.keyring(work.session, tenant_id, tenant_id, services.clock())
    if not created:
        fetch = jobs.leads_fetch(tenant_id, row.id)
        work.put(fetch)
        hurry(work.session, tenant_id, fetch.key, services.clock())
    return _shown(row, healths(work.session, [row])[row.id])


@router.get("")
def listed(access: Reader, services: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[ConnectionShown]:
    """The tenant's connections, in the order they were made."""
    after = read_cursor("connections", cursor)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        rows = connections_page(session, after=after, limit=limit + 1)
        found = healths(session, rows)
    return page_of("connections", rows, limit, id_of=lambda row: row.id, show=lambda row: _shown(row, found[row.id]))


@router.get("/{connection_id}")
def one(connection_id: str, access: Reader, services: Parts) -> ConnectionShown:
    """One connection."""
    known_id(connection_id)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        row = session.get(Connection, connection_id)
        if row is None:
            raise not_found()
        return _shown(row, healths(session, [row])[row.id])
