"""`/v1/connections`: importing a grant that the host holds, how each connection is, and its end. No token ever comes out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from models.calendar import choose_end
from models.connection import LISTENING, REVOKING, Connection, account_names
from models.decision import requester_mark
from models.grant import BeingRevoked, NewGrant
from models.revocation import begin_revocation
from models.tenancy import tenant_session
from worker.grants import BY_NAME, keep, new_grants
from worker.jobs import connections_check, connections_revoke
from worker.services import Services
from worker.web.api.deletions import DeletionShown, shown_deletions
from worker.web.api.fields import Wish
from worker.web.api.grants import NewConnection, account_in
from worker.web.api.paging import Cursor, Limit, Page, known_id, page_of, read_cursor
from worker.web.callers import Access, Parts, tenant_access
from worker.web.connection_health import connections_page, healths
from worker.web.once import Asked, once
from worker.web.problems import Problem, not_found
from worker.work import Work

router = APIRouter(prefix="/v1/connections", tags=["connections"])
Importer = Annotated[Access, Depends(tenant_access("connections:write", platform_only=True))]
Reader = Annotated[Access, Depends(tenant_access("connections:read"))]
Writer = Annotated[Access, Depends(tenant_access("connections:write"))]

_CLAIMED = "This account is connected to another tenant; it must be disconnected there first."
_BEING_REVOKED = "This account is being disconnected just now; send the request again in a few minutes."


class AccountShown(BaseModel):
    """The account at the provider; both are null once its data has been erased."""

    external_id: str | None
    name: str | None


class HealthShown(BaseModel):
    """What only a person can mend, since when, and how many notices of the provider wait to be dealt with."""

    model_config = ConfigDict(from_attributes=True)

    sentence: str | None
    fix: str | None
    since: datetime | None
    waiting: int


class ConnectionShown(BaseModel):
    """A connection. `granted_at` is when its tokens were given, `checked_at` when the grant was last looked at."""

    id: str
    integration: str
    status: str
    account: AccountShown
    scopes: list[str]
    health: HealthShown
    created_at: datetime
    granted_at: datetime | None
    checked_at: datetime | None


class Revocation(Wish):
    """Whether our events stay in Google Calendar or are removed first; left out: as the calendar's own policy says."""

    calendar_events: Literal["keep", "remove"] | None = None


class Revoked(BaseModel):
    """A connection that was closed, and the deletion that this asked for."""

    id: str
    status: str
    deletion: DeletionShown


@router.post("", status_code=201, response_model=ConnectionShown)
def import_grant(wish: NewConnection, access: Importer, services: Parts, ask: Asked) -> Response:
    """Import a grant; a known account gets the new tokens, and what waited for them runs."""

    def read() -> NewGrant:
        return new_grants(services, access.tenant_id, BY_NAME[wish.integration], [account_in(wish)])[0]

    ready = [read()]

    def effect(work: Work) -> ConnectionShown:
        # Read again on a second try, where a rival took the account; it needs no transaction of its own by then.
        grant = ready.pop() if ready else read()
        if grant.claimed_elsewhere:
            raise Problem("account-claimed", _CLAIMED)
        (stored,) = keep(services, work, access.tenant_id, [grant])
        if isinstance(stored, BeingRevoked):
            raise Problem("wrong-state", _BEING_REVOKED)
        return _shown(work.session, services, [stored.connection])[0]

    return once(services, access, ask, 201, effect)


@router.get("")
def listed(access: Reader, services: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[ConnectionShown]:
    """The tenant's connections, in the order they were made."""
    after = read_cursor("connections", cursor)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        rows = connections_page(session, after=after, limit=limit + 1)
        shown = {one.id: one for one in _shown(session, services, rows)}
    return page_of("connections", rows, limit, id_of=lambda row: row.id, show=lambda row: shown[row.id])


@router.get("/{connection_id}")
def one(connection_id: str, access: Reader, services: Parts) -> ConnectionShown:
    """One connection."""
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        return _shown(session, services, [_connection(session, connection_id)])[0]


@router.post("/{connection_id}/check", status_code=202, response_model=ConnectionShown)
def check(connection_id: str, access: Writer, services: Parts, ask: Asked) -> Response:
    """Look at the grant now; what is found is in the connection soon after."""

    def effect(work: Work) -> ConnectionShown:
        row = _connection(work.session, connection_id)
        if row.status not in LISTENING:
            raise Problem("wrong-state", "Only a connection that is active or needs to be reconnected can be checked.")
        work.put(connections_check(access.tenant_id, row.id))
        return _shown(work.session, services, [row])[0]

    return once(services, access, ask, 202, effect)


@router.post("/{connection_id}/revoke", status_code=202, response_model=Revoked)
def revoke(
    connection_id: str, access: Writer, services: Parts, ask: Asked, choice: Revocation | None = None
) -> Response:
    """Close the connection at once: nothing more is written for it. The provider is told, and the deletion scheduled.

    Revoking it again changes nothing and gives the same deletion.
    """
    known_id(connection_id)

    def effect(work: Work) -> Revoked:
        now = services.clock()
        hashes = services.vault.keyring(work.session, access.tenant_id, access.tenant_id, now)
        if choice is not None and choice.calendar_events is not None:
            choose_end(work.session, connection_id, choice.calendar_events)
        begun = begin_revocation(
            work.session, connection_id, requested_by="api", undo=services.settings.undo, now=now,
            requester=requester_mark(hashes, access.caller.credential),
        )  # fmt: skip
        if begun is None:
            raise not_found()
        row = _connection(work.session, connection_id)
        if row.status == REVOKING:
            work.put(connections_revoke(access.tenant_id, row.id))
        deletion = shown_deletions(work.session, [begun[0]], now)[begun[0].id]
        return Revoked(id=row.id, status=row.status, deletion=deletion)

    return once(services, access, ask, 202, effect)


def _connection(session: Session, connection_id: str) -> Connection:
    row = session.scalars(select(Connection).where(Connection.id == known_id(connection_id))).one_or_none()
    if row is None:
        raise not_found()
    return row


def _shown(session: Session, services: Services, rows: Sequence[Connection]) -> list[ConnectionShown]:
    names, health = account_names(session, services.vault, rows), healths(session, rows)
    return [
        ConnectionShown(
            id=row.id,
            integration=row.integration,
            status=row.status,
            account=AccountShown(external_id=names[row.id].external_id, name=names[row.id].name),
            scopes=row.scopes,
            health=HealthShown.model_validate(health[row.id]),
            created_at=row.created_at,
            granted_at=row.granted_at,
            checked_at=row.checked_at,
        )
        for row in rows
    ]
