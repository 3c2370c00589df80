"""How promises are counted: by the frozen due dates, in each scope by itself, for one tenant or for all."""

from datetime import datetime, timedelta

from models.base import new_id
from models.database import Database
from models.deletion import (
    AWAITING_APPROVAL,
    AWAITING_HOST,
    CANCELLED,
    COMPLETED,
    DESTROY_TOKENS,
    HELD,
    RUNNING,
    SCHEDULED,
    STEP_DONE,
    STEP_PENDING,
    Deletion,
    DeletionStep,
)
from models.form import Form
from models.lead_check import write_check
from models.tally import GRANT_ENDS_WITHIN, LOOKED_AT_WITHIN, LOOKS_BACK, NAMES, Late, Tally, late, tallies
from models.tenancy import system_session, tenant_session
from models.vault import Vault
from tests.conftest import Company, FrozenClock

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOTHING = dict.fromkeys(NAMES, Tally())


def deletion(
    database: Database, company: Company, status: str, due: datetime, done: datetime | None = None, **more: object
) -> str:
    values: dict[str, object] = {"kind": "connection", "integration": "facebook_leads", "requested_by": "api",
                                 "requested_at": due - 9 * DAY}  # fmt: skip
    row = Deletion(id=new_id(), tenant_id=company.id, confirmation_code="c0de" * 8, status=status, promise_due_at=due,
                   safe_due_at=due - DAY, undo_until=due - 8 * DAY, completed_at=done, **(values | more))  # fmt: skip
    with tenant_session(database, company.id) as session:
        session.add(row)
    return row.id


def counted(database: Database, clock: FrozenClock, company: Company | None = None) -> dict[str, Tally]:
    if company is None:
        with system_session(database, reads_only=True) as session:
            return tallies(session, clock())
    with tenant_session(database, company.id, reads_only=True) as session:
        return tallies(session, clock())


def test_a_deletion_is_kept_due_or_broken_by_its_frozen_date(
    database: Database, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    now = clock()
    assert counted(database, clock) == NOTHING
    deletion(database, acme, COMPLETED, now, now)
    deletion(database, acme, COMPLETED, now, now + timedelta(microseconds=1))
    for status in (AWAITING_APPROVAL, SCHEDULED, HELD, RUNNING, AWAITING_HOST):
        deletion(database, acme, status, now + HOUR)
        deletion(database, acme, status, now)
    deletion(database, acme, CANCELLED, now - HOUR, now)
    whole = deletion(database, acme, COMPLETED, now, now, kind="integration")
    deletion(database, acme, RUNNING, now, part_of=whole)
    # One that is over long since is counted no more, one that is open always.
    deletion(database, acme, COMPLETED, now, now, requested_at=now - LOOKS_BACK - HOUR)
    deletion(database, acme, HELD, now, requested_at=now - LOOKS_BACK - HOUR)
    deletion(database, globex, COMPLETED, now, now, integration="google_calendar")

    acmes = Tally(kept=2, due=5, broken=7)
    assert counted(database, clock, acme) == {**NOTHING, "deletions": acmes, "facebook_deletions": acmes}
    one = Tally(kept=1)
    assert counted(database, clock, globex) == {**NOTHING, "deletions": one, "google_deletions": one}
    assert counted(database, clock)["deletions"] == acmes + one


def test_each_scope_and_way_in_is_counted_by_itself(database: Database, acme: Company, clock: FrozenClock) -> None:
    due = clock() + DAY
    for _ in range(2):
        deletion(database, acme, RUNNING, due, kind="subject", integration=None, urgent=True)
    for _ in range(3):
        deletion(database, acme, RUNNING, due, kind="tenant", integration=None)
    deletion(database, acme, RUNNING, due, requested_by="meta_deletion")
    found = {name: tally.due for name, tally in counted(database, clock, acme).items() if tally != Tally()}
    assert found == {"deletions": 6, "facebook_deletions": 1, "person_deletions": 2, "tenant_deletions": 3,
                     "urgent_deletions": 2, "meta_deletions": 1}  # fmt: skip


def test_a_grant_has_two_days_whatever_becomes_of_the_deletion(
    database: Database, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    closed = clock() - GRANT_ENDS_WITHIN

    def step(status: str, at: datetime, asked_at: datetime, name: str = DESTROY_TOKENS) -> None:
        asked = deletion(database, acme, CANCELLED, clock() + DAY, clock(), requested_at=asked_at)
        with tenant_session(database, acme.id) as session:
            session.add(DeletionStep(tenant_id=acme.id, deletion_id=asked, position=3, name=name, status=status,
                                     updated_at=at))  # fmt: skip

    step(STEP_DONE, clock(), closed)
    step(STEP_DONE, clock(), closed - HOUR)
    step(STEP_PENDING, closed, closed)
    step(STEP_PENDING, closed - HOUR, closed - HOUR)
    step(STEP_PENDING, closed - HOUR, closed - HOUR, name="verify")

    assert counted(database, clock, acme)["grants_ended"] == Tally(kept=1, due=1, broken=2)
    assert counted(database, clock, globex)["grants_ended"] == Tally()


def test_lines_beside_the_provider_are_those_of_the_last_days(
    database: Database, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    with tenant_session(database, acme.id) as session:
        for number, (missing, check_due_at) in enumerate((([], clock()), (["5001"], clock() + HOUR))):
            form = Form(id=new_id(), tenant_id=acme.id, connection_id=acme.connection_id, external_id=str(number),
                        name="Form", status="ACTIVE", questions=[], seen_at=clock(), check_due_at=check_due_at)  # fmt: skip
            session.add(form)
            session.flush()
            for days in (1, 3, 4):
                write_check(session, tenant_id=acme.id, form_id=form.id, day=(clock() - days * DAY).date(), provider=1,
                            received=1, acknowledged=0, missing=missing, now=clock())  # fmt: skip

    assert counted(database, clock, acme)["lead_checks"] == Tally(kept=1, due=1, broken=1)
    assert counted(database, clock)["lead_checks"] == Tally(kept=1, due=1, broken=1)
    assert counted(database, clock, globex)["lead_checks"] == Tally()


def test_what_is_late_is_seen_without_anybody_who_looks(
    database: Database, vault: Vault, acme: Company, clock: FrozenClock
) -> None:
    now = clock()
    since = now - LOOKED_AT_WITHIN
    for status, due, act_at in (
        (RUNNING, now, now),
        (HELD, now - 30 * DAY, now + DAY),  # looked at just now, and again in a day
        (SCHEDULED, now + HOUR, since - timedelta(seconds=1)),
        (SCHEDULED, now + HOUR, since),
        (COMPLETED, now - DAY, since - DAY),  # its second count is late
        (COMPLETED, now - DAY, None),
        (CANCELLED, now - DAY, None),
    ):
        deletion(database, acme, status, due, act_at=act_at)
    with system_session(database, reads_only=True) as session:
        assert late(session, now) == Late(overdue=2, stalled=2)
