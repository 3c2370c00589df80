"""`troth deletions import-ids`: who is on Meta's list is treated as whoever asks Facebook, all of a list or nothing of it."""

from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from models.connection import Connection
from models.deletion import SCHEDULED, Deletion, steps_of
from models.job import Job
from models.tenancy import system_session
from tests.conftest import Company, FrozenClock
from tests.worker.erasing import bring, look_around, rows_of
from tests.worker.outside import Outside, settle, user_of
from tests.worker.runner import Runner
from tests.worker.test_operations_keys import environment
from worker.cli import troth as command
from worker.id_list import META_LIST, Bad, Outcome, Person, ask_for_all, read
from worker.meta_wishes import ask_to_delete, granted_by
from worker.services import Services

STRANGER = "10158000000000001"


@pytest.fixture
def known(outside: Outside, troth: Services, worker: Runner, acme: Company, globex: Company) -> str:
    """The person who connected acme's page, which has leads; globex's was connected by another."""
    for company in (acme, globex):
        outside.connect(company, "facebook_leads", user_of(company))
    settle(worker, troth)
    bring(outside, worker, acme, 2)
    return user_of(acme)


def load(url: str, tmp_path: Path, content: bytes, *options: str) -> Result:
    path = tmp_path / "ids.csv"
    path.write_bytes(content)
    return CliRunner().invoke(command, ["deletions", "import-ids", str(path), *options], env=environment(url, "k1"))


def deletions(troth: Services) -> list[Deletion]:
    with system_session(troth.database, reads_only=True) as session:
        return list(session.scalars(select(Deletion).order_by(Deletion.id)))


def test_whoever_is_listed_has_what_they_granted_deleted_and_nobody_else_has(
    database_url: str, tmp_path: Path, troth: Services, acme: Company, globex: Company, known: str
) -> None:
    content = f"{STRANGER}\n{known}\n".encode()
    counted = load(database_url, tmp_path, content, "--dry-run")
    assert (counted.exit_code, deletions(troth)) == (0, [])
    assert "1 of 2 ids are known: the deletion of 1 connections would be asked for. 1 are unknown" in counted.stdout

    for _ in range(2):
        done = load(database_url, tmp_path, content)
        assert done.exit_code == 0, done.output
        assert "1 of 2 ids are known: the deletion of 1 connections is asked for. 1 are unknown" in done.stdout
        assert "ids: 2 of 2" in done.stderr
        assert known not in done.output and STRANGER not in done.output
        (asked,) = deletions(troth)  # once, however often it is imported
    assert (asked.tenant_id, asked.connection_id, asked.requested_by) == (acme.id, acme.connection_id, META_LIST)
    assert (asked.status, asked.needs_approval) == (SCHEDULED, False), "a person needs nobody's leave"
    with system_session(troth.database, reads_only=True) as session:
        assert [step.name for step in steps_of(session, asked.id)][:3] == [
            "stop_notices",
            "revoke_grant",
            "destroy_tokens",
        ]
        assert session.get_one(Connection, acme.connection_id).status == "revoking"
        assert session.get_one(Connection, globex.connection_id).status == "active"
        revoked = session.scalars(select(Job.connection_id).where(Job.kind == "connections.revoke")).all()
    assert set(revoked) == {acme.connection_id}


def test_the_callback_and_the_list_are_one_wish_and_what_was_erased_is_unknown(
    troth: Services, worker: Runner, clock: FrozenClock, acme: Company, globex: Company, known: str
) -> None:
    theirs, listed = rows_of(troth, globex), BytesIO(known.encode())
    code = ask_to_delete(troth, granted_by(troth, known), "meta_deletion")
    assert ask_for_all(troth, listed, lambda _: None, dry_run=False) == Outcome(1, 0, 1)
    assert [row.confirmation_code for row in deletions(troth)] == [code]
    settle(worker, troth)
    clock.tick(timedelta(days=1).total_seconds())
    look_around(troth, worker, clock)
    assert rows_of(troth, acme)["leads"] == 0 and rows_of(troth, globex) == theirs
    listed.seek(0)
    assert ask_for_all(troth, listed, lambda _: None, dry_run=False) == Outcome(0, 1, 0)
    assert len(deletions(troth)) == 1


def test_a_run_that_was_broken_off_in_the_middle_of_a_person_is_gone_on_with(
    outside: Outside, troth: Services, globex: Company, known: str
) -> None:
    outside.server.world.users[known].pages.append(globex.page_id)
    outside.connect(globex, "facebook_leads", known)
    granted = granted_by(troth, known)
    assert len({tenant for tenant, _ in granted}) == 2
    ask_to_delete(troth, granted[:1], META_LIST)
    for _ in range(2):
        ask_for_all(troth, BytesIO(known.encode()), lambda _: None, dry_run=False)
        assert sorted(str(row.connection_id) for row in deletions(troth)) == sorted(one for _, one in granted)


def test_of_a_list_with_bad_lines_nothing_is_taken_and_each_is_named_with_its_mend(
    database_url: str, tmp_path: Path, troth: Services, known: str
) -> None:
    lines = [
        known,
        "12x",
        "1.02158E+16",
        "0",
        f"{STRANGER},{STRANGER}",
        "-4",
        "9" * 31,
        "\u0664\u0662",
        "5" * 70_000,
        "",
    ]
    done = load(database_url, tmp_path, "\n".join(lines).encode() + b"\n\xff\xfe\n7")
    assert (done.exit_code, deletions(troth)) == (1, [])
    told = dict(line[5:].split(": ", 1) for line in done.stderr.splitlines() if line.startswith("line "))
    digits = "This is no id: write its digits alone, at most 30."
    assert {number: sentence for number, sentence in told.items() if sentence != digits} == {
        "3": "A spreadsheet has rounded this id, so that it is lost: take the list from Meta again, and import it unopened.",
        "9": "The line is longer than 64 KiB.",
        "11": "This is not UTF-8: save the list as UTF-8 text.",
    }
    assert [*told] == ["2", "3", "4", "5", "6", "7", "8", "9", "11"]
    assert "mend the 9 bad lines" in done.stderr and known not in done.output and STRANGER not in done.output
    empty = load(database_url, tmp_path, b"user_id\n\n")
    assert (empty.exit_code, "the file holds no id" in empty.stderr) == (1, True)


@pytest.mark.parametrize(
    "content, found",
    [
        (b"41\r\n\r\n42", [Person(1, "41"), Person(3, "42")]),
        (b"\xef\xbb\xbf41\n 42 \n", [Person(1, "41"), Person(2, "42")]),
        (b"\xef\xbb\xbfUser ID\n41\n", [Person(2, "41")]),
        (b'name,user_id\n"Lovelace, Ada",41\n', [Person(2, "41")]),
        (b'id;app_scoped_user_id\n9;"41"\n', [Person(2, "41")]),
        (b"a\tuid\nb\t41\nb\n", [Person(2, "41"), Bad(3, "The line has no value in the column of ids: write one, or take"
                                                        " the line out.")]),
        (b'a,id\n"b,41\n', [Bad(2, "A quote is not closed, or has something behind it: write the id without quotes.")]),
        (b"people\n41\n", [Bad(1, "This is neither an id nor the head of a table: name its column of ids `user_id`.")]),
    ],
)  # fmt: skip
def test_a_list_or_a_table_is_read_with_its_line_numbers(content: bytes, found: list[Person | Bad]) -> None:
    assert list(read(BytesIO(content))) == found
