"""Grants: one live owner per account, tokens that only the vault can read, and a health that only a person can mend."""

import pytest
from sqlalchemy.exc import IntegrityError

from models.connection import (
    ACTIVE,
    NEEDS_RECONNECT,
    Connection,
    claimed_elsewhere,
    import_connection,
    needs_person,
    owners,
    read_tokens,
)
from models.database import Database
from models.tenancy import system_session, tenant_session
from models.vault import Vault
from tests.conftest import Company, FrozenClock

FACEBOOK = "facebook_leads"


def import_page(
    database: Database, vault: Vault, clock: FrozenClock, company: Company, page: str
) -> tuple[Connection, bool]:
    with tenant_session(database, company.id) as session:
        return import_connection(
            session, vault, tenant_id=company.id, integration=FACEBOOK, external_id=page, name="Page",
            tokens={"page_access_token": "new token"}, scopes=["a", "b"], now=clock(),
        )  # fmt: skip


def test_an_account_is_routed_to_the_tenant_that_connected_it(
    database: Database, acme: Company, globex: Company
) -> None:
    with system_session(database, reads_only=True) as session:
        assert owners(session, FACEBOOK, [acme.page_id, globex.page_id, "unknown"]) == {
            acme.page_id: (acme.id, acme.connection_id), globex.page_id: (globex.id, globex.connection_id),
        }  # fmt: skip
        assert owners(session, "google_calendar", [acme.page_id]) == {}
        assert owners(session, FACEBOOK, []) == {}
    with tenant_session(database, globex.id, reads_only=True) as session:
        assert owners(session, FACEBOOK, [globex.page_id]) == {globex.page_id: (globex.id, globex.connection_id)}


def test_an_account_of_another_tenant_is_a_conflict_and_never_moves(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    with pytest.raises(IntegrityError):
        import_page(database, vault, clock, globex, acme.page_id)
    with system_session(database, reads_only=True) as session:
        assert owners(session, FACEBOOK, [acme.page_id])[acme.page_id][0] == acme.id
        for company, elsewhere in ((acme, False), (globex, True)):
            assert elsewhere == claimed_elsewhere(
                session, tenant_id=company.id, integration=FACEBOOK, external_id=acme.page_id
            )


def test_a_known_account_gets_its_new_tokens_and_is_well_again(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    with tenant_session(database, acme.id) as session:
        row = session.get_one(Connection, acme.connection_id)
        told = {"code": "token_dead", "sentence": "The token is dead.", "fix": "Connect again.", "now": clock()}
        assert needs_person(row, **told)  # type: ignore[arg-type]
        assert not needs_person(row, **told)  # type: ignore[arg-type]
        assert row.status == NEEDS_RECONNECT
    with system_session(database, reads_only=True) as session:  # what arrives meanwhile waits for the new token
        assert acme.page_id in owners(session, FACEBOOK, [acme.page_id])
    row, created = import_page(database, vault, clock, acme, acme.page_id)
    assert (row.id, created, row.status, row.health_code, row.health_since) == (
        acme.connection_id, False, ACTIVE, None, None,
    )  # fmt: skip
    with tenant_session(database, acme.id) as session:
        keyring = vault.keyring(session, acme.id, row.id, clock())
        stored = session.get_one(Connection, row.id)
        assert read_tokens(keyring, stored) == {"page_access_token": "new token"}
        assert stored.scopes == ["a", "b"]
        stored.tokens = None
        assert read_tokens(keyring, stored) == {}


def test_a_page_that_nobody_holds_any_more_is_nobodys(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    with tenant_session(database, acme.id) as session:
        row = session.get_one(Connection, acme.connection_id)
        row.claim, row.status = None, "revoked"
    with system_session(database, reads_only=True) as session:
        assert owners(session, FACEBOOK, [acme.page_id]) == {}
    _, created = import_page(database, vault, clock, globex, acme.page_id)
    assert created
