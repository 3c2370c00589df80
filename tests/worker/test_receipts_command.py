"""`troth receipts`: an auditor verifies offline with the keys alone; an operator lists, shows and changes the key."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from models.base import new_id
from models.database import Database
from models.receipt import document
from models.vault import Vault
from tests.conftest import Company, FrozenClock
from tests.receipts import a_deletion, a_receipt
from worker.cli import troth

NOWHERE = {"TROTH_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nothing"}
MASTER_KEY = "k1:" + base64.b64encode(b"1" * 32).decode()
Troth = Callable[..., Result]


@pytest.fixture
def here(database_url: str) -> Troth:
    """here(*words) -> how it ended, beside the database."""
    return lambda *words: run({"TROTH_DATABASE_URL": database_url, "TROTH_MASTER_KEYS": MASTER_KEY}, *words)


def away(*words: str) -> Result:
    """The same where no database answers."""
    return run(NOWHERE, *words)


def run(environment: dict[str, str], *words: str) -> Result:
    return CliRunner().invoke(troth, ["receipts", *words], env={"COLUMNS": "200", **environment})


@pytest.fixture
def two(database: Database, vault: Vault, acme: Company, clock: FrozenClock) -> list[dict[str, Any]]:
    """Two receipts of acme's."""
    deletion = a_deletion(database, acme, clock)
    return [document(a_receipt(database, vault, acme, clock, deletion)) for _ in range(2)]


def saved(folder: Path, name: str, content: object) -> str:
    path = folder / name
    path.write_text(json.dumps(content))
    return str(path)


def test_a_receipt_is_verified_where_there_is_no_database(tmp_path: Path, two: list[dict[str, Any]]) -> None:
    first, second = (saved(tmp_path, f"{number}.json", one) for number, one in enumerate(two))
    key = two[0]["signature"]["public_key"]

    given = away("verify", second, "--key", key, "--previous", first)
    assert (given.exit_code, given.stdout) == (0, "The receipt is true, and follows the one before it.\n")
    for environment in (NOWHERE, {**NOWHERE, "TROTH_MASTER_KEYS": MASTER_KEY}):
        without = run(environment, "verify", second)
        assert (without.exit_code, without.stdout) == (1, "")
        assert "no keys were given by --key" in without.stderr
    saved(tmp_path, "troth-receipt-keys.json", {"keys": [{"id": "a claim", "public_key": key}]})
    assert away("verify", second).exit_code == 0
    saved(tmp_path, "troth-receipt-keys.json", {"keys": [{"public_key": key[1:]}]})
    assert "fetch it again" in away("verify", second).stderr


def test_what_does_not_hold_ends_with_status_1_and_the_sentence(tmp_path: Path, two: list[dict[str, Any]]) -> None:
    key = two[0]["signature"]["public_key"]
    first, second = (saved(tmp_path, f"{number}.json", one) for number, one in enumerate(two))
    two[0]["body"]["rescan"]["left"] = 3
    changed = saved(tmp_path, "changed.json", two[0])
    for words, sentence in (
        ((changed, "--key", key), "The body was changed after it was signed"),
        ((first, "--key", key, "--previous", second), "The chain is broken: "),
        ((second, "--key", key, "--previous", changed), "The receipt before it does not hold."),
        ((first, "--key", "A" * 43), "The key of the signature is not known"),
        ((first, "--key", "short"), "a key is not 32 bytes in base64url"),
    ):
        ended = away("verify", *words)
        assert (ended.exit_code, ended.stdout) == (1, ""), words
        assert ended.stderr.startswith(f"Error: {sentence}")


def test_what_is_listed_can_be_shown_and_what_is_shown_verified_also_after_a_new_key(
    here: Troth, tmp_path: Path, two: list[dict[str, Any]], acme: Company, globex: Company
) -> None:
    listed = here("list", "--tenant", acme.external_id)
    assert listed.exit_code == 0
    assert [line.split()[1] for line in listed.stdout.splitlines()[1:]] == [
        one["body"]["receipt"]["id"] for one in reversed(two)
    ]
    assert here("list", "--tenant", globex.external_id).stdout.count("\n") == 1
    assert "no tenant is called" in here("list", "--tenant", "nobody").stderr
    shown = here("show", two[0]["body"]["receipt"]["id"])
    assert json.loads(shown.stdout) == two[0]
    for unknown in (new_id(), "x"):
        assert "no receipt has this id" in here("show", unknown).stderr

    new_key = here("rotate").stdout.split()
    assert (len(new_key[0]), len(new_key[1])) == (16, 43)
    (tmp_path / "shown.json").write_text(shown.stdout)
    assert here("verify", str(tmp_path / "shown.json")).stdout == "The receipt is true: it is as it was signed.\n"
    assert "not known" in away("verify", str(tmp_path / "shown.json"), "--key", new_key[1]).stderr
