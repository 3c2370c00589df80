"""One refresh at a time: the turn has one owner, ends by itself, and a late one or one of an older grant stores nothing."""

from datetime import timedelta
from functools import partial

import pytest

from models.connection import Connection
from models.database import Database
from models.refresh import LEASE, Turn, end_turn, store_refreshed, take_turn
from models.tenancy import tenant_session
from models.vault import Vault
from tests.at_once import at_once
from tests.conftest import Company, FrozenClock
from tests.models.accounts import a_person, close, end, keep, look, tokens_of
from tests.models.ledger import whole

NEW = {"refresh_token": "rotated", "access_token": "fresh"}


@pytest.fixture
def account(database: Database, vault: Vault, clock: FrozenClock, acme: Company) -> str:
    """Of acme, at Google."""
    return keep(database, vault, clock, acme, a_person()).connection.id


def take(database: Database, vault: Vault, clock: FrozenClock, row: Connection) -> Turn | None:
    with tenant_session(database, row.tenant_id) as session:
        return take_turn(session, vault, row, clock())


def taken(database: Database, vault: Vault, clock: FrozenClock, account: str) -> Turn:
    turn = take(database, vault, clock, look(database, account))
    assert turn is not None
    return turn


def keep_new(database: Database, vault: Vault, clock: FrozenClock, acme: Company, turn: Turn) -> bool:
    with tenant_session(database, acme.id) as session:
        return store_refreshed(session, vault, turn, tokens=NEW, expires_at=clock() + timedelta(hours=1),
                               scopes=None, now=clock())  # fmt: skip


def test_of_many_at_once_one_has_the_turn(database: Database, vault: Vault, clock: FrozenClock, account: str) -> None:
    row = look(database, account)
    turns = at_once(*[partial(whole, database, partial(take, database, vault, clock, row))] * 8)
    (winner,) = [turn for turn in turns if turn is not None]
    assert winner.tokens == {"refresh_token": "refresh", "access_token": "refresh access"}
    assert take(database, vault, clock, look(database, account)) is None


def test_a_turn_that_was_never_ended_is_over_after_its_lease(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, account: str
) -> None:
    late = taken(database, vault, clock, account)
    clock.tick(LEASE.total_seconds() - 0.001)
    assert take(database, vault, clock, look(database, account)) is None
    clock.tick(0.001)
    taken(database, vault, clock, account)
    assert not keep_new(database, vault, clock, acme, late)
    assert tokens_of(database, vault, account)["access_token"] == "refresh access"


def test_a_late_turn_does_not_end_the_one_that_followed(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, account: str
) -> None:
    late = taken(database, vault, clock, account)
    clock.tick(LEASE.total_seconds())
    present = taken(database, vault, clock, account)
    with tenant_session(database, acme.id) as session:
        end_turn(session, late)
    assert take(database, vault, clock, look(database, account)) is None
    assert keep_new(database, vault, clock, acme, present)


def test_who_read_the_row_before_a_refresh_gets_no_turn_but_reads_it_again(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, account: str
) -> None:
    before = look(database, account)
    assert keep_new(database, vault, clock, acme, taken(database, vault, clock, account))
    assert take(database, vault, clock, before) is None
    row = look(database, account)
    assert (row.token_version, row.refresh_by, row.refresh_until) == (before.token_version + 1, None, None)
    assert row.token_expires_at == clock() + timedelta(hours=1)
    assert row.scopes == ["calendar"], "told nothing, nothing has changed"
    assert tokens_of(database, vault, account) == NEW


def test_a_turn_stores_once(database: Database, vault: Vault, clock: FrozenClock, acme: Company, account: str) -> None:
    turn = taken(database, vault, clock, account)
    assert [keep_new(database, vault, clock, acme, turn) for _ in range(2)] == [True, False]


def test_a_turn_given_back_is_free_at_once(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, account: str
) -> None:
    turn = taken(database, vault, clock, account)
    with tenant_session(database, acme.id) as session:
        end_turn(session, turn)
    assert not keep_new(database, vault, clock, acme, turn)
    taken(database, vault, clock, account)


def test_what_was_refreshed_of_an_older_grant_does_not_touch_the_new_one(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, account: str
) -> None:
    turn = taken(database, vault, clock, account)
    keep(database, vault, clock, acme, a_person(token="second"))
    assert not keep_new(database, vault, clock, acme, turn)
    assert tokens_of(database, vault, account)["refresh_token"] == "second"
    taken(database, vault, clock, account)


def test_nobody_gets_a_turn_at_tokens_that_are_gone(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, account: str
) -> None:
    before = look(database, account)
    with tenant_session(database, acme.id) as session:
        row = session.get_one(Connection, account)
        row.tokens = None
    assert take(database, vault, clock, before) is None


def test_a_closed_connection_is_not_refreshed_and_a_refresh_under_way_leaves_nothing_behind(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, account: str
) -> None:
    turn = taken(database, vault, clock, account)
    close(database, clock, acme, account)
    clock.tick(LEASE.total_seconds())
    assert take(database, vault, clock, look(database, account)) is None
    end(database, vault, clock, account)
    assert not keep_new(database, vault, clock, acme, turn)
    row = look(database, account)
    assert (row.tokens, row.grant_id, row.token_expires_at) == (None, None, None)


def test_globex_refreshes_nothing_of_acmes(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, globex: Company, account: str
) -> None:
    row = look(database, account)
    with tenant_session(database, globex.id) as session:
        assert take_turn(session, vault, row, clock()) is None
    turn = taken(database, vault, clock, account)
    assert not keep_new(database, vault, clock, globex, turn)
    with tenant_session(database, globex.id) as session:
        end_turn(session, turn)
    assert keep_new(database, vault, clock, acme, turn)


def test_a_turn_does_not_show_its_tokens(database: Database, vault: Vault, clock: FrozenClock, account: str) -> None:
    assert "refresh access" not in repr(taken(database, vault, clock, account))
