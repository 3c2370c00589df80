"""Revocation: closed in one transaction, nothing is written afterwards, and what it leaves cannot be read by anybody."""

import threading
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import func, select

from models.connection import REVOKED, REVOKING, Connection, owners, still
from models.database import Database
from models.deletion import GRANT_STEPS, STEP_PENDING, deletion_of, deletions_by_code, new_code, steps_of
from models.grant import holders_of
from models.inbox import InboxEvent, handled, take_in
from models.job import CANCELLED, QUEUED, RUNNING, WAITING
from models.refresh import take_turn
from models.revocation import begin_revocation
from models.tenancy import system_session, tenant_session
from models.vault import DataKey, Vault
from tests.at_once import A_MOMENT, PATIENCE, at_once
from tests.conftest import Company, FrozenClock
from tests.models.accounts import FACEBOOK, UNDO, a_page, a_person, break_it, close, end, keep, look, revoke, told
from tests.models.ledger import a_job, finish, notice, put, row, rows, taken, whole


def test_a_connection_of_another_tenant_or_of_nobody_is_not_closed(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    with tenant_session(database, globex.id) as session:
        for stranger in (acme.connection_id, "01900000-0000-7000-8000-000000000001"):
            assert begin_revocation(session, stranger, requested_by="admin", undo=UNDO, now=clock()) is None
        assert deletion_of(session, acme.connection_id) is None
    assert look(database, acme.connection_id).status == "active"


def test_closing_stores_the_request_with_its_steps_and_deadlines(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    deletion, closed = close(database, clock, acme)
    connection = look(database, acme.connection_id)
    assert (closed, connection.status, connection.check_at) == (True, REVOKING, None)
    assert (deletion.requested_at, deletion.undo_until) == (clock(), clock() + UNDO)
    assert deletion.promise_due_at.isoformat() == "2026-03-12T04:00:00+00:00"
    assert deletion.safe_due_at.isoformat() == "2026-03-08T08:00:00+00:00"
    with tenant_session(database, acme.id, reads_only=True) as session:
        steps = steps_of(session, deletion.id)
        assert {step.status for step in steps} == {STEP_PENDING}
        assert tuple(step.name for step in steps[:3]) == GRANT_STEPS and "leads" in [step.name for step in steps]
    with tenant_session(database, globex.id, reads_only=True) as session:
        assert steps_of(session, deletion.id) == []
        assert deletion_of(session, acme.connection_id) is None
        assert deletions_by_code(session, deletion.confirmation_code) == []
    assert told(database, acme) == ["connection.created", "deletion.requested"]


def test_jobs_that_have_not_begun_are_cancelled_and_a_running_one_goes_on(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    queued, waiting = a_job(acme, "queued"), a_job(acme, "waiting", due_at=clock.now + UNDO)
    theirs, done = a_job(globex), taken(database, clock, acme, key="done")
    put(database, clock, queued, waiting, theirs)
    other = keep(database, vault, clock, acme, a_page("999")).connection.id
    put(database, clock, replace(a_job(acme, "other"), connection_id=other))
    finish(database, clock, done)
    run = taken(database, clock, acme, key="running")
    close(database, clock, acme)
    states = {job.key: job.state for job in rows(database).values() if job.tenant_id == acme.id}
    assert states == {
        "queued": CANCELLED, "waiting": CANCELLED, "running": RUNNING, "done": "done", "other": QUEUED,
    }  # fmt: skip
    assert row(database, theirs.id).state == QUEUED
    cancelled = row(database, waiting.id)
    assert (cancelled.open_key, cancelled.wake_at, cancelled.finished_at) == (None, None, clock())
    finish(database, clock, run)
    assert row(database, run.job_id).state == "done"
    assert WAITING not in {job.state for job in rows(database).values() if job.tenant_id == acme.id}


def test_notices_that_wait_are_kept_with_that_as_their_reason(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    other = keep(database, vault, clock, acme, a_page("999")).connection.id
    with system_session(database) as session:
        take_in(session, [notice(acme, 1), notice(acme, 2), replace(notice(acme, 3), connection_id=other)], clock())
        take_in(session, [notice(globex, 1)], clock())
    with tenant_session(database, acme.id) as session:
        event = session.scalars(select(InboxEvent).where(InboxEvent.external_id == notice(acme, 2).external_id)).one()
        handled(session, tenant_id=acme.id, ids=[event.id], now=clock())
    close(database, clock, acme)
    with system_session(database, reads_only=True) as session:
        events = session.scalars(select(InboxEvent).order_by(InboxEvent.tenant_id, InboxEvent.external_id)).all()
    assert {(one.tenant_id, one.external_id[-1]): (one.state, one.error_kind) for one in events} == {
        (acme.id, "1"): ("failed", "closed"), (acme.id, "2"): ("handled", None), (acme.id, "3"): ("pending", None),
        (globex.id, "1"): ("pending", None),
    }  # fmt: skip


def test_a_second_call_is_the_same_request(database: Database, vault: Vault, clock: FrozenClock, acme: Company) -> None:
    first, _ = close(database, clock, acme)
    clock.tick(60)
    again, closed = close(database, clock, acme)
    assert (again.id, again.requested_at, closed) == (first.id, first.requested_at, False)
    end(database, vault, clock, acme.connection_id)
    again, closed = close(database, clock, acme)
    assert (again.id, closed) == (first.id, False)
    assert look(database, acme.connection_id).status == REVOKED
    assert told(database, acme).count("deletion.requested") == 1


@pytest.mark.parametrize("ended", [False, True], ids=["closing", "closed"])
def test_a_wish_that_comes_with_a_code_of_its_own_is_a_request_of_its_own(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, ended: bool
) -> None:
    """Meta tells the deauthorisation first and the deletion afterwards, or the other way round."""
    first, _ = close(database, clock, acme)
    if ended:
        end(database, vault, clock, acme.connection_id)
    clock.tick(60)
    code = new_code()
    second, closed = close(database, clock, acme, code=code)
    assert (second.confirmation_code, closed, second.requested_at) == (code, False, clock())
    assert second.promise_due_at == first.promise_due_at and second.id != first.id
    with system_session(database, reads_only=True) as session:
        assert [one.id for one in deletions_by_code(session, code)] == [second.id]
        # The grant is ended by the steps of the first; what the second asks for comes on top of it.
        names = [[step.name for step in steps_of(session, one.id)] for one in (first, second)]
        assert names[0] == [*GRANT_STEPS, *names[1]] and not set(GRANT_STEPS) & set(names[1])
        found = deletion_of(session, acme.connection_id)
        assert found is not None and found.id == first.id
    assert told(database, acme).count("deletion.requested") == 2


def test_one_cause_may_close_connections_of_several_tenants_under_one_code(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    code = new_code()
    with system_session(database) as session:
        for company in (acme, globex):
            begin_revocation(session, company.connection_id, requested_by="meta", undo=UNDO, now=clock(), code=code)
    with system_session(database, reads_only=True) as session:
        assert {one.tenant_id for one in deletions_by_code(session, code)} == {acme.id, globex.id}
    with tenant_session(database, globex.id, reads_only=True) as session:
        assert {one.tenant_id for one in deletions_by_code(session, code)} == {globex.id}


def test_the_end_destroys_the_grant_and_frees_the_account(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    mark = b"m" * 16
    keep(database, vault, clock, acme, a_page(acme.page_id, marks=[mark]))
    grant_id = str(look(database, acme.connection_id).grant_id)
    break_it(database, clock, acme.connection_id)
    revoke(database, vault, clock, acme)
    row = look(database, acme.connection_id)
    assert (row.status, row.claim, row.tokens, row.grant_id) == (REVOKED, None, None, None)
    assert {row.health_code, row.health_sentence, row.health_fix, row.health_since, row.check_at} == {None}
    with system_session(database, reads_only=True) as session:
        assert session.get(DataKey, (acme.id, grant_id)) is None
        # Leads wait for their own deletion, and a wish of the person may still come.
        assert session.get(DataKey, (acme.id, acme.connection_id)) is not None
        assert holders_of(session, row) == [mark]
    assert told(database, acme)[-2:] == ["deletion.requested", "connection.revoked"]
    stored = keep(database, vault, clock, globex, a_page(acme.page_id))
    with system_session(database, reads_only=True) as session:
        assert owners(session, FACEBOOK, [acme.page_id])[acme.page_id].connection_id == stored.connection.id


def test_two_who_close_at_once_make_one_request(database: Database, clock: FrozenClock, acme: Company) -> None:
    outcomes = at_once(*[lambda: whole(database, lambda: close(database, clock, acme))] * 4)
    assert sorted(closed for _, closed in outcomes) == [False, False, False, True]
    assert len({deletion.id for deletion, _ in outcomes}) == 1


def test_a_revocation_waits_for_a_delivery_that_was_being_stored(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    """The front door looked first: its rows are there when the connection closes, and are part of what is deleted."""
    looked, committed = threading.Event(), threading.Event()

    def front_door() -> bool:
        with system_session(database) as session:
            assert owners(session, FACEBOOK, [acme.page_id])
            looked.set()
            overtaken = committed.wait(A_MOMENT)
            take_in(session, [notice(acme, 1)], clock())
        return overtaken

    def closing() -> bool:
        assert looked.wait(PATIENCE)
        whole(database, lambda: close(database, clock, acme))
        committed.set()
        return False

    assert at_once(front_door, closing) == [False, False]
    assert look(database, acme.connection_id).status == REVOKING


@pytest.mark.parametrize("door", ["owners", "still"])
def test_whoever_looks_while_a_connection_is_being_closed_sees_it_closed(
    database: Database, clock: FrozenClock, acme: Company, door: str
) -> None:
    began, seen = threading.Event(), threading.Event()

    def closing() -> None:
        with tenant_session(database, acme.id) as session:
            begin_revocation(session, acme.connection_id, requested_by="admin", undo=UNDO, now=clock())
            began.set()
            seen.wait(A_MOMENT)

    def looking() -> None:
        assert began.wait(PATIENCE)
        with system_session(database) as session:
            if door == "owners":
                is_open = bool(owners(session, FACEBOOK, [acme.page_id]))
            else:
                is_open = still(session, acme.connection_id)
            seen.set()
            if is_open:
                take_in(session, [notice(acme, 1)], clock())

    at_once(closing, lambda: whole(database, looking))
    with tenant_session(database, acme.id, reads_only=True) as session:
        assert session.scalar(select(func.count()).select_from(InboxEvent)) == 0


def test_many_deliveries_and_one_revocation_leave_nothing_that_came_after_it(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    """Whoever was let in was let in before: counted when the connection closed, counted again at the end."""

    def deliver(number: int) -> int:
        with system_session(database) as session:
            if not owners(session, FACEBOOK, [acme.page_id]):
                return 0
            take_in(session, [notice(acme, number)], clock())
            return 1

    def closing() -> int:
        close(database, clock, acme)
        with tenant_session(database, acme.id, reads_only=True) as session:
            return -int(session.scalar(select(func.count()).select_from(InboxEvent)) or 0)

    def stream(first: int) -> int:
        return sum(whole(database, partial(deliver, first + one)) for one in range(10))

    counts = at_once(*(partial(stream, 100 * one) for one in range(6)), lambda: whole(database, closing))
    with tenant_session(database, acme.id, reads_only=True) as session:
        stored = session.scalar(select(func.count()).select_from(InboxEvent))
    assert stored == sum(counts[:-1]) == -counts[-1]


def test_a_google_account_is_closed_for_refreshes_too(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    account = keep(database, vault, clock, acme, a_person()).connection
    close(database, clock, acme, account.id)
    with tenant_session(database, acme.id) as session:
        assert take_turn(session, vault, session.get_one(Connection, account.id), clock()) is None
