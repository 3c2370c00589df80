"""What a run over a connection's calendar needs: its keys, its access, its quota; it decides nothing about an event."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import select

from integrations.errors import NeedsUser, OurBug, Throttled
from integrations.google_calendar.batch import LIMIT, Answer, Call
from integrations.google_calendar.calendars import Calendars
from models.calendar import Calendar, calendar_of
from models.calendar_event import Keys
from models.connection import ACTIVE, LISTENING, Connection
from models.tenant import Tenant
from worker.grants import fresh_tokens
from worker.quota import Bucket, within
from worker.task import Ticket

BATCHES_AT_ONCE = 4
"""So many batches of one run are on their way at the same time: Google takes long for each."""
LEAST = 25
"""Fewer calls than this are not worth a batch while more are waiting."""
_T = TypeVar("_T")


@dataclass(slots=True)
class CalendarRun:
    """One run. Plain values, so that no session outlives its transaction."""

    ticket: Ticket
    calendar: Calendar
    account: str
    """The keyed hash of the Google account: its quota is shared by all of its connections."""
    title: str
    time_zone: str
    keys: Keys = field(repr=False)
    token: str = field(repr=False)

    @property
    def tenant_id(self) -> str:
        """The tenant whose calendar it is."""
        return self.ticket.tenant_id

    @property
    def connection_id(self) -> str:
        """The connection whose calendar it is."""
        return self.ticket.connection_id

    @property
    def google(self) -> Calendars:
        """The way to Google."""
        return self.ticket.services.calendar_api

    @property
    def place(self) -> str:
        """The calendar's id at Google."""
        if self.calendar.external_id is None:
            raise OurBug("This calendar has not been made yet.")
        return self.calendar.external_id

    def reread(self) -> bool:
        """The calendar's row, as it is now; False: the connection has ended meanwhile, and nothing is written any more."""
        with self.ticket.work(reads_only=True) as work:
            row = calendar_of(work.session, self.connection_id)
            connection = work.session.get(Connection, self.connection_id)
        if row is not None:
            self.calendar = row
        return connection is not None and connection.status in LISTENING

    def allow(self, wanted: int) -> int:
        """How many of these calls may be made now; Throttled when it is none."""
        project = within("google_calendar:project", self.ticket.services.settings.google.project_quota)
        granted, wait = self.ticket.services.quota.take(
            [bucket for bucket in (self._person, project) if bucket.per_minute], wanted, least=LEAST
        )
        if granted == 0:
            raise Throttled("No call may be made to Google just now.", code="quota", retry_after=wait)
        return granted

    @property
    def _person(self) -> Bucket:
        return within(f"google_calendar:user:{self.account}", self.ticket.services.settings.google.user_quota)

    def heed(self, error: Exception) -> None:
        """Where Google limits the person, nobody calls for them, by whichever connection, until that is over."""
        if isinstance(error, Throttled) and error.code == "quotaExceeded" and error.retry_after is not None:
            self.ticket.services.quota.shut(self._person, error.retry_after)

    def ask(self, call: Callable[[str], _T]) -> _T:
        """One call that is given the access token; a token that Google refuses is refreshed once."""
        self.allow(1)
        try:
            try:
                return call(self.token)
            except NeedsUser as error:
                self._renew(error)
            return call(self.token)
        except Throttled as error:
            self.heed(error)
            raise

    def send(self, calls: Sequence[Call]) -> list[Answer]:
        """The answers of many calls, each in its place. What was refused for the token's sake is sent once more."""
        answers = self._batches(calls)
        refused = [place for place, answer in enumerate(answers) if answer.status == 401]
        if refused:
            self._renew(NeedsUser("Google no longer accepts the access given to this calendar.", code="authError"))
            for place, answer in zip(refused, self._batches([calls[place] for place in refused]), strict=True):
                answers[place] = answer
        return answers

    def _batches(self, calls: Sequence[Call]) -> list[Answer]:
        batches = [calls[start : start + LIMIT] for start in range(0, len(calls), LIMIT)]
        if len(batches) == 1:
            return self._batch(batches[0])
        with ThreadPoolExecutor(min(BATCHES_AT_ONCE, len(batches))) as pool:
            return [answer for answers in pool.map(self._batch, batches) for answer in answers]

    def _batch(self, calls: Sequence[Call]) -> list[Answer]:
        """One batch; where the whole of it is refused for the token's sake, so is each part."""
        try:
            return self.google.batch(self.token, calls)
        except NeedsUser as error:
            if error.code not in ("authError", "http_401", "CREDENTIALS_MISSING", "invalid_token"):
                raise
            return [Answer(401)] * len(calls)

    def _renew(self, error: NeedsUser) -> None:
        tokens = fresh_tokens(self.ticket.services, self.tenant_id, self.connection_id, renew=True)
        if tokens is None or tokens.get("access_token") in (None, self.token):
            raise error
        self.token = tokens["access_token"]


def open_run(ticket: Ticket) -> CalendarRun | None:
    """The run of a job's connection; None: it is closed, needs a person, or has no calendar to look after."""
    services = ticket.services
    with ticket.work(reads_only=True) as work:
        row = work.session.get(Connection, ticket.connection_id)
        calendar = calendar_of(work.session, ticket.connection_id)
        if row is None or row.status != ACTIVE or calendar is None:
            return None
        keyrings = services.vault.keyrings(work.session, row.tenant_id, [row.id, row.tenant_id])
        title, zone = work.session.execute(select(Tenant.name, Tenant.timezone).where(Tenant.id == row.tenant_id)).one()
    tokens = fresh_tokens(services, ticket.tenant_id, ticket.connection_id)
    if not tokens or len(keyrings) < 2:
        return None
    keys = Keys(keyrings[row.id], keyrings[row.tenant_id])
    return CalendarRun(ticket, calendar, row.external_id, title, zone, keys, tokens["access_token"])
