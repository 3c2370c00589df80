"""`troth keys rotate`: killed and run again it comes to its proof; what hinders it is a sentence and not a traceback."""

import base64
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from models.base import new_id
from models.database import Database
from models.tenancy import system_session, tenant_session
from models.vault import DataKey, Vault, wrapped_by
from tests.conftest import Company, FrozenClock
from worker.cli import troth

MASTERS = {name: f"{name}:{base64.b64encode(name[1:].encode() * 32).decode()}" for name in ("k1", "k2", "k3")}


def environment(url: str, *masters: str) -> dict[str, str]:
    return {"TROTH_DATABASE_URL": url, "TROTH_MASTER_KEYS": ",".join(MASTERS[name] for name in masters)}


def run(url: str, *masters: str) -> Result:
    return CliRunner().invoke(troth, ["keys", "rotate"], env=environment(url, *masters))


def make_keys(database: Database, vault: Vault, clock: FrozenClock, company: Company, number: int) -> int:
    """How many data keys there are then."""
    with tenant_session(database, company.id) as session:
        for scope in (new_id() for _ in range(number)):
            wrapped = vault._wrap(AESGCM.generate_key(256), company.id, scope)  # a savepoint for each would take long
            session.add(DataKey(tenant_id=company.id, scope=scope, master_key_id=vault.active, wrapped=wrapped,
                                created_at=clock()))  # fmt: skip
    return masters(database)[vault.active]


def masters(database: Database) -> dict[str, int]:
    with system_session(database, reads_only=True) as session:
        return wrapped_by(session)


@pytest.mark.every_database
def test_every_data_key_comes_under_the_first_master_key_and_the_last_line_proves_it(
    database_url: str, database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    number = make_keys(database, vault, clock, acme, 20)

    for _ in range(2):  # a second run has nothing to do, and proves the same
        rotated = run(database_url, "k2", "k1")
        assert rotated.exit_code == 0
        assert rotated.stdout == f"{number} data keys, all under k2; none under another.\n"
    assert masters(database) == {"k2": number}


def test_a_missing_master_key_is_a_sentence_and_nothing_is_lost(
    database_url: str, database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    number = make_keys(database, vault, clock, acme, 3)

    refused = run(database_url, "k2", "k3")

    assert refused.exit_code == 1
    assert "'k1' is not in TROTH_MASTER_KEYS" in refused.stderr
    assert "run this again" in refused.stderr
    assert masters(database) == {"k1": number}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_data_key_that_somebody_holds_is_left_and_named(
    database_url: str, database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    number = make_keys(database, vault, clock, acme, 3)
    with tenant_session(database, acme.id) as session:
        vault.destroy(session, acme.id, acme.connection_id)  # and its transaction is still open
        left = run(database_url, "k2", "k1")

    assert left.exit_code == 1
    assert "1 under k1" in left.stderr
    assert masters(database) == {"k2": number - 1}


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_a_rotation_that_is_killed_in_the_middle_goes_on_when_run_again(
    database_url: str, database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    number = make_keys(database, vault, clock, acme, 4000)
    command = [sys.executable, "-m", "worker", "keys", "rotate"]
    with subprocess.Popen(
        command, env={**os.environ, **environment(database_url, "k2", "k1")}, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stderr is not None
        assert child.stderr.readline() == f"data keys: 500 of {number}\n"
        child.kill()
    assert child.returncode == -9
    stopped = masters(database)
    assert set(stopped) == {"k1", "k2"}, "it was over before it was killed"
    assert stopped["k2"] % 500 == 0

    rotated = run(database_url, "k2", "k1")

    assert rotated.stdout.splitlines()[-1] == f"{number} data keys, all under k2; none under another."
    assert f"of {stopped['k1']}\n" in rotated.stderr  # only what was left
    assert masters(database) == {"k2": number}


def test_the_doctor_tells_old_master_keys_from_lost_ones(
    database_url: str, redis_url: str, database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    number = make_keys(database, vault, clock, acme, 3)

    def told(*masters: str) -> str:
        given = {**environment(database_url, *masters), "TROTH_REDIS_URL": redis_url}
        lines = CliRunner().invoke(troth, ["doctor"], env=given).stdout.splitlines()
        return next(line for line in lines if " keys: " in line)

    assert told("k1") == f"ok   keys: {number} data keys, all under k1"
    assert told("k2", "k1") == (
        f"ok   keys: data keys are under older master keys ({number} under k1): `troth keys rotate` rewraps them"
    )
    assert told("k2").startswith(f"FAIL keys: data keys cannot be opened ({number} under k1)")
