"""`troth connections list`: ids, states and codes for an operator, and nobody's name."""

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from models.connection import Connection, needs_person
from models.database import Database
from models.tenancy import tenant_session
from tests.conftest import Company, FrozenClock
from tests.worker.test_operations_keys import environment
from worker.cli import troth


def listed(url: str, *options: str) -> Result:
    return CliRunner().invoke(
        troth, ["connections", "list", *options], env={**environment(url, "k1"), "COLUMNS": "250"}
    )


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_connections_are_listed_by_tenant_and_state_and_without_names(
    database_url: str, database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    with tenant_session(database, globex.id) as session:
        row = session.scalars(select(Connection)).one()
        needs_person(session, row, code="190", sentence="Meta refused the token.", fix="Again.", now=clock())

    every = listed(database_url).stdout
    assert all(part in every for part in (acme.connection_id, "acme", globex.connection_id, "globex", "active", "190"))
    assert "page" not in every.replace("facebook", "")
    assert acme.page_id not in every
    for options in (("--tenant", "globex"), ("--status", "needs_reconnect")):
        some = listed(database_url, *options).stdout
        assert globex.connection_id in some
        assert acme.connection_id not in some
    assert listed(database_url, "--tenant", "nobody").exit_code == 1
    assert listed(database_url, "--status", "fine").exit_code == 2
