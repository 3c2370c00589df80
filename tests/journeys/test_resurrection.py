"""Whatever comes again after an erasure, and in whatever order: nothing that was erased comes back, and what is new arrives."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from structlog import DropEvent
from structlog.testing import capture_logs
from structlog.typing import EventDict

from integrations.simulator.deliver import Shape
from integrations.simulator.records import Lead as MetaLead
from models import inbox
from models.decision import approve
from models.deletion import AWAITING_HOST, Deletion, Wish
from models.feed import LEAD_RECEIVED, Event
from models.inbox import InboxEvent
from models.job import CANCELLED, DEAD, DONE, Job, replay
from models.lead import Lead, LeadHistory
from models.revocation import request_erasure
from models.tenancy import system_session
from models.tenant import Tenant
from tests.conftest import Company, FrozenClock
from tests.journeys.stage import Stage
from tests.worker.outside import Outside
from worker import jobs
from worker.work import Work

HISTORIES = 30
DAY = timedelta(days=1)
WAYS = ("told", "told_undated", "notices", "jobs", "connect", "read_now", "backfill", "beat", "new", "time")


def _silence(_logger: object, _name: str, _event: EventDict) -> EventDict:
    raise DropEvent


class After:
    """Acme's page was connected and had leads; all of it has been erased. `old` are its leads, `new` those made since."""

    def __init__(self, stage: Stage, acme: Company) -> None:
        self.stage, self.acme = stage, acme
        stage.begin()
        self.old = self._fill_in(3)
        stage.deliver(self.old, Shape())
        stage.until_quiet()
        self.new: list[MetaLead] = []
        (row,) = stage.rows(acme.page_id)
        self.connection_id = row.id
        self.ids = {lead.id for lead in self.old}
        assert {lead for _, lead in stage.leads()} == self.ids
        with system_session(stage.troth.database, reads_only=True) as session:
            self.messages = [
                (job.kind, job.id, job.lane) for job in session.scalars(select(Job).where(Job.tenant_id == acme.id))
            ]
        self._erase()

    def _fill_in(self, number: int) -> list[MetaLead]:
        now = self.stage.clock().replace(microsecond=0)
        return self.stage.outside.server.world.add_leads(f"6{self.acme.page_id}", number, created_at=now)

    def _erase(self) -> None:
        stage, tenant_id = self.stage, self.acme.id
        with Work(stage.troth, tenant_id) as work:
            tenant = work.session.get_one(Tenant, tenant_id)
            wish = Wish("connection", "api", connection_id=self.connection_id, requester=b"a" * 16)
            asked, closed = request_erasure(work.session, tenant=tenant, wish=wish, undo=DAY, now=stage.clock())
            approve(asked, b"b" * 16, stage.clock())
            work.put(*(jobs.connections_revoke(tenant_id, one) for one in closed))
        stage.until_quiet()
        stage.clock.tick(DAY.total_seconds())
        with Work(stage.troth, tenant_id) as work:
            work.put(jobs.deletions_run(tenant_id, asked.id))
        stage.until_quiet()
        with system_session(stage.troth.database, reads_only=True) as session:
            assert session.get_one(Deletion, asked.id).status == AWAITING_HOST

    @property
    def is_connected(self) -> bool:
        return bool(self.stage.rows(self.acme.page_id))

    def again(self, way: str) -> None:
        """Something of before is tried once more."""
        stage, acme = self.stage, self.acme
        if way == "told":
            stage.deliver(self.old, Shape(duplicates=1))
        elif way == "told_undated" and self.is_connected:
            self._notices()
        elif way == "notices":
            with Work(stage.troth, acme.id) as work:
                inbox.replay(work.session, acme.id, None, None, None, stage.clock())
        elif way == "jobs":
            self._jobs()
        elif way == "connect":
            stage.connect(acme, acme.page_id)
        elif way == "read_now":
            stage.read_now(acme, acme.page_id)
        elif way == "backfill":
            stage.backfill(acme, acme.page_id, stage.clock() - timedelta(days=80))
        elif way == "beat":
            stage.beat()
        elif way == "new" and self.is_connected:
            made = self._fill_in(1)
            self.new += made
            stage.deliver(made, Shape())
        elif way == "time":
            stage.clock.tick(7 * 3600)

    def _notices(self) -> None:
        """An old notice in the inbox of the page's present connection, with no instant on it."""
        (row,) = self.stage.rows(self.acme.page_id)
        with Work(self.stage.troth, self.acme.id) as work:
            told = [inbox.Notice(self.acme.id, row.id, "lead", lead.id, "webhook") for lead in self.old]
            inbox.take_in(work.session, told, self.stage.clock())
            work.put(jobs.leads_fetch(self.acme.id, row.id))

    def _jobs(self) -> None:
        """Every job that ended is replayed, and every message of before arrives once more."""
        with system_session(self.stage.troth.database) as session:
            ended = select(Job.id).where(Job.tenant_id == self.acme.id, Job.state.in_((DONE, DEAD, CANCELLED)))
            for one in session.scalars(ended).all():
                replay(session, one, self.stage.clock())
        for kind, job_id, lane in self.messages:
            self.stage.worker.deliver(kind, job_id, self.acme.id, lane)

    def noticed(self) -> set[str]:
        """The old leads of which an id stands in the inbox."""
        with system_session(self.stage.troth.database, reads_only=True) as session:
            return self.ids & set(session.scalars(select(InboxEvent.external_id)))

    def check(self) -> None:
        """Nothing of old, and all that is new, once."""
        with system_session(self.stage.troth.database, reads_only=True) as session:
            leads = session.scalars(select(Lead.external_id).where(Lead.tenant_id == self.acme.id)).all()
            history = session.scalars(select(LeadHistory.lead_id).where(LeadHistory.kind == "received")).all()
            told = session.scalars(
                select(Event.data).where(Event.tenant_id == self.acme.id, Event.type == LEAD_RECEIVED)
            ).all()
            noticed = session.scalars(select(InboxEvent.external_id)).all()
        assert sorted(leads) == sorted(lead.id for lead in self.new)
        assert len(history) == len(self.new) and not self.ids & set(noticed)
        assert not self.ids & {str(data.get("external_id")) for data in told}


@pytest.fixture
def stage(outside: Outside, clock: FrozenClock, acme: Company, globex: Company) -> Iterator[Stage]:
    made = Stage(outside, clock, [acme, globex])
    yield made
    made.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@settings(max_examples=HISTORIES, derandomize=True, deadline=None, database=None, print_blob=True,
          phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck))  # fmt: skip
@given(ways=st.lists(st.sampled_from(WAYS), min_size=4, max_size=10))
def test_nothing_comes_back(stage: Stage, acme: Company, ways: list[str]) -> None:
    with capture_logs([_silence]):
        after = After(stage, acme)
        for way in ways:
            after.again(way)
            if len(way) % 2:
                stage.work(3)
        stage.until_quiet()
        if not after.is_connected:
            stage.connect(acme, acme.page_id)
            stage.until_quiet()
        after.again("told")
        assert "told_undated" in ways or not after.noticed(), "what is told with its instant is refused at the door"
        for way in ("told_undated", "backfill", "new"):
            after.again(way)
        stage.until_quiet()
        after.check()
