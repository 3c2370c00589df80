"""Leads with their answers, consents and history; what is personal is ciphertext, and look-ups go by keyed hash."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Column, Index, String, Table, UniqueConstraint, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from models import inbox
from models.base import Base, ExternalId, Id, Instant, Json, Key, Sealed, Word, new_ids, short_binary, table_args
from models.restriction import restricted_marks
from models.statements import insert_new, rows_by
from models.tenancy import TenantScoped, check_scope, same_tenant
from models.tombstone import Arrival, newest, refused
from models.vault import Keyring


class Lead(TenantScoped, Base):
    """One submitted form of one person. `created_at` is the provider's instant, `received_at` ours.

    `duplicate_of` is the tenant's first lead of the same person (same e-mail address or phone number): a mark, no more.
    `acknowledged_at` is when the host said that it has the lead. `restricted`: it is kept and not processed (`RESTRICTED`),
    or has never been told of (`CAME_RESTRICTED`); None: it is free.
    """

    __tablename__ = "leads"
    __table_args__ = table_args(
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "external_id"),
        same_tenant("connection_id", "connections"),
        # The tenant second: while the table is small any index that begins with it looks as cheap as the key, and PostgreSQL
        # keeps such a plan for its check of foreign keys until the next ANALYZE, reading ever more of the tenant's leads.
        Index("ix_leads_form", "form_external_id", "tenant_id", "created_at"),
        Index("ix_leads_email_hash", "email_hash", "tenant_id"),
        Index("ix_leads_phone_hash", "phone_hash", "tenant_id"),
        Index("ix_leads_duplicate_of", "duplicate_of", "tenant_id"),
    )

    id: Mapped[Key]
    connection_id: Mapped[Id]
    external_id: Mapped[ExternalId]
    page_external_id: Mapped[ExternalId]
    form_external_id: Mapped[ExternalId | None]
    form_name: Mapped[str | None] = mapped_column(String(190))
    created_at: Mapped[Instant]
    received_at: Mapped[Instant]
    source: Mapped[Word]
    platform: Mapped[Word | None]
    is_test: Mapped[bool]
    is_organic: Mapped[bool | None]
    ad: Mapped[Json]
    contact: Mapped[Sealed]
    answers: Mapped[Sealed]
    consents: Mapped[Sealed]
    email_hash: Mapped[bytes | None] = mapped_column(short_binary(16))
    phone_hash: Mapped[bytes | None] = mapped_column(short_binary(16))
    duplicate_of: Mapped[Id | None]
    acknowledged_at: Mapped[Instant | None]
    restricted: Mapped[Word | None]


class LeadHistory(TenantScoped, Base):
    """What happened to a lead. `text` is sealed: the host may write anything there."""

    __tablename__ = "lead_history"
    __table_args__ = table_args(
        same_tenant("lead_id", "leads"), Index("ix_lead_history_lead", "tenant_id", "lead_id", "occurred_at")
    )

    id: Mapped[Key]
    lead_id: Mapped[Id]
    kind: Mapped[Word]
    text: Mapped[Sealed | None]
    occurred_at: Mapped[Instant]
    recorded_at: Mapped[Instant]


@dataclass(frozen=True, slots=True)
class NewLead:
    """A lead as read from its provider, still in the clear. `contact` has full_name, email, phone, phone_raw (or None);
    `answers` are {key, label, values}; `consents` {key, is_checked}; `ad` ids and names of campaign, ad set and ad.
    `is_mapped`: the contact was read by the tenant's own mapping."""

    external_id: str
    page_external_id: str
    form_external_id: str | None
    form_name: str | None
    created_at: datetime
    received_at: datetime
    source: str
    platform: str | None
    is_test: bool
    is_organic: bool | None
    ad: dict[str, str]
    contact: dict[str, str | None]
    answers: list[dict[str, Any]]
    consents: list[dict[str, Any]]
    is_mapped: bool = False


_LEADS: Table = Lead.__table__  # type: ignore[assignment]
_HISTORY: Table = LeadHistory.__table__  # type: ignore[assignment]
RESTRICTED, CAME_RESTRICTED = "restricted", "came_restricted"
RECEIVED, MAPPED, ACKNOWLEDGED = "received", "mapped", "acknowledged"
PERSONAL = ("contact", "answers", "consents")


@dataclass(frozen=True, slots=True)
class Stored:
    """A lead that this run stored: it was not here before."""

    id: str
    external_id: str
    form_external_id: str | None
    created_at: datetime
    is_test: bool
    email_hash: bytes | None
    phone_hash: bytes | None
    is_restricted: bool

    @classmethod
    def of(cls, lead: Lead) -> "Stored":
        """From its row."""
        return cls(lead.id, lead.external_id, lead.form_external_id, lead.created_at, lead.is_test, lead.email_hash,
                   lead.phone_hash, lead.restricted is not None)  # fmt: skip


def described(lead: Lead | Stored, connection_id: str) -> dict[str, str | None]:
    """What an event says of a lead: ids."""
    return {
        "lead_id": lead.id,
        "connection_id": connection_id,
        "external_id": lead.external_id,
        "form_id": lead.form_external_id,
    }


@dataclass(frozen=True, slots=True)
class ReadyLeads:
    """Leads as they will be stored, sealed and with their ids, each external id once and in order; `mapped` are ids."""

    tenant_id: str
    rows: list[dict[str, Any]]
    mapped: frozenset[str]


def ready(keyring: Keyring, hashes: Keyring, *, tenant_id: str, connection_id: str,
          leads: Sequence[NewLead]) -> ReadyLeads:  # fmt: skip
    """Leads made ready for `store`; it needs no database, and costs more than that.

    `keyring` is the connection's, `hashes` the tenant's: a person is found across the connections of one tenant.
    """
    # In one order for all: a catch-up that stores the leads of a webhook at this moment waits, and is not waited for.
    ordered = [lead for _, lead in sorted({lead.external_id: lead for lead in leads}.items())]
    given = dict(zip(new_ids(len(ordered)), ordered, strict=True))
    texts = ((row, column, orjson.dumps(getattr(lead, column))) for row, lead in given.items() for column in PERSONAL)
    sealed = keyring.seal_all("leads", texts)
    rows = [
        _row(row, lead, tenant_id, connection_id) | _hashes(hashes, lead)
        | dict(zip(PERSONAL, sealed[start : start + len(PERSONAL)], strict=True))
        for start, (row, lead) in zip(range(0, len(sealed), len(PERSONAL)), given.items(), strict=True)
    ]  # fmt: skip
    return ReadyLeads(tenant_id, rows, frozenset(row for row, lead in given.items() if lead.is_mapped))


def store(session: Session, hashes: Keyring, leads: ReadyLeads, now: datetime) -> list[Stored]:
    """Store leads, each once per tenant, each with the beginning of its history; a known lead stays as it is. Those of a
    person who is restricted are marked, and are not to be told of."""
    tenant_id = leads.tenant_id
    check_scope(session, (tenant_id,))
    rows = _not_erased(session, hashes, tenant_id, leads.rows)
    known = known_leads(session, tenant_id, [row["external_id"] for row in rows])
    rows = [row for row in rows if row["external_id"] not in known]
    if not rows:
        return []
    _restrict(session, tenant_id, rows)
    connection = session.connection()
    if insert_new(connection, _LEADS, rows):
        # Stored by another run just now: only who inserted the lead writes its history.
        ours = _found(session, _LEADS.c.id, tenant_id, [row["id"] for row in rows])
        rows = [row for row in rows if row["id"] in ours]
    begun = [
        (row["id"], kind) for row in rows for kind in ((RECEIVED, MAPPED) if row["id"] in leads.mapped else (RECEIVED,))
    ]
    insert_new(connection, _HISTORY, _entries(tenant_id, begun, now))
    return [
        Stored(row["id"], row["external_id"], row["form_external_id"], row["created_at"], row["is_test"],
               row["email_hash"], row["phone_hash"], row["restricted"] is not None)
        for row in rows
    ]  # fmt: skip


def _not_erased(session: Session, hashes: Keyring, tenant_id: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without those that a deletion has taken: whichever way an old lead comes again, it ends here, and so does its
    notice."""
    last = newest(session, tenant_id) if rows else None
    if last is None:
        return rows
    arrivals = [
        Arrival(row["external_id"], row["page_external_id"], row["created_at"],
                tuple(mark for mark in (row["email_hash"], row["phone_hash"]) if mark is not None))
        for row in rows if row["created_at"] <= last
    ]  # fmt: skip
    dead = refused(session, hashes, tenant_id, arrivals)
    inbox.forget(session, tenant_id=tenant_id, kind="lead", external_ids=dead)
    return [row for row in rows if row["external_id"] not in dead]


def _hashes(hashes: Keyring, lead: NewLead) -> dict[str, bytes | None]:
    """The look-up hashes of a lead's person."""
    email, phone = lead.contact.get("email"), lead.contact.get("phone")
    return {
        "email_hash": email_fingerprint(hashes, email) if email else None,
        "phone_hash": hashes.fingerprint(phone) if phone else None,
    }


def _restrict(session: Session, tenant_id: str, rows: Sequence[dict[str, Any]]) -> None:
    """Mark the rows of restricted persons."""
    persons = [{row["email_hash"], row["phone_hash"]} - {None} for row in rows]
    restricted = restricted_marks(session, tenant_id, set().union(*persons))
    for row, person in zip(rows, persons, strict=True):
        row["restricted"] = CAME_RESTRICTED if person & restricted else None


def known_leads(session: Session, tenant_id: str, external_ids: Sequence[str]) -> set[str]:
    """Those of these ids at the provider whose leads are here."""
    if not external_ids:
        return set()
    return _found(session, _LEADS.c.external_id, tenant_id, external_ids)


def _found(session: Session, column: Column[str], tenant_id: str, values: Sequence[str]) -> set[str]:
    """Those of these values that leads of the tenant have in a column."""
    connection = session.connection()
    return set(
        connection.execute(
            rows_by(connection, column, values, column, where=[_LEADS.c.tenant_id == tenant_id])
        ).scalars()
    )


def _entries(tenant_id: str, entries: Sequence[tuple[str, str]], now: datetime) -> list[dict[str, Any]]:
    """Rows of histories, from (lead, kind)."""
    return [
        {"id": row, "tenant_id": tenant_id, "lead_id": lead, "kind": kind, "text": None, "occurred_at": now,
         "recorded_at": now}
        for row, (lead, kind) in zip(new_ids(len(entries)), entries, strict=True)
    ]  # fmt: skip


def acknowledge(session: Session, tenant_id: str, ids: Sequence[str], now: datetime) -> int:
    """The host says that it has these leads; how many of them it had not said so of before. Restricted ones are left out."""
    check_scope(session, (tenant_id,))
    if not ids:
        return 0
    connection = session.connection()
    mine = (_LEADS.c.tenant_id == tenant_id, _LEADS.c.id.in_(ids), _LEADS.c.acknowledged_at.is_(None),
            _LEADS.c.restricted.is_(None))  # fmt: skip
    new = list(connection.execute(select(_LEADS.c.id).where(*mine).order_by(_LEADS.c.id).with_for_update()).scalars())
    if new:
        connection.execute(
            update(_LEADS).where(_LEADS.c.tenant_id == tenant_id, _LEADS.c.id.in_(new)).values(acknowledged_at=now)
        )
        insert_new(connection, _HISTORY, _entries(tenant_id, [(lead, ACKNOWLEDGED) for lead in new], now))
    return len(new)


def _row(row: str, lead: NewLead, tenant_id: str, connection_id: str) -> dict[str, Any]:
    """What of a lead's row lies in the open."""
    return {
        "id": row,
        "tenant_id": tenant_id,
        "connection_id": connection_id,
        "external_id": lead.external_id,
        "page_external_id": lead.page_external_id,
        "form_external_id": lead.form_external_id,
        "form_name": lead.form_name,
        "created_at": lead.created_at,
        "received_at": lead.received_at,
        "source": lead.source,
        "platform": lead.platform,
        "is_test": lead.is_test,
        "is_organic": lead.is_organic,
        "ad": lead.ad,
    }


def email_fingerprint(hashes: Keyring, email: str) -> bytes:
    """The look-up hash of an e-mail address: white space and case do not make another person."""
    return hashes.fingerprint(email.strip().lower())


def read(keyring: Keyring, lead: Lead, column: str) -> Any:
    """`contact`, `answers` or `consents` of a lead, in the clear."""
    return orjson.loads(keyring.unseal(getattr(lead, column), table="leads", row=lead.id, column=column))


def leads_page(
    session: Session,
    *,
    before: str | None = None,
    limit: int = 100,
    page_id: str | None = None,
    form_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    found_by: tuple[str, bytes] | None = None,
    is_test: bool | None = None,
    source: str | None = None,
    is_acknowledged: bool | None = None,
    duplicate_of: str | None = None,
    is_merged: bool = False,
) -> list[Lead]:
    """The tenant's leads, newest first, a page at a time, without those that are restricted; `found_by` is
    ("email_hash" | "phone_hash", fingerprint). `is_merged`: of each person the first lead alone."""
    query = select(Lead).where(Lead.restricted.is_(None)).order_by(Lead.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Lead.id < before)
    if page_id is not None:
        query = query.where(Lead.page_external_id == page_id)
    if form_id is not None:
        query = query.where(Lead.form_external_id == form_id)
    if since is not None:
        query = query.where(Lead.created_at >= since)
    if until is not None:
        query = query.where(Lead.created_at < until)
    if is_test is not None:
        query = query.where(Lead.is_test.is_(is_test))
    if source is not None:
        query = query.where(Lead.source == source)
    if is_acknowledged is not None:
        query = query.where(Lead.acknowledged_at.is_not(None) if is_acknowledged else Lead.acknowledged_at.is_(None))
    if duplicate_of is not None:
        query = query.where(Lead.duplicate_of == duplicate_of)
    if is_merged:
        query = query.where(Lead.duplicate_of.is_(None))
    if found_by is not None:
        query = query.where(getattr(Lead, found_by[0]) == found_by[1])
    return list(session.scalars(query))


def history_counts(session: Session, lead_ids: Sequence[str]) -> dict[str, int]:
    """lead id -> how many entries its history has."""
    if not lead_ids:
        return {}
    query = (
        select(LeadHistory.lead_id, func.count()).where(LeadHistory.lead_id.in_(lead_ids)).group_by(LeadHistory.lead_id)
    )
    return {lead: count for lead, count in session.execute(query)}
