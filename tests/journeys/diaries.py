"""Two companies, each with a Google account connected, begun anew for each history; what people do there, and what is there."""

from contextlib import closing
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
from integrations.simulator.calendar_world import Notice
from integrations.simulator.google_world import CALENDAR
from integrations.simulator.seed import ACME_ACCOUNT, GLOBEX_ACCOUNT, GOOGLE_CLIENT_ID
from models.calendar import Calendar
from models.connection import ACTIVE, LISTENING, Connection
from models.grant import BeingRevoked
from models.tenancy import system_session
from tests.conftest import Company
from tests.journeys.histories import Stage
from tests.worker.calendars.diary import Diary
from tests.worker.outside import end, world_of
from worker import jobs
from worker.schedule import tick
from worker.tasks.calendar_verdict import content_hash
from worker.web.google_notices import take
from worker.work import Work


class DiaryStage(Stage):
    """As `Stage`, with diaries. `notices` are those that Google has not delivered yet."""

    notices: list[Notice]

    def account(self, company: Company) -> str:
        """The Google account of a company's person."""
        return (ACME_ACCOUNT, GLOBEX_ACCOUNT)[self.companies.index(company)]

    def diary(self, company: Company) -> Diary | None:
        """Of the connection that a company has now."""
        with system_session(self.troth.database, reads_only=True) as session:
            found = session.scalars(
                select(Connection.id).where(
                    Connection.tenant_id == company.id, Connection.integration == GOOGLE_CALENDAR.name,
                    Connection.status.in_(LISTENING),
                )
            ).one_or_none()  # fmt: skip
        return None if found is None else Diary(self.troth, self.outside.google, company, found)

    def bring(self, company: Company) -> bool:
        """Somebody connects the account; False while the last connection is not ended yet."""
        try:
            self.outside.bring(company, self.account(company))
        except BeingRevoked:
            return False
        return True

    def revoke(self, company: Company, diary: Diary, choice: str) -> None:
        """A tenant ends its connection, and chooses what becomes of its events."""
        with Work(self.troth, company.id) as work:
            for row in work.session.scalars(select(Calendar).where(Calendar.connection_id == diary.connection_id)):
                row.on_revoke = choice
        end(self.troth, company, diary.connection_id)

    def decide(self, company: Company, **values: str) -> None:
        """A tenant decides about its calendars."""
        with Work(self.troth, company.id) as work:
            for row in work.session.scalars(select(Calendar)):
                for name, value in values.items():
                    setattr(row, name, value)

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

    def hash(self, diary: Diary, resource: dict[str, Any]) -> bytes:
        """What Troth would remember of an event."""
        with Work(self.troth, diary.company.id) as work:
            return content_hash(diary.keys(work.session), resource)

    def _connect_all(self) -> None:
        for company in self.companies:
            assert self.bring(company)

    def _give(self) -> None:
        for company in self.companies:
            self.outside.google.grant(self.account(company))

    def _begin_world(self) -> None:
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
