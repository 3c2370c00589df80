"""A tenant's lead forms for the API and the pages: which, what they ask, and what a mapping gives on past leads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from integrations.facebook_leads.forms import Question
from integrations.facebook_leads.lead import STANDARD_KEYS, Answer, Contact, LeadData, parse
from integrations.facebook_leads.mapping import Mapped, mapped
from models.connection import Connection
from models.form import Form
from models.lead import Lead
from models.tenant import Tenant
from worker.web.lead_reader import LeadReader

TRIED_ON = 5
"""A mapping is tried on so many past leads."""
_STANDARD = frozenset(key for keys in STANDARD_KEYS.values() for key in keys)
_NOBODY = Contact(None, None, None, None)


@dataclass(frozen=True, slots=True)
class Tried:
    """A past lead as a mapping would have read it; `contact` is in the clear, and for the caller to mask."""

    lead_id: str
    created_at: datetime
    contact: dict[str, str | None] = field(repr=False)
    unmapped: tuple[str, ...]


def forms_page(
    session: Session, *, after: str | None = None, limit: int = 100, connections: Sequence[str] | None = None
) -> list[Form]:
    """The tenant's forms, also those that are gone, in the order they were seen; `connections` leaves out the others."""
    query = select(Form).order_by(Form.id).limit(limit)
    if after is not None:
        query = query.where(Form.id > after)
    if connections is not None:
        query = query.where(Form.connection_id.in_(connections))
    return list(session.scalars(query))


def form_of(session: Session, form_id: str, *, locked: bool = False) -> Form | None:
    """A form of the session's tenant."""
    query = select(Form).where(Form.id == form_id)
    return session.scalars(query.with_for_update() if locked else query).one_or_none()


def pages_of(session: Session, forms: Sequence[Form]) -> dict[str, Connection]:
    """connection id -> the connection, whose `external_id` is the page's."""
    ids = {form.connection_id for form in forms}
    found = session.scalars(select(Connection).where(Connection.id.in_(ids))) if ids else ()
    return {row.id: row for row in found}


def questions_of(form: Form) -> list[Question]:
    """What a form asks, in its order."""
    return [
        Question(
            key=str(one["key"]),
            label=str(one.get("label") or one["key"]),
            type=str(one.get("type") or "CUSTOM"),
            options=tuple(_option(option) for option in one.get("options") or ()),
        )
        for one in form.questions
    ]


def _option(option: Mapping[str, str] | Sequence[str]) -> tuple[str, str]:
    if isinstance(option, Mapping):
        return str(option.get("key") or ""), str(option.get("value") or "")
    key, value = option
    return str(key), str(value)


def tried(session: Session, reader: LeadReader, form: Form, mapping: Mapping[str, str] | None) -> list[Tried]:
    """What a mapping (None: the standard keys) gives on the newest leads of a form; test leads only if it has no others."""
    mine = (Lead.form_external_id == form.external_id, Lead.restricted.is_(None))
    query = select(Lead).where(*mine).order_by(Lead.created_at.desc())
    leads = session.scalars(query.where(Lead.is_test.is_(False)).limit(TRIED_ON)).all()
    leads = leads or session.scalars(query.limit(TRIED_ON)).all()
    country = session.scalars(select(Tenant.country).where(Tenant.id == form.tenant_id)).one()
    found = []
    for lead in leads:
        answers = reader.opened(lead, "answers")
        one = (
            _standard(answers, country)
            if mapping is None
            else mapped(_lead(lead, answers), mapping, default_region=country)
        )
        found.append(Tried(lead.id, lead.created_at, one.contact, one.unmapped))
    return found


def _lead(lead: Lead, answers: Sequence[Mapping[str, object]]) -> LeadData:
    """A stored lead as it was read from its provider; a mapping looks at its answers alone."""
    read = [Answer(str(one["key"]), None, list(one["values"])) for one in answers]  # type: ignore[call-overload]
    return LeadData(
        lead.external_id, lead.form_external_id, lead.created_at, lead.platform, lead.is_organic, lead.is_test, _NOBODY,
        read, [], {},
    )  # fmt: skip


def _standard(answers: Sequence[Mapping[str, object]], country: str) -> Mapped:
    """The contact without a mapping, as the lead would be read today."""
    said = [{"name": one["key"], "values": one["values"]} for one in answers]
    contact = parse({"field_data": said}, default_region=country).contact
    values = {"full_name": contact.full_name, "email": contact.email, "phone": contact.phone,
              "phone_raw": contact.phone_raw}  # fmt: skip
    unmapped = (str(one["key"]) for one in answers if one["values"])
    return Mapped(values, tuple(dict.fromkeys(key for key in unmapped if key.casefold() not in _STANDARD)))
