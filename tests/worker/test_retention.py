"""Retention rules, the clock moved by the test: counted, told of, and only then erased like anything else; activity, a law, the
switch and a second look keep what they must."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import select

from models.base import new_id
from models.decision import NotNow, SamePerson
from models.deletion import AWAITING_HOST, CANCELLED, IDLE, Deletion
from models.feed import RETENTION_NOTICE, Event
from models.lead import RESTRICTED, Lead, LeadHistory, acknowledge
from models.receipt import document, newest_of
from models.retention import LegalRetention, RetentionRule, Terms, due_rules, rule_named, set_rule, switch
from models.tenancy import SYSTEM, system_session, tenant_session
from models.tenant import Tenant
from models.tombstone import Arrival, refused
from tests.conftest import Company, FrozenClock
from tests.worker.erasing import bring, rows_of, steps
from tests.worker.outside import Outside, settle, user_of
from tests.worker.runner import Runner
from worker import jobs
from worker.schedule import tick
from worker.services import Services
from worker.tasks import HANDLERS
from worker.work import Work

HALF_A_YEAR = Terms("leads", after_days=183, notice_hours=48, batch=500)
ANN, BOB = b"ann.............", b"bob............."


def put(troth: Services, company: Company, *, is_armed: bool, who: bytes, terms: Terms = HALF_A_YEAR) -> None:
    with Work(troth, company.id) as work:
        tenant = work.session.get_one(Tenant, company.id)
        set_rule(work.session, tenant, "old-leads", terms, is_armed=is_armed, who=who, now=troth.clock())


def rule_of(troth: Services, company: Company) -> RetentionRule:
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        rule = rule_named(session, "old-leads")
        assert rule is not None
        return rule


def look(troth: Services, worker: Runner, clock: FrozenClock, **span: float) -> None:
    """Time passes, then the next tick of the sweep and all that follows from it."""
    clock.now += timedelta(seconds=1, **span)
    tick(troth, jobs.RETENTION_SWEEP)
    settle(worker, troth)


def armed(troth: Services, worker: Runner, clock: FrozenClock, company: Company, terms: Terms = HALF_A_YEAR) -> None:
    put(troth, company, is_armed=False, who=ANN, terms=terms)
    look(troth, worker, clock, minutes=10)
    put(troth, company, is_armed=True, who=BOB, terms=terms)


def notices(troth: Services, company: Company) -> list[dict[str, object]]:
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        return list(session.scalars(select(Event.data).where(Event.type == RETENTION_NOTICE).order_by(Event.position)))


def opened(troth: Services, company: Company) -> list[Deletion]:
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        return list(session.scalars(select(Deletion).where(Deletion.kind == IDLE).order_by(Deletion.id)))


def leads_of(troth: Services, company: Company) -> list[str]:
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        return list(session.scalars(select(Lead.id).order_by(Lead.id)))


def do_something(troth: Services, company: Company, lead_id: str, kind: str = "called") -> None:
    with Work(troth, company.id) as work:
        work.session.add(
            LeadHistory(id=new_id(), tenant_id=company.id, lead_id=lead_id, kind=kind, occurred_at=troth.clock(),
                        recorded_at=troth.clock())
        )  # fmt: skip


def a_law(troth: Services, company: Company, until: date | None) -> None:
    with Work(troth, company.id) as work:
        work.session.add(
            LegalRetention(id=new_id(), tenant_id=company.id, store="leads", jurisdiction="IN", reason="Rule 8(3)",
                           effective_from=date(2020, 1, 1), until=until, created_at=troth.clock())
        )  # fmt: skip


@pytest.fixture
def old(outside: Outside, troth: Services, worker: Runner, clock: FrozenClock, acme: Company, globex: Company) -> None:
    """Four leads of acme and two of globex, with which nobody has done anything for over half a year."""
    for company, number in ((acme, 4), (globex, 2)):
        outside.connect(company, "facebook_leads", user_of(company))
        settle(worker, troth)
        bring(outside, worker, company, number)
    clock.now += timedelta(days=200)


@pytest.mark.every_database
@pytest.mark.usefixtures("old")
def test_what_was_idle_for_half_a_year_goes_after_a_notice_with_counts_and_a_receipt_and_stays_away(
    troth: Services, worker: Runner, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    theirs, before = rows_of(troth, globex), rows_of(troth, acme)
    with tenant_session(troth.database, acme.id, reads_only=True) as session:
        external = list(session.scalars(select(Lead.external_id)))
    put(troth, acme, is_armed=False, who=ANN)
    look(troth, worker, clock, days=3)
    assert (rule_of(troth, acme).counted, notices(troth, acme), opened(troth, acme)) == (4, [], []), "a dry run"

    put(troth, acme, is_armed=True, who=BOB)
    look(troth, worker, clock, minutes=10)
    (told,) = notices(troth, acme)
    rule = rule_of(troth, acme)
    assert rule.runs_at is not None and rule.runs_at >= clock() + timedelta(hours=47)
    assert (told["rows"], told["rule"], told["runs_at"]) == (4, "old-leads", rule.runs_at.isoformat())
    look(troth, worker, clock, hours=47)
    assert rows_of(troth, acme) == before, "not before it was said to be"

    look(troth, worker, clock, hours=2)
    (row,) = opened(troth, acme)
    assert (row.status, row.requested_by, row.approver) == (AWAITING_HOST, "retention_rule", BOB)
    left = rows_of(troth, acme)
    assert (left["leads"], left["lead_history"], left["inbox_events"], left["forms"]) == (0, 0, 0, before["forms"])
    assert rows_of(troth, globex) == theirs and opened(troth, globex) == []
    done = steps(troth, acme, row.id)
    assert [(done[name].deleted, done[name].after) for name in ("leads", "events", "inbox_events")] == [(4, 0)] * 3
    with tenant_session(troth.database, acme.id, reads_only=True) as session:
        receipt = newest_of(session, row.id)
        assert receipt is not None
        said = document(receipt)["body"]["deletion"]
    assert said["scope"]["kind"] == "idle" and said["approved_by_second_person"]

    with tenant_session(troth.database, acme.id) as session:  # whoever stores leads asks this
        hashes = troth.vault.keyring(session, acme.id, acme.id, clock())
        again = [Arrival(one, acme.page_id, clock() - timedelta(days=200)) for one in external]
        fresh = Arrival("1", acme.page_id, clock() - timedelta(days=200))
        assert refused(session, hashes, acme.id, [*again, fresh]) == set(external)


@pytest.mark.every_database
@pytest.mark.usefixtures("old")
def test_activity_resets_the_clock_also_during_the_notice_and_what_machines_write_does_not(
    troth: Services, worker: Runner, clock: FrozenClock, acme: Company
) -> None:
    first, second, third, fourth = leads_of(troth, acme)
    do_something(troth, acme, first)
    with Work(troth, acme.id) as work:
        acknowledge(work.session, acme.id, [second, third], clock())
    armed(troth, worker, clock, acme)
    look(troth, worker, clock, minutes=10)
    assert notices(troth, acme)[0]["rows"] == 3
    do_something(troth, acme, fourth, "rectified")
    look(troth, worker, clock, hours=49)
    assert leads_of(troth, acme) == sorted((first, fourth))
    assert opened(troth, acme)[0].found == sorted((second, third))


@pytest.mark.usefixtures("old")
def test_the_leads_of_a_restricted_person_are_kept(
    troth: Services, worker: Runner, clock: FrozenClock, acme: Company
) -> None:
    kept, *others = leads_of(troth, acme)
    with tenant_session(troth.database, acme.id) as session:
        session.get_one(Lead, kept).restricted = RESTRICTED
    armed(troth, worker, clock, acme)
    look(troth, worker, clock, minutes=10)
    look(troth, worker, clock, hours=49)
    assert leads_of(troth, acme) == [kept]
    assert opened(troth, acme)[0].found == others


@pytest.mark.usefixtures("old")
def test_a_batch_bounds_what_goes_at_once_and_one_notice_is_enough_for_all(
    troth: Services, worker: Runner, clock: FrozenClock, acme: Company
) -> None:
    armed(troth, worker, clock, acme, replace(HALF_A_YEAR, batch=3))
    look(troth, worker, clock, minutes=10)
    look(troth, worker, clock, hours=49)
    assert len(leads_of(troth, acme)) == 1
    look(troth, worker, clock, minutes=10)
    assert len(leads_of(troth, acme)) == 1, "the next batch has its own hour"
    look(troth, worker, clock, hours=1)
    assert (leads_of(troth, acme), len(opened(troth, acme)), len(notices(troth, acme))) == ([], 2, 1)
    look(troth, worker, clock, hours=1)
    assert rule_of(troth, acme).runs_at is None, "what is idle from now on is told of anew"


@pytest.mark.every_database
@pytest.mark.usefixtures("old")
def test_a_law_blocks_the_rule_for_its_time_and_then_notice_is_given_anew(
    troth: Services, worker: Runner, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    armed(troth, worker, clock, acme)
    look(troth, worker, clock, minutes=10)
    a_law(troth, acme, (clock() + timedelta(days=30)).date())
    armed(troth, worker, clock, globex)
    look(troth, worker, clock, hours=49)
    look(troth, worker, clock, hours=49)
    assert opened(troth, acme) == [] and len(leads_of(troth, acme)) == 4
    assert leads_of(troth, globex) == [], "the law of one tenant keeps nothing of another"
    look(troth, worker, clock, days=31)
    assert len(notices(troth, acme)) == 2 and len(leads_of(troth, acme)) == 4
    look(troth, worker, clock, hours=49)
    assert leads_of(troth, acme) == []


@pytest.mark.every_database
@pytest.mark.usefixtures("old")
def test_either_switch_stops_rules_and_what_they_have_opened(
    troth: Services, worker: Runner, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    for company in (acme, globex):
        armed(troth, worker, clock, company)
    look(troth, worker, clock, minutes=10)
    off = replace(troth, settings=replace(troth.settings, retention=False))
    clock.now += timedelta(hours=49)
    tick(off, jobs.RETENTION_SWEEP)
    settle(Runner(off, HANDLERS), off)
    assert opened(troth, acme) == [], "off for the installation"

    # One has been opened, and has not begun yet, when the tenant's switch is turned.
    tick(troth, jobs.RETENTION_SWEEP)
    clock.tick(601)
    tick(troth, jobs.RETENTION_SWEEP)
    for _ in range(2):
        while (waiting := worker.waiting("bulk")) and waiting[0]["task"] != jobs.DELETIONS_RUN:
            worker.run_one("bulk")
    assert {row.status for row in opened(troth, acme)} == {"scheduled"}
    with Work(troth, acme.id) as work:
        switch(work.session, work.session.get_one(Tenant, acme.id), is_on=False, now=clock())
    settle(worker, troth)
    assert [row.status for row in opened(troth, acme)] == [CANCELLED] and len(leads_of(troth, acme)) == 4
    assert leads_of(troth, globex) == [], "another tenant's rules go on"
    look(troth, worker, clock, days=3)
    assert len(opened(troth, acme)) == 1 and rule_of(troth, acme).runs_at is None
    with Work(troth, acme.id) as work:
        switch(work.session, work.session.get_one(Tenant, acme.id), is_on=True, now=clock())
    look(troth, worker, clock, minutes=10)
    assert len(notices(troth, acme)) == 2, "and needs a new notice afterwards"


@pytest.mark.every_database
@pytest.mark.usefixtures("old")
def test_a_rule_is_armed_by_a_second_person_after_its_dry_run_and_new_terms_are_a_new_rule(
    troth: Services, worker: Runner, clock: FrozenClock, acme: Company
) -> None:
    with pytest.raises(NotNow):
        put(troth, acme, is_armed=True, who=ANN)
    put(troth, acme, is_armed=False, who=ANN)
    with pytest.raises(NotNow):
        put(troth, acme, is_armed=True, who=BOB)
    look(troth, worker, clock, minutes=10)
    with pytest.raises(SamePerson):
        put(troth, acme, is_armed=True, who=ANN)
    put(troth, acme, is_armed=True, who=BOB)
    look(troth, worker, clock, minutes=10)
    assert rule_of(troth, acme).runs_at is not None
    put(troth, acme, is_armed=False, who=BOB, terms=replace(HALF_A_YEAR, after_days=30))
    rule = rule_of(troth, acme)
    assert (rule.armed_at, rule.runs_at, rule.counted, rule.author) == (None, None, None, BOB)


@pytest.mark.every_database
def test_rules_take_turns_by_how_long_they_wait_and_none_is_begun_with_twice(
    database: object, troth: Services, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    for company in (acme, globex):
        for name in ("a", "b", "c"):
            with Work(troth, company.id) as work:
                tenant = work.session.get_one(Tenant, company.id)
                set_rule(work.session, tenant, name, HALF_A_YEAR, is_armed=False, who=ANN, now=clock())
            clock.tick(1)
    seen: list[tuple[str, str]] = []
    for _ in range(4):
        with system_session(troth.database) as session:
            seen += due_rules(session, clock(), again_at=clock() + timedelta(minutes=30), limit=2)
    assert [tenant for tenant, _ in seen] == [acme.id] * 3 + [globex.id] * 3 and len(set(seen)) == 6
    assert SYSTEM not in {tenant for tenant, _ in seen}
