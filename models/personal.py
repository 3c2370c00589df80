"""The register of what is personal: every table, what its columns hold, which of its rows an erasure takes, and which of
them people get a copy of.

Preview, erasure, verification, receipt and export all read this one list. A test compares it with the schema: a new table, or
a new column of text, bytes or JSON, has no way into the build without an entry here. It asks no database.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, Text, and_, false, func, or_, select, true, type_coerce

from models.bulletin import Bulletin, FeedRead
from models.calendar import Calendar, Channel
from models.calendar_event import CalendarEvent
from models.connect_link import ConnectLink, ConnectState
from models.connection import ERASED_ACCOUNT, Connection, Holder
from models.deletion import CONNECTION, IDLE, INTEGRATION, SUBJECT, TENANT, Deletion, DeletionStep
from models.device import Device, DeviceTag
from models.export import EXPIRED_BY_ERASURE, PENDING, READY, Export, ExportChunk
from models.feed import CALENDAR_EVENTS, DEVICE_REMOVED, LEAD_PLACE, LEAD_RECEIVED, LEAD_UPDATED, Event, Feed
from models.form import Form, LeadCheck
from models.host import ApiKey, SignIn
from models.idempotency import KeptAnswer
from models.inbox import InboxEvent
from models.job import CANCELLED, DEAD, DONE, Job
from models.lead import Lead, LeadHistory
from models.opt_out import OptOut
from models.policy_notice import PolicyNotice, PolicyRecipient
from models.push import Push
from models.receipt import Receipt, ReceiptChain
from models.receipt_key import ReceiptKey
from models.refusal import Refusal
from models.restriction import Restriction
from models.retention import LegalRetention, RetentionRule
from models.tenant import ERASED_NAME, ERASED_TENANT, Tenant
from models.tombstone import Tombstone
from models.vault import DataKey

PERSON = "person"
"""Sealed data of or about a person."""
PROVIDER = "provider"
"""An id or a name that a provider gave."""
CREDENTIAL = "credential"
"""A token, key or password, sealed or hashed."""
MARK = "mark"
"""A keyed hash of something personal."""
HOST = "host"
"""Words of the vendor or of the tenant about itself."""
OURS = "ours"
"""Words, codes and sentences of Troth's own: no person and no provider in them."""
KINDS = (PERSON, PROVIDER, CREDENTIAL, MARK, HOST, OURS)
SECRET = (CREDENTIAL, MARK)
"""What no export ever shows."""


@dataclass(frozen=True, slots=True)
class Target:
    """What an erasure is about: connections (of a whole tenant: all of its), a person by look-up hashes, or leads that
    are idle.

    `user` is who the person is at the host; `lead_ids` are the person's leads, or the idle ones, as they were found at the
    freeze: ids of ours. `until`: when it was erased; of stores that are taken whole, what was written since is not its."""

    tenant_id: str
    kind: str
    connection_ids: tuple[str, ...] = ()
    email: bytes | None = None
    phone: bytes | None = None
    user: bytes | None = None
    lead_ids: tuple[str, ...] = ()
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Seal:
    """How a sealed column is opened: `by` is the column (of the parent's row, where there is a parent) that names the scope
    of its key. What is inside is JSON, or text (`is_text`). `parts`: the names of a JSON object's fields, or of a list's
    items, each of which a table shows in a column of its own."""

    by: str
    is_text: bool = False
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Names:
    """A column, sealed by the tenant's key, that names users of the host: in a list, which is this `part` of its JSON object,
    or as its whole text. An erasure takes the name out of it (`models.named`)."""

    column: str
    part: str | None = None


Choice = Callable[[Target], ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class Store:
    """A table and its rule. `connections`, `person` and `idle` choose the rows that such a scope takes within the tenant
    (None: it takes none); the scope of a tenant takes all. Rows with a `parent` store go with the parent's, which `by` names.

    `names`: the column that a person's erasure takes a name out of; the row and the others whom it names stay.
    `scrub`: what the rows' columns become where the row itself stays; `unscrubbed` tells those that are still to be done.
    `walk`: the column to go along where no index leads to the chosen rows. `waits`: what revoking a grant needs until its end.
    `kept`: why no erasure touches the table at all. `sealed`: how its sealed columns are opened for an export; `withheld`:
    why no export shows its rows.
    """

    table: Table
    columns: Mapping[str, str]
    connections: Choice | None = None
    person: Choice | None = None
    idle: Choice | None = None
    parent: str | None = None
    by: str | None = None
    names: Names | None = None
    scrub: Mapping[str, Any] | None = None
    unscrubbed: ColumnElement[bool] | None = None
    walk: str | None = None
    owner: str = "tenant_id"
    waits: bool = False
    kept: str = ""
    sealed: Mapping[str, Seal] = field(default_factory=dict)
    withheld: str = ""

    @property
    def link(self) -> Column[Any]:
        """The column by which a row hangs on its parent's."""
        return self.table.c[str(self.by)]

    @property
    def name(self) -> str:
        """The table's name; also that of its step."""
        return self.table.name

    def is_in(self, kind: str) -> bool:
        """Whether a scope takes rows of this table by a rule of its own (not with a parent's)."""
        if self.kept or self.parent is not None:
            return False
        rules = {SUBJECT: self.person or self.names, IDLE: self.idle, TENANT: true, CONNECTION: self.connections,
                 INTEGRATION: self.connections}  # fmt: skip
        return rules[kind] is not None

    def belongs(self, target: Target) -> ColumnElement[bool]:
        """The rows that are about a target."""
        mine = self.table.c[self.owner] == target.tenant_id
        rule = {SUBJECT: self.person or _nobodys, IDLE: self.idle, TENANT: None}.get(target.kind, self.connections)
        return mine if rule is None else and_(mine, rule(target))

    def chosen(self, target: Target) -> ColumnElement[bool]:
        """The rows that a target's erasure takes."""
        return and_(self.belongs(target), *(() if self.unscrubbed is None else (self.unscrubbed,)))

    @property
    def shown(self) -> list[Column[Any]]:
        """The columns that an export shows: all but what is secret, and whose row it is."""
        return [one for one in self.table.c if one.name != "tenant_id" and self.columns.get(one.name) not in SECRET]


def _nobodys(_target: Target) -> ColumnElement[bool]:
    """No row, where a person may be named in any of them."""
    return false()


def _t(model: Any) -> Table:
    table: Table = model.__table__
    return table


def _through(table: Table, column: str = "connection_id") -> Choice:
    return lambda target: table.c[column].in_(target.connection_ids)


_LEADS, _INBOX, _JOBS, _EVENTS, _CONNECTIONS = _t(Lead), _t(InboxEvent), _t(Job), _t(Event), _t(Connection)
_CALENDAR_EVENTS = _t(CalendarEvent)
ERASED = {"erased": True}
"""What is left of an event about something that was erased: its id, place and kind stay, so that the feed goes on."""


def _of_person(email: Column[Any], phone: Column[Any], user: Column[Any] | None = None) -> Choice:
    """The rows that bear one of a person's look-up hashes in these columns."""
    return lambda target: or_(false(), *(
        one == mark for one, mark in ((email, target.email), (phone, target.phone), (user, target.user))
        if one is not None and mark is not None
    ))  # fmt: skip


_persons_leads = _of_person(_LEADS.c.email_hash, _LEADS.c.phone_hash)


def _persons_notices(target: Target) -> ColumnElement[bool]:
    mine = select(_LEADS.c.external_id).where(_LEADS.c.tenant_id == target.tenant_id, _persons_leads(target))
    return _INBOX.c.external_id.in_(mine)


def _these_leads(target: Target) -> ColumnElement[bool]:
    return _LEADS.c.id.in_(target.lead_ids)


def _their_notices(target: Target) -> ColumnElement[bool]:
    mine = select(_LEADS.c.external_id).where(_LEADS.c.tenant_id == target.tenant_id, _these_leads(target))
    return _INBOX.c.external_id.in_(mine)


def _their_events(target: Target) -> ColumnElement[bool]:
    """They are many: each event is read once, at the place where its lead is, and not searched for each of them."""
    return func.substr(type_coerce(_EVENTS.c.data, Text), LEAD_PLACE, 36).in_(target.lead_ids)


def _naming(ids: tuple[str, ...]) -> ColumnElement[bool]:
    """Ids are unique: a search of the text finds no event of another thing."""
    return or_(false(), *(type_coerce(_EVENTS.c.data, Text).like(f'%"{one}"%') for one in ids))


def _persons_rows(table: Table) -> Choice:
    """By who they are at the host."""
    return lambda target: table.c.user_hash == target.user if target.user is not None else false()


def _whole(table: Table, at: str) -> Choice:
    """All that was written (`at`) before the erasure was done."""
    return lambda target: true() if target.until is None else table.c[at] <= target.until


STORES: tuple[Store, ...] = (
    # Events and notices of a person are found by the person's leads: they come before them.
    Store(
        _EVENTS,
        {"type": OURS, "data": PROVIDER},
        connections=lambda target: _naming(target.connection_ids),
        person=lambda target: _naming(target.lead_ids),
        idle=_their_events,
        scrub={"data": ERASED},
        unscrubbed=and_(
            _EVENTS.c.type.in_((LEAD_RECEIVED, LEAD_UPDATED, DEVICE_REMOVED, *CALENDAR_EVENTS)), _EVENTS.c.data != ERASED
        ),
        walk="position",
    ),
    Store(
        _INBOX,
        {"kind": OURS, "external_id": PROVIDER, "source": OURS, "refs": PROVIDER, "state": OURS, "error_kind": OURS,
         "error_sentence": OURS},
        connections=_through(_INBOX),
        person=_persons_notices,
        idle=_their_notices,
    ),
    # Answers kept for a repeated request may show any lead; they live for two days, and all of them go.
    Store(
        _t(KeptAnswer),
        {"caller": OURS, "key_hash": MARK, "request_hash": MARK, "answer": PERSON},
        connections=_whole(_t(KeptAnswer), "created_at"),
        person=_whole(_t(KeptAnswer), "created_at"),
        withheld="Repeats of what other stores show, for two days.",
    ),
    Store(
        _JOBS,
        {"kind": OURS, "lane": OURS, "key": OURS, "open_key": OURS, "args": OURS, "state": OURS, "worker": OURS,
         "error_kind": OURS, "error_sentence": OURS, "note": OURS},
        connections=_through(_JOBS),
        unscrubbed=_JOBS.c.state.in_((DONE, DEAD, CANCELLED)),  # the erasure itself is a job, and runs
        walk="id",
        withheld="Troth's own work: ids and words of ours.",
    ),
    Store(
        _LEADS,
        {"external_id": PROVIDER, "page_external_id": PROVIDER, "form_external_id": PROVIDER, "form_name": PROVIDER,
         "source": OURS, "platform": OURS, "ad": PROVIDER, "contact": PERSON, "answers": PERSON, "consents": PERSON,
         "email_hash": MARK, "phone_hash": MARK, "restricted": OURS},
        connections=_through(_LEADS),
        person=_persons_leads,
        idle=_these_leads,
        walk="id",
        sealed={"contact": Seal("connection_id", parts=("full_name", "email", "phone", "phone_raw")),
                "answers": Seal("connection_id"), "consents": Seal("connection_id")},
    ),
    Store(
        _t(LeadHistory),
        {"kind": OURS, "text": PERSON},
        parent="leads", by="lead_id",
        sealed={"text": Seal("connection_id", is_text=True)},
    ),
    # Any copy may show any of it; whoever still needs one asks again. After the leads: no copy of them can be made any more.
    Store(
        _t(Export),
        {"kind": OURS, "email": MARK, "phone": MARK, "user": MARK, "requester": MARK, "verification": OURS, "status": OURS,
         "counts": OURS, "sentence": OURS, "key": CREDENTIAL, "link": CREDENTIAL, "digest": CREDENTIAL},
        connections=_whole(_t(Export), "requested_at"),
        person=_whole(_t(Export), "requested_at"),
        scrub=EXPIRED_BY_ERASURE,
        unscrubbed=_t(Export).c.status.in_((PENDING, READY)),
        withheld="Copies of what other stores show.",
    ),
    Store(
        _t(Restriction),
        {"kind": OURS, "email": MARK, "phone": MARK, "user": MARK, "reason": OURS, "requester": MARK},
        person=_of_person(_t(Restriction).c.email, _t(Restriction).c.phone, _t(Restriction).c.user),
    ),
    Store(_t(ExportChunk), {"data": PERSON}, parent="exports", by="export_id", withheld="The copies themselves."),
    Store(
        _t(Form),
        {"external_id": PROVIDER, "name": PROVIDER, "status": PROVIDER, "locale": PROVIDER, "questions": PROVIDER,
         "legal": PROVIDER, "mapping": PROVIDER, "gone_sentence": OURS, "reading_after": PROVIDER,
         "backfill_after": PROVIDER, "backfill_state": OURS, "backfill_sentence": OURS},
        connections=_through(_t(Form)),
    ),
    Store(_t(LeadCheck), {"missing": PROVIDER, "status": OURS}, parent="forms", by="form_id"),
    # What an event says is sealed, and kept for a moment: which of them speaks of a person cannot be looked up, and need not.
    Store(
        _CALENDAR_EVENTS,
        {"host_id": HOST, "external_id": PROVIDER, "etag": PROVIDER, "content_hash": MARK, "wanted": OURS, "state": OURS,
         "wish": PERSON, "wished_hash": MARK, "found": PERSON, "instances": PROVIDER, "error_code": OURS,
         "error_sentence": OURS},
        connections=_through(_CALENDAR_EVENTS),
        waits=True,
        sealed={"wish": Seal("connection_id", parts=("content", "notify")),
                "found": Seal("connection_id", parts=("event", "instances"))},
    ),
    Store(
        _t(Channel),
        {"digest": CREDENTIAL, "resource_id": PROVIDER},
        connections=_through(_t(Channel)),
        waits=True,
        withheld="The provider's names for the ways by which it tells of changes.",
    ),
    Store(
        _t(Calendar),
        {"external_id": PROVIDER, "clash": OURS, "on_gone": OURS, "on_revoke": OURS, "sync_token": PROVIDER},
        connections=_through(_t(Calendar)),
        waits=True,
    ),
    Store(
        _t(Holder),
        {"mark": MARK},
        connections=_through(_t(Holder)),
        waits=True,
        withheld="Keyed hashes.",
    ),
    Store(
        _CONNECTIONS,
        {"integration": OURS, "external_id": PROVIDER, "account": PROVIDER, "status": OURS, "scopes": PROVIDER,
         "claim": PROVIDER, "tokens": CREDENTIAL, "health_code": OURS, "health_sentence": OURS, "health_fix": OURS},
        connections=_through(_CONNECTIONS, "id"),
        scrub={"external_id": ERASED_ACCOUNT, "account": None, "scopes": [], "claim": None, "tokens": None},
        unscrubbed=_CONNECTIONS.c.external_id != ERASED_ACCOUNT,
        waits=True,
        sealed={"account": Seal("id", parts=("external_id", "name"))},
    ),
    Store(
        _t(ConnectLink),
        {"integration": OURS, "user": PERSON, "digest": CREDENTIAL},
        names=Names("user"),
        sealed={"user": Seal("tenant_id", is_text=True)},
    ),
    # What waits to be pushed goes before the devices that it would be pushed to.
    Store(
        _t(Push), {"user_hash": MARK, "state": OURS, "reason": OURS}, person=_persons_rows(_t(Push)), walk="id"
    ),
    Store(_t(FeedRead), {"user_hash": MARK}, person=_persons_rows(_t(FeedRead))),
    Store(_t(Bulletin), {"content": HOST, "audience": PERSON, "status": OURS, "priority": OURS, "local_at": OURS,
                         "counts": OURS, "sentence": OURS}, walk="id", names=Names("audience", "users"),
          sealed={"content": Seal("tenant_id", parts=("title", "body", "url", "image_url", "variants")),
                  "audience": Seal("tenant_id", parts=("kind", "tags", "users"))}),
    Store(
        _t(Device),
        {"host_id": PROVIDER, "kind": OURS, "address": CREDENTIAL, "address_hash": MARK, "user": PERSON,
         "user_hash": MARK, "locale": PERSON, "timezone": PERSON},
        person=_persons_rows(_t(Device)),
        walk="id",
        sealed={"user": Seal("tenant_id", is_text=True)},
    ),
    Store(_t(DeviceTag), {"tag": HOST}, parent="devices", by="device_id"),
    Store(
        _t(ConnectState),
        {"integration": OURS, "digest": CREDENTIAL, "browser": CREDENTIAL, "kept": CREDENTIAL},
        parent="connect_links", by="link_id",
        withheld="Secrets of a visit that lasts half an hour.",
    ),
    Store(_t(OptOut), {"mark": MARK}, withheld="Keyed hashes."),
    Store(_t(PolicyNotice), {"origin": OURS, "version": HOST, "url": HOST, "summary": HOST}),
    Store(_t(PolicyRecipient), {"kind": OURS, "mark": MARK}, parent="policy_notices", by="notice_id"),
    Store(
        _t(ApiKey), {"digest": CREDENTIAL, "hint": CREDENTIAL, "scopes": OURS}, withheld="Keys, which a copy would give away."
    ),
    Store(_t(SignIn), {"kind": OURS, "digest": CREDENTIAL}, withheld="Keys, which a copy would give away."),
    Store(_t(RetentionRule), {"name": HOST, "store": OURS, "author": MARK, "armer": MARK}),
    Store(_t(LegalRetention), {"store": OURS, "jurisdiction": HOST, "reason": HOST}),
    Store(
        _t(Tenant),
        {"external_id": HOST, "name": HOST, "country": HOST, "subdivision": HOST, "timezone": HOST, "work_week": HOST,
         "status": OURS},
        scrub={"name": ERASED_NAME, "status": ERASED_TENANT},
        unscrubbed=_t(Tenant).c.status != ERASED_TENANT,
        owner="id",
    ),
    # Last: without its key no copy of what was sealed, wherever it lies, can be read again.
    Store(
        _t(DataKey),
        {"master_key_id": OURS, "wrapped": CREDENTIAL},
        connections=_through(_t(DataKey), "scope"),
        waits=True,
        withheld="Keys, which a copy would give away.",
    ),
    Store(_t(Feed), {}, kept="A counter."),
    Store(
        _t(Deletion),
        {"confirmation_code": OURS, "kind": OURS, "integration": OURS, "status": OURS, "requested_by": OURS,
         "verification": OURS, "requester": MARK, "approver": MARK, "email": MARK, "phone": MARK, "user": MARK, "found": OURS,
         "hold_reason": OURS, "calendar": OURS, "calendar_version": OURS, "calendar_digest": OURS, "skipped": OURS,
         "acks": OURS, "scope_digest": MARK},
        kept="The record that something was deleted, when and why: ids of ours and keyed hashes, no person.",
    ),
    Store(_t(DeletionStep), {"name": OURS, "status": OURS, "sentence": OURS}, kept="Counts of the same record."),
    Store(_t(Tombstone), {"mark": MARK}, kept="Keyed hashes that keep what was deleted from coming back."),
    Store(
        _t(Receipt),
        {"previous": OURS, "digest": OURS, "body": OURS, "key_id": OURS, "public_key": OURS, "signature": OURS},
        kept="The proof of a deletion; its guard lets no person in.",
    ),
    Store(_t(ReceiptChain), {"digest": OURS}, kept="The end of the receipts' chain."),
    Store(
        _t(ReceiptKey),
        {"id": OURS, "public_key": OURS, "private": CREDENTIAL},
        kept="Troth's own signing key, sealed; of no tenant.",
    ),
    Store(
        _t(Refusal),
        {"reason": OURS, "claimed_job": OURS, "claimed_tenant": OURS, "claimed_kind": OURS, "body_digest": OURS},
        kept="Messages that were refused, by the ids they claimed; of no tenant.",
    ),
)  # fmt: skip
"""In the order in which an erasure takes them."""

BY_NAME = {store.name: store for store in STORES}


def stores_of(kind: str) -> list[Store]:
    """The stores that a scope takes rows of, in their order, without those that go with a parent."""
    return [store for store in STORES if store.is_in(kind)]


def portable_stores(kind: str) -> list[Store]:
    """The stores that an export of a subject or a tenant shows, a parent before its children. Not of a person those that
    may name others beside them."""
    found = []
    for store in stores_of(kind):
        if kind == SUBJECT and store.person is None:
            continue
        found += [one for one in (store, *children_of(store)) if not one.withheld]
    return found


def children_of(store: Store) -> list[Store]:
    """The stores whose rows go with this one's."""
    return [child for child in STORES if child.parent == store.name]
