"""Requests to delete: frozen deadlines, steps with outcomes, and codes that can be answered and not guessed."""

from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError, NoResultFound

from models.database import Database
from models.deletion import (
    NOTHING_HELD,
    SCHEDULED,
    STEP_DONE,
    STEP_FAILED,
    Deletion,
    Wish,
    deletions_by_code,
    end_step,
    new_code,
    nothing_held,
    request_deletion,
    steps_of,
)
from models.tenancy import SYSTEM, system_session, tenant_session
from models.tenant import Tenant
from tests.conftest import Company, FrozenClock

FIVE_DAYS = ["mon", "tue", "wed", "thu", "fri"]


def ask(
    database: Database, company: Company, clock: FrozenClock, connection_id: str | None = None, code: str | None = None
) -> Deletion:
    with tenant_session(database, company.id) as session:
        tenant = session.get_one(Tenant, company.id)
        return request_deletion(
            session, tenant=tenant, wish=Wish("connection", "admin", connection_id=connection_id or company.connection_id,
                                         integration="facebook_leads", code=code),
            steps=("one", "two"), undo=timedelta(hours=24), now=clock(),
        )  # fmt: skip


def test_a_request_cannot_hang_on_another_tenants_connection(
    database: Database, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    with pytest.raises(IntegrityError):
        ask(database, globex, clock, acme.connection_id)


def test_an_outcome_of_a_step_that_is_not_there_is_refused(
    database: Database, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    asked = ask(database, acme, clock)
    for company, name in ((acme, "three"), (globex, "one")):
        with pytest.raises(NoResultFound), tenant_session(database, company.id) as session:
            end_step(session, asked.id, name, STEP_DONE, None, clock())


def test_steps_keep_their_order_and_their_outcomes(database: Database, acme: Company, clock: FrozenClock) -> None:
    asked = ask(database, acme, clock)
    clock.tick(60)
    with tenant_session(database, acme.id) as session:
        end_step(session, asked.id, "two", STEP_FAILED, "Meta did not answer.", clock())
    with tenant_session(database, acme.id, reads_only=True) as session:
        one, two = steps_of(session, asked.id)
        assert (one.name, one.status, one.sentence) == ("one", "pending", None)
        assert (two.name, two.status, two.sentence, two.updated_at) == (
            "two", STEP_FAILED, "Meta did not answer.", clock(),
        )  # fmt: skip


@pytest.mark.parametrize(
    "asked_at, week, safe, promise",
    [
        ("2026-03-02T09:00+00:00", FIVE_DAYS, "2026-03-08T08:00+00:00", "2026-03-12T04:00+00:00"),
        # A week without days off: seven days, and the safe side is still earlier.
        ("2026-03-02T09:00+00:00", [], "2026-03-08T08:00+00:00", "2026-03-10T04:00+00:00"),
        # Christmas and New Year do not count.
        ("2026-12-24T22:00+00:00", FIVE_DAYS, "2026-12-30T22:00+00:00", "2027-01-07T05:00+00:00"),
    ],
)
def test_deadlines_are_those_of_the_tenants_week(
    database: Database, acme: Company, clock: FrozenClock, asked_at: str, week: list[str], safe: str, promise: str
) -> None:
    with system_session(database) as session:
        session.get_one(Tenant, acme.id).work_week = week
    clock.now = clock.now.fromisoformat(asked_at)
    asked = ask(database, acme, clock)
    with system_session(database) as session:
        session.get_one(Tenant, acme.id).timezone = "Asia/Tokyo"  # what was promised stays
    with system_session(database, reads_only=True) as session:
        row = session.get_one(Deletion, asked.id)
        assert (row.status, row.completed_at, row.undo_until - row.requested_at) == (SCHEDULED, None, timedelta(1))
        assert row.safe_due_at == row.safe_due_at.fromisoformat(safe)
        assert row.promise_due_at == row.promise_due_at.fromisoformat(promise)


def test_a_code_is_long_and_never_the_same_and_answers_for_all_it_stands_for(
    database: Database, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    assert len({new_code() for _ in range(1000)}) == 1000
    assert all(len(code) == 32 and code.isalnum() for code in (new_code(), new_code()))
    code = new_code()
    both = {ask(database, company, clock, code=code).id for company in (acme, globex)}
    other = ask(database, acme, clock)
    assert other.confirmation_code != code
    with system_session(database, reads_only=True) as session:
        assert {row.id for row in deletions_by_code(session, code)} == both
        assert deletions_by_code(session, "") == deletions_by_code(session, code.upper() + "0") == []


def test_somebody_of_whom_nothing_is_here_gets_an_answer_too(
    database: Database, acme: Company, clock: FrozenClock
) -> None:
    with system_session(database) as session:
        code = nothing_held(session, requested_by="meta", now=clock()).confirmation_code
    with system_session(database, reads_only=True) as session:
        (row,) = deletions_by_code(session, code)
        assert (row.tenant_id, row.status, row.completed_at, row.connection_id) == (SYSTEM, NOTHING_HELD, clock(), None)
        assert steps_of(session, row.id) == []
    with tenant_session(database, acme.id, reads_only=True) as session:
        assert deletions_by_code(session, code) == []
