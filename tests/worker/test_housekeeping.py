"""Troth's own working papers go when their time is over, in bounded batches, and nothing else does."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from models.connect_link import ConnectLink, add_link, begin_visit
from models.feed import Event, emit
from models.host import SignIn, add_sign_in
from models.idempotency import KeptAnswer, begin
from models.inbox import InboxEvent, Notice, handled, take_in
from models.job import DEAD, DONE, JOBS, QUEUED, NewJob
from models.job import put as put_jobs
from models.tenancy import SYSTEM, system_session, tenant_session
from tests.conftest import Company, FrozenClock
from tests.worker.outside import settle
from tests.worker.runner import Runner
from worker import jobs
from worker.schedule import tick
from worker.services import Services
from worker.tasks import HANDLERS, upkeep

TABLES = (ConnectLink, SignIn, KeptAnswer, InboxEvent, Event)


def left(services: Services) -> Counter[str]:
    with system_session(services.database, reads_only=True) as session:
        found = Counter({table.__tablename__: len(session.scalars(select(table.id)).all()) for table in TABLES})
        found.update(state for state, lane in session.execute(select(JOBS.c.state, JOBS.c.lane)) if lane == "old")
        return +found


@pytest.mark.every_database
def test_each_paper_goes_after_its_own_time_and_what_is_open_stays(
    services: Services, clock: FrozenClock, acme: Company, monkeypatch: object
) -> None:
    now, vault = clock(), services.vault
    with tenant_session(services.database, acme.id) as session:
        link, secret = add_link(session, vault, tenant_id=acme.id, integration="google_calendar", user=None, now=now)
        begin_visit(session, vault, link, state="s", browser="b", verifier=None, secret=secret, now=now)
        keyring = vault.keyring(session, acme.id, acme.id, now)
        begin(session, keyring, tenant_id=acme.id, caller="tenant", key="k", request=b"", now=now)
        told = [Notice(acme.id, acme.connection_id, "lead", str(n), "webhook") for n in range(2)]
        take_in(session, told, now)
        one = session.scalars(select(InboxEvent.id)).first()
        handled(session, tenant_id=acme.id, ids=[str(one)], now=now)
        put_jobs(session, [NewJob(acme.id, "x", "old", key=state) for state in (DONE, DEAD, QUEUED)], now)
        emit(session, acme.id, [("x", {})], now)
    with system_session(services.database) as session:
        put_jobs(session, [NewJob(SYSTEM, "x", "old", key=f"own {n}") for n in range(5)], now)
        for state in (DONE, DEAD):
            session.execute(JOBS.update().where(JOBS.c.key == state).values(state=state, finished_at=now, wake_at=None))
        mine = JOBS.c.key.like("own %")
        session.execute(JOBS.update().where(mine).values(state=DONE, finished_at=now, wake_at=None))
        add_sign_in(session, kind="session", tenant_id=acme.id, now=now, lives=timedelta(hours=1))

    monkeypatch.setattr(upkeep, "PRUNED_AT_ONCE", 2)  # type: ignore[attr-defined]
    everything = {"connect_links": 1, "sign_ins": 1, "kept_answers": 1, "inbox_events": 2, "events": 2}
    for days, is_on, expected in (
        (3, False, {**everything, "done": 6, "dead": 1, "queued": 1}),
        (0, True, {**everything, "kept_answers": 0, "done": 1, "dead": 1, "queued": 1}),
        (40, True, {"inbox_events": 2, "events": 2, "dead": 1, "queued": 1}),
        (60, True, {"inbox_events": 1, "dead": 1, "queued": 1}),
    ):
        clock.now += timedelta(days=days, hours=6)
        here = replace(services, settings=replace(services.settings, retention=is_on))
        tick(here, jobs.LEDGER_PRUNE)
        settle(Runner(here, {jobs.LEDGER_PRUNE: HANDLERS[jobs.LEDGER_PRUNE]}), here)
        assert left(services) == +Counter(expected), days
