"""Grants: a known account keeps its connection, the old grant's tokens are gone, and two tenants never share a page."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from models.connection import (
    ACTIVE,
    NEEDS_RECONNECT,
    PENDING,
    REVOKED,
    Connection,
    Holder,
    Owner,
    account_names,
    owners,
)
from models.database import Database
from models.grant import CLAIMED_ELSEWHERE, BeingRevoked, Stored, held_by, hold, holders_of, marks_of
from models.tenancy import SYSTEM, system_session, tenant_session
from models.vault import DataKey, Vault
from tests.at_once import at_once
from tests.conftest import Company, FrozenClock
from tests.models.accounts import (
    FACEBOOK,
    GOOGLE,
    TROUBLE,
    a_page,
    a_person,
    break_it,
    close,
    connections,
    keep,
    look,
    revoke,
    tokens_of,
    told,
)
from tests.models.ledger import whole

PAGE = "999000000000009"
Keep = Callable[..., Stored]


@pytest.fixture
def grant(database: Database, vault: Vault, clock: FrozenClock) -> Keep:
    return partial(keep, database, vault, clock)


def test_a_page_of_another_tenant_is_a_visible_conflict_and_never_moves(
    grant: Keep, database: Database, vault: Vault, acme: Company, globex: Company
) -> None:
    first, again = (grant(globex, a_page(acme.page_id, claimed_elsewhere=True)) for _ in range(2))
    assert (first.created, again.created, first.recovered, again.recovered) == (True, False, False, False)
    row = look(database, first.connection.id)
    assert (row.status, row.health_code, row.tokens) == (PENDING, CLAIMED_ELSEWHERE, None)
    assert row.health_sentence and row.health_fix
    with system_session(database, reads_only=True) as session:
        assert owners(session, FACEBOOK, [acme.page_id])[acme.page_id].connection_id == acme.connection_id
    assert tokens_of(database, vault, acme.connection_id) == {"page_access_token": acme.token}
    assert told(database, globex, row.id) == ["connection.created"]
    assert told(database, acme) == ["connection.created"]


def test_a_conflict_is_over_when_the_other_tenant_has_let_go(
    grant: Keep, database: Database, vault: Vault, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    waiting = grant(globex, a_page(acme.page_id, claimed_elsewhere=True)).connection.id
    revoke(database, vault, clock, acme)
    with system_session(database, reads_only=True) as session:
        assert owners(session, FACEBOOK, [acme.page_id]) == {}, "waiting is no claim"
    clock.tick(60)
    stored = grant(globex, a_page(acme.page_id))
    assert (stored.connection.id, stored.created, stored.recovered) == (waiting, False, True)
    row = look(database, waiting)
    assert (row.status, row.health_code, row.health_since) == (ACTIVE, None, None)
    with system_session(database, reads_only=True) as session:
        assert owners(session, FACEBOOK, [acme.page_id]) == {acme.page_id: Owner(globex.id, waiting, clock())}
    assert told(database, globex, waiting) == ["connection.created", "connection.recovered"]


def test_late_word_of_a_conflict_does_not_close_a_connection_that_lives(
    grant: Keep, database: Database, vault: Vault, acme: Company
) -> None:
    stored = grant(acme, a_page(acme.page_id, "newer", claimed_elsewhere=True))
    assert stored.connection.status == ACTIVE
    assert tokens_of(database, vault, acme.connection_id) == {"page_access_token": "newer"}


def test_a_rivals_claim_stores_nothing(
    grant: Keep, database: Database, vault: Vault, acme: Company, globex: Company
) -> None:
    with pytest.raises(IntegrityError):
        grant(globex, a_page(acme.page_id))
    assert [row.id for row in connections(database, globex.id)] == [globex.connection_id]
    assert tokens_of(database, vault, acme.connection_id) == {"page_access_token": acme.token}
    assert told(database, globex) == ["connection.created"]


def test_of_two_tenants_that_grant_a_page_at_once_one_has_it(
    grant: Keep, database: Database, acme: Company, globex: Company
) -> None:
    def attempt(company: Company) -> str:
        try:
            return whole(database, lambda: grant(company, a_page(PAGE))).connection.tenant_id
        except IntegrityError:
            return "refused"

    won = at_once(lambda: attempt(acme), lambda: attempt(globex))
    assert sorted(one == "refused" for one in won) == [False, True]
    with system_session(database, reads_only=True) as session:
        assert owners(session, FACEBOOK, [PAGE])[PAGE][0] in won


def test_a_page_granted_twice_at_once_is_one_connection(grant: Keep, database: Database, acme: Company) -> None:
    def attempt(token: str) -> bool:
        try:
            return whole(database, lambda: grant(acme, a_page(PAGE, token))).created
        except IntegrityError:
            return whole(database, lambda: grant(acme, a_page(PAGE, token))).created

    assert sorted(at_once(lambda: attempt("a"), lambda: attempt("b"))) == [False, True]
    assert len(connections(database, acme.id)) == 2
    assert told(database, acme) == ["connection.created"] * 2


def test_an_account_that_is_being_revoked_waits_for_the_end(
    grant: Keep, database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    close(database, clock, acme)
    with pytest.raises(BeingRevoked):
        grant(acme, a_page(acme.page_id))
    assert tokens_of(database, vault, acme.connection_id) == {"page_access_token": acme.token}


def test_an_account_that_was_revoked_gets_a_new_connection(
    grant: Keep, database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    revoke(database, vault, clock, acme)
    stored = grant(acme, a_page(acme.page_id))
    assert stored.created and stored.connection.id != acme.connection_id
    assert look(database, acme.connection_id).status == REVOKED
    assert tokens_of(database, vault, acme.connection_id) == {}
    assert tokens_of(database, vault, stored.connection.id) == {"page_access_token": "new token"}


def test_a_grant_that_cannot_be_used_is_kept_with_its_reason(
    grant: Keep, database: Database, vault: Vault, acme: Company
) -> None:
    stored = grant(acme, a_page(PAGE, trouble=TROUBLE))
    row = look(database, stored.connection.id)
    assert (stored.created, stored.recovered, row.status) == (True, False, NEEDS_RECONNECT)
    assert (row.health_code, row.health_sentence, row.health_fix) == (TROUBLE.code, TROUBLE.sentence, TROUBLE.fix)
    assert tokens_of(database, vault, row.id) == {"page_access_token": "new token"}
    assert told(database, acme, row.id) == ["connection.created", "connection.needs_reconnect"]
    assert not grant(acme, a_page(PAGE, trouble=TROUBLE)).recovered
    assert grant(acme, a_page(PAGE)).recovered
    assert told(database, acme, row.id)[2:] == ["connection.recovered"]


def test_a_conflict_that_ends_in_trouble_is_no_recovery(grant: Keep, database: Database, globex: Company) -> None:
    waiting = grant(globex, a_page(PAGE, claimed_elsewhere=True)).connection.id
    stored = grant(globex, a_page(PAGE, trouble=TROUBLE))
    assert (stored.connection.id, stored.recovered) == (waiting, False)
    row = look(database, waiting)
    assert (row.status, row.health_code, row.health_sentence) == (NEEDS_RECONNECT, TROUBLE.code, TROUBLE.sentence)
    assert told(database, globex, waiting) == ["connection.created", "connection.needs_reconnect"]


def test_reconnecting_keeps_the_connection_and_what_it_sealed_and_destroys_the_old_grant(
    grant: Keep, database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    before = look(database, acme.connection_id)
    break_it(database, clock, acme.connection_id)
    with tenant_session(database, acme.id) as session:
        keyring = vault.keyring(session, acme.id, acme.connection_id, clock())
        lead = keyring.seal(b"a lead", table="leads", row="1", column="contact")
    clock.tick(60)
    stored = grant(acme, a_page(acme.page_id, scopes=["a", "b"], name="New name", expires_at=clock() + timedelta(1)))
    row = look(database, acme.connection_id)
    assert (stored.connection.id, stored.created, stored.recovered) == (acme.connection_id, False, True)
    assert (row.status, row.health_code, row.health_since, row.scopes) == (ACTIVE, None, None, ["a", "b"])
    assert (row.created_at, row.granted_at, row.token_expires_at) == (
        before.created_at, clock(), clock() + timedelta(1),
    )  # fmt: skip
    assert row.token_version == before.token_version + 1
    assert tokens_of(database, vault, row.id) == {"page_access_token": "new token"}
    with tenant_session(database, acme.id, reads_only=True) as session:
        assert account_names(session, vault, [row])[row.id].name == "New name"
        assert vault.existing(session, acme.id, str(before.grant_id)) is None
        again = vault.existing(session, acme.id, row.id)
        assert again is not None
        assert again.unseal(lead, table="leads", row="1", column="contact") == b"a lead"
        # One key for what is sealed, one for the grant, one for the tenant's look-ups.
        assert len(session.scalars(select(DataKey)).all()) == 3
    assert told(database, acme) == ["connection.created", "connection.needs_reconnect", "connection.recovered"]


def test_a_second_grant_of_a_well_account_is_no_news(grant: Keep, database: Database, acme: Company) -> None:
    stored = grant(acme, a_page(acme.page_id))
    assert (stored.created, stored.recovered) == (False, False)
    assert told(database, acme) == ["connection.created"]


def test_two_tenants_may_have_the_same_google_account_and_each_its_own_tokens(
    grant: Keep, database: Database, vault: Vault, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    ours = grant(acme, a_person(token="ours")).connection
    theirs = grant(globex, a_person(token="theirs")).connection
    assert ours.claim != theirs.claim and ours.id != theirs.id
    assert tokens_of(database, vault, ours.id)["refresh_token"] == "ours"
    assert tokens_of(database, vault, theirs.id)["refresh_token"] == "theirs"
    living = (ACTIVE, NEEDS_RECONNECT, PENDING)
    with system_session(database, reads_only=True) as session:
        both = [(acme.id, ours.id), (globex.id, theirs.id)]
        assert sorted(held_by(session, [b"m" * 16], states=living)) == sorted(both)
        assert held_by(session, []) == held_by(session, [b"x" * 16]) == []
    close(database, clock, acme, ours.id)
    with system_session(database, reads_only=True) as session:
        assert held_by(session, [b"m" * 16], states=living) == [(globex.id, theirs.id)]
        assert sorted(held_by(session, [b"m" * 16])) == sorted(both)
    with tenant_session(database, globex.id, reads_only=True) as session:
        assert held_by(session, [b"m" * 16]) == [(globex.id, theirs.id)]
    again = grant(globex, a_person(token="again"))
    assert (again.connection.id, again.created) == (theirs.id, False)


def test_a_person_behind_many_pages_is_found_by_one_mark_and_forgotten_with_the_next_grant(
    grant: Keep, database: Database, clock: FrozenClock, acme: Company
) -> None:
    first, second = b"1" * 16, b"2" * 16
    row = grant(acme, a_page(PAGE, marks=[first, second])).connection
    grant(acme, a_person(marks=[b"3" * 16]))
    with system_session(database, reads_only=True) as session:
        assert held_by(session, [first, second], states=(ACTIVE,)) == [(acme.id, row.id)]
    grant(acme, a_page(PAGE, marks=[second]))
    with tenant_session(database, acme.id) as session:
        here = session.get_one(Connection, row.id)
        assert holders_of(session, here) == [second]
        hold(session, here, [])
        session.flush()
        assert holders_of(session, here) == []
        assert len(session.scalars(select(Holder)).all()) == 1, "those of the other connection stay"


def test_marks_are_the_same_for_every_tenant_and_say_nothing(
    database: Database, vault: Vault, clock: FrozenClock
) -> None:
    with system_session(database) as session:
        marks = marks_of(session, vault, GOOGLE, ["Ada@Acme.example", "110", ""], clock())
        assert marks_of(session, vault, GOOGLE, ["110", "ada@acme.example"], clock()) == marks
        assert marks != marks_of(session, vault, FACEBOOK, ["110", "ada@acme.example"], clock())
        assert all(len(mark) == 16 for mark in marks) and len(marks) == 2
        assert session.get(DataKey, (SYSTEM, SYSTEM)) is not None


def test_a_grant_shows_neither_tokens_nor_names(acme: Company) -> None:
    shown = repr(a_person(token="secret"))
    assert not any(word in shown for word in ("secret", "ada@", "110000000000000000001"))
