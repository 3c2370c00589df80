"""`deletions.run` and `deletions.sweep` from the request to the receipt, the clock moved by the test: what is erased stays
erased, whichever way it comes again, and a promise is kept or loudly told of."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from models import deletion as requests
from models.connection import REVOKED, Connection
from models.decision import SamePerson, hold, release
from models.deletion import AWAITING_HOST, COMPLETED, RUNNING, Wish
from models.feed import Event
from models.form import Form, begin_backfill
from models.inbox import InboxEvent, Notice, take_in
from models.job import Job
from models.lead import Lead
from models.receipt import document, newest_of
from models.receipt_key import known_keys
from models.tenancy import system_session, tenant_session
from models.tenant import Tenant
from models.vault import DataKey
from models.verdict import verify
from tests.conftest import Company, FrozenClock
from tests.worker.erasing import (
    UNDO,
    Killed,
    agree,
    ask,
    bring,
    by_connection,
    connections_of,
    decide,
    look_around,
    mortal,
    one,
    pass_time,
    rows_of,
    steps,
    told,
)
from tests.worker.outside import Outside, settle, user_of
from tests.worker.runner import Runner
from worker import jobs
from worker.receipts import acknowledged, receipt_key
from worker.schedule import tick
from worker.services import Services
from worker.tasks import deletions
from worker.work import Work


@pytest.mark.every_database
def test_a_connection_is_erased_on_time_with_a_receipt_and_nothing_of_it_comes_back(
    outside: Outside, troth: Services, worker: Runner, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    outside.connect(acme, "facebook_leads", user_of(acme))
    outside.connect(globex, "facebook_leads", user_of(globex))
    settle(worker, troth)
    old = bring(outside, worker, acme, 5)
    bring(outside, worker, globex, 3)
    theirs = rows_of(troth, globex)
    before = rows_of(troth, acme)
    assert before["leads"] == 5 and before["lead_history"] >= 5 and before["forms"] == 1

    asked = ask(troth, acme, by_connection(acme))
    settle(worker, troth)
    assert one(troth, acme, asked).status == requests.AWAITING_APPROVAL
    with pytest.raises(SamePerson):
        agree(troth, acme, asked, b"who asked.......")
    pass_time(troth, worker, clock, timedelta(hours=25), each=timedelta(hours=5))
    assert rows_of(troth, acme) == before, "nobody has agreed yet"

    agree(troth, acme, asked)
    look_around(troth, worker, clock)
    row = one(troth, acme, asked)
    assert (row.status, row.host_needed) == (AWAITING_HOST, True) and row.verified_at == clock()
    assert row.verified_at < row.safe_due_at < row.promise_due_at
    assert set(rows_of(troth, acme).values()) == {0} and rows_of(troth, globex) == theirs
    done = steps(troth, acme, asked)
    assert (done["leads"].before, done["leads"].deleted, done["leads"].after) == (5, 5, 0)
    assert done["lead_history"].before == done["lead_history"].deleted == before["lead_history"]
    with system_session(troth.database, reads_only=True) as session:
        stub = session.get_one(Connection, acme.connection_id)
        assert (stub.external_id, stub.account, stub.tokens, stub.claim) == ("erased", None, None, None)
        assert not session.scalars(select(DataKey).where(DataKey.scope == acme.connection_id)).all()
        assert not session.scalars(select(Job).where(Job.connection_id == acme.connection_id)).all()
        data = session.scalars(
            select(Event.data).where(Event.tenant_id == acme.id, Event.type == "lead.received")
        ).all()
        assert data == [{"erased": True}] * 5

    key = receipt_key(troth)
    with Work(troth, acme.id) as work:
        held = requests.locked(work.session, asked)
        assert held is not None
        acknowledged(work, held, key, system="crm", deleted=5, now=clock())
    pass_time(troth, worker, clock, timedelta(hours=25), each=timedelta(hours=5))
    row = one(troth, acme, asked)
    assert row.status == COMPLETED and row.rescanned_at is not None
    with tenant_session(troth.database, acme.id, reads_only=True) as session:
        newest = newest_of(session, asked)
        assert newest is not None
        paper = document(newest)
    with system_session(troth.database, reads_only=True) as session:
        assert verify(paper, known_keys(session)).holds
    assert paper["body"]["host"]["acks"][0]["system"] == "crm" and paper["body"]["rescan"]["left"] == 0
    assert told(troth, acme) == ["deletion.requested", "deletion.action_needed", "deletion.completed"]
    assert told(troth, globex) == []

    # The page is connected again: what is new comes in, what was erased does not, by no way there is.
    (again,) = outside.connect(acme, "facebook_leads", user_of(acme))
    settle(worker, troth)
    fresh = bring(outside, worker, acme, 2)
    with Work(troth, acme.id) as work:
        take_in(
            work.session, [Notice(acme.id, again.connection.id, "lead", lead.id, "webhook") for lead in old], clock()
        )
        form = work.session.scalars(select(Form)).one()
        begin_backfill(work.session, form, clock() - timedelta(days=30), clock())
        work.put(
            jobs.leads_fetch(acme.id, again.connection.id), jobs.leads_backfill(acme.id, again.connection.id, form.id)
        )
    settle(worker, troth)
    with tenant_session(troth.database, acme.id, reads_only=True) as session:
        assert set(session.scalars(select(Lead.external_id))) == {lead.id for lead in fresh}


@pytest.mark.every_database
def test_a_person_is_erased_from_all_connections_and_others_stay(
    outside: Outside, troth: Services, worker: Runner, clock: FrozenClock, acme: Company
) -> None:
    outside.connect(acme, "facebook_leads", user_of(acme))
    settle(worker, troth)
    bring(outside, worker, acme, 4)
    with tenant_session(troth.database, acme.id, reads_only=True) as session:
        person = session.scalars(select(Lead).order_by(Lead.id)).first()
        assert person is not None and person.email_hash is not None
        mine = session.scalar(select(func.count()).select_from(Lead).where(Lead.email_hash == person.email_hash)) or 0
    wish = Wish("subject", "api", email=person.email_hash, phone=person.phone_hash, requester=b"x" * 16, urgent=True)
    asked = ask(troth, acme, wish)
    look_around(troth, worker, clock)
    row = one(troth, acme, asked)
    assert row.status == AWAITING_HOST and row.found and person.id in row.found
    assert rows_of(troth, acme)["leads"] == 4 - len(row.found) and len(row.found) >= mine
    with Work(troth, acme.id) as work:  # the same notice once more
        take_in(work.session, [Notice(acme.id, acme.connection_id, "lead", person.external_id, "webhook")], clock())
        work.put(jobs.leads_fetch(acme.id, acme.connection_id))
    settle(worker, troth)
    assert rows_of(troth, acme)["leads"] == 4 - len(row.found)


@pytest.mark.every_database
def test_a_tenant_that_leaves_leaves_nothing(
    outside: Outside, troth: Services, worker: Runner, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    outside.connect(acme, "facebook_leads", user_of(acme))
    outside.bring(acme)
    settle(worker, troth)
    bring(outside, worker, acme, 3)
    asked = ask(troth, acme, Wish("tenant", "cli", requester=b"a" * 16))
    settle(worker, troth)
    agree(troth, acme, asked)
    pass_time(troth, worker, clock, timedelta(hours=30), each=timedelta(hours=6))
    assert one(troth, acme, asked).status == AWAITING_HOST
    with system_session(troth.database, reads_only=True) as session:
        assert session.get_one(Tenant, acme.id).name == "(erased)"
        assert not session.scalars(select(DataKey).where(DataKey.tenant_id == acme.id)).all()
        assert session.scalars(select(DataKey).where(DataKey.tenant_id == globex.id)).all()
    assert set(rows_of(troth, acme).values()) == {0}


def test_a_worker_that_dies_in_any_step_is_followed_by_one_that_goes_on(
    outside: Outside,
    troth: Services,
    worker: Runner,
    clock: FrozenClock,
    acme: Company,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process ends between two transactions: before each of them once."""
    outside.connect(acme, "facebook_leads", user_of(acme))
    settle(worker, troth)
    bring(outside, worker, acme, 3)
    asked = ask(troth, acme, by_connection(acme))
    settle(worker, troth)
    agree(troth, acme, asked)
    clock.tick(UNDO.total_seconds())
    tick(troth, jobs.DELETIONS_SWEEP)
    left, deaths = mortal(monkeypatch), 0
    for number in range(2, 40):
        left[0] = number
        try:
            settle(worker, troth)
        except Killed:
            deaths += 1
            left[0] = 1_000
            clock.tick(660)  # the lease runs out; the sweep makes a new job where an old one was given up
            tick(troth, jobs.DELETIONS_SWEEP)
            continue
        if one(troth, acme, asked).status not in (RUNNING, requests.SCHEDULED):
            break
    assert deaths > 10
    done = steps(troth, acme, asked)
    assert one(troth, acme, asked).status == AWAITING_HOST
    assert (done["leads"].before, done["leads"].deleted, done["leads"].after) == (3, 3, 0)


@pytest.mark.every_database
def test_one_that_nobody_approves_is_told_of_louder_and_louder_and_never_deleted_or_dropped(
    troth: Services, worker: Runner, clock: FrozenClock, acme: Company, outside: Outside
) -> None:
    outside.connect(acme, "facebook_leads", user_of(acme))
    settle(worker, troth)
    bring(outside, worker, acme, 1)
    asked = ask(troth, acme, by_connection(acme))
    pass_time(troth, worker, clock, timedelta(days=12), each=timedelta(hours=6))
    row = one(troth, acme, asked)
    assert row.status == requests.AWAITING_APPROVAL and rows_of(troth, acme)["leads"] == 1
    events = told(troth, acme)
    assert events[:5] == ["deletion.requested", *["deletion.due_soon"] * 4]
    assert set(events[5:]) == {"deletion.overdue"} and len(events) > 6, "each day it is overdue is told of"
    agree(troth, acme, asked)
    look_around(troth, worker, clock)
    assert one(troth, acme, asked).status == AWAITING_HOST, "late is better than never"


@pytest.mark.every_database
def test_a_hold_parks_and_a_release_arms_again(
    outside: Outside, troth: Services, worker: Runner, clock: FrozenClock, acme: Company
) -> None:
    outside.connect(acme, "facebook_leads", user_of(acme))
    settle(worker, troth)
    bring(outside, worker, acme, 1)
    asked = ask(troth, acme, by_connection(acme))
    agree(troth, acme, asked)
    decide(troth, acme, asked, lambda row: hold(row, "dispute", clock()))
    pass_time(troth, worker, clock, timedelta(days=2), each=timedelta(hours=12))
    with Work(troth, acme.id) as work:  # a job of before
        work.put(jobs.deletions_run(acme.id, asked))
    settle(worker, troth)
    assert rows_of(troth, acme)["leads"] == 1
    with system_session(troth.database, reads_only=True) as session:
        assert not known_keys(session), "nothing was signed"
    decide(troth, acme, asked, lambda row: release(row, clock()))
    look_around(troth, worker, clock)
    assert rows_of(troth, acme)["leads"] == 0


def test_what_is_found_again_a_day_later_is_erased_again_and_told_of(
    outside: Outside, troth: Services, worker: Runner, clock: FrozenClock, acme: Company
) -> None:
    outside.connect(acme, "facebook_leads", user_of(acme))
    settle(worker, troth)
    bring(outside, worker, acme, 2)
    asked = ask(troth, acme, by_connection(acme))
    settle(worker, troth)
    agree(troth, acme, asked)
    pass_time(troth, worker, clock, timedelta(hours=26), each=timedelta(hours=13))
    assert one(troth, acme, asked).status == AWAITING_HOST
    with Work(troth, acme.id) as work:  # a restored table, say
        take_in(work.session, [Notice(acme.id, acme.connection_id, "lead", "777", "webhook")], clock())
    pass_time(troth, worker, clock, timedelta(hours=26), each=timedelta(hours=13))
    row = one(troth, acme, asked)
    assert rows_of(troth, acme)["inbox_events"] == 0 and row.status == AWAITING_HOST
    assert "deletion.due_soon" in told(troth, acme)
    assert steps(troth, acme, asked)["inbox_events"].after == 0


@pytest.mark.every_database
def test_a_lead_of_the_second_in_which_a_page_is_closed_and_connected_again_is_new(
    outside: Outside, troth: Services, worker: Runner, clock: FrozenClock, acme: Company
) -> None:
    """Providers tell whole seconds, our instants have microseconds."""
    outside.connect(acme, "facebook_leads", user_of(acme))
    settle(worker, troth)
    bring(outside, worker, acme, 1)
    clock.tick(60.7)
    asked = ask(troth, acme, by_connection(acme))
    settle(worker, troth)
    agree(troth, acme, asked)
    outside.connect(acme, "facebook_leads", user_of(acme))
    settle(worker, troth)
    fresh = outside.fill_in(acme, 1)
    pass_time(troth, worker, clock, timedelta(hours=26), each=timedelta(hours=13))
    (connection,) = [row for row in connections_of(troth, acme) if row.status != REVOKED]
    with Work(troth, acme.id) as work:
        take_in(work.session, [Notice(acme.id, connection.id, "lead", fresh[0].id, "webhook")], clock())
        work.put(jobs.leads_fetch(acme.id, connection.id))
    settle(worker, troth)
    with tenant_session(troth.database, acme.id, reads_only=True) as session:
        assert list(session.scalars(select(Lead.external_id))) == [fresh[0].id]


def test_an_erased_persons_lead_that_is_told_of_again_leaves_no_notice(
    outside: Outside, troth: Services, worker: Runner, clock: FrozenClock, acme: Company
) -> None:
    """The connection lives on, and the notice says nothing of when the lead was made."""
    outside.connect(acme, "facebook_leads", user_of(acme))
    settle(worker, troth)
    bring(outside, worker, acme, 2)
    with tenant_session(troth.database, acme.id, reads_only=True) as session:
        person = session.scalars(select(Lead).order_by(Lead.id)).first()
        assert person is not None
    wish = Wish("subject", "api", email=person.email_hash, phone=person.phone_hash, requester=b"x" * 16, urgent=True)
    asked = ask(troth, acme, wish)
    look_around(troth, worker, clock)
    assert one(troth, acme, asked).status == AWAITING_HOST
    with Work(troth, acme.id) as work:
        take_in(work.session, [Notice(acme.id, acme.connection_id, "lead", person.external_id, "webhook")], clock())
        work.put(jobs.leads_fetch(acme.id, acme.connection_id))
    settle(worker, troth)
    with tenant_session(troth.database, acme.id, reads_only=True) as session:
        assert person.external_id not in session.scalars(select(InboxEvent.external_id)).all()


def test_a_chunk_shrinks_at_once_and_grows_step_by_step() -> None:
    size = deletions.Resized()
    first = size.limit
    size.took(deletions.USUAL_CHUNK / 100)
    assert size.limit == first * 1.25
    size.took(deletions.USUAL_CHUNK * 2)
    assert size.limit == int(first * 1.25 / 2)
    for _ in range(50):
        size.took(0.001)
    assert size.limit == deletions.MOST_CHUNK
    size.took(10.0)
    assert size.limit == deletions.MOST_CHUNK / 4
    for _ in range(9):
        size.took(10.0)
    assert size.limit == deletions.LEAST_CHUNK
