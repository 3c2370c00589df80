"""Retention as a page: a tenant's rules with what they would take and when, what the law keeps, and the switches; and the forms
by which people set, count, arm and drop them."""

from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Form
from pydantic import BaseModel, ValidationError
from sqlalchemy import select
from starlette.responses import RedirectResponse, Response

from models.activity import RULED
from models.base import new_id
from models.housekeeping import HOUSEKEEPING
from models.retention import LegalRetention, RetentionRule, Terms, legal_in_effect, rule_named, switch
from models.tenancy import tenant_session
from models.tenant import Tenant
from worker.services import Services
from worker.web.admin.connection_forms import Chosen
from worker.web.admin.rendering import page
from worker.web.admin.visitors import AtDesk, Desk, OwnForm, Visitor, desk_of, mark_of
from worker.web.api.paging import known_id
from worker.web.api.retention import LawWish, RuleWish
from worker.web.callers import Parts
from worker.web.problems import Problem, not_found
from worker.web.retention_requests import dry_run, put_rule
from worker.web.validation import in_words
from worker.work import Work

router = APIRouter(prefix="/admin/retention")
Name = Annotated[str, Form(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Text = Annotated[str, Form(max_length=190)]
Number = Annotated[int, Form()]
HOME = "/admin/retention"
Wished = TypeVar("Wished", bound=BaseModel)


@router.get("")
def retention(services: Parts, desk: AtDesk) -> Response:
    """All that is let go for its age, and what keeps it."""
    now = services.clock()
    with tenant_session(services.database, desk.tenant.id, reads_only=True) as session:
        rules = session.scalars(select(RetentionRule).order_by(RetentionRule.id).limit(100)).all()
        laws = session.scalars(select(LegalRetention).order_by(LegalRetention.id).limit(100)).all()
        now_kept = {one.id for one in legal_in_effect(session, desk.tenant, None, now)}
    return page(
        "retention.html", desk=desk, rules=rules, laws=laws, now_kept=now_kept, stores=RULED, papers=HOUSEKEEPING,
        blocked={one.store for one in laws if one.id in now_kept}, is_on=desk.tenant.retention_off_at is None,
        is_on_here=services.settings.retention,
    )  # fmt: skip


@router.post("/rules", dependencies=[OwnForm])
def set_terms(
    services: Parts, visitor: Visitor, name: Name, store: Text, after_days: Number, notice_hours: Number, batch: Number,
    tenant: Chosen = "",
) -> Response:  # fmt: skip
    """Set the terms of a rule; it begins in dry run."""
    given = _read(RuleWish, store=store, after_days=after_days, notice_hours=notice_hours, batch=batch)
    terms = Terms(given.store, given.after_days, given.notice_hours, given.batch)
    return _rule(services, visitor, tenant, name, lambda _row: (terms, False))


@router.post("/rules/{name}/{act}", dependencies=[OwnForm])
def act_on(name: str, act: str, services: Parts, visitor: Visitor, tenant: Chosen = "") -> Response:
    """Count for a rule, arm it, disarm it, or drop it."""
    if act in ("arm", "disarm"):
        return _rule(services, visitor, tenant, name, lambda row: (_terms(row), act == "arm"))

    def change(work: Work) -> None:
        if act == "dry-run":
            dry_run(work, name, services.clock())
        elif act == "drop" and (row := rule_named(work.session, name, lock=True)) is not None:
            work.session.delete(row)
        else:
            raise not_found()

    return _change(services, desk_of(services, visitor, tenant or None), change)


@router.post("/switch", dependencies=[OwnForm])
def turn(services: Parts, visitor: Visitor, on: Annotated[bool, Form()], tenant: Chosen = "") -> Response:
    """The tenant's kill switch."""
    desk = desk_of(services, visitor, tenant or None)

    def change(work: Work) -> None:
        row = work.session.get_one(Tenant, desk.tenant.id, with_for_update=True)
        switch(work.session, row, is_on=on, now=services.clock())

    return _change(services, desk, change)


@router.post("/laws", dependencies=[OwnForm])
def add_law(
    services: Parts, visitor: Visitor, store: Text, jurisdiction: Text, reason: Text,
    effective_from: Annotated[date, Form()], until: Annotated[date | Literal[""], Form()] = "", tenant: Chosen = "",
) -> Response:  # fmt: skip
    """Name a law that keeps a store."""
    desk = desk_of(services, visitor, tenant or None)
    law = _read(LawWish, store=store, jurisdiction=jurisdiction.strip().upper(), reason=reason,
                effective_from=effective_from, until=until or None)  # fmt: skip
    row = LegalRetention(id=new_id(), tenant_id=desk.tenant.id, created_at=services.clock(), **law.model_dump())
    return _change(services, desk, lambda work: work.session.add(row))


@router.post("/laws/{law_id}/drop", dependencies=[OwnForm])
def drop_law(law_id: str, services: Parts, visitor: Visitor, tenant: Chosen = "") -> Response:
    """It keeps nothing any more."""

    def change(work: Work) -> None:
        query = select(LegalRetention).where(LegalRetention.id == known_id(law_id))
        row = work.session.scalars(query).one_or_none()
        if row is None:
            raise not_found()
        work.session.delete(row)

    return _change(services, desk_of(services, visitor, tenant or None), change)


def _rule(
    services: Services, visitor: Any, tenant: str, name: str,
    wanted: Callable[[RetentionRule | None], tuple[Terms, bool]],
) -> Response:  # fmt: skip
    desk = desk_of(services, visitor, tenant or None)

    def change(work: Work) -> None:
        now = services.clock()
        terms, is_armed = wanted(rule_named(work.session, name, lock=True))
        hashes = services.vault.keyring(work.session, desk.tenant.id, desk.tenant.id, now)
        put_rule(work, desk.tenant.id, name, terms, is_armed=is_armed, who=mark_of(hashes, visitor), now=now)

    return _change(services, desk, change)


def _terms(row: RetentionRule | None) -> Terms:
    if row is None:
        raise not_found()
    return Terms(row.store, row.after_days, row.notice_hours, row.batch)


def _read(kind: type[Wished], **given: object) -> Wished:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        wrong = in_words(error.errors())
    told = " ".join(f"{one['field'].replace('_', ' ')}: {one['problem']}." for one in wrong)
    raise Problem("invalid", f"Mend this and send the form again. {told}", errors=wrong)


def _change(services: Services, desk: Desk, change: Callable[[Work], None]) -> Response:
    with Work(services, desk.tenant.id) as work:
        change(work)
    return RedirectResponse(desk.address(HOME), 303)
