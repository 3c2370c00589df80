"""Two companies, each with a Google account connected, begun anew for each history; what people do there, and what is there."""

from collections.abc import Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import replace
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

import google_auth_httplib2
import httplib2
import orjson
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build_from_document
from sqlalchemy import select
from starlette.datastructures import Headers

from integrations.google_calendar import GOOGLE_CALENDAR
from integrations.google_calendar.calendars import Calendars
from integrations.simulator.calendar_world import Notice
from integrations.simulator.google_world import CALENDAR
from integrations.simulator.seed import ACME_ACCOUNT, GLOBEX_ACCOUNT, GOOGLE_CLIENT_ID
from models.calendar import Calendar, choose_end
from models.connection import ACTIVE, Connection
from models.deletion import REMOVE_EVENTS, STEP_DONE, deletion_of, steps_of
from models.feed import (
    CALENDAR_EVENT_CHANGED,
    CALENDAR_EVENT_CONFLICT,
    CALENDAR_EVENT_FAILED,
    CALENDAR_EVENT_SYNCED,
    Event,
)
from models.grant import BeingRevoked
from models.tenancy import system_session, tenant_session
from tests.conftest import Company, FrozenClock
from tests.journeys.stage import Stage
from tests.worker.calendars.diary import Diary
from tests.worker.outside import Outside, end, world_of
from worker import jobs
from worker.schedule import tick
from worker.tasks.calendar_verdict import content_hash
from worker.web.api.calendars import decided
from worker.web.google_notices import take
from worker.work import Work

SERIES = {"recurrence": ["RRULE:FREQ=DAILY;COUNT=3"]}
BEGUN: dict[str, tuple[str, dict[str, Any]]] = {"a": ("a0", {}), "b": ("b0", SERIES)}
"""Host id -> (title, more): what is in the first company's calendar when a history begins. The other's is not made yet."""
TOLD = (CALENDAR_EVENT_CHANGED, CALENDAR_EVENT_CONFLICT, CALENDAR_EVENT_FAILED, CALENDAR_EVENT_SYNCED)


class DiaryStage(Stage):
    """As `Stage`, with diaries. `notices` are those that Google has not delivered yet."""

    notices: list[Notice]
    age = 600
    left_alone = (jobs.DELETIONS_RUN,)

    def __init__(self, outside: Outside, clock: FrozenClock, companies: Sequence[Company]) -> None:
        super().__init__(outside, clock, companies)
        self._world, self._connections = self._state(), self._diaries

    def account(self, company: Company) -> str:
        """The Google account of a company's person."""
        return (ACME_ACCOUNT, GLOBEX_ACCOUNT)[self.companies.index(company)]

    def diary(self, company: Company) -> Diary | None:
        """Of the connection that a company has now."""
        return self._diaries.get(company.id)

    def bring(self, company: Company) -> bool:
        """Somebody connects the account; False while the last connection is not ended yet."""
        try:
            connection_id = self.outside.bring(company, self.account(company))
        except BeingRevoked:
            return False
        self._diaries[company.id] = Diary(self.troth, self.outside.google, company, connection_id)
        return True

    def revoke(self, company: Company, diary: Diary, choice: str) -> None:
        """A tenant ends its connection, and chooses what becomes of its events."""
        with Work(self.troth, company.id) as work:
            choose_end(work.session, diary.connection_id, choice)
        end(self.troth, company, diary.connection_id)
        del self._diaries[company.id]

    def decide(self, company: Company, **values: str) -> None:
        """A tenant decides about its calendars."""
        with Work(self.troth, company.id) as work:
            for row in work.session.scalars(select(Calendar)):
                decided(work, row, **values)

    def deliver(self, number: int, *, twice: bool = False, lost: bool = False) -> None:  # type: ignore[override]
        """Google delivers the first of its notices, or believes so."""
        told, self.notices[:] = self.notices[:number], self.notices[number:]
        for notice in [] if lost else told * (2 if twice else 1):
            take(self.troth, Headers(notice.headers()))

    def beat(self) -> None:
        """The minute's entry of the table."""
        tick(self.troth, jobs.CALENDARS_SWEEP)

    def seen_by_the_library(self, company: Company, calendar_id: str) -> dict[str, dict[str, Any]]:
        """id -> event, as Google's own client lists them."""
        google = self.outside.google
        holder = (GOOGLE_CLIENT_ID, self.account(company))
        if holder not in google.grants:
            google.grant(self.account(company))
        token = google.issue_access(holder, (CALENDAR,))
        http = google_auth_httplib2.AuthorizedHttp(Credentials(token.value), http=httplib2.Http())  # type: ignore[no-untyped-call]
        found: dict[str, dict[str, Any]] = {}
        with closing(http):
            request = self._events.list(calendarId=calendar_id, maxResults=2_500)
            while request is not None:
                answer = request.execute(http=http)
                found |= {item["id"]: item for item in answer["items"]}
                request = self._events.list_next(request, answer)
        return found

    @cached_property
    def _events(self) -> Any:
        """The library's events, built once: building costs more than a call."""
        document = {**_document(), "rootUrl": f"{self.outside.server.url}/"}
        return build_from_document(document, http=httplib2.Http()).events()

    def is_well(self, company: Company) -> bool:
        """Whether the connection needs nobody, and its grant lives."""
        holder = (GOOGLE_CLIENT_ID, self.account(company))
        with system_session(self.troth.database, reads_only=True) as session:
            mine = select(Connection.status).where(
                Connection.tenant_id == company.id, Connection.integration == GOOGLE_CALENDAR.name,
                Connection.status == ACTIVE,
            )  # fmt: skip
            return session.scalars(mine).one_or_none() is not None and holder in self.outside.google.grants

    def place(self, diary: Diary) -> str | None:
        """Where Troth believes the calendar to be."""
        with system_session(self.troth.database, reads_only=True) as session:
            query = select(Calendar.external_id).where(Calendar.connection_id == diary.connection_id)
            return session.scalars(query).one_or_none()

    def told_of(self, diary: Diary, *kinds: str) -> list[dict[str, Any]]:
        """What the host was told of a connection's events, in the order of telling."""
        with tenant_session(self.troth.database, diary.company.id, reads_only=True) as session:
            told = session.scalars(select(Event.data).where(Event.type.in_(kinds or TOLD)).order_by(Event.position))
            return [one for one in told if one["connection_id"] == diary.connection_id]

    def has_removed(self, diary: Diary) -> bool:
        """Whether an ended connection's events were removed first."""
        with tenant_session(self.troth.database, diary.company.id, reads_only=True) as session:
            asked = deletion_of(session, diary.connection_id)
            found = () if asked is None else steps_of(session, asked.id)
            return any(step.name == REMOVE_EVENTS and step.status == STEP_DONE for step in found)

    def hash(self, diary: Diary, resource: dict[str, Any]) -> bytes:
        """What Troth would remember of an event."""
        with Work(self.troth, diary.company.id) as work:
            return content_hash(diary.keys(work.session), resource)

    def _crossed(self, outside: Outside) -> Outside:
        api = Calendars(self.crossing, api_url=outside.server.url)  # type: ignore[arg-type]
        outside.services = replace(outside.services, calendar_api=api)
        return outside

    def _connect_all(self) -> None:
        for company in self.companies:
            assert self.bring(company)
        diary = self.diary(self.companies[0])
        assert diary is not None
        for host, (title, more) in BEGUN.items():
            diary.put(host, title, **more)

    def _give(self) -> None:
        google = self.outside.google
        state, calendars = deepcopy(self._world)
        vars(google).update(state)
        vars(google.calendars).update(calendars)
        self._diaries = dict(self._connections)

    def _state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What Google holds, and what of it is in calendars."""
        google = self.outside.google
        return deepcopy((
            {name: vars(google)[name] for name in ("grants", "tokens", "_made")},
            {name: vars(google.calendars)[name] for name in ("calendars", "channels", "_made")},
        ))  # fmt: skip

    def _begin_world(self) -> None:
        self._diaries: dict[str, Diary] = {}
        self.crossing.do(None)
        self.outside.server.calls.clear()
        self.notices = []
        self.clock.now = self._start
        self.troth.redis.flushdb()
        self.outside.panel.release()
        # The server's parts hold these very objects.
        google, fresh = self.outside.google, world_of(self.clock, *self.companies).google
        vars(google.calendars).update(vars(fresh.calendars))
        google.calendars.notify = self.notices.append
        fresh.calendars = google.calendars
        vars(google).update(vars(fresh))


@cache
def _document() -> dict[str, Any]:
    path = files("googleapiclient").joinpath("discovery_cache", "documents", "calendar.v3.json")
    found: dict[str, Any] = orjson.loads(path.read_bytes())
    return found
