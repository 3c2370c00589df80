"""`troth deletions replay`: what a restored backup brings back is erased again before workers start."""

from datetime import timedelta

import pytest
from click import ClickException

from models.connection import REVOKED, Connection
from models.restore import lines
from models.tenancy import system_session
from models.tombstone import newest
from tests.conftest import Company, FrozenClock
from tests.worker.erasing import agree, ask, backup, bring, by_connection, pass_time, restore, rows_of
from tests.worker.outside import Outside, settle, user_of
from tests.worker.runner import Runner
from worker.deletions_command import bring_back_all, replay_all
from worker.services import Services

pytestmark = pytest.mark.every_database


def test_what_a_restored_backup_brings_back_is_erased_again_before_workers_start(
    outside: Outside, troth: Services, worker: Runner, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    """The backup is older than the request: it knows neither the deletion nor that the connection was closed."""
    outside.connect(acme, "facebook_leads", user_of(acme))
    settle(worker, troth)
    bring(outside, worker, acme, 2)
    snapshot = backup(troth)
    asked = ask(troth, acme, by_connection(acme))
    settle(worker, troth)
    agree(troth, acme, asked)
    pass_time(troth, worker, clock, timedelta(hours=26), each=timedelta(hours=13))
    with system_session(troth.database, reads_only=True) as session:
        kept = list(lines(session))
    assert rows_of(troth, acme)["leads"] == 0 and len(kept) == 1

    restore(troth, snapshot)
    assert rows_of(troth, acme)["leads"] == 2
    assert bring_back_all(troth, kept) == 0 and replay_all(troth) == 0
    assert rows_of(troth, acme)["leads"] == 0
    with system_session(troth.database, reads_only=True) as session:
        assert session.get_one(Connection, acme.connection_id).status == REVOKED
        assert session.get_one(Connection, globex.connection_id).status == "active"
        assert newest(session, acme.id) is not None, "and its tombstones stand again"
    assert bring_back_all(troth, kept) == 0 and replay_all(troth) == 0, "harmless when repeated"
    with pytest.raises(ClickException, match="line 1"):
        bring_back_all(troth, [b"{}"])
