"""Facebook leads as pages: each Page and its forms, how far they are proven, what failed, and the days beside Meta's."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.responses import Response

from integrations.facebook_leads import FACEBOOK_LEADS
from integrations.facebook_leads.mapping import CONTACT_FIELDS, suggested
from models.connection import LIVING, Connection
from models.form import KEPT, RED, Form, LeadCheck
from models.inbox import FAILED, InboxEvent
from models.tenancy import tenant_session
from worker.services import Services
from worker.web.admin.connections import Seen, seen
from worker.web.admin.rendering import page
from worker.web.admin.visitors import AtDesk, Desk
from worker.web.api.paging import Cursor, cursor_to, known_id, read_cursor
from worker.web.callers import Parts
from worker.web.form_reader import Tried, form_of, forms_page, questions_of
from worker.web.problems import not_found

router = APIRouter(prefix="/admin")
FORMS: Final = 100
FAILURES: Final = 50
DAYS: Final = 30
STATUS_WORDS: Final = {"ACTIVE": "Active", "ARCHIVED": "Archived", "DELETED": "Deleted", "DRAFT": "Draft"}
ERROR_WORDS: Final = {
    "missing": "Not there, or not to be read",
    "needs_user": "Needs somebody",
    "our_bug": "Refused for good",
    "throttled": "Too many calls",
    "transient": "Meta could not",
}
SAID: Final = {
    "reading": "Troth is reading this page's forms now. Load the page again in a few seconds.",
    "checking": "Troth is looking at the connection, and counting yesterday's leads beside Meta's.",
    "replayed": "The failed leads are tried again now.",
    "fetching": "What is missing is being fetched; the day is counted again in a minute.",
    "backfill": "The backfill has begun. Load the page again to see how far it is.",
    "test-lead": "Meta made a test lead. It arrives the way of any other, within seconds.",
    "mapped": "The mapping is kept. It counts for the leads to come; past ones stay as they are.",
}
Said = Annotated[str, Query(max_length=20)]


@dataclass(frozen=True, slots=True)
class OneForm:
    """A form with its newest line of the last days; `status` in words."""

    row: Form
    status: str
    check: LeadCheck | None


@dataclass(frozen=True, slots=True)
class OnePage:
    """A connected page with those of its forms that are on this page; `last_lead_at` is of all of them."""

    seen: Seen
    forms: Sequence[OneForm]
    last_lead_at: datetime | None


@router.get("/facebook")
def facebook(services: Parts, desk: AtDesk, cursor: Cursor = None, said: Said = "") -> Response:
    """The tenant's pages, and the leads that were given up."""
    with tenant_session(services.database, desk.tenant.id, reads_only=True) as session:
        connections = _connections(session)
        pages, following = _pages(session, services, desk, connections, read_cursor("admin-forms", cursor))
        # By connection, for which the index of pending events serves.
        failed = (InboxEvent.connection_id.in_([row.id for row in connections]), InboxEvent.state == FAILED)
        failures = session.scalars(
            select(InboxEvent).where(*failed).order_by(InboxEvent.id.desc()).limit(FAILURES)
        ).all()
        number = session.scalar(select(func.count()).select_from(InboxEvent).where(*failed))
    return page(
        "facebook.html", desk=desk, pages=pages, failures=failures, number=number, errors=ERROR_WORDS, said=SAID.get(said),
        following=following, is_later=cursor is not None,
    )  # fmt: skip


def _connections(session: Session) -> Sequence[Connection]:
    query = select(Connection).where(Connection.integration == FACEBOOK_LEADS.name, Connection.status.in_(LIVING))
    return session.scalars(query.order_by(Connection.id)).all()


def _pages(
    session: Session, services: Services, desk: Desk, connections: Sequence[Connection], after: str | None
) -> tuple[list[OnePage], str | None]:
    ids = [row.id for row in connections]
    rows = forms_page(session, after=after, limit=FORMS + 1, connections=ids)
    following = desk.address("/admin/facebook", {"cursor": cursor_to("admin-forms", rows[FORMS - 1].id)}) \
        if len(rows) > FORMS else None  # fmt: skip
    newest = select(Form.connection_id, func.max(Form.last_lead_at)).where(Form.connection_id.in_(ids))
    heard = {connection: at for connection, at in session.execute(newest.group_by(Form.connection_id))}
    checks = _newest_checks(session, rows[:FORMS], services.clock().date())
    forms: dict[str, list[OneForm]] = defaultdict(list)
    for row in rows[:FORMS]:
        forms[row.connection_id].append(OneForm(row, status_of(row), checks.get(row.id)))
    shown = seen(session, services, connections)
    return [
        OnePage(one, forms[one.row.id], heard.get(one.row.id)) for one in shown if after is None or forms[one.row.id]
    ], following


def status_of(form: Form) -> str:
    """A form's state, for people."""
    return "Gone" if form.gone_at is not None else STATUS_WORDS.get(form.status, form.status.capitalize())


def _newest_checks(session: Session, forms: Sequence[Form], today: date) -> dict[str, LeadCheck]:
    """form id -> its newest line of the last week; a red one of these days before a green one."""
    query = select(LeadCheck).where(
        LeadCheck.form_id.in_([form.id for form in forms]), LeadCheck.day >= today - timedelta(days=7)
    )
    rows = session.scalars(query).all() if forms else ()
    return {row.form_id: row for row in sorted(rows, key=lambda row: (row.status == RED, row.day))}


@router.get("/forms/{form_id}")
def form(form_id: str, services: Parts, desk: AtDesk, said: Said = "") -> Response:
    """One form: what it asks and which answer is whose, its days, and what can be done."""
    with tenant_session(services.database, desk.tenant.id, reads_only=True) as session:
        row = form_or_404(session, form_id)
        return form_page(session, services, desk, row, said=SAID.get(said))


def form_or_404(session: Session, form_id: str, *, locked: bool = False) -> Form:
    """A form of the session's tenant; another tenant's does not exist."""
    row = form_of(session, known_id(form_id), locked=locked)
    if row is None:
        raise not_found()
    return row


def form_page(
    session: Session, services: Services, desk: Desk, row: Form, *, said: str | None = None,
    mapping: dict[str, str] | None = None, tried: Sequence[Tried] | None = None, wrong: Sequence[str] = (),
) -> Response:  # fmt: skip
    """The page of a form. `mapping` is what somebody chose just now, `tried` what it gives, `wrong` what is wrong with it."""
    questions, today = questions_of(row), services.clock().date()
    days = select(LeadCheck).where(LeadCheck.form_id == row.id, LeadCheck.day > today - timedelta(days=DAYS))
    checks = session.scalars(days.order_by(LeadCheck.day.desc())).all()
    (one,) = seen(session, services, [session.get_one(Connection, row.connection_id)])
    context: dict[str, Any] = {
        "desk": desk, "one": one, "form": row, "state": status_of(row), "questions": questions, "checks": checks,
        "fields": CONTACT_FIELDS, "chosen": mapping or row.mapping or suggested(questions), "said": said,
        "labels": {question.key: question.label for question in questions}, "tried": tried, "wrong": wrong,
        "first_day": today - KEPT, "today": today,
    }  # fmt: skip
    return page("form.html", status=422 if wrong else 200, **context)
