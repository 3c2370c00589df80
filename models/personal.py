"""The register of what is personal: every table, what its columns hold, and which of its rows an erasure takes.

Preview, erasure, verification and receipt all read this one list. A test compares it with the schema: a new table, or a new
column of text, bytes or JSON, has no way into the build without an entry here. It asks no database.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, Text, and_, false, or_, select, true, type_coerce

from models.bulletin import Bulletin, FeedRead
from models.calendar import Calendar, Channel
from models.calendar_event import CalendarEvent
from models.connect_link import ConnectLink, ConnectState
from models.connection import ERASED_ACCOUNT, Connection, Holder
from models.deletion import CONNECTION, INTEGRATION, SUBJECT, TENANT, Deletion, DeletionStep
from models.device import Device, DeviceTag
from models.feed import CALENDAR_EVENTS, DEVICE_REMOVED, LEAD_RECEIVED, LEAD_UPDATED, Event, Feed
from models.form import Form, LeadCheck
from models.host import ApiKey, SignIn
from models.idempotency import KeptAnswer
from models.inbox import InboxEvent
from models.job import CANCELLED, DEAD, DONE, Job
from models.lead import Lead, LeadHistory
from models.push import Push
from models.receipt import Receipt, ReceiptChain
from models.receipt_key import ReceiptKey
from models.refusal import Refusal
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


@dataclass(frozen=True, slots=True)
class Target:
    """What an erasure is about: connections (of a whole tenant: all of its), or a person by look-up hashes.

    `user` is who the person is at the host; `lead_ids` are the person's leads as they were found at the freeze: ids of ours."""

    tenant_id: str
    kind: str
    connection_ids: tuple[str, ...] = ()
    email: bytes | None = None
    phone: bytes | None = None
    user: bytes | None = None
    lead_ids: tuple[str, ...] = ()


Choice = Callable[[Target], ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class Store:
    """A table and its rule. `connections` and `person` choose the rows that such a scope takes within the tenant (None: it
    takes none); the scope of a tenant takes all. Rows with a `parent` store go with the parent's, which `by` names.

    `scrub`: what the rows' columns become where the row itself stays; `unscrubbed` tells those that are still to be done.
    `walk`: the column to go along where no index leads to the chosen rows. `waits`: what revoking a grant needs until its end.
    `kept`: why no erasure touches the table at all.
    """

    table: Table
    columns: Mapping[str, str]
    connections: Choice | None = None
    person: Choice | None = None
    parent: str | None = None
    by: str | None = None
    scrub: Mapping[str, Any] | None = None
    unscrubbed: ColumnElement[bool] | None = None
    walk: str | None = None
    owner: str = "tenant_id"
    waits: bool = False
    kept: str = ""

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
        rule = {SUBJECT: self.person, TENANT: true, CONNECTION: self.connections, INTEGRATION: self.connections}[kind]
        return rule is not None

    def chosen(self, target: Target) -> ColumnElement[bool]:
        """The rows that a target's erasure takes."""
        mine = self.table.c[self.owner] == target.tenant_id
        rule = {SUBJECT: self.person, TENANT: None}.get(target.kind, self.connections)
        conditions = [mine] if rule is None else [mine, rule(target)]
        return and_(*conditions, *(() if self.unscrubbed is None else (self.unscrubbed,)))


def _t(model: Any) -> Table:
    table: Table = model.__table__
    return table


def _through(table: Table, column: str = "connection_id") -> Choice:
    return lambda target: table.c[column].in_(target.connection_ids)


_LEADS, _INBOX, _JOBS, _EVENTS, _CONNECTIONS = _t(Lead), _t(InboxEvent), _t(Job), _t(Event), _t(Connection)
_CALENDAR_EVENTS = _t(CalendarEvent)
ERASED = {"erased": True}
"""What is left of an event about something that was erased: its id, place and kind stay, so that the feed goes on."""


def _persons_leads(target: Target) -> ColumnElement[bool]:
    pairs = ((_LEADS.c.email_hash, target.email), (_LEADS.c.phone_hash, target.phone))
    return or_(false(), *(column == mark for column, mark in pairs if mark is not None))


def _persons_notices(target: Target) -> ColumnElement[bool]:
    mine = select(_LEADS.c.external_id).where(_LEADS.c.tenant_id == target.tenant_id, _persons_leads(target))
    return _INBOX.c.external_id.in_(mine)


def _naming(ids: tuple[str, ...]) -> ColumnElement[bool]:
    """Ids are unique: a search of the text finds no event of another thing."""
    return or_(false(), *(type_coerce(_EVENTS.c.data, Text).like(f'%"{one}"%') for one in ids))


def _persons_rows(table: Table) -> Choice:
    """By the host's user: named as such, or by an e-mail address that is one."""
    return lambda target: table.c.user_hash.in_([one for one in (target.user, target.email) if one is not None])


def _all(_target: Target) -> ColumnElement[bool]:
    return true()


STORES: tuple[Store, ...] = (
    # Events and notices of a person are found by the person's leads: they come before them.
    Store(
        _EVENTS,
        {"type": OURS, "data": PROVIDER},
        connections=lambda target: _naming(target.connection_ids),
        person=lambda target: _naming(target.lead_ids),
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
    ),
    # Answers kept for a repeated request may show any lead; they live for two days, and all of them go.
    Store(
        _t(KeptAnswer),
        {"caller": OURS, "key_hash": MARK, "request_hash": MARK, "answer": PERSON},
        connections=_all,
        person=_all,
    ),
    Store(
        _JOBS,
        {"kind": OURS, "lane": OURS, "key": OURS, "open_key": OURS, "args": OURS, "state": OURS, "worker": OURS,
         "error_kind": OURS, "error_sentence": OURS, "note": OURS},
        connections=_through(_JOBS),
        unscrubbed=_JOBS.c.state.in_((DONE, DEAD, CANCELLED)),  # the erasure itself is a job, and runs
        walk="id",
    ),
    Store(
        _LEADS,
        {"external_id": PROVIDER, "page_external_id": PROVIDER, "form_external_id": PROVIDER, "form_name": PROVIDER,
         "source": OURS, "platform": OURS, "ad": PROVIDER, "contact": PERSON, "answers": PERSON, "consents": PERSON,
         "email_hash": MARK, "phone_hash": MARK},
        connections=_through(_LEADS),
        person=_persons_leads,
        walk="id",
    ),
    Store(_t(LeadHistory), {"kind": OURS, "text": PERSON}, parent="leads", by="lead_id"),
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
    ),
    Store(_t(Channel), {"digest": CREDENTIAL, "resource_id": PROVIDER}, connections=_through(_t(Channel)), waits=True),
    Store(
        _t(Calendar),
        {"external_id": PROVIDER, "clash": OURS, "on_gone": OURS, "on_revoke": OURS, "sync_token": PROVIDER},
        connections=_through(_t(Calendar)),
        waits=True,
    ),
    Store(_t(Holder), {"mark": MARK}, connections=_through(_t(Holder)), waits=True),
    Store(
        _CONNECTIONS,
        {"integration": OURS, "external_id": PROVIDER, "account": PROVIDER, "status": OURS, "scopes": PROVIDER,
         "claim": PROVIDER, "tokens": CREDENTIAL, "health_code": OURS, "health_sentence": OURS, "health_fix": OURS},
        connections=_through(_CONNECTIONS, "id"),
        scrub={"external_id": ERASED_ACCOUNT, "account": None, "scopes": [], "claim": None, "tokens": None},
        unscrubbed=_CONNECTIONS.c.external_id != ERASED_ACCOUNT,
        waits=True,
    ),
    # What waits to be pushed goes before the devices that it would be pushed to.
    Store(
        _t(Push), {"user_hash": MARK, "state": OURS, "reason": OURS}, person=_persons_rows(_t(Push)), walk="id"
    ),
    Store(_t(FeedRead), {"user_hash": MARK}, person=_persons_rows(_t(FeedRead))),
    Store(_t(Bulletin), {"content": HOST, "audience": PERSON, "status": OURS, "priority": OURS, "local_at": OURS,
                         "counts": OURS, "sentence": OURS}, walk="id"),
    Store(
        _t(Device),
        {"host_id": PROVIDER, "kind": OURS, "address": CREDENTIAL, "address_hash": MARK, "user": PERSON,
         "user_hash": MARK, "locale": PERSON, "timezone": PERSON},
        person=_persons_rows(_t(Device)),
        walk="id",
    ),
    Store(_t(DeviceTag), {"tag": HOST}, parent="devices", by="device_id"),
    Store(_t(ConnectLink), {"integration": OURS, "user": PERSON, "digest": CREDENTIAL}),
    Store(
        _t(ConnectState),
        {"integration": OURS, "digest": CREDENTIAL, "browser": CREDENTIAL, "kept": CREDENTIAL},
        parent="connect_links", by="link_id",
    ),
    Store(_t(ApiKey), {"digest": CREDENTIAL, "hint": CREDENTIAL, "scopes": OURS}),
    Store(_t(SignIn), {"kind": OURS, "digest": CREDENTIAL}),
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


def children_of(store: Store) -> list[Store]:
    """The stores whose rows go with this one's."""
    return [child for child in STORES if child.parent == store.name]
