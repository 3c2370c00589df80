"""A host that wishes for events, and people who change them at Google; it tests nothing itself."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from integrations.google_calendar.event import checked, what_counts
from integrations.simulator import calendar_rules
from integrations.simulator.calendar_world import Calendar as GoogleCalendar
from integrations.simulator.google_world import Google
from models.calendar import Calendar, Channel, ensure_calendar
from models.calendar_event import CalendarEvent, Keys, event_of, seen, unwish, wish
from models.feed import Event
from models.tenancy import tenant_session
from tests.conftest import Company
from tests.worker.outside import settle
from tests.worker.runner import Runner
from worker.jobs import calendars_converge
from worker.services import Services
from worker.work import Work

START = {"date_time": "2026-03-10T10:00:00"}
END = {"date_time": "2026-03-10T11:00:00"}


class Diary:
    """The events of one connection: what the host wishes, what Troth knows, what Google has."""

    def __init__(self, troth: Services, google: Google, company: Company, connection_id: str) -> None:
        self.troth, self.google, self.company, self.connection_id = troth, google, company, connection_id

    def put(self, host_id: str, title: str = "Visit", **more: Any) -> bool:
        """Wish, as the API does; whether anything has to be done."""
        return self.put_all({host_id: title}, **more) > 0

    def put_all(self, titles: Mapping[str, str], **more: Any) -> int:
        """Wish for many in one transaction; of how many anything has to be done."""
        now, tenant_id = self.troth.clock(), self.company.id
        with Work(self.troth, tenant_id) as work:
            keys = self.keys(work.session)
            ensure_calendar(work.session, tenant_id=tenant_id, connection_id=self.connection_id, now=now)
            news = 0
            for host_id, title in titles.items():
                content = checked({"title": title, "start": START, "end": END, **more}, default_zone="Europe/Kyiv")
                news += wish(
                    work.session, keys, tenant_id=tenant_id, connection_id=self.connection_id, host_id=host_id,
                    content=content, wished=keys.hash(what_counts(content)), notify="none", now=now,
                )[1]  # fmt: skip
            if news:
                work.put(calendars_converge(tenant_id, self.connection_id))
        return news

    def remove(self, host_id: str) -> None:
        """Wish it away."""
        with Work(self.troth, self.company.id) as work:
            (row,) = event_of(work.session, host_id, self.connection_id, locked=True)
            if unwish(work.session, self.keys(work.session), row, notify="none", now=self.troth.clock()):
                work.put(calendars_converge(self.company.id, self.connection_id))

    def see(self, host_id: str) -> None:
        """The host has seen what people did."""
        with Work(self.troth, self.company.id) as work:
            (row,) = event_of(work.session, host_id, self.connection_id, locked=True)
            seen(work.session, row)

    def keys(self, session: Any) -> Keys:
        """The keys of these events."""
        vault, tenant, now = self.troth.vault, self.company.id, self.troth.clock()
        return Keys(
            vault.keyring(session, tenant, self.connection_id, now), vault.keyring(session, tenant, tenant, now)
        )

    def row(self, host_id: str) -> CalendarEvent:
        """What Troth knows of it."""
        return self.rows()[host_id]

    def rows(self) -> dict[str, CalendarEvent]:
        """All that Troth knows."""
        with tenant_session(self.troth.database, self.company.id, reads_only=True) as session:
            query = select(CalendarEvent).where(CalendarEvent.connection_id == self.connection_id)
            return {row.host_id: row for row in session.scalars(query)}

    def found(self, host_id: str) -> Mapping[str, Any] | None:
        """Google's side, as the host may look at it."""
        with Work(self.troth, self.company.id) as work:
            (row,) = event_of(work.session, host_id, self.connection_id)
            return None if row.found is None else self.keys(work.session).unseal(row.found, row=row.id, column="found")

    def told(self, kind: str) -> list[dict[str, Any]]:
        """What the host was told of a kind."""
        with tenant_session(self.troth.database, self.company.id, reads_only=True) as session:
            query = select(Event.data).where(Event.type == kind).order_by(Event.position)
            return list(session.scalars(query))

    @property
    def calendar(self) -> GoogleCalendar:
        """The one calendar at Google."""
        (found,) = self.google.calendars.calendars.values()
        return found

    def there(self) -> dict[str, dict[str, Any]]:
        """title -> the living event at Google."""
        return {one.resource["summary"]: one.resource for one in self.calendar.events.values() if not one.is_cancelled}

    def edit(self, title: str, **more: Any) -> None:
        """A person changes an event at Google."""
        calendar = self.calendar
        event = next(
            one for one in calendar.events.values() if one.resource.get("summary") == title and not one.is_cancelled
        )
        calendar_rules.patch(self.google.calendars, calendar, event, more, {"conferenceDataVersion": 1})

    def delete(self, title: str) -> None:
        """A person deletes one."""
        calendar = self.calendar
        event = next(
            one for one in calendar.events.values() if one.resource.get("summary") == title and not one.is_cancelled
        )
        self.google.calendars.cancel(calendar, event)


def calendar_of(diary: Diary) -> Calendar:
    """What Troth knows of the calendar."""
    with tenant_session(diary.troth.database, diary.company.id, reads_only=True) as session:
        return session.scalars(select(Calendar)).one()


def channels_of(diary: Diary) -> list[Channel]:
    """The channels that Troth knows of."""
    with tenant_session(diary.troth.database, diary.company.id, reads_only=True) as session:
        return list(session.scalars(select(Channel)))


def decide(diary: Diary, **values: Any) -> None:
    """The calendar's row is so from now on."""
    with tenant_session(diary.troth.database, diary.company.id) as session:
        row = session.scalars(select(Calendar)).one()
        for name, value in values.items():
            setattr(row, name, value)


def look(diary: Diary, worker: Runner) -> None:
    """The notice of a change has come, and its job runs."""
    decide(diary, dirty_at=diary.troth.clock())
    with Work(diary.troth, diary.company.id) as work:
        work.put(calendars_converge(diary.company.id, diary.connection_id))
    settle(worker, diary.troth)


def settle_and_look(diary: Diary, worker: Runner) -> None:
    """What was wished is at Google, and our own changes have come back."""
    settle(worker, diary.troth)
    look(diary, worker)
