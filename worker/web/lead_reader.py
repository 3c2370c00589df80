"""A tenant's leads, found and opened, for the API and for the pages; it opens only what it is asked to show."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import select
from sqlalchemy.orm import Session

from integrations.facebook_leads.phone import e164
from models.base import new_id
from models.lead import RESTRICTED, Lead, LeadHistory, email_fingerprint, leads_page, read
from models.restriction import is_restricted, restricted_marks
from models.tenant import Tenant
from models.vault import Keyring, Vault
from worker.web.problems import Problem

NO_CONTACT: dict[str, str | None] = {"full_name": None, "email": None, "phone": None, "phone_raw": None}


class Unsearchable(Exception):
    """Leads are found by e-mail address, phone number or id only: everything else about them is sealed."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which leads. `since` counts, `until` does not; `before` is the last id of the page before. None: whichever.

    `merged`: of each person the first lead alone; None: as the tenant has set it. Who looks for a person sees all of its leads.
    """

    page_id: str | None = None
    form_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: str | None = None
    is_test: bool | None = None
    source: str | None = None
    acknowledged: bool | None = None
    duplicate_of: str | None = None
    merged: bool | None = None


class LeadReader:
    """Reads in one session of one tenant; a keyring is unwrapped once per connection."""

    def __init__(self, session: Session, vault: Vault, tenant_id: str) -> None:
        self._session = session
        self._vault = vault
        self._tenant_id = tenant_id
        self._keyrings: dict[str, Keyring | None] = {}

    def one(self, lead_id: str, *, to_change: bool = False) -> Lead | None:
        """The lead, if it is this tenant's. A problem where its person is restricted; and, `to_change` it, the tenant."""
        lead = self._session.get(Lead, lead_id)
        if lead is not None and (
            lead.restricted is not None or (to_change and is_restricted(self._session, self._tenant_id))
        ):
            raise Problem(
                "restricted", "It is kept and not processed: lift the restriction first, where that is lawful."
            )
        return lead

    def found(self, filters: Filters, *, limit: int, q: str | None = None) -> list[Lead]:
        """Newest first, at most `limit`. Raises Unsearchable."""
        if q is None:
            return self._page(filters, limit)
        if "@" in q:
            hashes = self.keyring(self._tenant_id)
            return self._page(filters, limit, ("email_hash", email_fingerprint(hashes, q))) if hashes else []
        by_id = self._session.scalars(select(Lead).where(Lead.external_id == q)).one_or_none()
        if by_id is not None:
            return [by_id] if _fits(by_id, filters) else []
        return self._by_phone(filters, limit, q)

    def opened(self, lead: Lead, column: str) -> Any:
        """`contact`, `answers` or `consents` in the clear; empty when its key has been destroyed."""
        keyring = self.keyring(lead.connection_id)
        if keyring is None:
            return NO_CONTACT if column == "contact" else []
        return read(keyring, lead, column)

    def keyring(self, scope: str) -> Keyring | None:
        """The keyring of a connection or of the tenant, if it exists."""
        if scope not in self._keyrings:
            self._keyrings[scope] = self._vault.existing(self._session, self._tenant_id, scope)
        return self._keyrings[scope]

    def history(
        self, lead: Lead, *, after: str | None = None, limit: int = 100
    ) -> list[tuple[LeadHistory, str | None]]:
        """(entry, its text in the clear) in the order they were recorded."""
        query = select(LeadHistory).where(LeadHistory.lead_id == lead.id).order_by(LeadHistory.id).limit(limit)
        if after is not None:
            query = query.where(LeadHistory.id > after)
        return [(entry, self._text(lead, entry)) for entry in self._session.scalars(query)]

    def _text(self, lead: Lead, entry: LeadHistory) -> str | None:
        keyring = self.keyring(lead.connection_id)
        if entry.text is None or keyring is None:
            return None
        return keyring.unseal(entry.text, table="lead_history", row=entry.id, column="text").decode()

    def _by_phone(self, filters: Filters, limit: int, q: str) -> list[Lead]:
        country = self._session.scalars(select(Tenant.country).where(Tenant.id == self._tenant_id)).one()
        number, hashes = e164(q, country), self.keyring(self._tenant_id)
        if number is None:
            # A number may have left its plan since the lead came; a name can never be looked for.
            if not any(letter.isdigit() for letter in q):
                raise Unsearchable
            return []
        return self._page(filters, limit, ("phone_hash", hashes.fingerprint(number))) if hashes else []

    def _page(self, filters: Filters, limit: int, found_by: tuple[str, bytes] | None = None) -> list[Lead]:
        return leads_page(
            self._session, before=filters.before, limit=limit, page_id=filters.page_id, form_id=filters.form_id,
            since=filters.since, until=filters.until, found_by=found_by, is_test=filters.is_test, source=filters.source,
            is_acknowledged=filters.acknowledged, duplicate_of=filters.duplicate_of,
            is_merged=found_by is None and filters.duplicate_of is None and self._merged(filters),
        )  # fmt: skip

    def _merged(self, filters: Filters) -> bool:
        if filters.merged is not None:
            return filters.merged
        return self._session.get_one(Tenant, self._tenant_id).leads_merged_at is not None


def _fits(lead: Lead, filters: Filters) -> bool:
    return (
        lead.restricted is None
        and filters.page_id in (None, lead.page_external_id)
        and filters.form_id in (None, lead.form_external_id)
        and (filters.since is None or lead.created_at >= filters.since)
        and (filters.until is None or lead.created_at < filters.until)
        and (filters.before is None or lead.id < filters.before)
        and filters.is_test in (None, lead.is_test)
        and filters.source in (None, lead.source)
        and filters.acknowledged in (None, lead.acknowledged_at is not None)
        and filters.duplicate_of in (None, lead.duplicate_of)
    )


def add_history(session: Session, keyring: Keyring, entry: LeadHistory, text: str | None) -> None:
    """Store an entry; its text is sealed to its row."""
    if text is not None:
        entry.text = keyring.seal(text.encode(), table="lead_history", row=entry.id, column="text")
    session.add(entry)
    session.flush()


def rectify(
    session: Session, keyring: Keyring, hashes: Keyring, lead: Lead, contact: dict[str, str | None],
    fields: Sequence[str], now: datetime,
) -> None:  # fmt: skip
    """Seal a contact that was put right, so that the lead is found by it; its history tells which `fields`, not what. Who it
    is found to be now may be restricted."""
    email, phone = contact["email"], contact["phone"]
    lead.contact = keyring.seal(orjson.dumps(contact), table="leads", row=lead.id, column="contact")
    lead.email_hash = email_fingerprint(hashes, email) if email else None
    lead.phone_hash = hashes.fingerprint(phone) if phone else None
    marks = [mark for mark in (lead.email_hash, lead.phone_hash) if mark is not None]
    lead.restricted = RESTRICTED if restricted_marks(session, lead.tenant_id, marks) else None
    entry = LeadHistory(
        id=new_id(), tenant_id=lead.tenant_id, lead_id=lead.id, kind="rectified", occurred_at=now, recorded_at=now
    )  # fmt: skip
    add_history(session, keyring, entry, f"Put right: {', '.join(fields)}.".replace("_", " "))
