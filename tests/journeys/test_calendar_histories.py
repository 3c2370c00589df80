"""Whatever hosts wish, people change at Google, and machines lose: in the end both sides have the same calendars.

What has to hold when all is quiet:

- every event of ours that Google has is one that Troth knows, in the version that it knows, and the other way round;
- what no person touched is as its host wished it last, once;
- what a person changed or deleted, and the host has not wished anew since, the host was told of;
- nothing of what an event says is kept, but what the host has still to see;
- what is not ours is as it was.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from structlog import DropEvent
from structlog.testing import capture_logs
from structlog.typing import EventDict

from integrations.simulator.calendar_world import Calendar as GoogleCalendar
from models.calendar import CLASHES, ON_REVOKE
from models.calendar_event import CONFLICT, FAILED, PENDING, PRESENT, SYNCED
from models.feed import CALENDAR_EVENT_CHANGED, CALENDAR_EVENT_CONFLICT
from tests.conftest import Company, FrozenClock
from tests.journeys.diaries import DiaryStage
from tests.journeys.histories import Machines, few
from tests.worker.calendars.diary import Diary
from tests.worker.outside import Outside
from worker.tasks import calendar_push

HISTORIES, STEPS = 200, 10
FAILURES: list[tuple[str, dict[str, Any]]] = [
    ("html_502", {"kind": "calendar_batch"}),
    ("html_502", {"kind": "calendar"}),
    ("cut", {"kind": "calendar_batch"}),
    ("lost_answer", {"kind": "calendar_batch"}),
    ("lost_answer", {"kind": "calendar"}),
    ("error", {"status": 503}),
    ("error", {"kind": "calendar.events.insert", "status": 500}),
    ("throttle", {"reason": "userRateLimitExceeded"}),
    ("throttle", {"reason": "quotaExceeded"}),
    ("throttle", {"status": 429, "seconds": 40}),
]
SERIES = {"recurrence": ["RRULE:FREQ=DAILY;COUNT=3"]}
KINDS: list[dict[str, Any]] = [
    {}, SERIES, {"start": {"date": "2026-03-10"}, "end": {"date": "2026-03-12"}},
    {"attendees": [{"email": "amy@example.com"}]}, {"reminders": [{"method": "popup", "minutes": 10}]},
]  # fmt: skip

which, hosts = st.integers(0, 1), st.sampled_from("abc")


class CalendarHistories(Machines):
    """What is kept here is what each host wished last, which events people touched since, and how often a host had been told
    of one when a person touched it: once more is `owed`."""

    stage: ClassVar[DiaryStage]
    ran: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.stage.begin()
        self.wished: dict[tuple[int, str], str | None] = {}
        self.touched: set[tuple[int, str]] = set()
        self.owed: dict[tuple[int, str], int] = {}
        self.theirs: set[str] = set()
        self.unnamed = 0

    def diary(self, company: int) -> Diary | None:
        return self.stage.diary(self.stage.companies[company])

    def calendar(self, company: int) -> GoogleCalendar | None:
        """The one at Google that Troth knows of."""
        owner = self.stage.account(self.stage.companies[company])
        found = [one for one in self.google.calendars.values() if one.owner[1] == owner]
        return found[-1] if found else None

    @property
    def google(self):  # type: ignore[no-untyped-def]
        return self.stage.outside.google.calendars

    # The hosts

    @rule(company=which, host=hosts, kind=st.sampled_from(KINDS), same=few)
    def a_host_wishes(self, company: int, host: str, kind: dict[str, Any], same: bool) -> None:
        if diary := self.diary(company):
            self.unnamed += 1
            title = self.wished.get((company, host)) if same else None
            title = title or f"{host}{self.unnamed}"
            diary.put(host, title, **kind)
            self.wished[company, host] = title
            self.touched.discard((company, host))

    @rule(company=which, host=hosts, deleted=few, told=st.booleans())
    def both_sides_change_it(self, company: int, host: str, deleted: bool, told: bool) -> None:
        """A person first, and the host before it knows."""
        diary, calendar = self.diary(company), self.calendar(company)
        row = diary.rows().get(host) if diary else None
        event = calendar.events.get(row.external_id) if calendar and row else None
        if event is not None and not event.is_cancelled:
            self.stage.clock.tick(1)
            self.owes(company, diary, host)
            if deleted:
                self.google.cancel(calendar, event)
            else:
                self.google.store(calendar, {**event.resource, "summary": "both"})
            if told:
                self.stage.deliver(999)
            self.a_host_wishes(company=company, host=host, kind={}, same=False)

    @rule(company=which, host=hosts)
    def a_host_wishes_it_away(self, company: int, host: str) -> None:
        diary = self.diary(company)
        if diary and self.wished.get((company, host)):
            diary.remove(host)
            self.owed.pop((company, host), None)
            self.wished[company, host] = None
            self.touched.discard((company, host))

    @rule(company=which, host=hosts)
    def a_host_has_seen_it(self, company: int, host: str) -> None:
        diary = self.diary(company)
        if diary and host in diary.rows():
            diary.see(host)

    @rule(company=which, clash=st.sampled_from(CLASHES))
    def a_tenant_decides(self, company: int, clash: str) -> None:
        self.stage.decide(self.stage.companies[company], clash=clash)

    # People at Google

    @rule(
        company=which,
        pick=st.integers(0, 5),
        change=st.sampled_from(["title", "colour", "answer", "deleted", "restored"]),
    )
    def a_person_changes_an_event(self, company: int, pick: int, change: str) -> None:
        diary, calendar = self.diary(company), self.calendar(company)
        if diary is None or calendar is None or not calendar.events:
            return
        event = list(calendar.events.values())[pick % len(calendar.events)]
        resource, owner = event.resource, {row.external_id: row.host_id for row in diary.rows().values()}
        host = owner.get(resource["id"])
        if host is None or event.is_cancelled != (change == "restored"):
            return
        self.stage.clock.tick(1)
        if change in ("deleted", "title"):
            self.owes(company, diary, host)
        if change == "deleted":
            self.google.cancel(calendar, event)
        elif change == "restored":
            self.google.store(calendar, {**resource, "status": "confirmed", "summary": "restored"})
        else:
            new: dict[str, Any] = {"title": {"summary": f"p{self.unnamed}"}, "colour": {"colorId": "5"},
                                   "answer": {"transparency": "transparent"}}[change]  # fmt: skip
            self.unnamed += 1
            self.google.store(calendar, {**resource, **new})
        if change in ("deleted", "restored", "title"):
            self.touched.add((company, host))

    @rule(company=which)
    def a_person_adds_an_event_of_their_own(self, company: int) -> None:
        if calendar := self.calendar(company):
            own = f"theirs{len(self.theirs)}0"
            self.theirs.add(own)
            self.google.store(calendar, {"id": own, "status": "confirmed", "summary": own, "start": {"date": "2026-03-10"},
                                         "end": {"date": "2026-03-11"}})  # fmt: skip

    @rule(company=which)
    def a_person_deletes_the_calendar(self, company: int) -> None:
        if calendar := self.calendar(company):
            self.theirs -= calendar.events.keys()
            self.google.remove_calendar(calendar)
            self.touched |= {(company, host) for host in "abc"}

    @precondition(lambda self: self.stage.notices)
    @rule(number=st.integers(1, 9), twice=st.booleans(), lost=few)
    def google_tells(self, number: int, twice: bool, lost: bool) -> None:
        self.stage.deliver(number, twice=twice, lost=lost)

    @rule(company=which, change=st.sampled_from(["places forgotten", "empty pages", "update of deleted refused"]))
    def google_changes_its_mind(self, company: int, change: str) -> None:
        if change == "empty pages":
            self.google.empty_pages = not self.google.empty_pages
        elif change == "update of deleted refused":
            self.google.restores = not self.google.restores
        elif calendar := self.calendar(company):
            self.google.expire_sync_tokens(calendar)

    @rule(failure=st.sampled_from(FAILURES), times=st.integers(1, 3))
    def google_fails(self, failure: tuple[str, dict[str, Any]], times: int) -> None:
        does, values = failure
        self.stage.outside.panel.press(does, times=times, **values)  # type: ignore[arg-type]

    # Connections

    @rule(company=which, ended=st.booleans())
    def access_ends(self, company: int, ended: bool) -> None:
        account = self.stage.account(self.stage.companies[company])
        if ended:
            self.stage.outside.google.revoke(account)
        else:
            self.stage.outside.google.expire_access(account)

    @rule(company=which, choice=st.sampled_from(ON_REVOKE), work=st.sampled_from([0, 1, 99]))
    def a_tenant_disconnects(self, company: int, choice: str, work: int) -> None:
        if diary := self.diary(company):
            self.stage.revoke(self.stage.companies[company], diary, choice)
            self.forget(company)
            self.stage.work(work)

    @rule(company=which)
    def a_tenant_connects(self, company: int) -> None:
        self.stage.clock.tick(1)
        self.stage.bring(self.stage.companies[company])

    def forget(self, company: int) -> None:
        """What a connection was wished for ends with it."""
        self.wished = {key: title for key, title in self.wished.items() if key[0] != company}
        self.touched = {key for key in self.touched if key[0] != company}
        self.owed = {key: number for key, number in self.owed.items() if key[0] != company}

    def owes(self, company: int, diary: Diary | None, host: str) -> None:
        """A person touches an event that Troth knows to be there."""
        assert diary is not None
        row = diary.row(host)
        if row.etag is not None and row.wanted == PRESENT:
            self.owed[company, host] = len(self.told_of(diary, host))

    def told_of(self, diary: Diary, host: str) -> list[dict[str, Any]]:
        told = diary.told(CALENDAR_EVENT_CHANGED) + diary.told(CALENDAR_EVENT_CONFLICT)
        return [one for one in told if one["host_id"] == host and one["connection_id"] == diary.connection_id]

    # What holds

    def teardown(self) -> None:
        """Google is well, people connect again, and everything is done."""
        self.stage.outside.panel.release()
        self.stage.until_quiet()
        for company in self.stage.companies:
            if not self.stage.is_well(company):
                self.stage.clock.tick(1)
                assert self.stage.bring(company)
        self.stage.until_quiet()
        self.stage.clock.tick(7 * 3600)  # what no notice told of is found by the clock
        self.stage.beat()
        self.stage.until_quiet()
        assert self.stage.unfinished() == []
        for company in (0, 1):
            self.are_the_same(company)
        type(self).ran += 1

    def are_the_same(self, company: int) -> None:
        diary = self.diary(company)
        assert diary is not None
        rows = diary.rows()
        assert not {row.state for row in rows.values()} & {PENDING, FAILED}
        assert self.wished.keys() >= {(company, host) for host in rows}
        place = self.stage.place(diary)
        there = {} if place is None else self.stage.seen_by_the_library(self.stage.companies[company], place)
        ours = {row.external_id: row for row in rows.values() if row.state in (SYNCED, CONFLICT)}
        assert there.keys() - self.theirs == ours.keys()
        for external_id, row in ours.items():
            assert (there[external_id]["etag"], row.content_hash) == (
                row.etag,
                self.stage.hash(diary, there[external_id]),
            )
        for host, row in rows.items():
            told = self.told_of(diary, host)
            title, is_there = self.wished.get((company, host)), there.get(row.external_id, {}).get("summary")
            if (company, host) not in self.touched and row.state != CONFLICT:
                assert is_there == title or (is_there is None and any(one["deleted"] for one in told))
            assert is_there == title or told
            assert len(told) > self.owed.get((company, host), -1)
            assert row.wish is None or row.state == CONFLICT


def _unwritten(*_: object) -> EventDict:
    raise DropEvent


@pytest.fixture
def stage(
    outside: Outside, clock: FrozenClock, acme: Company, globex: Company, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DiaryStage]:
    monkeypatch.setattr(calendar_push, "READ_AT_ONCE", 2)
    opened = DiaryStage(outside, clock, (acme, globex))
    with capture_logs([_unwritten]):
        yield opened
    opened.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_in_the_end_both_sides_have_the_same_calendars(stage: DiaryStage) -> None:
    CalendarHistories.stage, CalendarHistories.ran = stage, 0
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        CalendarHistories,
        settings=settings(
            max_examples=HISTORIES, stateful_step_count=STEPS, deadline=None, derandomize=True, database=None,
            print_blob=True,
            phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
    assert CalendarHistories.ran >= HISTORIES
