"""What people do on the pages of Facebook leads: read, count, replay, fetch, map, backfill, test. Every form is posted."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.responses import RedirectResponse, Response

from integrations.facebook_leads.mapping import CONTACT_FIELDS, problems
from models.form import KEPT
from worker.web.admin.connection_forms import Chosen
from worker.web.admin.connections import one_of
from worker.web.admin.facebook import form_or_404, form_page
from worker.web.admin.leads import midnight
from worker.web.admin.visitors import Desk, OwnForm, Visitor, desk_of
from worker.web.api.lead_checks import check_or_404
from worker.web.api.paging import known_id
from worker.web.callers import Parts
from worker.web.form_reader import questions_of, tried
from worker.web.lead_reader import LeadReader
from worker.web.lead_repairs import backfill, check_now, fetch_missing, make_test_lead, read_now, replay
from worker.web.problems import Problem
from worker.work import Work

router = APIRouter(prefix="/admin", dependencies=[OwnForm])
Chose = Annotated[str, Form(max_length=190)]


@router.post("/facebook/replay")
def try_again(
    services: Parts, visitor: Visitor, event: Annotated[str, Form(max_length=36)] = "", tenant: Chosen = ""
) -> Response:
    """Try one failed lead again, or all of them."""
    desk = desk_of(services, visitor, tenant or None)
    with Work(services, desk.tenant.id) as work:
        replay(work, services, desk.tenant.id, ids=[known_id(event)] if event else None)
    return RedirectResponse(desk.address("/admin/facebook", {"said": "replayed"}), 303)


@router.post("/facebook/{connection_id}/read")
def read(connection_id: str, services: Parts, visitor: Visitor, tenant: Chosen = "") -> Response:
    """List a page's forms and read them now."""
    desk = desk_of(services, visitor, tenant or None)
    with Work(services, desk.tenant.id) as work:
        read_now(work, services, one_of(work.session, services, connection_id).row)
    return RedirectResponse(desk.address("/admin/facebook", {"said": "reading"}), 303)


@router.post("/facebook/{connection_id}/check")
def check(connection_id: str, services: Parts, visitor: Visitor, tenant: Chosen = "") -> Response:
    """Look at a page's connection, and count its leads now."""
    desk = desk_of(services, visitor, tenant or None)
    with Work(services, desk.tenant.id) as work:
        check_now(work, services, one_of(work.session, services, connection_id).row)
    return RedirectResponse(desk.address("/admin/facebook", {"said": "checking"}), 303)


@router.post("/forms/{form_id}/mapping")
def map_answers(
    form_id: str,
    services: Parts,
    visitor: Visitor,
    how: Annotated[str, Form(max_length=10)] = "try",
    full_name: Chose = "",
    first_name: Chose = "",
    last_name: Chose = "",
    email: Chose = "",
    phone: Chose = "",
    tenant: Chosen = "",
) -> Response:
    """Try a mapping on past leads, keep it (`how=keep`), or go back to the usual keys (`how=reset`)."""
    desk = desk_of(services, visitor, tenant or None)
    chosen = dict(zip(CONTACT_FIELDS, (full_name, first_name, last_name, email, phone), strict=True))
    mapping = {name: key for name, key in chosen.items() if key}
    with Work(services, desk.tenant.id, reads_only=how not in ("keep", "reset")) as work:
        row = form_or_404(work.session, form_id, locked=how in ("keep", "reset"))
        if how == "reset":
            row.mapping = None
        else:
            wrong = problems(mapping, questions_of(row)) if mapping else ["Choose a question for one field at least."]
            if wrong or how != "keep":
                reader = LeadReader(work.session, services.vault, desk.tenant.id)
                found = None if wrong else tried(work.session, reader, row, mapping)
                return form_page(work.session, services, desk, row, mapping=mapping, tried=found, wrong=wrong)
            row.mapping = mapping
    return _back(desk, form_id, "mapped")


@router.post("/forms/{form_id}/backfill")
def begin_backfill(
    form_id: str,
    services: Parts,
    visitor: Visitor,
    since: Annotated[str, Form(max_length=10)] = "",
    tenant: Chosen = "",
) -> Response:
    """Read a form's leads since a day of the tenant's time zone."""
    desk = desk_of(services, visitor, tenant or None)
    day = midnight(since, desk)
    if day is None:
        raise Problem("invalid", "Choose the day from which the leads are to be read.")
    with Work(services, desk.tenant.id) as work:
        backfill(work, services, form_or_404(work.session, form_id, locked=True), _within_wall(day, services.clock()))
    return _back(desk, form_id, "backfill")


def _within_wall(day: datetime, now: datetime) -> datetime:
    """The first day that Meta keeps has begun before the wall."""
    wall = now - KEPT
    return wall if day.date() == wall.astimezone(day.tzinfo).date() else day


@router.post("/forms/{form_id}/test-lead")
def ask_for_test_lead(form_id: str, services: Parts, visitor: Visitor, tenant: Chosen = "") -> Response:
    """Have Meta make a test lead."""
    desk = desk_of(services, visitor, tenant or None)
    make_test_lead(services, desk.tenant.id, known_id(form_id))
    return _back(desk, form_id, "test-lead")


@router.post("/lead-checks/{check_id}/fetch")
def fetch(check_id: str, services: Parts, visitor: Visitor, tenant: Chosen = "") -> Response:
    """Fetch what a day lacks."""
    desk = desk_of(services, visitor, tenant or None)
    with Work(services, desk.tenant.id) as work:
        row = check_or_404(work.session, check_id)
        fetch_missing(work, services, row)
    return _back(desk, row.form_id, "fetching")


def _back(desk: Desk, form_id: str, said: str) -> Response:
    return RedirectResponse(desk.address(f"/admin/forms/{form_id}", {"said": said}), 303)
