"""What providers told us: kept once, offered when due, to its tenant alone."""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import select

from models import inbox
from models.database import Database
from models.inbox import FAILED, HANDLED, PENDING, InboxEvent, Notice, Pending
from models.tenancy import system_session, tenant_session
from models.vault import Vault
from tests.at_once import at_once
from tests.conftest import Company, FrozenClock
from tests.models.accounts import a_page, keep


def notice(company: Company, external_id: str = "1", **more: object) -> Notice:
    return Notice(company.id, company.connection_id, "lead", external_id, "webhook", **more)  # type: ignore[arg-type]


def take_in(database: Database, clock: FrozenClock, *notices: Notice) -> None:
    with system_session(database) as session:
        inbox.take_in(session, notices, clock())


def due(database: Database, clock: FrozenClock, company: Company, limit: int = 100) -> list[Pending]:
    with tenant_session(database, company.id, reads_only=True) as session:
        return inbox.pending(
            session, tenant_id=company.id, connection_id=company.connection_id, kind="lead", now=clock(), limit=limit
        )


def next_due(database: Database, company: Company) -> datetime | None:
    with tenant_session(database, company.id, reads_only=True) as session:
        return inbox.next_due(session, tenant_id=company.id, connection_id=company.connection_id, kind="lead")


def the_row(database: Database) -> InboxEvent:
    with system_session(database, reads_only=True) as session:
        return session.scalars(select(InboxEvent)).one()


def test_nothing_is_taken_in_from_nothing(database: Database, clock: FrozenClock, acme: Company) -> None:
    take_in(database, clock)
    assert due(database, clock, acme) == []
    assert next_due(database, acme) is None


def test_a_repeated_notice_changes_nothing(database: Database, clock: FrozenClock, acme: Company) -> None:
    first = clock()
    take_in(database, clock, notice(acme, refs={"form": "f1"}), notice(acme, refs={"form": "other"}))
    clock.tick(60)
    take_in(database, clock, notice(acme, refs={"form": "f2"}))
    (event,) = due(database, clock, acme)
    assert (event.external_id, event.refs, event.received_at, event.attempts) == ("1", {"form": "f1"}, first, 0)


def test_a_notice_repeated_after_it_was_handled_stays_handled(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    take_in(database, clock, notice(acme))
    with tenant_session(database, acme.id) as session:
        inbox.handled(session, tenant_id=acme.id, ids=[the_row(database).id], now=clock())
    take_in(database, clock, notice(acme))
    assert due(database, clock, acme) == []
    assert (the_row(database).state, the_row(database).handled_at) == (HANDLED, clock())


def test_many_deliveries_of_the_same_notices_at_once_store_each_once(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    notices = [notice(company, str(number)) for number in range(30) for company in (acme, globex)]
    at_once(*[partial(take_in, database, clock, *notices[n:], *notices[:n]) for n in range(8)])
    assert [len(due(database, clock, company)) for company in (acme, globex)] == [30, 30]


def test_the_same_id_belongs_to_each_tenant_by_itself(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    take_in(database, clock, notice(acme))
    assert due(database, clock, globex) == []
    take_in(database, clock, notice(globex))
    assert len(due(database, clock, acme)) == len(due(database, clock, globex)) == 1


def test_globex_cannot_handle_what_is_acmes(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    take_in(database, clock, notice(acme))
    with tenant_session(database, globex.id) as session:
        inbox.handled(session, tenant_id=globex.id, ids=[the_row(database).id], now=clock())
        inbox.unhandled(
            session, tenant_id=globex.id, event_id=the_row(database).id, kind="k", sentence="S.", due_at=None
        )
    assert the_row(database).state == PENDING


def test_ids_that_differ_by_case_are_two_events(database: Database, clock: FrozenClock, acme: Company) -> None:
    take_in(database, clock, notice(acme, "aB"), notice(acme, "AB"))
    assert len(due(database, clock, acme)) == 2


def test_the_oldest_comes_first_and_not_more_than_asked(database: Database, clock: FrozenClock, acme: Company) -> None:
    for name in ("third", "first", "second"):
        take_in(database, clock, notice(acme, name))
        clock.tick(1)
    assert [event.external_id for event in due(database, clock, acme, limit=2)] == ["third", "first"]


def test_what_failed_for_now_is_due_later(database: Database, clock: FrozenClock, acme: Company) -> None:
    take_in(database, clock, notice(acme))
    later = clock() + timedelta(minutes=1)
    with tenant_session(database, acme.id) as session:
        inbox.unhandled(
            session, tenant_id=acme.id, event_id=the_row(database).id, kind="gone", sentence="s" * 900, due_at=later
        )
    assert due(database, clock, acme) == []
    assert next_due(database, acme) == later
    clock.tick(60)
    (event,) = due(database, clock, acme)
    assert event.attempts == 1
    assert the_row(database).error_sentence == "s" * 500
    with tenant_session(database, acme.id) as session:
        inbox.handled(session, tenant_id=acme.id, ids=[event.id], now=clock())
    assert (the_row(database).error_kind, the_row(database).error_sentence) == (None, None)


def test_what_failed_for_good_is_kept_with_its_reason(database: Database, clock: FrozenClock, acme: Company) -> None:
    take_in(database, clock, notice(acme))
    with tenant_session(database, acme.id) as session:
        inbox.unhandled(
            session, tenant_id=acme.id, event_id=the_row(database).id, kind="gone", sentence="Gone.", due_at=None
        )
    assert (the_row(database).state, the_row(database).error_kind) == (FAILED, "gone")
    assert next_due(database, acme) is None


def fail(database: Database, company: Company, external_id: str, kind: str = "missing") -> str:
    """An event that was given up; its id."""
    with tenant_session(database, company.id) as session:
        event = session.scalars(select(InboxEvent).where(InboxEvent.external_id == external_id)).one()
        inbox.unhandled(session, tenant_id=company.id, event_id=event.id, kind=kind, sentence="Gone.", due_at=None)
        return event.id


def states(database: Database, company: Company) -> dict[str, tuple[str, int]]:
    with tenant_session(database, company.id, reads_only=True) as session:
        return {event.external_id: (event.state, event.attempts) for event in session.scalars(select(InboxEvent))}


def test_failed_events_are_replayed_by_any_filter_and_those_of_others_stay(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    take_in(database, clock, *(notice(acme, str(number)) for number in range(4)), notice(globex, "0"))
    ids = [fail(database, acme, "0"), fail(database, acme, "1", "our_bug"), fail(database, acme, "2")]
    fail(database, globex, "0")
    with tenant_session(database, acme.id) as session:
        assert inbox.replay(session, acme.id, acme.connection_id, "our_bug", None, clock()) == 1
        assert inbox.replay(session, acme.id, None, None, [ids[0]], clock()) == 1
        assert inbox.replay(session, acme.id, globex.connection_id, None, None, clock()) == 0
        assert inbox.replay(session, acme.id, None, None, None, clock()) == 1
        assert inbox.replay(session, acme.id, None, None, None, clock()) == 0
    assert set(states(database, acme).values()) == {(PENDING, 0)}
    assert states(database, globex) == {"0": (FAILED, 1)}
    assert len(due(database, clock, acme)) == 4


def test_what_has_come_another_way_is_dealt_with_and_stays_so(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    take_in(database, clock, notice(acme, "0"), notice(acme, "1"), notice(globex, "0"))
    fail(database, acme, "1")
    with tenant_session(database, acme.id) as session:
        inbox.arrived(session, tenant_id=acme.id, kind="lead", external_ids=["0", "1", "7"], now=clock())
    fail(database, acme, "0")
    assert {state for state, _ in states(database, acme).values()} == {HANDLED}
    assert states(database, globex) == {"0": (PENDING, 0)}


def test_what_had_failed_is_tried_again_when_it_is_told_again_by_who_tells_it(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    take_in(database, clock, *(notice(acme, str(number)) for number in range(3)), notice(globex, "1"))
    for company, external_id in ((acme, "0"), (acme, "1"), (globex, "1")):
        fail(database, company, external_id)
    present = keep(database, vault, clock, acme, a_page("999")).connection.id
    clock.tick(60)
    take_in(database, clock, *(replace(notice(acme, one), connection_id=present) for one in ("1", "2", "3")))
    assert states(database, acme) == {"0": (FAILED, 1), "1": (PENDING, 0), "2": (PENDING, 0), "3": (PENDING, 0)}
    assert states(database, globex) == {"1": (FAILED, 1)}
    assert [event.external_id for event in due(database, clock, acme)] == ["2"], "what waits stays where it is"
    assert {event.external_id for event in due(database, clock, replace(acme, connection_id=present))} == {"1", "3"}
