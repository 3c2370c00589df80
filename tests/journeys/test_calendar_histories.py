"""Whatever hosts wish, people change at Google, and machines lose: in the end both sides have the same calendars.

What has to hold when all is quiet:

- every event of ours that Google has is one that Troth knows, in the version that it knows, and the other way round;
- what no person touched is as its host wished it last, once, and the host was told of no change;
- what a person changed or deleted, and the host has not wished anew since, the host was told of;
- nothing of what an event says is kept, but what the host has still to see;
- what is not ours is as it was;
- of a connection that has ended nothing was told any more, and its events were removed if its tenant wanted that.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule
from structlog.testing import capture_logs

from integrations.simulator.calendar_series import untouched
from integrations.simulator.calendar_world import Calendar as GoogleCalendar
from integrations.simulator.calendar_world import Event as GoogleEvent
from models.calendar import CLASHES, ON_GONE, ON_REVOKE, RECREATE, REMOVE
from models.calendar_event import ABSENT, PENDING
from tests.conftest import Company, FrozenClock
from tests.journeys.agreement import NOTHING, Agreement, Ended
from tests.journeys.calendar_troubles import BESIDE, BUTTONS, ENDED, EXPIRED, FORGOTTEN, READS, WAYS
from tests.journeys.diaries import SERIES, DiaryStage
from tests.journeys.histories import KILLED, LATE, LATER, WELL, Deeds, Drawn, few, leaps, play, unwritten
from tests.worker.outside import Outside
from worker.tasks import calendar_push

BEFALLS = {
    *WAYS, *filter(None, BESIDE), "calendar/conditionNotMet", "calendar/duplicate", "calendar deleted", "disconnected",
    "connected", "notices lost", "notices twice", "one day changed",
} - {LATER, WELL}  # fmt: skip
KINDS: list[dict[str, Any]] = [
    {}, SERIES, {"start": {"date": "2026-03-10"}, "end": {"date": "2026-03-12"}},
    {"attendees": [{"email": "amy@example.com"}]}, {"reminders": [{"method": "popup", "minutes": 10}]},
]  # fmt: skip

deed = Deeds()


@dataclass(frozen=True)
class Go:
    """How the workers' next run goes: whose, over which of its events, in which of the WAYS, BESIDE what, and where in it."""

    company: int
    host: str
    way: str
    beside: str | None
    number: int


goes = st.builds(
    Go,
    st.sampled_from((0, 0, 0, 1)),
    st.sampled_from("aabbcd"),
    st.sampled_from(WAYS),
    st.sampled_from(BESIDE),
    st.integers(0, 30),
)


class CalendarHistories(Agreement):
    """What hosts, people, tenants, Google and machines do."""

    def __init__(self) -> None:
        super().__init__()
        self.unwell: set[int] = set()

    # How workers run

    def go(self, go: Go, *, writes: bool) -> None:
        """Workers do what there is to do, and it goes in a way. `writes`: there is something to write."""
        if go.way == LATER or self.diary(go.company) is None:
            return
        if go.way in READS:
            self.a_person_adds_an_event_of_their_own(go)
            self.told()
        elif not writes:
            self.wish(go.company, f"n{self.unnamed}")
        self.begin(go)
        self.workers_run(killed_at=go.number if go.way == KILLED else None)

    def begin(self, go: Go) -> None:
        """Something is going to happen."""
        account = self.stage.account(self.stage.companies[go.company])
        if go.way in BUTTONS:
            does, values = BUTTONS[go.way]
            self.stage.outside.panel.press(does, times=1 + go.number % 2, **values)
        elif go.way == FORGOTTEN and (calendar := self.calendar(go.company)):
            self.google.expire_sync_tokens(calendar)
        elif go.way == ENDED:
            self.stage.outside.google.revoke(account)
            self.unwell.add(go.company)
        elif go.way == EXPIRED:
            self.stage.outside.google.expire_access(account)
        if go.beside is not None:
            self.stage.crossing.do(partial(self.happens, go), (0, 0, 1)[go.number % 3], is_early=go.number % 2 == 0)

    def happens(self, go: Go) -> None:
        """While Google answers."""
        assert go.beside is not None
        self.met.add(go.beside)
        calendar = self.calendar(go.company)
        if go.beside == LATE:
            self.another_worker_runs()
        elif go.beside == "wished":
            self.wish(go.company, go.host)
        elif go.beside == "wished away":
            self.wish_away(go.company, go.host)
        elif go.beside == "told":
            self.a_person_adds_an_event_of_their_own(go)
            self.told()
        elif go.beside == "ended meanwhile":
            self.disconnect(go.company, REMOVE)
        elif calendar is not None and (event := self.event(go.company, go.host)):
            self.touch(go.company, go.host, calendar, event, {"deleted": "deleted", "changed": "title"}[go.beside])

    def told(self) -> None:
        """All notices come, and it is time to look."""
        self.stage.deliver(999)
        self.stage.clock.tick(3)

    # The hosts

    def wish(self, company: int, host: str, kind: dict[str, Any] | None = None, *, same: bool = False) -> None:
        if diary := self.diary(company):
            row = diary.rows().get(host)
            if row is not None and row.state == PENDING and row.wanted == ABSENT:
                self.undone.add((company, host))
            elif row is None or row.state != PENDING:
                self.undone.discard((company, host))
            self.unnamed += 1
            title = self.wished.get((company, host)) if same else None
            title = title or f"{host}{self.unnamed}"
            if diary.put(host, title, **kind or {}):  # or it is as Troth believes that it is
                self.touched.discard((company, host))
            self.wished[company, host] = title

    def wish_away(self, company: int, host: str) -> bool:
        diary = self.diary(company)
        if diary is None or not self.wished.get((company, host)):
            return False
        diary.remove(host)
        self.wished[company, host] = None
        self.touched.discard((company, host))
        if self.owed.get((company, host), NOTHING).change != "title":  # both wanted it, or it was about one day alone
            self.owed.pop((company, host), None)
        return True

    @deed(3, kind=st.sampled_from(KINDS), same=few)
    def a_host_wishes(self, go: Go, kind: dict[str, Any], same: bool) -> None:
        self.wish(go.company, go.host, kind, same=same)
        self.go(go, writes=not same)

    @deed()
    def a_host_wishes_it_away(self, go: Go) -> None:
        self.go(go, writes=self.wish_away(go.company, go.host))

    @deed(3, change=st.sampled_from(["title", "title", "deleted"]), away=few, told=few)
    def both_sides_change_it(self, go: Go, change: str, away: bool, told: bool) -> None:
        """A person first, and the host before it knows."""
        company, host = go.company, go.host
        calendar, event = self.calendar(company), self.event(company, host)
        if calendar is not None and event is not None and not event.is_cancelled:
            self.touch(company, host, calendar, event, change)
            if told:
                self.told()
            if not away:
                self.wish(company, host)
            else:
                self.wish_away(company, host)
            self.go(go, writes=True)

    @deed()
    def a_host_has_seen_it(self, go: Go) -> None:
        diary = self.diary(go.company)
        if diary and go.host in diary.rows():
            diary.see(go.host)

    @deed(clash=st.sampled_from(CLASHES), on_gone=st.sampled_from(ON_GONE))
    def a_tenant_decides(self, go: Go, clash: str, on_gone: str) -> None:
        self.stage.decide(self.stage.companies[go.company], clash=clash, on_gone=on_gone)

    # People at Google

    def touch(self, company: int, host: str, calendar: GoogleCalendar, event: GoogleEvent, change: str) -> None:
        """A person changes an event: also in ways that the host needs not know of (a colour, an answer)."""
        if event.is_cancelled != (change == "restored"):
            return
        self.stage.clock.tick(1)
        if change in ("deleted", "title"):
            self.owes(company, host, change)
        if change in ("deleted", "restored", "title"):
            self.touched.add((company, host))
            self.meddled.add((company, host))
        if change == "deleted":
            if self.wished.get((company, host)) is None:  # both want it gone, whatever was to be told before
                self.owed.pop((company, host), None)
            self.google.cancel(calendar, event)
            return
        self.unnamed += 1
        new = {"title": {"summary": f"p{self.unnamed}"}, "colour": {"colorId": "5"},
               "answer": {"transparency": "transparent"},
               "restored": {"status": "confirmed", "summary": "restored"}}[change]  # fmt: skip
        self.google.store(calendar, {**event.resource, **new})

    @deed(2, change=st.sampled_from(["title", "colour", "answer", "deleted", "restored"]), told=st.booleans())
    def a_person_changes_an_event(self, go: Go, change: str, told: bool) -> None:
        calendar, event = self.calendar(go.company), self.event(go.company, go.host)
        if calendar is not None and event is not None:
            self.touch(go.company, go.host, calendar, event, change)
            if told:
                self.told()
            self.go(go, writes=False)

    @deed(pick=st.integers(0, 2), deleted=st.booleans())
    def a_person_changes_one_day_of_a_series(self, go: Go, pick: int, deleted: bool) -> None:
        company = go.company
        calendar = self.calendar(company)
        for host in "abcd":
            event = self.event(company, host)
            if calendar is None or event is None or not event.resource.get("recurrence"):
                continue
            days = list(untouched(calendar, event.resource))
            if days:
                self.stage.clock.tick(1)
                self.owes(company, host, "day")
                self.meddled.add((company, host))
                self.met.add("one day changed")
                changed = {"status": "cancelled"} if deleted else {"location": "elsewhere"}
                self.google.store(calendar, {**days[pick % len(days)], **changed})
                self.go(go, writes=False)
                return

    def a_person_adds_an_event_of_their_own(self, go: Go) -> None:
        if calendar := self.calendar(go.company):
            own = f"theirs{len(self.theirs)}0"
            self.theirs.add(own)
            self.google.store(calendar, {"id": own, "status": "confirmed", "summary": own, "start": {"date": "2026-03-10"},
                                         "end": {"date": "2026-03-11"}})  # fmt: skip

    @deed()
    def a_person_deletes_the_calendar(self, go: Go) -> None:
        company = go.company
        if calendar := self.calendar(company):
            self.met.add("calendar deleted")
            self.theirs -= calendar.events.keys()
            self.google.remove_calendar(calendar)
            gone = {key for key in self.wished if key[0] == company}
            self.touched |= gone
            self.meddled |= gone
            self.owed = {key: owed for key, owed in self.owed.items() if key not in gone}
            self.go(go, writes=False)

    @deed(2, twice=st.booleans())
    def google_tells(self, go: Go, twice: bool) -> None:
        """Twice, or not at all; sooner or later also of what a person made of their own."""
        self.a_person_adds_an_event_of_their_own(go)
        if self.stage.notices:
            self.met.add("notices twice" if twice else "notices lost")
            self.stage.deliver(1 + go.number, twice=twice, lost=not twice)

    @deed(pages=st.booleans())
    def google_changes_its_mind(self, go: Go, pages: bool) -> None:
        """Pages are empty, and the update of what is deleted is refused, or not any more."""
        name = "empty_pages" if pages else "restores"
        setattr(self.google, name, not getattr(self.google, name))

    # Connections

    def disconnect(self, company: int, choice: str) -> None:
        if diary := self.diary(company):
            self.met.add("disconnected")
            place = self.stage.place(diary)
            self.stage.revoke(self.stage.companies[company], diary, choice)
            self.ended.append(Ended(diary, len(self.stage.told_of(diary)), place, choice))
            self.forget(company)

    @deed(choice=st.sampled_from(ON_REVOKE))
    def a_tenant_disconnects(self, go: Go, choice: str) -> None:
        self.disconnect(go.company, choice)
        self.go(go, writes=True)

    def connect(self, company: int) -> None:
        """It connects again, if it can and has to."""
        self.stage.clock.tick(1)
        if self.stage.bring(self.stage.companies[company]):
            self.met.add("connected")
            self.unwell.discard(company)

    # Time, and the order of all this

    @deed(2, **leaps)
    def time_passes(self, go: Go, seconds: int, struck: bool, wiped: bool) -> None:
        self.pass_time(seconds, struck, wiped)
        self.stage.work(go.number)

    @rule(deed=deed.drawn(), go=goes, connects=st.booleans())
    def something_happens(self, deed: Drawn, go: Go, connects: bool) -> None:
        if self.diary(go.company) is None or (connects and go.company in self.unwell):
            self.connect(go.company)
        getattr(self, deed[0])(go, **deed[1])

    # What holds

    def teardown(self) -> None:
        """Google is well, people connect again, and everything is done."""
        self.stage.outside.panel.release()
        self.stage.until_quiet()
        for company in (0, 1):
            if not self.stage.is_well(self.stage.companies[company]):
                self.connect(company)
            self.stage.decide(self.stage.companies[company], on_gone=RECREATE)
        self.told()
        self.stage.until_quiet()
        if any(self.is_behind(company) for company in (0, 1)):  # what no notice told of is found by the clock
            self.stage.clock.tick(7 * 3600)
            self.stage.beat()
            self.stage.until_quiet()
        assert self.stage.unfinished() == []
        for company in (0, 1):
            self.are_the_same(company)
        for one in self.ended:
            self.has_ended(one)
        self.is_over()


@pytest.fixture
def stage(
    outside: Outside, clock: FrozenClock, acme: Company, globex: Company, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DiaryStage]:
    monkeypatch.setattr(calendar_push, "READ_AT_ONCE", 2)
    with capture_logs([unwritten]):
        opened = DiaryStage(outside, clock, (acme, globex))
        yield opened
    opened.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_in_the_end_both_sides_have_the_same_calendars(stage: DiaryStage) -> None:
    CalendarHistories.stage = stage
    play(CalendarHistories, BEFALLS, steps=6)
