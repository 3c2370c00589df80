"""What the tests of connections share: accounts granted, looked at, told of, closed and ended; it tests nothing itself."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from models.connection import Connection, needs_person, read_tokens
from models.database import Database
from models.deletion import Deletion
from models.feed import events_after
from models.grant import NewGrant, Stored, Trouble, store_grant
from models.revocation import begin_revocation, end_revocation
from models.tenancy import system_session, tenant_session
from models.vault import Vault
from tests.conftest import Company, FrozenClock

FACEBOOK, GOOGLE = "facebook_leads", "google_calendar"
TROUBLE = Trouble("scope_missing", "A permission is missing.", "Tick it.")
UNDO = timedelta(hours=24)
NEW_TOKEN, REFRESH = "new token", "refresh"


def a_page(page_id: str, token: str = NEW_TOKEN, **more: Any) -> NewGrant:
    return replace(NewGrant(FACEBOOK, page_id, page_id, "Page", {"page_access_token": token}, ["a"]), **more)


def a_person(key: str = "5a5a", token: str = REFRESH, **more: Any) -> NewGrant:
    """A Google account, which several tenants may have; `key` is its keyed hash."""
    tokens = {"refresh_token": token, "access_token": f"{token} access"}
    grant = NewGrant(GOOGLE, key, "110000000000000000001", "ada@acme.example", tokens, ["calendar"],
                     marks=[b"m" * 16], may_be_shared=True)  # fmt: skip
    return replace(grant, **more)


def keep(database: Database, vault: Vault, clock: FrozenClock, company: Company, grant: NewGrant) -> Stored:
    with tenant_session(database, company.id) as session:
        return store_grant(session, vault, grant, tenant_id=company.id, now=clock())


def look(database: Database, connection_id: str) -> Connection:
    with system_session(database, reads_only=True) as session:
        return session.get_one(Connection, connection_id)


def tokens_of(database: Database, vault: Vault, connection_id: str) -> dict[str, str]:
    with system_session(database, reads_only=True) as session:
        return read_tokens(session, vault, session.get_one(Connection, connection_id))


def told(database: Database, company: Company, about: str | None = None) -> list[str]:
    """The types of the tenant's events, in their order; `about` one connection."""
    with tenant_session(database, company.id, reads_only=True) as session:
        found = events_after(session, after=None, limit=1000)
        assert found is not None
        return [event.type for event in found if about in (None, event.data.get("connection_id"))]


def break_it(database: Database, clock: FrozenClock, connection_id: str, code: str = "190/460") -> bool:
    with system_session(database) as session:
        row = session.get_one(Connection, connection_id, with_for_update=True)
        return needs_person(session, row, code=code, sentence=f"Dead: {code}.", fix="Connect again.", now=clock())


def close(
    database: Database, clock: FrozenClock, company: Company, connection_id: str | None = None, code: str | None = None
) -> tuple[Deletion, bool]:
    with tenant_session(database, company.id) as session:
        begun = begin_revocation(
            session, connection_id or company.connection_id, requested_by="admin", undo=UNDO, now=clock(), code=code
        )
        assert begun is not None
        return begun


def end(database: Database, vault: Vault, clock: FrozenClock, connection_id: str) -> None:
    with system_session(database) as session:
        row = session.get_one(Connection, connection_id, with_for_update=True)
        end_revocation(session, vault, row, clock())


def revoke(database: Database, vault: Vault, clock: FrozenClock, company: Company) -> None:
    """From the first to the last."""
    close(database, clock, company)
    end(database, vault, clock, company.connection_id)


def connections(database: Database, tenant_id: str) -> Sequence[Connection]:
    with tenant_session(database, tenant_id, reads_only=True) as session:
        return session.scalars(select(Connection).order_by(Connection.id)).all()
