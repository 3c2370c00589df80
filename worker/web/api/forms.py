"""`/v1/forms`: the lead forms of connected pages - what they ask, how far they are read, and which answer is whose."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.responses import Response

from integrations.facebook_leads.mapping import problems, suggested
from models.form import Form
from models.tenancy import tenant_session
from worker.web.admin.masking import masked_email, masked_name, masked_phone
from worker.web.api.fields import ExternalId, Instant, Wish
from worker.web.api.ids import OurId
from worker.web.api.leads import Contact, Reader
from worker.web.api.paging import Cursor, Limit, Page, known_id, page_of, read_cursor
from worker.web.callers import Access, Parts, tenant_access
from worker.web.form_reader import Tried, form_of, forms_page, pages_of, questions_of, tried
from worker.web.lead_reader import LeadReader
from worker.web.lead_repairs import backfill, make_test_lead
from worker.web.once import Asked, once
from worker.web.problems import Problem, not_found
from worker.work import Work

router = APIRouter(prefix="/v1/forms", tags=["forms"])
Writer = Annotated[Access, Depends(tenant_access("leads:write"))]


class OptionShown(BaseModel):
    """A choice of a question; `key` is what an answer holds."""

    key: str
    value: str


class QuestionShown(BaseModel):
    """A question. `type` is Meta's word for it; a question of the form's own is `CUSTOM`."""

    key: str
    label: str
    type: str
    options: list[OptionShown]


class BackfillShown(BaseModel):
    """The last backfill: `running` or `done`, and how many leads it has read. `sentence` is why it stands still."""

    state: str
    since: datetime | None
    read: int
    sentence: str | None


class FormShown(BaseModel):
    """A form. `leads_count` is Meta's own count. Every lead made before `proven_until` is here, or has a name for why not.

    `mapping` is what the tenant set (null: by the usual keys), `suggested_mapping` what the types of the questions say.
    `silent_since`: it had leads, the last one then, and has fallen quiet against its own history. `gone_at`: Meta does not
    list it, or not give its leads, any more; `gone_sentence` says why.
    """

    id: str
    external_id: str
    connection_id: str
    page_id: str
    name: str
    status: str
    locale: str | None
    questions: list[QuestionShown]
    mapping: dict[str, str] | None
    suggested_mapping: dict[str, str]
    leads_count: int | None
    last_lead_at: datetime | None
    proven_until: datetime | None
    silent_since: datetime | None
    gone_at: datetime | None
    gone_sentence: str | None
    backfill: BackfillShown | None


class ContactFields(Wish):
    """Which question, named by its key, fills which contact field; a field that is left out stays empty."""

    full_name: ExternalId | None = None
    first_name: ExternalId | None = None
    last_name: ExternalId | None = None
    email: ExternalId | None = None
    phone: ExternalId | None = None


class NewMapping(Wish):
    """A mapping for the leads to come; null goes back to the usual keys. `dry_run` only shows what it would give."""

    mapping: ContactFields | None
    dry_run: bool = False


class TriedShown(BaseModel):
    """A past lead as it would have been read: its contact, masked, and the questions whose answers fill nothing."""

    lead_id: str
    created_at: datetime
    contact: Contact
    unmapped: list[str]


class MappingTried(BaseModel):
    """What a mapping gives on the newest leads of the form. Nothing is lost: what is not mapped stays among the answers."""

    mapping: dict[str, str] | None
    saved: bool
    tried: list[TriedShown]


class NewBackfill(Wish):
    """From when on; at most 90 days ago."""

    since: Instant


class TestLeadMade(BaseModel):
    """Meta's id of the test lead: that of the lead, once it has arrived."""

    external_id: str


@router.get("")
def listed(
    access: Reader,
    services: Parts,
    connection_id: Annotated[OurId | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[FormShown]:
    """The tenant's forms, in the order they were seen; also those that are gone."""
    after = read_cursor("forms", cursor)
    only = None if connection_id is None else [connection_id]
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        rows = forms_page(session, after=after, limit=limit + 1, connections=only)
        shown = {one.id: one for one in _shown(session, rows[:limit])}
    return page_of("forms", rows, limit, id_of=lambda row: row.id, show=lambda row: shown[row.id])


@router.get("/{form_id}")
def one(form_id: str, access: Reader, services: Parts) -> FormShown:
    """One form."""
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        return _shown(session, [_form(session, form_id)])[0]


@router.put("/{form_id}/mapping")
def map_answers(form_id: str, wish: NewMapping, access: Writer, services: Parts) -> MappingTried:
    """Set which answers are whose, and see it tried on past leads. They stay as they are: it is for the leads to come."""
    with Work(services, access.tenant_id, reads_only=wish.dry_run) as work:
        form = _form(work.session, form_id, locked=not wish.dry_run)
        mapping = None if wish.mapping is None else wish.mapping.model_dump(exclude_none=True)
        require_good(form, mapping)
        reader = LeadReader(work.session, services.vault, access.tenant_id)
        found = tried(work.session, reader, form, mapping)
        if not wish.dry_run:
            form.mapping = mapping
    return MappingTried(mapping=mapping, saved=not wish.dry_run, tried=[_tried_shown(one) for one in found])


@router.post("/{form_id}/backfill", status_code=202, response_model=FormShown)
def begin_backfill(form_id: str, wish: NewBackfill, access: Writer, services: Parts, ask: Asked) -> Response:
    """Read the form's leads since an instant; `backfill` of the form tells how far it is. What is here stays as it is."""

    def effect(work: Work) -> FormShown:
        form = _form(work.session, form_id, locked=True)
        backfill(work, services, form, wish.since)
        return _shown(work.session, [form])[0]

    return once(services, access, ask, 202, effect)


@router.post("/{form_id}/test-lead", status_code=201)
def ask_for_test_lead(form_id: str, access: Writer, services: Parts) -> TestLeadMade:
    """Have Meta make a test lead, which then comes the way of any other. Meta allows one a form: it replaces the last."""
    return TestLeadMade(external_id=make_test_lead(services, access.tenant_id, known_id(form_id)))


def require_good(form: Form, mapping: dict[str, str] | None) -> None:
    """A problem with a sentence for all that is wrong with a mapping."""
    told = [] if mapping is None else problems(mapping, questions_of(form))
    if mapping == {}:
        told = ["Map one field at least, or send null for the usual keys."]
    if told:
        raise Problem("invalid", "Mend the mapping as the sentences under errors say, and send it again.",
                      errors=[{"field": "body.mapping", "problem": one} for one in told])  # fmt: skip


def _form(session: Session, form_id: str, *, locked: bool = False) -> Form:
    form = form_of(session, known_id(form_id), locked=locked)
    if form is None:
        raise not_found()
    return form


def _tried_shown(one: Tried) -> TriedShown:
    contact = Contact(
        full_name=masked_name(one.contact["full_name"]),
        email=masked_email(one.contact["email"]),
        phone=masked_phone(one.contact["phone"]),
        phone_raw=masked_phone(one.contact["phone_raw"]),
    )
    return TriedShown(lead_id=one.lead_id, created_at=one.created_at, contact=contact, unmapped=list(one.unmapped))


def _shown(session: Session, forms: Sequence[Form]) -> list[FormShown]:
    pages = pages_of(session, forms)
    return [_form_shown(form, pages[form.connection_id].external_id) for form in forms]


def _form_shown(form: Form, page_id: str) -> FormShown:
    questions = questions_of(form)
    last = BackfillShown(
        state=form.backfill_state, since=form.backfill_since, read=form.backfill_read, sentence=form.backfill_sentence
    ) if form.backfill_state else None  # fmt: skip
    return FormShown(
        id=form.id,
        external_id=form.external_id,
        connection_id=form.connection_id,
        page_id=page_id,
        name=form.name,
        status=form.status,
        locale=form.locale,
        questions=[
            QuestionShown(
                key=one.key, label=one.label, type=one.type,
                options=[OptionShown(key=key, value=value) for key, value in one.options],
            )
            for one in questions
        ],
        mapping=form.mapping,
        suggested_mapping=suggested(questions),
        leads_count=form.leads_count,
        last_lead_at=form.last_lead_at,
        proven_until=form.proven_until,
        silent_since=form.silent_since,
        gone_at=form.gone_at,
        gone_sentence=form.gone_sentence,
        backfill=last,
    )  # fmt: skip
