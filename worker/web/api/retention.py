"""`/v1/retention-rules`, their dry run and the tenant's switch; `/v1/legal-retentions`: what the law keeps."""

from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from sqlalchemy import select
from starlette.responses import Response

from models.activity import RULED
from models.base import new_id
from models.decision import requester_mark
from models.idleness import idle_page
from models.retention import LEAST_NOTICE, MOST_AT_ONCE, LegalRetention, RetentionRule, Terms, rule_named, switch
from models.tenancy import tenant_session
from models.tenant import Tenant
from worker.services import Services
from worker.web.api.deletion_wishes import Who
from worker.web.api.fields import Line, Wish
from worker.web.api.paging import Cursor, Limit, Page, known_id, page_of, read_cursor
from worker.web.callers import Access, Parts, tenant_access
from worker.web.once import Asked, once
from worker.web.problems import not_found
from worker.web.retention_requests import dry_run, put_rule
from worker.work import Work

router = APIRouter(prefix="/v1", tags=["retention"])
Reader = Annotated[Access, Depends(tenant_access("deletions:read"))]
Writer = Annotated[Access, Depends(tenant_access("deletions:write"))]
Name = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$", description="The host's own name for the rule.")]


def _ruled(store: str) -> str:
    if store not in RULED:
        raise ValueError(f"Name a store that ages: {', '.join(RULED)}.")
    return store


class RuleWish(Wish):
    """The terms of a rule, and whether it is armed. New terms begin in dry run. `requested_by` names the person at the host:
    who sets the terms cannot arm them; kept as a keyed hash."""

    store: Annotated[str, StringConstraints(max_length=32)]
    after_days: Annotated[int, Field(ge=7, le=3650)]
    notice_hours: Annotated[int, Field(ge=LEAST_NOTICE, le=2160)] = LEAST_NOTICE
    batch: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] = 500
    armed: bool = False
    requested_by: Who | None = None

    _store = field_validator("store")(_ruled)


class RuleShown(BaseModel):
    """A rule. `state` is dry_run, armed or noticed; while noticed, what was idle before `idle_since` goes at `runs_at`."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    store: str
    after_days: int
    notice_hours: int
    batch: int
    armed: bool
    state: Literal["dry_run", "armed", "noticed"]
    armed_at: datetime | None
    counted: int | None
    counted_at: datetime | None
    noticed: int | None
    idle_since: datetime | None
    runs_at: datetime | None
    next_at: datetime | None
    deletion_id: str | None


class StoreCounted(BaseModel):
    """A store and how many of its rows would go."""

    name: str
    rows: int


class DryRun(BaseModel):
    """What a rule would take, counted now; nothing was deleted. `exceptions` are laws for which it takes nothing."""

    idle_since: datetime
    stores: list[StoreCounted]
    exceptions: list[str]
    counted_at: datetime


class IdleShown(BaseModel):
    """A lead that a rule means now."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    received_at: datetime


class SwitchWish(Wish):
    """Off: nothing of the tenant goes for its age, and notices are void."""

    on: bool


class SwitchShown(BaseModel):
    """Rules work when both are on: the tenant's switch, and the operator's for the whole installation."""

    on: bool
    off_since: datetime | None
    installation_on: bool


class LawWish(Wish):
    """A law that keeps a store, both days included. `reason` names the law, and no person."""

    store: Annotated[str, StringConstraints(max_length=32)]
    jurisdiction: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]
    reason: Line
    effective_from: Annotated[date, Field(strict=False)]
    until: Annotated[date | None, Field(strict=False)] = None

    _store = field_validator("store")(_ruled)

    @model_validator(mode="after")
    def _in_order(self) -> "LawWish":
        if self.until is not None and self.until < self.effective_from:
            raise ValueError("The last day is not before the first.")
        return self


class LawShown(BaseModel):
    """A law that keeps a store."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    store: str
    jurisdiction: str
    reason: str
    effective_from: date
    until: date | None


def _shown(row: RetentionRule) -> RuleShown:
    state = "dry_run" if row.armed_at is None else "armed" if row.runs_at is None else "noticed"
    plain = {name: getattr(row, name) for name in RuleShown.model_fields if name not in ("armed", "state")}
    return RuleShown(**plain, armed=row.armed_at is not None, state=state)  # type: ignore[arg-type]


@router.get("/retention-rules")
def rules(access: Reader, services: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[RuleShown]:
    """The tenant's rules."""
    after = read_cursor("retention-rules", cursor)
    query = select(RetentionRule).order_by(RetentionRule.id).limit(limit + 1)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        rows = session.scalars(query if after is None else query.where(RetentionRule.id > after)).all()
    return page_of("retention-rules", rows, limit, id_of=lambda row: row.id, show=_shown)


@router.get("/retention-rules/{name}")
def rule(name: Name, access: Reader, services: Parts) -> RuleShown:
    """One rule."""
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        row = rule_named(session, name)
    if row is None:
        raise not_found()
    return _shown(row)


@router.get("/retention-rules/{name}/leads")
def meant(name: Name, access: Reader, services: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[IdleShown]:
    """The leads that a rule means now: while a notice runs, those that would go. Whatever is done with one keeps it."""
    after = read_cursor("retention-leads", cursor)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        row = rule_named(session, name)
        if row is None:
            raise not_found()
        rows = idle_page(session, row, services.clock(), after=after, limit=limit + 1)
    return page_of("retention-leads", rows, limit, id_of=lambda one: one.id, show=IdleShown.model_validate)


@router.put("/retention-rules/{name}", response_model=RuleShown)
def put(name: Name, body: RuleWish, access: Writer, services: Parts, ask: Asked) -> Response:
    """Set a rule's terms; or, with the same terms, arm or disarm it."""

    def effect(work: Work) -> RuleShown:
        hashes = services.vault.keyring(work.session, access.tenant_id, access.tenant_id, services.clock())
        who = requester_mark(hashes, body.requested_by or access.caller.credential)
        terms = Terms(body.store, body.after_days, body.notice_hours, body.batch)
        return _shown(put_rule(work, access.tenant_id, name, terms, is_armed=body.armed, who=who, now=services.clock()))

    return once(services, access, ask, 200, effect)


@router.delete("/retention-rules/{name}", status_code=204)
def drop(name: Name, access: Writer, services: Parts) -> Response:
    """Drop a rule. A deletion that it has opened stays; cancel or hold that itself."""
    with Work(services, access.tenant_id) as work:
        row = rule_named(work.session, name, lock=True)
        if row is None:
            raise not_found()
        work.session.delete(row)
    return Response(status_code=204)


@router.post("/retention-rules/{name}/dry-run", response_model=DryRun)
def count(name: Name, access: Writer, services: Parts, ask: Asked) -> Response:
    """Count what a rule would take now. It may be armed after that."""

    def effect(work: Work) -> DryRun:
        now = services.clock()
        found = dry_run(work, name, now)
        stores = [StoreCounted(name=one, rows=rows) for one, rows in found.rows.items()]
        return DryRun(idle_since=found.idle_since, stores=stores, exceptions=found.kept_by, counted_at=now)

    return once(services, access, ask, 200, effect)


@router.get("/retention-switch")
def switched(access: Reader, services: Parts) -> SwitchShown:
    """Whether rules work."""
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        return _switch(session.get_one(Tenant, access.tenant_id), services)


@router.put("/retention-switch")
def turn(body: SwitchWish, access: Writer, services: Parts) -> SwitchShown:
    """Turn the tenant's rules off or on."""
    with Work(services, access.tenant_id) as work:
        tenant = work.session.get_one(Tenant, access.tenant_id, with_for_update=True)
        switch(work.session, tenant, is_on=body.on, now=services.clock())
        return _switch(tenant, services)


def _switch(tenant: Tenant, services: Services) -> SwitchShown:
    off = tenant.retention_off_at
    return SwitchShown(on=off is None, off_since=off, installation_on=services.settings.retention)


@router.get("/legal-retentions")
def laws(access: Reader, services: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[LawShown]:
    """What the law keeps."""
    after = read_cursor("legal-retentions", cursor)
    query = select(LegalRetention).order_by(LegalRetention.id).limit(limit + 1)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        rows = session.scalars(query if after is None else query.where(LegalRetention.id > after)).all()
    return page_of("legal-retentions", rows, limit, id_of=lambda row: row.id, show=LawShown.model_validate)


@router.post("/legal-retentions", status_code=201, response_model=LawShown)
def add_law(body: LawWish, access: Writer, services: Parts, ask: Asked) -> Response:
    """Name a law that keeps a store: no rule deletes of it in that time."""

    def effect(work: Work) -> LawShown:
        row = LegalRetention(id=new_id(), tenant_id=access.tenant_id, created_at=services.clock(), **body.model_dump())
        work.session.add(row)
        work.session.flush()
        return LawShown.model_validate(row)

    return once(services, access, ask, 201, effect)


@router.delete("/legal-retentions/{law_id}", status_code=204)
def drop_law(law_id: str, access: Writer, services: Parts) -> Response:
    """It keeps nothing any more; rules give notice anew."""
    known_id(law_id)
    with Work(services, access.tenant_id) as work:
        row = work.session.scalars(select(LegalRetention).where(LegalRetention.id == law_id)).one_or_none()
        if row is None:
            raise not_found()
        work.session.delete(row)
    return Response(status_code=204)
