"""Time travel over the whole of a promise: revocations in the last minute of each day of a week in each calendar, a holiday in
between, and what may go wrong meanwhile. A promise is kept or loudly told of, never silently missed.

A worker that is killed before each of its transactions: `tests/worker/test_deletions_task.py`. Beat, workers and Redis dead for
ever: `tests/worker/web/test_health.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from sqlalchemy import select

from integrations.simulator.records import Page, User
from integrations.simulator.seed import add_form
from integrations.simulator.world import SCOPES
from models.connection import REVOKED, Connection
from models.deletion import AWAITING_APPROVAL, AWAITING_HOST, COMPLETED, OPEN, Deletion, locked
from models.feed import DELETION_ACTION_NEEDED, DELETION_DUE_SOON, DELETION_OVERDUE, Event
from models.lead import Lead
from models.receipt import document, newest_of
from models.receipt_key import known_keys
from models.tenancy import system_session, tenant_session
from models.tenant import Tenant
from models.verdict import verify
from models.workdays import WEEK
from tests.conftest import Company, FrozenClock
from tests.worker.erasing import agree, ask, bring, by_connection, one, rows_of, steps
from tests.worker.outside import Outside, settle
from tests.worker.runner import Runner
from worker import jobs
from worker.receipts import acknowledged, receipt_key
from worker.schedule import tick
from worker.services import Services
from worker.work import Work

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
HOP = 12 * HOUR
"""How far the clock is moved before the sweep comes again, which really comes each minute; no two alarms lie as close."""
OWNER = "4000"
"""The person who has all pages of the tenant at Facebook."""
DUE_SOON, OVERDUE = DELETION_DUE_SOON, DELETION_OVERDUE


@dataclass(frozen=True, slots=True)
class Place:
    """A calendar, the Monday of the week of revocations, and holidays: one lies between each of them and its due day."""

    country: str
    subdivision: str | None
    zone: str
    week: Sequence[str]
    monday: date
    holidays: tuple[date, ...] = ()


FIVE, SIX = WEEK[:5], WEEK[:6]
PLACES = {
    "IN-TN": Place("IN", "IN-TN", "Asia/Kolkata", SIX, date(2026, 4, 6), (date(2026, 4, 14),)),
    "IN-MH": Place("IN", "IN-MH", "Asia/Kolkata", FIVE, date(2026, 10, 12), (date(2026, 10, 20),)),
    "GB-NIR": Place("GB", "GB-NIR", "Europe/Belfast", FIVE, date(2026, 7, 6), (date(2026, 7, 13),)),
    # The clocks go back in the night of the last revocation.
    "IE": Place("IE", None, "Europe/Dublin", FIVE, date(2026, 10, 19), (date(2026, 10, 26),)),
    # No day is off while martial law lasts.
    "UA": Place("UA", None, "Europe/Kyiv", FIVE, date(2026, 10, 19)),
    "AE": Place("AE", None, "Asia/Dubai", FIVE, date(2026, 11, 23), (date(2026, 12, 2),)),
    # Christmas for the first of the week, New Year for the others.
    "US": Place("US", None, "America/New_York", FIVE, date(2026, 12, 21),
                (date(2026, 12, 25), date(2027, 1, 1))),
}  # fmt: skip


class Time:
    """The clock, with a beat and a worker that live while it passes, and the host's half. At each stop every request that is
    open must have been told of as loudly as its time demands."""

    def __init__(self, troth: Services, worker: Runner, clock: FrozenClock, company: Company) -> None:
        self.troth, self.worker, self.clock, self.company = troth, worker, clock, company
        self.host_answers = True

    def pass_to(self, instant: datetime) -> None:
        while self.clock() < instant:
            self.clock.now = min(self.clock() + HOP, instant)
            tick(self.troth, jobs.DELETIONS_SWEEP)
            settle(self.worker, self.troth)
            if self.host_answers:
                self._host()
            for row in self.requests():
                assert row.status not in OPEN or row.alarm == loudness(row, self.clock())

    def requests(self) -> list[Deletion]:
        with tenant_session(self.troth.database, self.company.id, reads_only=True) as session:
            return list(session.scalars(select(Deletion).order_by(Deletion.id)))

    def _host(self) -> None:
        """Attests that its copies are gone, as soon as it is asked."""
        for row in self.requests():
            if row.status == AWAITING_HOST:
                key = receipt_key(self.troth)
                with Work(self.troth, self.company.id) as work:
                    held = locked(work.session, row.id)
                    assert held is not None
                    acknowledged(work, held, key, system="crm", deleted=1, now=self.clock())


def loudness(row: Deletion, now: datetime) -> int:
    """What deletion.md says: 50, 75, 90 and 100 % of the safe time, then the broken promise and each day after it."""
    if now >= row.promise_due_at:
        return 5 + (now - row.promise_due_at).days
    return sum(
        now - row.requested_at >= (row.safe_due_at - row.requested_at) * share / 100 for share in (50, 75, 90, 100)
    )


def settled_in(troth: Services, company: Company, place: Place, clock: FrozenClock) -> None:
    """The tenant is of this place, and it is the morning of that Monday."""
    with system_session(troth.database) as session:
        tenant = session.get_one(Tenant, company.id)
        tenant.country, tenant.subdivision, tenant.timezone = place.country, place.subdivision, place.zone
        tenant.work_week = list(place.week)
    clock.now = local(place, place.monday, time(9))


def local(place: Place, day: date, at: time) -> datetime:
    return datetime.combine(day, at, ZoneInfo(place.zone)).astimezone(UTC)


def with_pages(outside: Outside, worker: Runner, company: Company, number: int) -> list[Company]:
    """So many pages of one person, connected for the company, a lead in each: the company, once for each of them."""
    world = outside.server.world
    owner = world.users.setdefault(OWNER, User(OWNER, "Owner"))
    pages = [f"99000{place}" for place in range(number)]
    for page_id in pages:
        page = world.add_page(Page(page_id, page_id, company.external_id), owner)
        add_form(world, page, {"id": f"6{page_id}"})
        world.issue("page", app_id="1", user_id=OWNER, page_id=page_id, scopes=SCOPES)
    found = outside.connect(company, "facebook_leads", OWNER)
    settle(worker, outside.services)
    by_page = {one.connection.external_id: one.connection.id for one in found}
    companies = [replace(company, page_id=page_id, connection_id=by_page[page_id]) for page_id in pages]
    for each in companies:
        bring(outside, worker, each, 1)
    return companies


def tokens_are_gone(troth: Services, company: Company) -> bool:
    with system_session(troth.database, reads_only=True) as session:
        row = session.get_one(Connection, company.connection_id)
        return row.status == REVOKED and row.tokens is None


def leads_of(troth: Services, company: Company) -> int:
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        return len(session.scalars(select(Lead.id).where(Lead.connection_id == company.connection_id)).all())


def alarms(troth: Services, company: Company) -> list[tuple[str, datetime, str]]:
    """(event, its instant, whom the deletion waits for)"""
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        events = session.scalars(select(Event).where(Event.type.in_((DUE_SOON, OVERDUE))).order_by(Event.position))
        return [(event.type, event.created_at, event.data["waits_for"]) for event in events]


def needs(troth: Services, company: Company) -> int:
    """How often the host was told what it has to do."""
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        return len(session.scalars(select(Event.id).where(Event.type == DELETION_ACTION_NEEDED)).all())


def receipt_of(troth: Services, company: Company, deletion_id: str) -> dict[str, Any]:
    """The body of the newest receipt, which holds."""
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        newest = newest_of(session, deletion_id)
        assert newest is not None
        paper = document(newest)
    with system_session(troth.database, reads_only=True) as session:
        assert verify(paper, known_keys(session)).holds
    body: dict[str, Any] = paper["body"]
    return body


@pytest.fixture
def passing(troth: Services, worker: Runner, clock: FrozenClock, acme: Company) -> Time:
    return Time(troth, worker, clock, acme)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", PLACES)
def test_a_revocation_in_the_last_minute_of_any_day_is_kept_days_before_it_is_due(
    name: str, outside: Outside, troth: Services, worker: Runner, clock: FrozenClock, passing: Time, acme: Company,
    globex: Company,
) -> None:  # fmt: skip
    place = PLACES[name]
    settled_in(troth, acme, place, clock)
    theirs = rows_of(troth, globex)
    asked: list[tuple[str, date]] = []
    for ahead, company in enumerate(with_pages(outside, worker, acme, 7)):
        day = place.monday + ahead * DAY
        passing.pass_to(local(place, day, time(23, 59)))
        deletion_id = ask(troth, company, by_connection(company))
        settle(worker, troth)
        assert tokens_are_gone(troth, company), "a grant needs nobody's leave"
        assert (one(troth, acme, deletion_id).status, leads_of(troth, company)) == (AWAITING_APPROVAL, 1)
        passing.pass_to(clock() + 9 * HOUR)
        agree(troth, acme, deletion_id)
        asked.append((deletion_id, day))
    assert all(token.dead for token in outside.server.world.tokens_of(OWNER) if token.kind == "user")
    passing.pass_to(clock() + 3 * DAY)

    for deletion_id, day in asked:
        row = one(troth, acme, deletion_id)
        body = receipt_of(troth, acme, deletion_id)
        assert row.status == COMPLETED and row.verified_at and row.completed_at and row.rescanned_at
        assert row.requested_at + DAY <= row.verified_at < row.requested_at + DAY + HOP
        issued = datetime.fromisoformat(body["receipt"]["issued_at"])
        assert max(row.completed_at, row.rescanned_at, issued) < row.safe_due_at < row.promise_due_at
        assert body["rescan"]["left"] == 0 and body["host"]["acknowledged_at"]
        # By the tenant's own days: from the day after the request on, those that are named do not count.
        last = (row.promise_due_at - timedelta(microseconds=1)).astimezone(ZoneInfo(place.zone)).date()
        skipped = {date.fromisoformat(skip["day"]) for skip in row.skipped or ()}
        assert row.promise_due_at == local(place, last + DAY, time())
        assert (last - day).days - len(skipped) == 7
        assert not place.holidays or skipped & set(place.holidays), "a holiday lies in between"
    assert rows_of(troth, acme)["leads"] == 0 and rows_of(troth, globex) == theirs
    assert alarms(troth, acme) == [], "what is kept is quiet"


@pytest.fixture
def asked(
    outside: Outside, troth: Services, worker: Runner, clock: FrozenClock, passing: Time, acme: Company
) -> Callable[[], str]:
    """In Chennai, on a Wednesday at 23:59, a holiday ahead: acme revokes its page, which has a lead; the request."""

    def asked() -> str:
        place = PLACES["IN-TN"]
        settled_in(troth, acme, place, clock)
        (company,) = with_pages(outside, worker, acme, 1)
        passing.pass_to(local(place, place.monday + 2 * DAY, time(23, 59)))
        return ask(troth, company, by_connection(company))

    return asked


def shown(web: httpx.Client) -> tuple[int, int, str]:
    """Overdue and stalled as `/readyz` has them, and the overdue that `/metrics` shows."""
    ready = web.get("/readyz").json()
    (line,) = (line for line in web.get("/metrics").text.splitlines() if line.startswith("troth_deletions_overdue "))
    return ready["deletions_overdue"], ready["deletions_stalled"], line.split()[1]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_approval_on_the_fifth_day_was_asked_for_loudly_and_the_promise_is_kept(
    troth: Services, clock: FrozenClock, passing: Time, acme: Company, asked: Callable[[], str]
) -> None:
    deletion_id = asked()
    began = clock()
    passing.pass_to(began + 5 * DAY)
    assert rows_of(troth, acme)["leads"] == 1
    agree(troth, acme, deletion_id)
    passing.pass_to(clock() + MINUTE)
    passing.pass_to(began + 8 * DAY)
    row = one(troth, acme, deletion_id)
    assert row.status == COMPLETED and row.verified_at and row.completed_at and rows_of(troth, acme)["leads"] == 0
    assert max(row.verified_at, row.completed_at) < row.safe_due_at
    assert receipt_of(troth, acme, deletion_id)["rescan"]["left"] == 0
    assert alarms(troth, acme) == [(DUE_SOON, began + 3 * DAY, "approval"), (DUE_SOON, began + 4.5 * DAY, "approval")]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("whom", ["approval", "host"])
def test_what_nobody_approves_or_attests_is_told_of_until_somebody_does(
    whom: str, troth: Services, clock: FrozenClock, passing: Time, acme: Company, asked: Callable[[], str],
    web: httpx.Client,
) -> None:  # fmt: skip
    deletion_id = asked()
    began, passing.host_answers = clock(), False
    if whom == "host":
        agree(troth, acme, deletion_id)
    due = one(troth, acme, deletion_id).promise_due_at
    passing.pass_to(due - HOUR)
    assert shown(web) == (0, 0, "0.0")
    passing.pass_to(due + 2 * DAY)
    assert shown(web) == (1, 0, "1.0")

    told = alarms(troth, acme)
    shares = [began + 6 * DAY * share / 100 for share in (50, 75, 90, 100)]
    assert [kind for kind, _, _ in told] == [DUE_SOON] * 4 + [OVERDUE] * 3 and {who for _, _, who in told} == {whom}
    for (_, at, _), wanted in zip(told, [*shares, due, due + DAY, due + 2 * DAY], strict=True):
        assert wanted <= at < wanted + HOP
    row = one(troth, acme, deletion_id)
    if whom == "host":  # ours was done days before, and the receipt says what is missing
        assert row.status == AWAITING_HOST and row.verified_at and row.verified_at < row.safe_due_at
        body = receipt_of(troth, acme, deletion_id)
        assert (body["host"]["needed"], body["host"]["acknowledged_at"], body["rescan"]["left"]) == (True, None, 0)
        assert needs(troth, acme) > 6, "reminded each day"
    else:
        assert (row.status, rows_of(troth, acme)["leads"]) == (AWAITING_APPROVAL, 1)
        agree(troth, acme, deletion_id)

    passing.host_answers = True
    passing.pass_to(clock() + DAY)
    assert one(troth, acme, deletion_id).status == COMPLETED, "late is better than never"
    assert shown(web) == (0, 0, "0.0")


def test_a_provider_that_is_down_for_three_days_keeps_nothing_of_ours_alive(
    outside: Outside, troth: Services, clock: FrozenClock, passing: Time, acme: Company, asked: Callable[[], str]
) -> None:
    deletion_id = asked()
    began = clock()
    outside.panel.press("html_502")
    agree(troth, acme, deletion_id)
    passing.pass_to(began + 1.5 * DAY)
    assert rows_of(troth, acme)["leads"] == 0, "what was acquired goes without it"
    passing.pass_to(began + 3 * DAY - HOUR)
    row = one(troth, acme, deletion_id)
    with system_session(troth.database, reads_only=True) as session:
        assert session.get_one(Connection, str(row.connection_id)).tokens is None
    assert row.status == COMPLETED and row.verified_at and row.verified_at < began + 2.5 * DAY + HOP
    outside.panel.release()
    passing.pass_to(began + 5 * DAY)
    outcome = {name: step.status for name, step in steps(troth, acme, deletion_id).items()}
    assert (outcome["revoke_grant"], outcome["destroy_tokens"]) == ("failed", "done")
    body = receipt_of(troth, acme, deletion_id)
    said = {part["name"]: part for part in body["provider"]}
    assert said["revoke_grant"]["status"] == "failed" and said["revoke_grant"]["sentence"]
    assert datetime.fromisoformat(body["receipt"]["issued_at"]) < row.safe_due_at
    assert alarms(troth, acme) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_beat_and_workers_that_are_dead_for_three_days_are_seen_and_made_up_for(
    troth: Services, clock: FrozenClock, passing: Time, acme: Company, asked: Callable[[], str], web: httpx.Client
) -> None:
    deletion_id = asked()
    agree(troth, acme, deletion_id)
    clock.now += 3.5 * DAY
    assert shown(web) == (0, 1, "0.0"), "stalled"
    passing.pass_to(clock() + 1.5 * DAY)
    row = one(troth, acme, deletion_id)
    assert row.status == COMPLETED and row.verified_at and row.verified_at < row.safe_due_at
    assert [kind for kind, _, _ in alarms(troth, acme)] == [DUE_SOON] and shown(web) == (0, 0, "0.0")
