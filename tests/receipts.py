"""What tests of receipts share: a deletion of a company's, what it came to, and its receipt; it tests nothing itself."""

from datetime import date, timedelta

from models.database import Database
from models.deletion import Deletion
from models.ed25519 import SigningKey
from models.receipt import Receipt, issue
from models.receipt_body import Facts
from models.receipt_key import signing_key
from models.revocation import begin_revocation
from models.tenancy import system_session, tenant_session
from models.vault import Vault
from tests.conftest import Company, FrozenClock

CODE = "c0de" * 8


def a_deletion(database: Database, company: Company, clock: FrozenClock) -> Deletion:
    """One more request about the company's connection."""
    with tenant_session(database, company.id) as session:
        begun = begin_revocation(
            session, company.connection_id, requested_by="api", undo=timedelta(0), now=clock(), code=CODE
        )
        assert begun is not None
        return begun[0]


def facts(deletion: Deletion, clock: FrozenClock) -> Facts:
    """What it came to: 12 rows, none left, one day that did not count, and one honest exception."""
    now = clock()
    return {
        "deletion": {
            "id": deletion.id,
            "confirmation_code": deletion.confirmation_code,
            "scope": {"kind": "connection", "digest": "ab" * 32, "integration": "facebook_leads"},
            "requested_by": "api",
            "approved_by_second_person": True,
            "requested_at": deletion.requested_at,
            "approved_at": now,
            "undo_until": deletion.undo_until,
            "frozen_at": now,
            "safe_due_at": deletion.safe_due_at,
            "promise_due_at": deletion.promise_due_at,
            "erased_at": now,
            "verified_at": now,
        },
        "calendar": {
            "name": "IN-MH", "version": "0.90", "digest": "cd" * 32,
            "skipped": [{"day": date(2026, 3, 4), "why": "Holi"}, {"day": date(2026, 3, 7), "why": "Субота"}],
        },
        "stores": [
            {"name": "leads", "before": 2, "deleted": 2, "after": 0},
            {"name": "lead_history", "before": 10, "deleted": 10, "after": 0},
        ],
        "provider": [{"name": "revoke_grant", "status": "done", "sentence": "The page’s access was given back (1 of 1)."}],
        "host": {"needed": True, "acknowledged_at": now, "acks": [{"at": now, "by": "key:" + deletion.id}]},
        "rescan": {"at": now, "left": 0},
        "exceptions": ["Back-ups are not changed; one that is restored is cleaned before work begins."],
    }  # fmt: skip


def the_key(database: Database, vault: Vault, clock: FrozenClock) -> SigningKey:
    """The key that signs."""
    with system_session(database) as session:
        return signing_key(session, vault, clock())


def a_receipt(
    database: Database, vault: Vault, company: Company, clock: FrozenClock, deletion: Deletion | None = None
) -> Receipt:
    """The next receipt of a company's chain."""
    key, about = the_key(database, vault, clock), deletion or a_deletion(database, company, clock)
    with tenant_session(database, company.id) as session:
        return issue(session, key, tenant_id=company.id, deletion_id=about.id, body=facts(about, clock), now=clock())  # type: ignore[arg-type]
