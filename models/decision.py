"""What people decide about a deletion that was asked for: agree, take back, hold, release, attest. It changes the row
that it is given, which the caller has locked (`models.deletion.locked`), and asks no database."""

from datetime import datetime

from models.deletion import ASKED_BY_PERSON, AWAITING_APPROVAL, CANCELLED, HELD, NOT_BEGUN, SCHEDULED, Deletion
from models.vault import Keyring


def requester_mark(hashes: Keyring, who: str) -> bytes:
    """A keyed hash of a person or a credential: two of them can be told apart, and neither is known."""
    return hashes.fingerprint(f"requester:{who.strip().lower()}")


class NotNow(ValueError):
    """The request is in a state in which this cannot be done; the text says why, and may be shown."""


class SamePerson(NotNow):
    """Who asked cannot be who agrees."""


def approve(row: Deletion, approver: bytes, now: datetime) -> None:
    """A second person agrees; again by anyone changes nothing. SamePerson, or NotNow when there is nothing to agree to."""
    if row.approved_at is not None:
        return
    if not row.needs_approval:
        raise NotNow("This deletion needs no approval.")
    if row.status not in NOT_BEGUN:
        raise NotNow(f"This deletion is {row.status.replace('_', ' ')}; it cannot be approved any more.")
    if approver == row.requester:
        raise SamePerson(
            "Whoever asked for a deletion cannot approve it: leads are deleted only when two people agree."
        )
    row.approved_at, row.approver, row.moved_at = now, approver, now
    if row.status == AWAITING_APPROVAL:
        row.status, row.act_at = SCHEDULED, max(now, row.undo_until)


def cancel(row: Deletion, now: datetime) -> None:
    """The tenant takes its request back. NotNow once it has begun, or where it is not the tenant's to take back."""
    if row.status == CANCELLED:
        return
    if row.requested_by in ASKED_BY_PERSON:
        raise NotNow("The person whose data it is asked for this deletion; it cannot be cancelled here.")
    if row.status not in NOT_BEGUN:
        raise NotNow(f"This deletion is {row.status.replace('_', ' ')}: what has been frozen cannot be brought back.")
    row.status, row.act_at, row.completed_at = CANCELLED, None, now


def hold(row: Deletion, reason: str, now: datetime) -> None:
    """The law or a dispute forbids deleting for now; its alarms go on. NotNow once it has begun."""
    if row.status not in NOT_BEGUN:
        raise NotNow(f"This deletion is {row.status.replace('_', ' ')}; only one that has not begun can be held.")
    row.status, row.hold_reason, row.moved_at = HELD, reason, now
    row.act_at = now


def release(row: Deletion, now: datetime) -> None:
    """The reason is gone, and the deletion is armed again: it runs as soon as it may. Its due dates are as they were."""
    if row.status != HELD:
        raise NotNow(f"This deletion is {row.status.replace('_', ' ')}; there is no hold to release.")
    row.status = AWAITING_APPROVAL if row.needs_approval and row.approved_at is None else SCHEDULED
    row.hold_reason, row.moved_at, row.act_at = None, now, max(now, row.undo_until)


def acknowledge(row: Deletion, *, system: str, deleted: int | None, now: datetime) -> None:
    """The host attests that one of its systems holds nothing of it any more."""
    row.acks = [
        *(row.acks or ()),
        {"system": system, "deleted": deleted, "at": now.isoformat().removesuffix("+00:00") + "Z"},
    ]
    row.acknowledged_at = row.acknowledged_at or now
