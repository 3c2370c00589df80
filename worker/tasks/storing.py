"""From a lead as Meta gives it to its row, its history, its event: the same however it came; it calls no provider."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from integrations.errors import IntegrationError, NeedsUser
from integrations.facebook_leads.graph import Graph
from integrations.facebook_leads.lead import parse
from integrations.facebook_leads.mapping import mapped
from integrations.facebook_leads.problems import no_lead_access
from models.connection import ACTIVE, Connection, read_tokens
from models.feed import LEAD_RECEIVED, emit
from models.form import Form, names_and_labels, saw_leads
from models.lead import NewLead, ReadyLeads, Stored, described, ready
from models.lead_facts import mark_duplicates
from models.tenant import Tenant
from models.vault import Keyring, Vault

LEAD: Final = "lead"
WEBHOOK, CATCH_UP, BACKFILL = "webhook", "catch_up", "backfill"


@dataclass(frozen=True, slots=True)
class Page:
    """What a run needs to know of its connection; plain values, so that no session outlives its transaction."""

    tenant_id: str
    connection_id: str
    external_id: str
    connected_at: datetime
    country: str
    token: str = field(repr=False)
    keyring: Keyring = field(repr=False)
    hashes: Keyring = field(repr=False)


@dataclass(frozen=True, slots=True)
class Known:
    """What a lead's row takes from its form. `mapping` is None where the tenant set none."""

    name: str
    labels: Mapping[str, str]
    mapping: Mapping[str, str] | None


def open_page(session: Session, vault: Vault, connection_id: str) -> Page | None:
    """The connection of a run; None when it is not to be read just now, or cannot be."""
    row = session.get(Connection, connection_id)
    if row is None or row.status != ACTIVE:
        return None
    keyring = vault.existing(session, row.tenant_id, row.id)
    hashes = vault.existing(session, row.tenant_id, row.tenant_id)
    token = read_tokens(session, vault, row).get("page_access_token")
    if keyring is None or hashes is None or not token:
        return None
    country = session.scalars(select(Tenant.country).where(Tenant.id == row.tenant_id)).one()
    return Page(row.tenant_id, row.id, row.external_id, row.created_at, country, token, keyring, hashes)


def known(forms: Sequence[Form]) -> dict[str, Known]:
    """external id -> what leads take from the form."""
    mappings = {form.external_id: form.mapping for form in forms}
    return {form: Known(name, labels, mappings[form]) for form, (name, labels) in names_and_labels(forms).items()}


def new_lead(
    page: Page, forms: Mapping[str, Known], raw: Mapping[str, Any], *, external_id: str, form_external_id: str | None,
    received_at: datetime, source: str,
) -> NewLead:  # fmt: skip
    """A lead ready to be stored. `form_external_id` is used where Meta does not say it."""
    data = parse(raw, default_region=page.country)
    form_id = data.form_external_id or form_external_id
    form = forms.get(form_id or "")
    labels = form.labels if form is not None else {}
    # Dicts by hand: `dataclasses.asdict` copies deeply, and was a quarter of this job's CPU.
    contact = {
        "full_name": data.contact.full_name,
        "email": data.contact.email,
        "phone": data.contact.phone,
        "phone_raw": data.contact.phone_raw,
    }
    if form is not None and form.mapping is not None:
        contact = mapped(data, form.mapping, default_region=page.country).contact
    return NewLead(
        external_id=external_id,
        page_external_id=page.external_id,
        form_external_id=form_id,
        form_name=None if form is None else form.name,
        created_at=data.created_at or received_at,
        received_at=received_at,
        source=source,
        platform=data.platform,
        is_test=data.is_test,
        is_organic=data.is_organic,
        ad=data.ad,
        contact=contact,
        answers=[
            {"key": answer.key, "label": answer.label or labels.get(answer.key) or None, "values": answer.values}
            for answer in data.answers
        ],
        consents=[{"key": consent.key, "is_checked": consent.is_checked} for consent in data.consents],
        is_mapped=form is not None and form.mapping is not None,
    )


def made_ready(page: Page, leads: Sequence[NewLead]) -> ReadyLeads:
    """Sealed with the keys of the page; before the transaction that stores them."""
    return ready(page.keyring, page.hashes, tenant_id=page.tenant_id, connection_id=page.connection_id, leads=leads)


def tell(session: Session, page: Page, stored: Sequence[Stored], now: datetime) -> None:
    """What follows from new leads: their forms have a newest one, the host is told, and a person's second is marked. Of
    restricted ones only that their forms have them.

    The last of a transaction: from the event on, the tenant's others that tell something wait for the commit.
    """
    if not stored:
        return
    newest: dict[str, datetime] = {}
    for lead in stored:
        if lead.form_external_id is not None and not lead.is_test:
            newest[lead.form_external_id] = max(newest.get(lead.form_external_id, lead.created_at), lead.created_at)
    saw_leads(session, tenant_id=page.tenant_id, connection_id=page.connection_id, newest=newest, now=now)
    free = [lead for lead in stored if not lead.is_restricted]
    emit(session, page.tenant_id, [(LEAD_RECEIVED, described(lead, page.connection_id)) for lead in free], now)
    mark_duplicates(session, page.tenant_id, free)


def access_problem(graph: Graph, page: Page) -> NeedsUser | None:
    """Whether leads that Meta does not show are withheld from us: its "not there" has two meanings. None: they are not,
    or Meta did not say."""
    try:
        access = graph.page_access(page.token, page.external_id)
    except IntegrationError:
        return None
    return no_lead_access(access) if access.can_access_lead is False else None
