"""Erasing what a deletion is about: asked for, counted, frozen, taken in chunks, and counted again. The register
(`models.personal`) says what belongs to it; whoever calls decides when, and commits after each chunk.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Table, Text, and_, case, cast, delete, func, select, update
from sqlalchemy.orm import Session

from models.activity import idle_leads
from models.connect_link import ConnectLink
from models.connection import LIVING, REVOKING, Connection
from models.database import in_bulk
from models.deletion import (
    CONNECTION,
    FREEZE,
    HOST,
    IDLE,
    INTEGRATION,
    RESCAN,
    RUNNING,
    SCHEDULED,
    STEP_DONE,
    STEP_PENDING,
    SUBJECT,
    TENANT,
    VERIFY,
    Deletion,
    DeletionStep,
    Wish,
    described,
    request_deletion,
    steps_of,
)
from models.feed import DELETION_ACTION_NEEDED, emit
from models.lead import Lead
from models.named import count_named, forget_named
from models.personal import BY_NAME, Store, Target, children_of, stores_of
from models.statements import among
from models.tenant import ERASING_TENANT, Tenant
from models.tombstone import account_mark, bury, lead_mark
from models.vault import Vault

BY_TENANT = ("api", "admin", "cli")
"""Ways in by which the tenant asks: where leads would go, a second person has to agree. Whose data it is, and a provider,
need nobody's leave."""
NAMED_TO_HOST = 100
"""An event names so many leads of a person at most; the host asks the API for the rest."""

_LEADS: Table = Lead.__table__  # type: ignore[assignment]
_STEPS: Table = DeletionStep.__table__  # type: ignore[assignment]
_CONNECTIONS: Table = Connection.__table__  # type: ignore[assignment]


def ask(
    session: Session, *, tenant: Tenant, wish: Wish, undo: timedelta, now: datetime, grant_steps: tuple[str, ...] = ()
) -> Deletion:
    """Store a request with all of its steps, first those of `grant_steps`; it needs a second person where a tenant asks and
    leads would go, unless it is urgent."""
    target = target_of(session, tenant.id, wish, now)
    second = wish.requested_by in BY_TENANT and not wish.urgent and _has_leads(session, target)
    row = request_deletion(session, tenant=tenant, wish=replace(wish, needs_approval=second), undo=undo, now=now,
                           steps=(*grant_steps, *step_names(wish.kind)))  # fmt: skip
    row.scope_digest = _digest(row)
    session.flush()
    return row


def step_names(kind: str) -> tuple[str, ...]:
    """The steps of a scope's erasure in their order; those of the stores have their names."""
    return (FREEZE, *(name for store in stores_of(kind) for name in _names(store)), VERIFY, HOST, RESCAN)


def add_missing_steps(session: Session, row: Deletion, now: datetime) -> None:
    """Stores that came with a newer version than the one that took the request: they are erased and counted, too."""
    steps = steps_of(session, row.id)
    missing = [name for name in step_names(row.kind) if name not in {one.name for one in steps}]
    session.add_all(
        DeletionStep(tenant_id=row.tenant_id, deletion_id=row.id, position=position, name=name, status=STEP_PENDING,
                     updated_at=now)
        for position, name in enumerate(missing, start=max((one.position for one in steps), default=0) + 1)
    )  # fmt: skip
    session.flush()


def _names(store: Store) -> list[str]:
    return [*(child.name for child in children_of(store)), store.name]


def _digest(row: Deletion) -> str:
    """What a receipt names the scope by. Ids of ours are random and look-up hashes keyed: it gives nobody away."""
    marks = [mark.hex() if mark else "" for mark in (row.email, row.phone)]
    marks += [row.user.hex()] if row.user else []
    scope = [row.tenant_id, row.kind, row.connection_id or "", row.integration or "", *marks]
    if row.idle_since is not None:
        scope += [row.rule_id or "", row.idle_since.isoformat()]
    return hashlib.sha256("|".join(scope).encode()).hexdigest()


def target_of(session: Session, tenant_id: str, scope: Deletion | Wish, asked_at: datetime) -> Target:
    """What a request is about. Connections that were made after it was asked for belong to a new consent."""
    until = scope.erased_at if isinstance(scope, Deletion) else None
    if scope.kind == SUBJECT:
        found = scope.found if isinstance(scope, Deletion) else None
        target = Target(tenant_id, SUBJECT, email=scope.email, phone=scope.phone, user=scope.user, until=until)
        return replace(target, lead_ids=tuple(_persons_leads(session, target) if found is None else found))
    if scope.kind == IDLE:
        found = scope.found if isinstance(scope, Deletion) else None
        return Target(tenant_id, IDLE, lead_ids=tuple(_idle(session, tenant_id, scope) if found is None else found))
    if scope.kind == CONNECTION:
        return Target(tenant_id, CONNECTION, (scope.connection_id or "",), until=until)
    query = select(_CONNECTIONS.c.id).where(_CONNECTIONS.c.tenant_id == tenant_id)
    if scope.kind == INTEGRATION:
        query = query.where(_CONNECTIONS.c.integration == scope.integration, _CONNECTIONS.c.created_at <= asked_at)
    connections = tuple(session.connection().execute(query.order_by(_CONNECTIONS.c.id)).scalars())
    return Target(tenant_id, scope.kind, connections, until=until)


def _persons_leads(session: Session, target: Target) -> list[str]:
    query = select(_LEADS.c.id).where(BY_NAME["leads"].chosen(target)).order_by(_LEADS.c.id)
    return list(session.connection().execute(query).scalars())


def _idle(session: Session, tenant_id: str, scope: Deletion | Wish) -> list[str]:
    if scope.idle_since is None:
        return []
    query = select(_LEADS.c.id).where(idle_leads(tenant_id, scope.idle_since)).order_by(_LEADS.c.id)
    return list(session.connection().execute(query.limit(scope.at_most)).scalars())


def _has_leads(session: Session, target: Target) -> bool:
    query = select(_LEADS.c.id).where(BY_NAME["leads"].chosen(target)).limit(1)
    return session.connection().execute(query).first() is not None


def count(session: Session, vault: Vault, target: Target) -> dict[str, int]:
    """Store -> how many of its rows belong to the target now. What a preview shows, and a verification finds."""
    names = [name for store in stores_of(target.kind) for name in _names(store)]
    return {name: _count(session, vault, BY_NAME[name], target) for name in names}


def _count(session: Session, vault: Vault, store: Store, target: Target) -> int:
    if target.kind == SUBJECT and store.names is not None:
        return count_named(session, vault, store, target)
    query = select(func.count()).select_from(store.table)
    if store.parent is None:
        query = query.where(store.chosen(target))
    else:
        parent = BY_NAME[store.parent]
        same = and_(store.table.c.tenant_id == parent.table.c.tenant_id, store.link == parent.table.c.id)
        query = query.join(parent.table, same).where(parent.chosen(target))
    return session.connection().execute(query).scalar_one()


def may_begin(row: Deletion, now: datetime) -> bool:
    """Whether its time has come: agreed to, not held, and the time for second thoughts over."""
    agreed = not row.needs_approval or row.approved_at is not None
    return row.status == SCHEDULED and row.part_of is None and agreed and row.undo_until <= now


def freeze(
    session: Session, vault: Vault, row: Deletion, target: Target, before: Mapping[str, int], now: datetime
) -> None:
    """From this commit on nothing of it comes in any more: tombstones, and every living connection told to look at them.

    The row is locked, its connections are closed; `before` is what `count` found. It cannot be taken back.
    """
    # The lock on each connection makes those that write at this moment end first: they have not seen the tombstones.
    living = update(_CONNECTIONS).where(_CONNECTIONS.c.tenant_id == row.tenant_id, _CONNECTIONS.c.status.in_(LIVING))
    session.connection().execute(living.values(tombstoned_at=now))
    _bury(session, vault, row, target, now)
    if target.kind == TENANT:
        session.get_one(Tenant, row.tenant_id).status = ERASING_TENANT
        links: Table = ConnectLink.__table__  # type: ignore[assignment]
        unspent = update(links).where(links.c.tenant_id == row.tenant_id, links.c.used_at.is_(None))
        session.connection().execute(unspent.values(used_at=now))
    for one in steps_of(session, row.id):
        if one.name in before:
            one.before, one.deleted, one.updated_at = before[one.name], 0, now
        elif one.name == FREEZE:
            one.status, one.updated_at = STEP_DONE, now
    row.status, row.frozen_at, row.moved_at = RUNNING, now, now
    row.found = list(target.lead_ids) if target.kind in (SUBJECT, IDLE) else None
    row.host_needed = before.get("leads", 0) > 0
    session.flush()
    if row.host_needed:
        emit(session, row.tenant_id, [(DELETION_ACTION_NEEDED, action_needed(row))], now)


def action_needed(row: Deletion) -> dict[str, Any]:
    """What the host is told: its copies have to go too. Of a person, and of what was idle, the first leads are named."""
    named = {"lead_ids": (row.found or [])[:NAMED_TO_HOST]} if row.kind in (SUBJECT, IDLE) else {}
    return {**described(row), **named}


def _bury(session: Session, vault: Vault, row: Deletion, target: Target, now: datetime) -> None:
    hashes = vault.keyring(session, row.tenant_id, row.tenant_id, now)
    marks: dict[bytes, datetime] = {}
    if target.kind in (SUBJECT, IDLE):
        marks = {mark: now for mark in (row.email, row.phone) if mark is not None}
        query = select(_LEADS.c.external_id).where(
            _LEADS.c.tenant_id == row.tenant_id, _LEADS.c.id.in_(target.lead_ids)
        )
        marks |= {lead_mark(hashes, one): now for one in session.connection().execute(query).scalars()}
    else:
        for account, until in _accounts(session, target, now):
            mark = account_mark(hashes, account)
            marks[mark] = max(until, marks.get(mark, until))
    bury(session, row.tenant_id, marks, deletion_id=row.id, now=now)


def _accounts(session: Session, target: Target, now: datetime) -> list[tuple[str, datetime]]:
    """Each account, and the instant of its last lead or the second before its closing: up to then it is dead.

    Providers tell whole seconds: what is made in the second of the closing may belong to a page that is connected anew in it,
    and what was not stored until then was never here.
    """
    rows = session.scalars(select(Connection).where(Connection.id.in_(target.connection_ids)))
    query = select(_LEADS.c.connection_id, func.max(_LEADS.c.created_at)).where(
        _LEADS.c.tenant_id == target.tenant_id, _LEADS.c.connection_id.in_(target.connection_ids)
    )
    last = dict(session.connection().execute(query.group_by(_LEADS.c.connection_id)).all())
    return [
        (one.external_id, max(_second_before(one.closed_at or now), last.get(one.id, one.created_at))) for one in rows
    ]


def _second_before(instant: datetime) -> datetime:
    return instant.replace(microsecond=0) - timedelta(seconds=1)


def still_revoking(session: Session, target: Target) -> bool:
    """Whether a provider has not been told yet: what that still needs has to wait."""
    query = select(_CONNECTIONS.c.id).where(
        _CONNECTIONS.c.tenant_id == target.tenant_id, _CONNECTIONS.c.id.in_(target.connection_ids),
        _CONNECTIONS.c.status == REVOKING,
    )  # fmt: skip
    return session.connection().execute(query.limit(1)).first() is not None


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one turn erased, by store, and the place to go on from; `after` None and `done`: nothing is left."""

    erased: Mapping[str, int]
    done: bool
    after: Any = None


def erase(session: Session, vault: Vault, store: Store, target: Target, *, after: Any, limit: int) -> Chunk:
    """Erase up to `limit` rows of a store, and what goes with them, behind the place `after`. Harmless when repeated."""
    table = store.table
    if target.kind == SUBJECT and store.names is not None:
        number, following = forget_named(session, vault, store, target, after=after, limit=limit)
        return Chunk({store.name: number}, following is None, following)
    if "id" not in table.c:
        return Chunk({store.name: _delete(session, table, store.chosen(target))}, True)
    place = table.c[store.walk] if store.walk is not None else None
    told = () if place is None or place is table.c.id else (place,)
    # As text: nobody here needs the driver to make an object of each id.
    query = select(cast(table.c.id, Text), *told).where(store.chosen(target)).limit(limit)
    if place is not None:
        query = query.order_by(place)
        query = query if after is None else query.where(place > after)
    connection = session.connection()
    in_bulk(connection)
    rows = connection.execute(query).all()
    ids = [row[0] for row in rows]
    if not ids:
        return Chunk({}, True)
    these = and_(table.c[store.owner] == target.tenant_id, among(connection, table.c.id, ids))
    erased = {
        child.name: _delete(session, child.table, and_(child.table.c.tenant_id == target.tenant_id,
                                                       among(connection, child.link, ids)))
        for child in children_of(store)
    }  # fmt: skip
    if store.scrub is None:
        erased[store.name] = _delete(session, table, these)
    else:
        connection.execute(update(table).where(these).values(store.scrub))
        erased[store.name] = len(ids)
    return Chunk(erased, len(ids) < limit, rows[-1][-1])


def _delete(session: Session, table: Table, condition: Any) -> int:
    return session.connection().execute(delete(table).where(condition)).rowcount


def note(session: Session, row: Deletion, chunk: Chunk, now: datetime) -> None:
    """Count what a chunk erased in its own transaction."""
    if chunk.erased:
        more = case(chunk.erased, value=_STEPS.c.name)
        mine = and_(
            _STEPS.c.tenant_id == row.tenant_id, _STEPS.c.deletion_id == row.id, _STEPS.c.name.in_(chunk.erased)
        )
        counted = update(_STEPS).where(mine).values(deleted=func.coalesce(_STEPS.c.deleted, 0) + more, updated_at=now)
        session.connection().execute(counted)
    row.moved_at = now
    session.flush()


def forget_doubles(session: Session, tenant_id: str) -> None:
    """Marks of the tenant's leads that point at a lead which is gone."""
    firsts = _LEADS.alias()
    there = select(firsts.c.id).where(firsts.c.tenant_id == tenant_id, firsts.c.id == _LEADS.c.duplicate_of).exists()
    lost = select(_LEADS.c.id).where(_LEADS.c.tenant_id == tenant_id, _LEADS.c.duplicate_of.is_not(None), ~there)
    ids = list(session.connection().execute(lost).scalars())
    for start in range(0, len(ids), 1_000):
        these = _LEADS.c.id.in_(ids[start : start + 1_000])
        session.connection().execute(
            update(_LEADS).where(_LEADS.c.tenant_id == tenant_id, these).values(duplicate_of=None)
        )
