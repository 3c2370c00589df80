"""The feed: positions without gaps, in the order of commits, whoever emits at once; a tenant reads its own alone."""

import threading
from functools import partial

import pytest
from sqlalchemy import select

from models.database import Database
from models.feed import Event, Feed, emit, events_after
from models.tenancy import CrossTenantWrite, system_session, tenant_session
from tests.at_once import A_MOMENT, PATIENCE, at_once
from tests.conftest import Company, FrozenClock
from tests.models.ledger import whole

WRITERS, EACH = 8, 5


def tell(database: Database, company: Company, clock: FrozenClock, *kinds: str) -> None:
    with tenant_session(database, company.id) as session:
        emit(session, company.id, [(kind, {"kind": kind}) for kind in kinds], clock())


def positions(database: Database, company: Company) -> list[int]:
    with tenant_session(database, company.id, reads_only=True) as session:
        return [event.position for event in events_after(session, after=None, limit=1000) or []]


def test_a_transaction_that_failed_leaves_no_gap(database: Database, acme: Company, clock: FrozenClock) -> None:
    with tenant_session(database, acme.id) as session:
        emit(session, acme.id, [("lost", {})], clock())
        session.rollback()
    tell(database, acme, clock, "a", "b")
    tell(database, acme, clock)
    assert positions(database, acme) == [1, 2, 3]


def test_no_tenant_emits_for_another_or_sees_its_events(
    database: Database, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    with pytest.raises(CrossTenantWrite), tenant_session(database, globex.id) as session:
        emit(session, acme.id, [("forged", {})], clock())
    tell(database, acme, clock, "ours")
    assert positions(database, globex) == [1]
    with tenant_session(database, acme.id, reads_only=True) as session:
        ours = [event.id for event in events_after(session, after=None, limit=10) or []]
    with tenant_session(database, globex.id, reads_only=True) as session:
        assert events_after(session, after=ours[0], limit=10) is None
    with system_session(database, reads_only=True) as session:
        assert set(session.scalars(select(Feed.last))) == {1, 2}


def test_pages_of_the_feed_follow_one_another_to_its_end(database: Database, acme: Company, clock: FrozenClock) -> None:
    tell(database, acme, clock, *"abcde")
    seen: list[str] = []
    after = None
    with tenant_session(database, acme.id, reads_only=True) as session:
        while page := events_after(session, after=after, limit=2):
            seen += [event.type for event in page]
            after = page[-1].id
        assert (seen, page) == (["connection.created", *"abcde"], [])
        assert events_after(session, after="01900000-0000-7000-8000-000000000001", limit=2) is None


def test_whoever_emits_at_once_the_positions_have_no_gap_and_each_its_own(
    database: Database, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    def write(company: Company) -> None:
        for _ in range(EACH):
            whole(database, lambda: tell(database, company, clock, "a", "b"))

    at_once(*(partial(write, company) for company in (acme, globex) for _ in range(WRITERS // 2)))
    for company in (acme, globex):
        assert positions(database, company) == list(range(1, 2 + WRITERS // 2 * EACH * 2))


def test_the_first_events_of_a_tenant_come_from_many_at_once(
    database: Database, acme: Company, clock: FrozenClock
) -> None:
    with system_session(database) as session:
        for table in (Event, Feed):
            for row in session.scalars(select(table)):
                session.delete(row)
    at_once(*(partial(whole, database, partial(tell, database, acme, clock, "a")) for _ in range(WRITERS)))
    assert positions(database, acme) == list(range(1, WRITERS + 1))


def test_who_reads_up_to_an_event_has_missed_none_before_it(
    database: Database, acme: Company, clock: FrozenClock
) -> None:
    """The second writer takes a later position, so it must not be seen before the first has committed."""
    emitted, second_done = threading.Event(), threading.Event()

    def first() -> list[str]:
        with tenant_session(database, acme.id) as session:
            emit(session, acme.id, [("first", {})], clock())
            emitted.set()
            second_done.wait(A_MOMENT)
            with tenant_session(database, acme.id, reads_only=True) as reader:
                return [event.type for event in events_after(reader, after=None, limit=10) or []]

    def second() -> list[str]:
        assert emitted.wait(PATIENCE)
        whole(database, lambda: tell(database, acme, clock, "second"))
        second_done.set()
        return []

    seen, _ = at_once(first, second)
    assert seen == ["connection.created"]
    with tenant_session(database, acme.id, reads_only=True) as session:
        order = [event.type for event in events_after(session, after=None, limit=10) or []]
    assert order == ["connection.created", "first", "second"]
