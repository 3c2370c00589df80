"""Connect links and states: one use, one browser, one integration, an end; and nothing of them can be read in the rows."""

from functools import partial

import pytest
from sqlalchemy import select, text

from models.connect_link import (
    LINK_LIVES,
    STATE_LIVES,
    ConnectLink,
    ConnectState,
    Visit,
    add_link,
    begin_visit,
    end_visit,
    live_link,
    spend_link,
)
from models.database import Database
from models.tenancy import CrossTenantWrite, system_session, tenant_session
from models.vault import Vault
from tests.at_once import at_once
from tests.conftest import Company, FrozenClock
from tests.models.ledger import whole

GOOGLE = "google_calendar"
STATE, BROWSER, VERIFIER = "state of a visit", "browser of a visit", "verifier of a visit"


@pytest.fixture
def link(database: Database, vault: Vault, clock: FrozenClock, acme: Company) -> tuple[ConnectLink, str]:
    with tenant_session(database, acme.id) as session:
        return add_link(session, vault, tenant_id=acme.id, integration=GOOGLE, user="ada@acme.example", now=clock())


@pytest.fixture
def visit(database: Database, vault: Vault, clock: FrozenClock, link: tuple[ConnectLink, str]) -> None:
    with tenant_session(database, link[0].tenant_id) as session:
        begin_visit(session, vault, link[0], state=STATE, browser=BROWSER, verifier=VERIFIER, secret=link[1],
                    now=clock())  # fmt: skip


def come_back(
    database: Database, vault: Vault, clock: FrozenClock, state: str = STATE, browser: str | None = BROWSER,
    integration: str = GOOGLE,
) -> Visit | None:  # fmt: skip
    with system_session(database) as session:
        return end_visit(session, vault, state=state, browser=browser, integration=integration, now=clock())


@pytest.mark.usefixtures("visit")
@pytest.mark.parametrize(
    "wrong", [{"state": "another"}, {"state": ""}, {"browser": "another"}, {"browser": None}, {"browser": ""},
              {"integration": "facebook_leads"}],
    ids=["foreign state", "no state", "foreign browser", "no browser", "empty browser", "other integration"],
)  # fmt: skip
def test_who_comes_back_otherwise_than_they_went_gets_nothing_and_spends_nothing(
    database: Database, vault: Vault, clock: FrozenClock, wrong: dict[str, str | None]
) -> None:
    assert come_back(database, vault, clock, **wrong) is None  # type: ignore[arg-type]
    assert come_back(database, vault, clock) is not None


@pytest.mark.usefixtures("visit")
def test_a_state_is_spent_once_also_by_many_at_once(database: Database, vault: Vault, clock: FrozenClock) -> None:
    found = at_once(*[partial(whole, database, partial(come_back, database, vault, clock))] * 6)
    assert sum(one is not None for one in found) == 1
    assert come_back(database, vault, clock) is None


@pytest.mark.usefixtures("visit")
def test_a_state_ends_after_its_time(database: Database, vault: Vault, clock: FrozenClock) -> None:
    clock.tick(STATE_LIVES.total_seconds())
    assert come_back(database, vault, clock) is None


@pytest.mark.usefixtures("visit")
def test_who_comes_back_in_time_has_what_was_kept(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, link: tuple[ConnectLink, str]
) -> None:
    clock.tick(STATE_LIVES.total_seconds() - 1)
    assert come_back(database, vault, clock) == Visit(acme.id, link[0].id, GOOGLE, VERIFIER, link[1])


@pytest.mark.usefixtures("visit")
def test_a_visit_of_a_tenant_whose_key_is_destroyed_is_nobodys(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    with tenant_session(database, acme.id) as session:
        vault.destroy(session, acme.id, acme.id)
    assert come_back(database, vault, clock) is None


def test_a_link_is_found_by_its_secret_until_its_end(
    database: Database, clock: FrozenClock, link: tuple[ConnectLink, str]
) -> None:
    def found(secret: str) -> str | None:
        with system_session(database, reads_only=True) as session:
            row = live_link(session, secret, clock())
            return None if row is None else row.id

    row, secret = link
    assert [found(one) for one in (secret, secret[:-1], secret.swapcase(), "", row.id)] == [row.id, *[None] * 4]
    clock.tick(LINK_LIVES.total_seconds() - 1)
    assert found(secret) == row.id
    clock.tick(1)
    assert found(secret) is None


def test_a_link_serves_several_visits_and_is_spent_by_one(
    database: Database, clock: FrozenClock, acme: Company, link: tuple[ConnectLink, str]
) -> None:
    def spend() -> bool:
        with tenant_session(database, acme.id) as session:
            return spend_link(session, link[0].id, clock())

    assert sum(at_once(*[partial(whole, database, spend)] * 4)) == 1
    with system_session(database, reads_only=True) as session:
        assert live_link(session, link[1], clock()) is None


def test_a_link_that_ended_during_the_visit_stores_nothing(
    database: Database, clock: FrozenClock, acme: Company, link: tuple[ConnectLink, str]
) -> None:
    clock.tick(LINK_LIVES.total_seconds())
    with tenant_session(database, acme.id) as session:
        assert not spend_link(session, link[0].id, clock())


def test_globex_sees_and_spends_nothing(
    database: Database, vault: Vault, clock: FrozenClock, globex: Company, link: tuple[ConnectLink, str]
) -> None:
    row, secret = link
    with tenant_session(database, globex.id) as session:
        assert live_link(session, secret, clock()) is None
        assert not spend_link(session, row.id, clock())
    with pytest.raises(CrossTenantWrite), tenant_session(database, globex.id) as session:
        add_link(session, vault, tenant_id=row.tenant_id, integration=GOOGLE, user=None, now=clock())
    with system_session(database, reads_only=True) as session:
        assert live_link(session, secret, clock()) is not None


@pytest.mark.usefixtures("visit")
def test_rows_and_words_hold_neither_secret_nor_person(
    database: Database, vault: Vault, clock: FrozenClock, link: tuple[ConnectLink, str]
) -> None:
    hidden = [STATE, BROWSER, VERIFIER, link[1], "ada@acme.example"]
    with system_session(database, reads_only=True) as session:
        for table in (ConnectLink, ConnectState):
            assert session.scalars(select(table)).one()
            for row in session.execute(text(f"SELECT * FROM {table.__tablename__}")):
                values = [bytes(one) if isinstance(one, bytes | memoryview) else repr(one).encode() for one in row]
                assert not [word for word in hidden if any(word.encode() in value for value in values)]
    assert not [word for word in hidden if word in repr(come_back(database, vault, clock))]
