"""When a deletion is over, and what its receipt says of it: read from its rows, in a transaction of its tenant."""

from datetime import datetime

from sqlalchemy.orm import Session

from models.decision import acknowledge
from models.deletion import (
    AWAITING_HOST,
    COMPLETED,
    FREEZE,
    HOST,
    PROVIDER_STEPS,
    RESCAN,
    STEP_DONE,
    STEP_SKIPPED,
    VERIFY,
    Deletion,
    DeletionStep,
    described,
    end_step,
    parts_of,
    steps_of,
)
from models.ed25519 import SigningKey
from models.feed import DELETION_COMPLETED, emit
from models.receipt import Receipt, issue
from models.receipt_body import Facts, ProviderPart, sentence_or, title_or
from models.receipt_key import signing_key
from models.retention import legal_exceptions
from models.tenancy import system_session
from models.watch import look
from worker.services import Services
from worker.work import Work

NOT_STORES = (*PROVIDER_STEPS, FREEZE, VERIFY, HOST, RESCAN)
BACKUPS = (
    "Backups made before the erasure may still hold the rows in sealed form. Keys of erased connections are destroyed there"
    " too when the deletions are replayed after a restore."
)
SHARED_KEY = (
    "The person's rows were sealed with keys that other leads share. What a database leaves on its disk until it reuses the"
    " space stays sealed and is not destroyed with a key."
)
PROVIDERS_WORDS = "The provider said why in words that are kept in the deletion's step."
NOT_ATTESTED = "The host has not attested yet that its copies are gone."


def receipt_key(services: Services) -> SigningKey:
    """The key that signs, made on first use. Ask before the transaction that needs it: this one is the system's."""
    with system_session(services.database) as session:
        return signing_key(session, services.vault, services.clock())


def settle(work: Work, row: Deletion, key: SigningKey, now: datetime) -> None:
    """Ours is gone: complete, unless the host's half is still to be attested. Either way there is a receipt."""
    is_news = False
    if row.host_needed and row.acknowledged_at is None:
        row.status = AWAITING_HOST
    else:
        outcome, sentence = (STEP_DONE, None) if row.host_needed else (STEP_SKIPPED, "The host had no copy of it.")
        end_step(work.session, row.id, HOST, outcome, sentence, now)
        is_news = row.completed_at is None
        row.status, row.completed_at = COMPLETED, row.completed_at or now
    row.act_at = look(row, now).next_at
    work.session.flush()
    issue_receipt(work.session, key, row, now)
    if is_news:
        emit(work.session, row.tenant_id, [(DELETION_COMPLETED, described(row))], now)


def acknowledged(
    work: Work, row: Deletion, key: SigningKey, *, system: str, deleted: int | None, now: datetime
) -> None:
    """The host attests its half; when ours is verified that completes the deletion."""
    acknowledge(row, system=system, deleted=deleted, now=now)
    if row.status in (AWAITING_HOST, COMPLETED):
        settle(work, row, key, now)


def issue_receipt(session: Session, key: SigningKey, row: Deletion, now: datetime) -> Receipt:
    """The newest receipt of a deletion; earlier ones stay in the chain. Take it just before events."""
    return issue(session, key, tenant_id=row.tenant_id, deletion_id=row.id, body=dict(facts(session, row)), now=now)


def facts(session: Session, row: Deletion) -> Facts:
    """All that a receipt says of a deletion: ids, counts, instants and sentences of ours."""
    steps = steps_of(session, row.id)
    grants = [step for one in (row, *parts_of(session, row.id)) for step in steps_of(session, one.id)
              if step.name in PROVIDER_STEPS]  # fmt: skip
    scope = {"kind": row.kind, "digest": row.scope_digest or ""}
    return {
        "deletion": {
            "id": row.id,
            "confirmation_code": row.confirmation_code,
            "scope": scope | ({"integration": row.integration} if row.integration else {}),  # type: ignore[typeddict-item]
            "requested_by": row.requested_by,
            "approved_by_second_person": row.approver is not None,
            "requested_at": row.requested_at,
            "approved_at": row.approved_at,
            "undo_until": row.undo_until,
            "frozen_at": row.frozen_at,
            "safe_due_at": row.safe_due_at,
            "promise_due_at": row.promise_due_at,
            "erased_at": row.erased_at,
            "verified_at": row.verified_at,
        },
        "calendar": {
            "name": title_or(row.calendar or "", "other"),
            "version": row.calendar_version or "",
            "digest": row.calendar_digest or "",
            "skipped": row.skipped or [],
        },
        "stores": [
            {"name": one.name, "before": one.before, "deleted": one.deleted, "after": one.after}
            for one in steps if one.name not in NOT_STORES
        ],
        "provider": [_at_provider(one) for one in grants],
        "host": {"needed": row.host_needed, "acknowledged_at": row.acknowledged_at, "acks": row.acks or []},
        "rescan": None if row.rescanned_at is None else {"at": row.rescanned_at, "left": _left(steps)},
        "exceptions": [
            *_exceptions(row),
            *legal_exceptions(session, row.tenant_id, {one.name for one in steps if one.before}, row.requested_at),
        ],
    }  # fmt: skip


def _at_provider(one: DeletionStep) -> ProviderPart:
    part: ProviderPart = {
        "name": one.name, "status": one.status, "sentence": sentence_or(one.sentence, PROVIDERS_WORDS)
    }  # fmt: skip
    if one.before is not None:
        part |= {"before": one.before, "deleted": one.deleted or 0}
    return part


def _left(steps: list[DeletionStep]) -> int:
    return sum(step.after or 0 for step in steps)


def _exceptions(row: Deletion) -> list[str]:
    found = [BACKUPS]
    if row.email is not None or row.phone is not None:
        found.append(SHARED_KEY)
    if row.host_needed and row.acknowledged_at is None:
        found.append(NOT_ATTESTED)
    return found
