"""One worker, its front door and a simulated Meta, begun anew for each history without a new process, server or file."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sql
from sqlalchemy import and_, false, func, not_, select
from starlette.types import ASGIApp, Message

from integrations.contract import Account
from integrations.errors import NeedsUser
from integrations.facebook_leads import FACEBOOK_LEADS
from integrations.simulator.deliver import Shape, bodies, sign
from integrations.simulator.records import Lead as MetaLead
from integrations.simulator.world import SCOPES
from models import inbox
from models.connection import ACTIVE, LISTENING, PENDING, REVOKING, Connection
from models.feed import LEAD_RECEIVED, Event
from models.form import BACKFILL_RUNNING, Form
from models.grant import BeingRevoked
from models.inbox import InboxEvent
from models.job import CANCELLED, DONE, WAITING, Job
from models.lead import RECEIVED, Lead, LeadHistory
from models.schema import metadata
from models.tenancy import system_session
from tests.conftest import Company, FrozenClock, hold_rows
from tests.worker.crossing import Crossing
from tests.worker.outside import APP_SECRET, Outside, end, settle, user_of, world_of
from tests.worker.runner import Runner
from worker import jobs
from worker.jobs import LANES
from worker.reconcile import reconcile
from worker.schedule import tick
from worker.tasks import HANDLERS
from worker.web import lead_repairs
from worker.web.front_door import FrontDoor
from worker.web.webhooks import PATH, Deliveries
from worker.work import Work

ENDED = (DONE, CANCELLED)
MOST_ROUNDS = 60
_KEPT = "tenants"


class Killed(BaseException):
    """As a process that is gone: nothing of the job is decided, nothing more is written."""


class Fuse:
    """The worker's clock, which everything that happens in it asks: at the nth question the worker dies."""

    def __init__(self, clock: FrozenClock) -> None:
        self._clock = clock
        self._left: int | None = None
        self.has_blown = False

    def __call__(self) -> datetime:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                self._left = None
                raise Killed
        return self._clock()

    @contextmanager
    def lit(self, length: int | None) -> Iterator[None]:
        """Whoever works in here dies after so many looks at the clock, if it does not end before; None: nobody does."""
        self._left, self.has_blown = length, False
        try:
            yield
        except Killed:
            self.has_blown = True
        finally:
            self._left = None


@dataclass(frozen=True, slots=True)
class Row:
    """A connection as it is now."""

    id: str
    tenant_id: str
    page_id: str
    status: str


class Stage:
    """Two companies, each with its page connected and read, `age` seconds ago when a history begins. Nobody waits for the jobs
    that are `left_alone`."""

    age = 3600
    left_alone: Sequence[str] = ()

    def __init__(self, outside: Outside, clock: FrozenClock, companies: Sequence[Company]) -> None:
        self.clock, self.companies = clock, companies
        self.crossing = Crossing(outside.services.http)
        self.outside = outside = self._crossed(outside)
        self.fuse = Fuse(clock)
        outside.services = self.troth = replace(outside.services, clock=self.fuse)
        self.worker = Runner(self.troth, HANDLERS)
        self._loop = asyncio.Runner()
        self._door = FrontDoor(self.troth)
        self._web = Deliveries(_nobody, self.troth, self._door)
        self._start = clock.now
        self._rows = self._connected()

    def close(self) -> None:
        """As the web process ends."""
        self._loop.run(self._door.close())
        self._loop.close()

    def begin(self) -> None:
        """A new world, an empty Redis, and the rows as they were in the beginning: connecting anew would cost a third of
        a history's time."""
        self._begin_world()
        self._give()
        with self.troth.database.engine.begin() as connection:
            _clear(connection)
            for name, rows in self._rows.items():
                connection.execute(metadata.tables[name].insert(), rows)
        self.clock.tick(self.age)

    def _crossed(self, outside: Outside) -> Outside:
        """With a provider at the other side of the crossing."""
        return Outside(outside.server, replace(outside.services, http=self.crossing))  # type: ignore[arg-type]

    def _connected(self) -> dict[str, list[dict[str, Any]]]:
        """table -> its rows, where it has some, when the companies have just connected their pages."""
        with self.troth.database.engine.begin() as connection:
            _clear(connection)
        self._begin_world()
        self._connect_all()
        settle(self.worker, self.troth)
        with self.troth.database.engine.begin() as connection:
            read = {name: connection.execute(select(metadata.tables[name])).mappings() for name in _left(connection)}
            return {name: [dict(row) for row in rows] for name, rows in reversed(read.items())}

    def _connect_all(self) -> None:
        for company in self.companies:
            assert self.connect(company, company.page_id) == ACTIVE

    def _give(self) -> None:
        """What people gave when they connected, in a world that does not know of it yet."""
        for company in self.companies:
            self._account(company, company.page_id)

    def _begin_world(self) -> None:
        self.clock.now = self._start
        self.troth.redis.flushdb()
        self.outside.panel.release()
        self.outside.server.calls.clear()
        self.crossing.do(None)
        vars(self.outside.server.world).update(vars(world_of(self.clock, *self.companies)))

    def _account(self, company: Company, page_id: str) -> Account:
        """What a person gives, with a new token."""
        token = self.outside.server.world.issue("page", app_id="1", user_id=user_of(company), page_id=page_id)
        return Account(page_id, "Page", {"page_access_token": token.value}, tuple(SCOPES), (user_of(company),))

    # What people do

    def connect(self, company: Company, page_id: str) -> str | None:
        """A tenant gives its access to a page (again); the connection's status. None: its last one is not ended yet."""
        try:
            (stored,) = self.outside.store(company, FACEBOOK_LEADS.name, [self._account(company, page_id)])
        except BeingRevoked:
            return None
        return stored.connection.status

    def disconnect(self, company: Company, page_id: str) -> None:
        """A tenant ends its connection to a page."""
        (row,) = [one for one in self.rows(page_id) if one.tenant_id == company.id and one.status in LISTENING]
        end(self.troth, company, row.id)

    def read_now(self, company: Company, page_id: str) -> None:
        """The button that lists a page's forms and reads them."""
        for row in self.rows(page_id):
            if row.tenant_id == company.id and row.status in LISTENING:
                with Work(self.troth, company.id) as work:
                    lead_repairs.read_now(work, self.troth, work.session.get_one(Connection, row.id))

    def backfill(self, company: Company, page_id: str, since: datetime) -> set[str]:
        """Asked for of each form that the page is known to have; those of which none was under way."""
        with Work(self.troth, company.id) as work:
            known = select(Form).join(Connection, Form.connection_id == Connection.id)
            mine = known.where(Connection.external_id == page_id, Connection.status.in_(LISTENING))
            begun = [
                form for form in work.session.scalars(mine.where(Form.gone_at.is_(None)))
                if form.backfill_state != BACKFILL_RUNNING
            ]  # fmt: skip
            for form in begun:
                lead_repairs.backfill(work, self.troth, form, since)
            return {form.external_id for form in begun}

    # What Meta does

    def deliver(self, leads: Sequence[MetaLead], shape: Shape) -> None:
        """One delivery or more, signed, each acknowledged."""
        for raw in bodies(leads, self.clock().replace(microsecond=0), shape):
            assert self._loop.run(_post(self._web, raw)) == 200

    # What the machines do

    def work(self, most: int, lanes: Sequence[str] = LANES) -> None:
        """The reconciler looks, and a worker runs so many messages, those of the first lane first."""
        reconcile(self.troth)
        for _ in range(most):
            if not any(self.worker.run_one(lane) for lane in lanes):
                return

    def lose_message(self, lane: str) -> bool:
        """A worker dies with a message that it has not begun; False: there was none."""
        return self.troth.redis.rpop(lane) is not None

    def beat(self) -> None:
        """An hour's entries of the table."""
        for kind in (jobs.CONNECTIONS_SWEEP, jobs.LEADS_SWEEP):
            tick(self.troth, kind)

    def until_quiet(self) -> None:
        """Work, and time passes, until no job has anything left to do without a person."""
        parked = and_(Job.state == WAITING, Job.error_kind == NeedsUser.kind)
        waking = select(func.min(Job.wake_at)).where(
            Job.state.not_in(ENDED), Job.kind.not_in(self.left_alone), not_(func.coalesce(parked, false()))
        )
        for _ in range(MOST_ROUNDS):
            settle(self.worker, self.troth)
            with system_session(self.troth.database, reads_only=True) as session:
                at = session.scalar(waking)
            if at is None:
                return
            self.clock.now = max(self.clock.now + timedelta(seconds=1), at)
        raise AssertionError(f"the ledger does not come to rest: {self.unfinished()}")

    # What there is

    def rows(self, page_id: str | None = None) -> list[Row]:
        """Connections that are not ended."""
        query = select(Connection.id, Connection.tenant_id, Connection.external_id, Connection.status)
        states = (*LISTENING, PENDING, REVOKING)
        with system_session(self.troth.database, reads_only=True) as session:
            found = [Row(*row) for row in session.execute(query.where(Connection.status.in_(states)))]
        return [row for row in found if page_id in (None, row.page_id)]

    def known_forms(self, page_id: str) -> tuple[set[str], set[str]]:
        """Those that a connected page is known to have, and of them those whose last backfill read all it was to read."""
        known = select(Form).join(Connection, Form.connection_id == Connection.id).where(
            Connection.external_id == page_id, Connection.status.in_(LISTENING), Form.gone_at.is_(None)
        )  # fmt: skip
        with system_session(self.troth.database, reads_only=True) as session:
            forms = list(session.scalars(known))
            return {one.external_id for one in forms}, {one.external_id for one in forms if not one.backfill_sentence}

    def leads(self) -> list[tuple[str, str]]:
        """(tenant id, id at Meta) of every lead."""
        with system_session(self.troth.database, reads_only=True) as session:
            return [(tenant, lead) for tenant, lead in session.execute(select(Lead.tenant_id, Lead.external_id))]

    def is_told_once(self) -> bool:
        """Whether every lead has one event, and one beginning of its history."""
        with system_session(self.troth.database, reads_only=True) as session:
            leads = Counter(session.scalars(select(Lead.id)))
            begun = Counter(session.scalars(select(LeadHistory.lead_id).where(LeadHistory.kind == RECEIVED)))
            told = Counter(
                event.data["lead_id"] for event in session.scalars(select(Event).where(Event.type == LEAD_RECEIVED))
            )
        return leads == begun == told

    def unfinished(self) -> list[str]:
        """Jobs that are dead or stuck, events that wait, and readings that are under way."""
        with system_session(self.troth.database, reads_only=True) as session:
            found = [f"{job.kind} {job.state}: {job.error_sentence}" for job in
                     session.scalars(select(Job).where(Job.state.not_in(ENDED), Job.kind.not_in(self.left_alone)))]  # fmt: skip
            found += [f"lead {one.external_id} waits" for one in
                      session.scalars(select(InboxEvent).where(InboxEvent.state == inbox.PENDING))]  # fmt: skip
            forms = select(Form).join(Connection, Form.connection_id == Connection.id)
            for form in session.scalars(forms.where(Connection.status == ACTIVE, Form.gone_at.is_(None))):
                if form.reading_began_at is not None or form.backfill_state == BACKFILL_RUNNING:
                    found.append(f"form {form.external_id} is being read")
        return found


def _left(connection: sql.Connection) -> list[str]:
    """The tables that hold what came of the companies, those first that refer to others."""
    return [name for name in hold_rows(connection) if name != _KEPT]


def _clear(connection: sql.Connection) -> None:
    for name in _left(connection):
        connection.execute(metadata.tables[name].delete())


async def _nobody(*_: object) -> None:
    raise AssertionError("only deliveries come here")


async def _post(web: ASGIApp, raw: bytes) -> int:
    """The answer's status, when all that follows from it has been done."""
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": raw, "more_body": False}

    async def send(message: Message) -> None:
        said.append(message)

    headers = [(b"x-hub-signature-256", sign(raw, APP_SECRET).encode())]
    await web({"type": "http", "path": PATH, "method": "POST", "headers": headers}, receive, send)
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
    status: int = said[0]["status"]
    return status
