"""`troth connections import`: good lines are kept whatever their neighbours are, and no line is ever repeated aloud."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from models.connection import Connection, account_names, read_tokens
from models.database import Database
from models.job import Job
from models.revocation import begin_revocation
from models.tenancy import system_session, tenant_session
from models.vault import Vault
from tests.at_once import at_once
from tests.conftest import Company, FrozenClock
from tests.worker.test_operations_keys import environment
from worker import connection_file
from worker.cli import troth
from worker.connection_file import Import, Outcome
from worker.connections_command import BAD_LINES_SHOWN
from worker.services import Services

pytestmark = pytest.mark.every_database

SECRET = "EAAsecret"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write(line, ...) -> a file of these lines; what is not text is written as JSON."""

    def make(*lines: Any) -> Path:
        path = tmp_path / "grants.jsonl"
        path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines))
        return path

    return make


def page(tenant: str, number: int, **changes: Any) -> dict[str, Any]:
    account = {"external_id": str(900 + number), "name": f"Page {number}"}
    return {"tenant": tenant, "integration": "facebook_leads", "account": account,
            "tokens": {"page_access_token": f"{SECRET}{number}"}, **changes}  # fmt: skip


def person(tenant: str, number: int, **tokens: Any) -> dict[str, Any]:
    account = {"external_id": f"sub{number}", "name": f"ada{number}@example.com"}
    given = {"refresh_token": f"1//{SECRET}", **tokens}
    return {"tenant": tenant, "integration": "google_calendar", "account": account, "tokens": given}


def load(url: str, path: Path, *options: str) -> Result:
    return CliRunner().invoke(troth, ["connections", "import", str(path), *options], env=environment(url, "k1"))


def rows(database: Database, company: Company) -> list[Connection]:
    """Those of the company that it did not have before."""
    with tenant_session(database, company.id, reads_only=True) as session:
        found = session.scalars(select(Connection).order_by(Connection.id)).all()
    return [row for row in found if row.id != company.connection_id]


def test_bad_lines_are_named_never_repeated_and_hinder_nobody(
    database_url: str, database: Database, acme: Company, globex: Company, write: Write
) -> None:
    path = write(
        page("acme", 1),
        "{" + SECRET,
        json.dumps([SECRET]),
        page("acme", 2, integration=SECRET),
        page("acme", 3, tokens={"page_access_token": SECRET + " with a space"}),
        page("acme", 4, tokens={SECRET: SECRET}),
        page("acme", 5, **{SECRET: SECRET}),
        page(SECRET, 6),
        page("acme", 7, account={"external_id": globex.page_id, "name": SECRET}),
        {**page("acme", 8), "tenant": 8},
        json.dumps(page("acme", 9)) + SECRET * 10_000,
        "",
        person("globex", 1),
        person("acme", 2, scopes=["openid"]),
    )

    done = load(database_url, path)

    assert done.exit_code == 1
    assert SECRET not in done.output
    assert "3 of 13 lines stored: 3 new connections, 0 renewed." in done.stdout
    assert "1 of them need a person" in done.stdout
    told = dict(
        line.removeprefix("line ").split(": ", 1) for line in done.stderr.splitlines() if line.startswith("line ")
    )
    assert list(told) == ["2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]
    for number, words in {
        "2": "not JSON", "3": "tenant:", "4": "integration: Use one of", "5": "tokens.page_access_token:",
        "6": "tokens.(unknown field)", "7": "(unknown field)", "8": "No tenant has this", "9": "another tenant",
        "10": "tenant:", "11": "longer than 64 KiB",
    }.items():  # fmt: skip
        assert words in told[number]
    assert done.stderr.splitlines()[-1].startswith("10 bad lines")
    assert "901" in {row.external_id for row in rows(database, acme)}
    assert sorted(row.status for row in rows(database, acme)) == ["active", "needs_reconnect"]


def test_what_was_imported_is_sealed_checked_and_opens_as_it_was_given(
    database_url: str, database: Database, vault: Vault, acme: Company, write: Write
) -> None:
    assert load(database_url, write(page("acme", 1), person("acme", 2))).exit_code == 0

    with tenant_session(database, acme.id, reads_only=True) as session:
        found = session.scalars(select(Connection).where(Connection.id != acme.connection_id)).all()
        names = account_names(session, vault, found)
        tokens = {row.integration: read_tokens(session, vault, row) for row in found}
        jobs = {(job.kind, job.connection_id) for job in session.scalars(select(Job))}
    assert {name.name for name in names.values()} == {"Page 1", "ada2@example.com"}
    assert tokens["facebook_leads"] == {"page_access_token": f"{SECRET}1"}
    assert tokens["google_calendar"] == {"refresh_token": f"1//{SECRET}"}
    assert {("connections.check", row.id) for row in found} <= jobs


def test_the_same_file_again_renews_and_adds_nothing(
    database_url: str, database: Database, acme: Company, globex: Company, write: Write
) -> None:
    path = write(*(page("acme", number) for number in range(105)), *(page("globex", 500 + n) for n in range(5)))

    first, again = load(database_url, path), load(database_url, path)

    assert "110 of 110 lines stored: 110 new connections, 0 renewed." in first.stdout
    assert "110 of 110 lines stored: 0 new connections, 110 renewed." in again.stdout
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert (len(rows(database, acme)), len(rows(database, globex))) == (105, 5)


def test_an_account_that_is_being_disconnected_is_a_bad_line_among_good_ones(
    database_url: str, database: Database, clock: FrozenClock, acme: Company, write: Write
) -> None:
    with tenant_session(database, acme.id) as session:
        begin_revocation(session, acme.connection_id, requested_by="api", undo=timedelta(0), now=clock())

    done = load(
        database_url, write(page("acme", 1), page("acme", 2, account={"external_id": acme.page_id, "name": "x"}),
                            page("acme", 3))
    )  # fmt: skip

    assert done.exit_code == 1
    assert "line 2: The account is being disconnected just now" in done.stderr
    assert len(rows(database, acme)) == 2


def test_a_dry_run_finds_what_is_bad_and_stores_nothing(
    database_url: str, database: Database, acme: Company, globex: Company, write: Write
) -> None:
    path = write(
        page("acme", 1),
        page("globex", 1),  # by then acme would have it
        page("globex", 2, account={"external_id": globex.page_id, "name": "Known"}),
        page("globex", 3, account={"external_id": acme.page_id, "name": "Theirs"}),
    )

    dry = load(database_url, path, "--dry-run")

    assert dry.exit_code == 1
    assert "2 of 4 lines would be stored: 1 new connections, 1 renewed." in dry.stdout
    assert "line 2: The account is connected to another tenant" in dry.stderr
    assert "line 4: The account is connected to another tenant" in dry.stderr
    assert rows(database, acme) == rows(database, globex) == []
    with system_session(database, reads_only=True) as session:
        assert session.scalars(select(Job)).all() == []
    assert load(database_url, path).stderr.count("another tenant") == 2  # and the real one says the same


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_of_many_bad_lines_the_first_are_listed_and_all_counted(database_url: str, acme: Company, write: Write) -> None:
    done = load(database_url, write(*["?"] * (BAD_LINES_SHOWN + 5), page("acme", 1)))

    listed = [line for line in done.stderr.splitlines() if line.startswith("line ")]
    assert (len(listed), listed[-1].split(":")[0]) == (BAD_LINES_SHOWN, f"line {BAD_LINES_SHOWN}")
    assert f"{BAD_LINES_SHOWN + 5} bad lines" in done.stderr


def test_two_imports_of_one_file_at_once_store_every_account_once(
    database: Database, services: Services, acme: Company, write: Write
) -> None:
    path = write(*(page("acme", number) for number in range(60)), person("acme", 1))

    def run() -> Outcome:
        with path.open("rb") as file:
            return Import(services).run(file)

    outcomes = at_once(run, run)

    assert [(one.stored, one.bad) for one in outcomes] == [(61, [])] * 2
    assert sum(one.created for one in outcomes) == 61
    assert len(rows(database, acme)) == 61


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_lines_of_many_tenants_are_stored_before_they_fill_the_memory(
    database: Database,
    services: Services,
    acme: Company,
    globex: Company,
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_file, "HELD_AT_MOST", 4)
    settled: list[int] = []
    path = write(*(page(name, number) for number, name in enumerate(["acme", "globex"] * 5)))

    with path.open("rb") as file:
        outcome = Import(services, step=lambda _: settled.append(file.tell())).run(file)

    assert (outcome.created, outcome.bad) == (10, [])
    assert (len(rows(database, acme)), len(rows(database, globex))) == (5, 5)
    assert len(settled) == 10
