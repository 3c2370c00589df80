"""`/deletions/{code}`: how far a deletion is, in words, for whoever was given its code. No name and no person is shown."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Header
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse, Response

from models.deletion import (
    DESTROY_TOKENS,
    NOTHING_HELD,
    REVOKE_GRANT,
    SCHEDULED,
    STEP_DONE,
    STEP_FAILED,
    STEP_PENDING,
    STEP_SKIPPED,
    STOP_NOTICES,
    Deletion,
    deletions_by_code,
    steps_of,
)
from models.tenancy import system_session
from models.tenant import Tenant
from worker.grants import BY_NAME
from worker.web.admin.rendering import page
from worker.web.callers import Parts
from worker.web.public import message

router = APIRouter(include_in_schema=False)

_CODE = re.compile(r"[0-9a-f]{32}")
_JUST_BEFORE = timedelta(microseconds=1)

STATUS_WORDS = {SCHEDULED: "Scheduled", NOTHING_HELD: "Nothing to delete"}
STEP_WORDS = {
    STOP_NOTICES: "Stop taking in new data",
    REVOKE_GRANT: "Give the access back to the provider",
    DESTROY_TOKENS: "Destroy the stored access",
}
OUTCOME_WORDS = {STEP_PENDING: "To be done", STEP_DONE: "Done", STEP_SKIPPED: "Not done", STEP_FAILED: "Failed"}


@dataclass(frozen=True, slots=True)
class StepTold:
    """A step in words."""

    words: str
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
    steps: Sequence[StepTold]


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
    integration = BY_NAME.get(row.integration or "")
    steps = [
        StepTold(STEP_WORDS.get(one.name, one.name.replace("_", " ").capitalize()), one.status,
                 OUTCOME_WORDS.get(one.status, one.status), one.sentence)
        for one in steps_of(session, row.id)
    ]  # fmt: skip
    return Told(
        what="" if integration is None else f"A connection to {integration.title}, and everything acquired through it",
        status=row.status,
        words=STATUS_WORDS.get(row.status, row.status.replace("_", " ").capitalize()),
        requested_at=row.requested_at,
        due_at=row.promise_due_at,
        due_on=last_day(row.promise_due_at, zone),
        zone=zone,
        steps=steps,
    )


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
        "steps": steps,
    }
