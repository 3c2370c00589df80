"""Connections: one live owner per account, tokens that only the vault can read, and a health that only a person can mend."""

import pytest

from models.connection import (
    ACTIVE,
    NEEDS_RECONNECT,
    PENDING,
    REVOKED,
    REVOKING,
    Connection,
    Owner,
    account_names,
    all_owners,
    claimed_elsewhere,
    drop_tokens,
    is_well,
    needs_person,
    owners,
    read_tokens,
    still,
)
from models.database import Database
from models.tenancy import CrossTenantWrite, system_session, tenant_session
from models.vault import DataKey, Vault, VaultError
from tests.conftest import Company, FrozenClock
from tests.models.accounts import FACEBOOK, a_page, break_it, keep, look, revoke, tokens_of, told


def test_a_closed_connection_is_never_called_broken(database: Database, acme: Company, clock: FrozenClock) -> None:
    for status in (PENDING, REVOKING, REVOKED):
        with system_session(database) as session:
            session.get_one(Connection, acme.connection_id).status = status
        assert not break_it(database, clock, acme.connection_id)
        row = look(database, acme.connection_id)
        assert (row.status, row.health_code, row.health_since) == (status, None, None)
    assert told(database, acme) == ["connection.created"]


def test_what_only_a_person_can_mend_is_told_once_and_explained_anew(
    database: Database, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    began = clock()
    assert break_it(database, clock, acme.connection_id)
    clock.tick(60)
    assert not break_it(database, clock, acme.connection_id)
    assert not break_it(database, clock, acme.connection_id, "190/458")
    row = look(database, acme.connection_id)
    assert (row.status, row.health_code, row.health_sentence) == (NEEDS_RECONNECT, "190/458", "Dead: 190/458.")
    assert row.health_since == began
    assert told(database, acme) == ["connection.created", "connection.needs_reconnect"]
    assert told(database, globex) == ["connection.created"]
    assert look(database, globex.connection_id).status == ACTIVE


def test_a_connection_that_is_well_has_nothing_to_say(database: Database, acme: Company, clock: FrozenClock) -> None:
    break_it(database, clock, acme.connection_id)
    with tenant_session(database, acme.id) as session:
        is_well(session.get_one(Connection, acme.connection_id), clock())
    row = look(database, acme.connection_id)
    assert row.status == ACTIVE
    assert {row.health_code, row.health_sentence, row.health_fix, row.health_since} == {None}
    assert break_it(database, clock, acme.connection_id), "and may break again"


def test_tokens_of_another_row_or_tenant_do_not_open(
    database: Database, vault: Vault, acme: Company, globex: Company
) -> None:
    with system_session(database) as session:
        ours, theirs = (session.get_one(Connection, one.connection_id) for one in (acme, globex))
        theirs.tokens, theirs.account = ours.tokens, ours.account
        session.flush()
        with pytest.raises(VaultError):
            read_tokens(session, vault, theirs)
        with pytest.raises(VaultError):
            account_names(session, vault, [theirs])


def test_destroyed_tokens_cannot_be_read_from_an_old_copy_of_the_row(
    database: Database, vault: Vault, acme: Company
) -> None:
    with tenant_session(database, acme.id) as session:
        row = session.get_one(Connection, acme.connection_id)
        copy = Connection(id=row.id, tenant_id=row.tenant_id, tokens=row.tokens, grant_id=row.grant_id)
        drop_tokens(session, vault, row)
        assert (row.tokens, row.grant_id, row.refresh_by) == (None, None, None)
    with tenant_session(database, acme.id, reads_only=True) as session:
        assert session.get(DataKey, (acme.id, copy.grant_id)) is None
        assert read_tokens(session, vault, copy) == {}
        # What came through the connection is sealed with another key, and waits for its own end.
        assert session.get(DataKey, (acme.id, acme.connection_id)) is not None


def test_a_grant_of_before_it_had_a_key_of_its_own_is_still_read(
    database: Database, vault: Vault, acme: Company, clock: FrozenClock
) -> None:
    with tenant_session(database, acme.id) as session:
        row = session.get_one(Connection, acme.connection_id)
        keyring = vault.keyring(session, acme.id, row.id, clock())
        drop_tokens(session, vault, row)
        row.tokens = keyring.seal(b'{"page_access_token":"old"}', table="connections", row=row.id, column="tokens")
        row.account = None
    assert tokens_of(database, vault, acme.connection_id) == {"page_access_token": "old"}
    with tenant_session(database, acme.id) as session:
        row = session.get_one(Connection, acme.connection_id)
        assert account_names(session, vault, [row])[row.id] == (acme.page_id, acme.page_id)
        drop_tokens(session, vault, row)
        assert session.get(DataKey, (acme.id, acme.connection_id)) is not None


def test_the_name_of_an_account_is_gone_with_its_key(database: Database, vault: Vault, acme: Company) -> None:
    with tenant_session(database, acme.id) as session:
        row = session.get_one(Connection, acme.connection_id)
        assert account_names(session, vault, []) == {}
        assert account_names(session, vault, [row])[row.id] == (acme.page_id, "Acme's page")
        vault.destroy(session, acme.id, row.id)
        assert account_names(session, vault, [row])[row.id] == (None, None)


def test_globex_sees_nothing(database: Database, acme: Company, globex: Company, clock: FrozenClock) -> None:
    with tenant_session(database, globex.id) as session:
        assert session.get(Connection, acme.connection_id) is None
        assert not still(session, acme.connection_id)
        assert owners(session, FACEBOOK, [globex.page_id])[globex.page_id].connection_id == globex.connection_id
    row = look(database, acme.connection_id)
    with pytest.raises(CrossTenantWrite), tenant_session(database, globex.id) as session:
        needs_person(session, row, code="x", sentence="X.", fix="X.", now=clock())
    assert look(database, acme.connection_id).status == ACTIVE
    assert told(database, acme) == ["connection.created"]


def test_an_account_is_routed_to_the_tenant_that_connected_it(
    database: Database, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    with system_session(database, reads_only=True) as session:
        assert owners(session, FACEBOOK, [acme.page_id, globex.page_id, "unknown"]) == {
            one.page_id: Owner(one.id, one.connection_id, clock()) for one in (acme, globex)
        }
        assert owners(session, "google_calendar", [acme.page_id]) == {}
        assert owners(session, FACEBOOK, []) == {}


def test_what_arrives_while_a_token_is_dead_is_taken_in_and_after_the_end_nothing_is(
    database: Database, vault: Vault, acme: Company, clock: FrozenClock
) -> None:
    break_it(database, clock, acme.connection_id)
    with system_session(database, reads_only=True) as session:
        assert acme.page_id in owners(session, FACEBOOK, [acme.page_id])
        assert still(session, acme.connection_id) and not still(session, acme.connection_id, (ACTIVE,))
    revoke(database, vault, clock, acme)
    with system_session(database, reads_only=True) as session:
        assert owners(session, FACEBOOK, [acme.page_id]) == {}
        assert not still(session, acme.connection_id)


def test_who_had_an_account_is_known_in_turn_and_who_only_waited_for_it_is_not_among_them(
    database: Database, vault: Vault, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    began = clock()
    clock.tick(60)
    waiting = keep(database, vault, clock, globex, a_page(acme.page_id, claimed_elsewhere=True)).connection.id
    ours = Owner(acme.id, acme.connection_id, began)
    with system_session(database, reads_only=True) as session:
        assert all_owners(session, FACEBOOK, [acme.page_id, "unknown"]) == {acme.page_id: [ours]}
    revoke(database, vault, clock, acme)
    clock.tick(60)
    keep(database, vault, clock, globex, a_page(acme.page_id))
    with system_session(database, reads_only=True) as session:
        found = all_owners(session, FACEBOOK, [acme.page_id])
    assert found == {acme.page_id: [ours, Owner(globex.id, waiting, clock())]}


def test_who_has_an_account_is_known_without_saying_who(
    database: Database, vault: Vault, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    def elsewhere(company: Company) -> bool:
        with system_session(database, reads_only=True) as session:
            return claimed_elsewhere(session, tenant_id=company.id, integration=FACEBOOK, external_id=acme.page_id)

    assert (elsewhere(acme), elsewhere(globex)) == (False, True)
    revoke(database, vault, clock, acme)
    assert (elsewhere(acme), elsewhere(globex)) == (False, False)
