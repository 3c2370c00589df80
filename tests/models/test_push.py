"""Pushes are made by the database, a row for each device; and looked for within their chunk, also by a database that knows
nothing of how many there are."""

import time
import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from models import push as pushes
from models import push_chunk
from models.base import is_id, new_id, new_ids
from models.bulletin import Audience, Bulletin, Content, NewBulletin, add, chunk_ended
from models.database import Database
from models.device import Device
from models.push import Chosen, Push
from models.push_chunk import Chunk, Result
from models.tenancy import tenant_session
from models.vault import Vault
from tests.conftest import Company, FrozenClock


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_is_claimed_recorded_and_closed_is_not_searched_for_among_all_of_the_tenants(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    plans: list[str] = []

    def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if statement.startswith(("SELECT", "UPDATE")):
            asked = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in asked if " pushes " in row[3])

    with tenant_session(database, acme.id) as session:
        now = clock()
        bulletin = _bulletin(session, vault, acme.id, now)
        devices = new_ids(4)
        same: dict[str, Any] = {"tenant_id": acme.id, "bulletin_id": bulletin, "state": "queued", "due_at": now}
        session.add_all([Push(device_id=one, user_hash=b"u" * 16, **same) for one in devices])
        session.flush()
        chunk = Chunk(acme.id, bulletin, devices[0], devices[2])
        event.listen(database.engine, "before_cursor_execute", explain)
        claimed = push_chunk.claim(session, chunk, now, limit=9)
        push_chunk.record(session, chunk, {Result(pushes.SENT): [one.id for one in claimed]}, now)
        pushes.close(session, acme.id, bulletin, pushes.CANCELLED, now, limit=9)
        assert push_chunk.next_due(session, chunk) is None
        event.remove(database.engine, "before_cursor_execute", explain)
        assert [one.device_id for one in claimed] == devices[1:3]
        assert pushes.counts(session, acme.id, bulletin).states == {"sent": 2, "cancelled": 2}
    assert len(plans) == 6
    bounds = [plan.partition("(")[2] for plan in plans if "device_id" not in plan and "(id=?)" not in plan]
    assert bounds == ["tenant_id=? AND bulletin_id=?)"], "but for who waits to be closed"


def test_the_database_makes_a_push_of_each_chosen_device_once_with_an_id_of_ours_and_by_the_time_of_its_zone(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    now, berlin, other = clock(), clock() + timedelta(hours=1), clock() + timedelta(hours=2)
    with tenant_session(database, globex.id) as session:
        _device(session, globex.id, new_id(), b"1", "Europe/Berlin", now)
    with tenant_session(database, acme.id) as session:
        bulletin = _bulletin(session, vault, acme.id, now)
        zones = ["Europe/Berlin", None, "Asia/Tokyo", "Europe/Berlin", None]
        devices = new_ids(len(zones))
        for number, zone in enumerate(zones):
            _device(session, acme.id, devices[number], b"%d" % number, zone, now)
        everyone, two = Chosen(acme.id), Chosen(acme.id, users=[b"1", b"3"])
        first, second = pushes.stretches(session, everyone, after=devices[0], size=3, limit=9)
        assert first == (devices[3], 3, frozenset({None, "Asia/Tokyo", "Europe/Berlin"}))
        assert second == (devices[4], 1, frozenset({None}))
        assert pushes.stretches(session, two, after=None, size=9, limit=1) == [(devices[1], 1, frozenset({None}))]
        # One has moved to a zone that nobody had a moment ago.
        due = {"Europe/Berlin": berlin, None: other}
        assert pushes.write(session, everyone, bulletin, after=devices[0], last=devices[3], due=due) == 3
        assert pushes.write(session, two, bulletin, after=None, last=devices[0], due={None: now}) == 0
        rows = session.query(Push).order_by(Push.device_id).all()
        assert [(row.device_id, row.user_hash, row.due_at) for row in rows] == [
            (devices[1], b"1", other), (devices[2], b"2", other), (devices[3], b"3", berlin),
        ]  # fmt: skip
        assert {row.id[14] for row in rows} == {"7"} and all(is_id(row.id) for row in rows)
        assert {uuid.UUID(row.id).variant for row in rows} == {uuid.RFC_4122} and len({row.id for row in rows}) == 3
        assert all(abs(int(row.id.replace("-", "")[:12], 16) / 1000 - time.time()) < 60 for row in rows)
        assert {(row.state, row.attempts, row.doubts) for row in rows} == {("queued", 0, 0)}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_last_chunk_of_a_bulletin_whose_recipients_are_fixed_says_so_and_no_other(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    with tenant_session(database, acme.id) as session:
        bulletin = _bulletin(session, vault, acme.id, clock())
        row = session.get_one(Bulletin, bulletin)
        row.chunks = 1
        session.flush()
        assert not chunk_ended(session, acme.id, bulletin), "others are still being made"
        session.refresh(row)
        assert row.chunks == 0
        row.chunks, row.fixed_at = 2, clock()
        session.flush()
        assert [chunk_ended(session, acme.id, bulletin) for _ in range(2)] == [False, True]
        session.refresh(row)
        assert row.chunks == 0
        session.delete(row)
        session.flush()
        assert not chunk_ended(session, acme.id, bulletin)


def _bulletin(session: Session, vault: Vault, tenant: str, now: datetime) -> str:
    new = NewBulletin(Content("t", "b"), Audience("all"), now, now + timedelta(days=1))
    return add(session, vault.keyring(session, tenant, tenant, now), new, tenant_id=tenant, now=now).id


def _device(session: Session, tenant: str, device: str, user: bytes, zone: str | None, now: datetime) -> None:
    session.add(Device(
        id=device, tenant_id=tenant, host_id=device, kind="fid", address=b"", address_hash=device.encode()[-16:], user=b"",
        user_hash=user, timezone=zone, created_at=now, seen_at=now,
    ))  # fmt: skip
    session.flush()
