"""A restriction that is set or lifted while a lead of the person is stored: whoever comes second sees what the first did."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from models.connection import still
from models.database import Database, past_deadlocks
from models.feed import Event
from models.lead import CAME_RESTRICTED, RESTRICTED, Lead, NewLead, email_fingerprint, ready, store
from models.restricting import Freeze, lift, restrict
from models.restriction import Restriction
from models.tenancy import tenant_session
from models.vault import Vault
from tests.at_once import overtaking
from tests.conftest import Company, FrozenClock

Pause = Callable[[], None]


class Play:
    """Acme, and Ada who is restricted, freed, and stored."""

    def __init__(self, database: Database, vault: Vault, clock: FrozenClock, acme: Company) -> None:
        self.database, self.vault, self.clock, self.acme = database, vault, clock, acme

    def storing(self, pause: Pause = lambda: None) -> None:
        with tenant_session(self.database, self.acme.id) as session:
            assert still(session, self.acme.connection_id)
            pause()
            keyring = self.vault.keyring(session, self.acme.id, self.acme.connection_id, self.clock())
            hashes = self.vault.keyring(session, self.acme.id, self.acme.id, self.clock())
            contact = {"full_name": "Ada", "email": "ada@example.com", "phone": None, "phone_raw": None}
            lead = NewLead("5001", self.acme.page_id, "777", None, self.clock() - timedelta(seconds=4), self.clock(),
                           "webhook", "fb", False, None, {}, contact, [], [])  # fmt: skip
            made = ready(keyring, hashes, tenant_id=self.acme.id, connection_id=self.acme.connection_id, leads=[lead])
            store(session, hashes, made, self.clock())

    def restricting(self, pause: Pause = lambda: None) -> None:
        with tenant_session(self.database, self.acme.id) as session:
            hashes = self.vault.keyring(session, self.acme.id, self.acme.id, self.clock())
            wish = Freeze("subject", email=email_fingerprint(hashes, "Ada@example.com"))
            restrict(session, self.acme.id, wish, self.clock())
            pause()

    def lifting(self, pause: Pause = lambda: None) -> None:
        with tenant_session(self.database, self.acme.id) as session:
            lift(session, session.scalars(select(Restriction)).one(), self.clock())
            pause()

    def lead(self) -> str | None:
        with tenant_session(self.database, self.acme.id, reads_only=True) as session:
            return session.scalars(select(Lead.restricted)).one()

    def told(self) -> int:
        with tenant_session(self.database, self.acme.id, reads_only=True) as session:
            return len(session.scalars(select(Event).where(Event.type == "lead.received")).all())


@pytest.fixture
def play(database: Database, vault: Vault, clock: FrozenClock, acme: Company) -> Play:
    return Play(database, vault, clock, acme)


def test_a_lead_that_is_stored_while_its_person_is_restricted_is_restricted_whoever_was_first(play: Play) -> None:
    overtaking(play.storing, lambda: past_deadlocks(play.restricting))
    assert play.lead() == RESTRICTED


def test_a_lead_that_comes_while_a_restriction_is_being_set_waits_for_it_and_is_not_told_of(play: Play) -> None:
    overtaking(play.restricting, play.storing)
    assert play.lead() == CAME_RESTRICTED and play.told() == 0


def test_a_lead_that_is_stored_while_the_restriction_is_lifted_is_free_and_told_of(play: Play) -> None:
    play.restricting()
    overtaking(play.storing, lambda: past_deadlocks(play.lifting))
    assert play.lead() is None and play.told() == 1
