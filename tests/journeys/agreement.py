"""Whether both sides have the same calendars: what is kept of a history to know it, and what has to hold when all is quiet."""

from dataclasses import dataclass
from typing import Any, ClassVar

from integrations.simulator.calendar_world import Calendar as GoogleCalendar
from integrations.simulator.calendar_world import Event as GoogleEvent
from models.calendar import REMOVE
from models.calendar_event import CONFLICT, FAILED, PENDING, PRESENT, SYNCED
from models.feed import CALENDAR_EVENT_CHANGED, CALENDAR_EVENT_CONFLICT
from tests.journeys.diaries import BEGUN, DiaryStage
from tests.journeys.histories import Histories
from tests.worker.calendars.diary import Diary


@dataclass(frozen=True)
class Owed:
    """What a person did to an event, and how often its host had been told of people's doing then: once more is owed."""

    change: str
    told: int


NOTHING = Owed("nothing", -1)


@dataclass
class Ended:
    """A connection that its tenant has ended: how much had been told of it, where its calendar is, and what is to become
    of its events."""

    diary: Diary
    told: int
    place: str | None
    choice: str


class Agreement(Histories):
    """What is kept here is what each host wished last, which events people touched since, which they ever touched, and what
    its host is `owed` to be told of."""

    stage: ClassVar[DiaryStage]

    def __init__(self) -> None:
        super().__init__()
        self.wished: dict[tuple[int, str], str | None] = {(0, host): title for host, (title, _) in BEGUN.items()}
        self.touched: set[tuple[int, str]] = set()
        self.meddled: set[tuple[int, str]] = set()
        self.undone: set[tuple[int, str]] = set()
        self.owed: dict[tuple[int, str], Owed] = {}
        self.ended: list[Ended] = []
        self.theirs: set[str] = set()
        self.unnamed = 0

    def diary(self, company: int) -> Diary | None:
        return self.stage.diary(self.stage.companies[company])

    def calendar(self, company: int) -> GoogleCalendar | None:
        """The one at Google that Troth knows of."""
        diary = self.diary(company)
        place = None if diary is None else self.stage.place(diary)
        found: GoogleCalendar | None = None if place is None else self.google.calendars.get(place)
        return found

    @property
    def google(self):  # type: ignore[no-untyped-def]
        return self.stage.outside.google.calendars

    def event(self, company: int, host: str) -> GoogleEvent | None:
        """The host's, as Google has it."""
        diary, calendar = self.diary(company), self.calendar(company)
        row = diary.rows().get(host) if diary else None
        return calendar.events.get(row.external_id) if calendar and row else None

    def forget(self, company: int) -> None:
        """What a connection was wished for ends with it."""
        self.wished = {key: title for key, title in self.wished.items() if key[0] != company}
        self.touched = {key for key in self.touched if key[0] != company}
        self.meddled = {key for key in self.meddled if key[0] != company}
        self.owed = {key: owed for key, owed in self.owed.items() if key[0] != company}

    def owes(self, company: int, host: str, change: str) -> None:
        """A person touches an event that Troth knows to be there."""
        diary = self.diary(company)
        assert diary is not None
        row = diary.row(host)
        if row.state != PENDING:
            self.undone.discard((company, host))
        # Whether it was a person or we who deleted what was wished away and wished again, nobody can know.
        is_ours = change == "deleted" and (company, host) in self.undone
        if row.etag is not None and row.wanted == PRESENT and not is_ours:
            self.owed[company, host] = Owed(change, len(self.changes(diary, host)))

    def changes(self, diary: Diary, host: str) -> list[dict[str, Any]]:
        """What the host was told that people did to one of its events."""
        told = self.stage.told_of(diary, CALENDAR_EVENT_CHANGED, CALENDAR_EVENT_CONFLICT)
        return [one for one in told if one["host_id"] == host]

    def is_behind(self, company: int) -> bool:
        """Whether people did anything that Troth does not know yet."""
        diary, calendar = self.diary(company), self.calendar(company)
        if diary is None or calendar is None:
            return diary is not None and self.stage.place(diary) is not None
        known = {row.external_id: row.etag for row in diary.rows().values() if row.etag is not None}
        masters = [one for one in calendar.events.values() if "recurringEventId" not in one.resource]
        there = {one.resource["id"]: one.resource["etag"] for one in masters if not one.is_cancelled}
        there = {name: etag for name, etag in there.items() if name not in self.theirs}
        owed = [
            len(self.changes(diary, host)) <= owed.told for (whose, host), owed in self.owed.items() if whose == company
        ]
        return known != there or any(owed)

    def are_the_same(self, company: int) -> None:
        diary = self.diary(company)
        assert diary is not None
        rows = diary.rows()
        assert not {row.state for row in rows.values()} & {PENDING, FAILED}
        assert self.wished.keys() >= {(company, host) for host in rows}
        place = self.stage.place(diary)
        found = {} if place is None else self.stage.seen_by_the_library(self.stage.companies[company], place)
        there = {name: one for name, one in found.items() if "recurringEventId" not in one}
        ours = {row.external_id: row for row in rows.values() if row.state in (SYNCED, CONFLICT)}
        assert there.keys() - self.theirs == ours.keys()
        for external_id, row in ours.items():
            assert row.etag == there[external_id]["etag"]
            assert row.content_hash == self.stage.hash(diary, there[external_id])
        for host, row in rows.items():
            told, key = self.changes(diary, host), (company, host)
            title, is_there = self.wished.get(key), there.get(row.external_id, {}).get("summary")
            # Of the last wish: Google's side was taken, or it is gone there.
            lost = any(
                one["version"] == row.version and (one["deleted"] or one.get("winner") == "google") for one in told
            )
            assert is_there == title or key in self.touched or lost
            assert is_there == title or told
            assert not told or key in self.meddled
            assert len(told) > self.owed.get(key, NOTHING).told
            assert row.wish is None or row.state == CONFLICT
            assert row.found is None or told

    def has_ended(self, one: Ended) -> None:
        assert len(self.stage.told_of(one.diary)) <= one.told
        calendar = self.google.calendars.get(one.place)
        if calendar is not None and one.choice == REMOVE and self.stage.has_removed(one.diary):
            assert {name for name, event in calendar.events.items() if not event.is_cancelled} <= self.theirs
