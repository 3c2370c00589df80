"""Pushes are looked for within their chunk, also by a database that knows nothing of how many there are."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from models import push as pushes
from models import push_chunk
from models.base import new_ids
from models.bulletin import Audience, Content, NewBulletin, add
from models.database import Database
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
        now, keyring = clock(), vault.keyring(session, acme.id, acme.id, clock())
        new = NewBulletin(Content("t", "b"), Audience("all"), now, now + timedelta(days=1))
        bulletin = add(session, keyring, new, tenant_id=acme.id, now=now).id
        devices = new_ids(4)
        pushes.write(session, acme.id, bulletin, [(one, b"u" * 16) for one in devices], now)
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
