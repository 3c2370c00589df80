"""`/deletions/{code}`: how far a deletion is, in words, for whoever was given its code. No name and no person is shown."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Header
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse, Response

from models.deletion import (
    AWAITING_APPROVAL,
    AWAITING_HOST,
    CANCELLED,
    COMPLETED,
    DESTROY_TOKENS,
    FREEZE,
    HELD,
    HOST,
    IDLE,
    INTEGRATION,
    NOTHING_HELD,
    REMOVE_EVENTS,
    RESCAN,
    REVOKE_GRANT,
    RUNNING,
    SCHEDULED,
    STEP_DONE,
    STEP_FAILED,
    STEP_PENDING,
    STEP_SKIPPED,
    STOP_NOTICES,
    SUBJECT,
    TENANT,
    VERIFY,
    Deletion,
    DeletionStep,
    deletions_by_code,
    parts_of,
    steps_of,
)
from models.tenancy import system_session
from models.tenant import Tenant
from worker.grants import BY_NAME
from worker.web.admin.rendering import page
from worker.web.callers import Parts
from worker.web.public import message
from worker.web.store_words import Line, lines_of

router = APIRouter(include_in_schema=False)

_CODE = re.compile(r"[0-9a-f]{32}")
ERASE = "erase"
"""All stores as one step: people ask what became of the data, not of each table."""
_JUST_BEFORE = timedelta(microseconds=1)

STATUS_WORDS = {
    AWAITING_APPROVAL: "Waiting for a second person to agree",
    SCHEDULED: "Scheduled",
    HELD: "On hold",
    RUNNING: "Being carried out",
    AWAITING_HOST: "Deleted here; the customer's own system has still to confirm",
    COMPLETED: "Done",
    CANCELLED: "Cancelled",
    NOTHING_HELD: "Nothing to delete",
}
HOLD_WORDS = {
    "legal_claim": "The data is needed for a legal claim, and is deleted when that is over.",
    "legal_obligation": "The law demands that the data is kept for now; it is deleted when it no longer does.",
    "dispute": "There is a dispute about the request; the data is deleted or kept as that is settled.",
    "requester_unverified": "It is not yet certain that the request came from who may ask for it.",
    "other": "The request is looked at by a person before it goes on.",
}
STEP_WORDS = {
    REMOVE_EVENTS: "Remove our events from the provider's calendar",
    STOP_NOTICES: "Stop taking in new data",
    REVOKE_GRANT: "Give the access back to the provider",
    DESTROY_TOKENS: "Destroy the stored access",
    FREEZE: "Let nothing of it in any more",
    ERASE: "Delete the data and its history",
    VERIFY: "Count again that nothing is left",
    HOST: "Have the customer's own system delete its copies",
    RESCAN: "Count once more a day later",
}
OUTCOME_WORDS = {STEP_PENDING: "To be done", STEP_DONE: "Done", STEP_SKIPPED: "Not done", STEP_FAILED: "Failed"}


@dataclass(frozen=True, slots=True)
class StepTold:
    """A step in words."""

    words: str
    name: str
    status: str
    outcome: str
    sentence: str | None


@dataclass(frozen=True, slots=True)
class Told:
    """A request in words. `due_on` is the last day on which it may be done, where the customer is."""

    what: str
    status: str
    words: str
    requested_at: datetime
    due_at: datetime
    due_on: str
    zone: str
    held: str | None
    skipped: Sequence[Mapping[str, str]]
    completed_at: datetime | None
    steps: Sequence[StepTold]
    deleted: Sequence[Line]


@router.get("/deletions/{code}")
def status(code: str, services: Parts, accept: Annotated[str, Header()] = "") -> Response:
    """What was asked for, what has been done, and by when the rest will be."""
    told: list[Told] = []
    if _CODE.fullmatch(code):
        with system_session(services.database, reads_only=True) as session:
            told = [in_words(session, row) for row in deletions_by_code(session, code)]
    if not told:
        return message(
            "No deletion has this code",
            "Check that the address was copied whole. A code is shown when a deletion is asked for.",
            status=404,
        )
    if accept.partition(",")[0].strip() == "application/json":
        return JSONResponse({"confirmation_code": code, "requests": [_as_json(one) for one in told]})
    return page("deletion.html", code=code, requests=told)


def in_words(session: Session, row: Deletion) -> Told:
    """A request in words, with its steps (a session of its tenant, or a system session)."""
    zone = session.get_one(Tenant, row.tenant_id).timezone
    own = steps_of(session, row.id)
    return Told(
        what=what_of(row),
        status=row.status,
        words=STATUS_WORDS[row.status],
        requested_at=row.requested_at,
        due_at=row.promise_due_at,
        due_on=last_day(row.promise_due_at, zone),
        zone=zone,
        held=HOLD_WORDS.get(row.hold_reason or ""),
        skipped=row.skipped or (),
        completed_at=row.completed_at,
        steps=_steps(session, row, own),
        deleted=[line for line in lines_of({one.name: one.deleted or 0 for one in own}) if line.rows],
    )


def what_of(row: Deletion) -> str:
    """What a request is about; empty when it is about nobody who is known here."""
    integration = BY_NAME.get(row.integration or "")
    if row.kind == SUBJECT:
        return "Everything kept about one person"
    if row.kind == IDLE and row.idle_since is not None:
        return f"Leads with which nobody has done anything since {row.idle_since:%d %B %Y}"
    if row.kind == TENANT:
        return "Everything kept for one customer"
    if integration is None:
        return ""
    some = "Every connection" if row.kind == INTEGRATION else "A connection"
    return f"{some} to {integration.title}, and everything acquired through it"


def _steps(session: Session, row: Deletion, own: Sequence[DeletionStep]) -> list[StepTold]:
    """The grant's steps, of this request and its parts, then what becomes of the data."""
    told: list[StepTold] = []
    stores = []
    parts = [step for part in parts_of(session, row.id) for step in steps_of(session, part.id)]
    for one in (*parts, *own):
        if one.name in STEP_WORDS:
            outcome = OUTCOME_WORDS.get(one.status, one.status)
            told.append(StepTold(STEP_WORDS[one.name], one.name, one.status, outcome, one.sentence))
        else:
            stores.append(one)
    if stores:
        place = next((number for number, one in enumerate(told) if one.name == VERIFY), len(told))
        status = STEP_DONE if all(one.status == STEP_DONE for one in stores) else STEP_PENDING
        told.insert(place, StepTold(STEP_WORDS[ERASE], ERASE, status, OUTCOME_WORDS[status], None))
    return told


def last_day(due_at: datetime, zone: str) -> str:
    """The due instant is the midnight after the last day."""
    return f"{(due_at - _JUST_BEFORE).astimezone(ZoneInfo(zone)):%A, %d %B %Y}"


def _as_json(told: Told) -> dict[str, object]:
    steps = [{"name": one.words, "status": one.status, "sentence": one.sentence} for one in told.steps]
    return {
        "what": told.what,
        "status": told.status,
        "requested_at": told.requested_at.isoformat(),
        "promise_due_at": told.due_at.isoformat(),
        "completed_at": told.completed_at and told.completed_at.isoformat(),
        "held": told.held,
        "skipped": list(told.skipped),
        "steps": steps,
        "deleted": [{"what": line.words, "rows": line.rows} for line in told.deleted],
    }
