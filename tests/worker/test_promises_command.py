"""`troth promises`: each with what keeps and proves it, counted over all tenants; a broken one is no good end."""

import base64
import json

from click.testing import CliRunner, Result

from models.database import Database
from models.deletion import Deletion
from models.promise import promises
from models.tenancy import system_session
from tests.conftest import Company, FrozenClock
from tests.receipts import a_deletion
from worker.cli import troth

MASTER_KEY = "k1:" + base64.b64encode(b"1" * 32).decode()


def test_a_broken_promise_is_named_and_ends_with_status_1(
    database: Database, database_url: str, acme: Company, clock: FrozenClock
) -> None:
    def ask(*words: str) -> Result:
        settings = {"TROTH_DATABASE_URL": database_url, "TROTH_MASTER_KEYS": MASTER_KEY, "COLUMNS": "220"}
        return CliRunner().invoke(troth, ["promises", *words], env=settings)

    # The command reads the real clock: what is due lies in a far future, and what is broken in a far past.
    clock.now = clock.now.replace(year=2900)
    asked = a_deletion(database, acme, clock)
    good = ask()
    assert (good.exit_code, good.stderr) == (0, "")
    assert all(one.id in good.stdout for one in promises())

    with system_session(database) as session:
        session.get_one(Deletion, asked.id).promise_due_at = clock().replace(year=2000)
    bad = ask("--json")
    entries = {one["id"]: one for one in json.loads(bad.stdout)}
    broken = {"deleted-on-request-unless-law-forbids", "every-readily-searchable-store",
              "facebook-erased-in-seven-working-days", "leads-and-their-history-erased"}  # fmt: skip
    assert bad.exit_code == 1
    assert {name for name, one in entries.items() if one["now"] and one["now"]["broken"]} == broken
    assert all(name in bad.stderr for name in broken)
    first = entries["facebook-erased-in-seven-working-days"]
    assert first["now"] == {"kept": 0, "due": 0, "broken": 1}
    assert first["tests"] and first["jobs"] and entries["tenants-apart"]["now"] is None
