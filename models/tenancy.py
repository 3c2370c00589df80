"""Whose rows a session may touch: the mixin, the two kinds of session, and the guard that holds them to it."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import ForeignKey, ForeignKeyConstraint, Uuid, event, text
from sqlalchemy.orm import Mapped, ORMExecuteState, Session, SessionTransaction, mapped_column, with_loader_criteria
from sqlalchemy.orm.interfaces import ORMOption

from models.base import Base
from models.database import Database

SYSTEM = "00000000-0000-0000-0000-000000000000"
"""The tenant that is Troth itself: beat ticks and other work of no customer carry this tag. It owns no customer rows."""

_EVERY_TENANT = "*"
_SET_SCOPE = text("SELECT set_config('troth.tenant', :scope, true)")
_SET_SCOPE_BY_KEY = text(
    "SELECT set_config('troth.tenant', :scope, true), set_config('enable_seqscan', 'off', true), "
    "set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)"
)


class CrossTenantWrite(Exception):
    """A session of one tenant tried to write a row of another; nothing was written."""


class TenantScoped:
    """A table whose every row belongs to one tenant. Its unique keys start with `tenant_id`."""

    tenant_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), ForeignKey("tenants.id"))


def same_tenant(column: str, table: str) -> ForeignKeyConstraint:
    """A foreign key that carries the tenant, so that a row can never hang on another tenant's."""
    return ForeignKeyConstraint(["tenant_id", column], [f"{table}.tenant_id", f"{table}.id"])


@contextmanager
def tenant_session(database: Database, tenant_id: str, *, reads_only: bool = False) -> Iterator[Session]:
    """One transaction that sees and writes this tenant's rows only; commits at the end, rolls back on an error."""
    yield from _transaction(database, tenant_id, reads_only)


@contextmanager
def system_session(database: Database, *, reads_only: bool = False) -> Iterator[Session]:
    """One transaction across tenants: for routing, the reconciler and the platform's own tables."""
    yield from _transaction(database, _EVERY_TENANT, reads_only)


def ledger_connection(database: Database, *, kept: bool = False) -> AbstractContextManager[SqlConnection]:
    """For statements on jobs that name their tenants themselves: across tenants and without the ORM.

    On PostgreSQL each statement is a transaction of its own, one round trip instead of four. Claims and bare ends are not
    synced to the disk there, nor on SQLite: when the machine loses power a loss means that a job runs again, which every
    job must bear. What is `kept` is synced: a new job.
    """
    return (database.kept if kept else database.ledger).begin()


def _transaction(database: Database, scope: str, reads_only: bool) -> Iterator[Session]:
    engine = database.reader if reads_only else database.engine
    with Session(engine, info={"scope": scope}, expire_on_commit=False) as session, session.begin():
        yield session


def scope_of(session: Session) -> str | None:
    """The tenant this session is bound to; None for a system session."""
    scope: str = session.info["scope"]
    return None if scope == _EVERY_TENANT else scope


def check_scope(session: Session, tenant_ids: Iterable[str]) -> None:
    """CrossTenantWrite unless this session may write rows of all these tenants: for statements the guard cannot see."""
    check_tenants(scope_of(session), tenant_ids)


def check_tenants(tenant: str | None, tenant_ids: Iterable[str]) -> None:
    """CrossTenantWrite unless who is bound to `tenant` (None: nobody is) may write rows of all these tenants."""
    if tenant is not None and any(other != tenant for other in tenant_ids):
        raise CrossTenantWrite("a session of one tenant may not write rows of another")


@event.listens_for(Session, "after_begin")
def _tell_postgresql(session: Session, _transaction: SessionTransaction, connection: Any) -> None:
    if connection.dialect.name == "postgresql":
        begin = _SET_SCOPE_BY_KEY if session.info.get("by_key") else _SET_SCOPE
        connection.execute(begin, {"scope": session.info["scope"]})


def plan_by_key(session: Session) -> None:
    """PostgreSQL plans this transaction by index: what it plans while a table's first pages are written it would keep, and read
    all of the table for each slice of work. To be said before the first statement."""
    session.info["by_key"] = True


@event.listens_for(Session, "do_orm_execute")
def _guard_statements(state: ORMExecuteState) -> None:
    tenant = scope_of(state.session)
    if tenant is None or state.is_column_load or state.is_relationship_load:
        return
    if state.is_insert or (state.is_update and _moves_or_names_rows(state)):
        raise CrossTenantWrite("a session of one tenant may write rows in bulk only where the guard can see whose")
    state.statement = state.statement.options(_only_of(tenant))


@lru_cache(maxsize=4096)
def _only_of(tenant: str) -> ORMOption:
    """The wall in a tenant's statements. Making it costs more than what it does there."""
    return with_loader_criteria(TenantScoped, lambda table: table.tenant_id == tenant, include_aliases=True)


def _moves_or_names_rows(state: ORMExecuteState) -> bool:
    """Whether an UPDATE sets the tenant, or is a list of rows by primary key, to which criteria do not apply."""
    values = getattr(state.statement, "_values", None) or ()
    return isinstance(state.parameters, list) or any(getattr(column, "key", column) == "tenant_id" for column in values)


@event.listens_for(Session, "before_flush")
def _guard_writes(session: Session, _context: object, _instances: object) -> None:
    tenant = scope_of(session)
    if tenant is None:
        return
    for row in (*session.new, *session.dirty, *session.deleted):
        if isinstance(row, TenantScoped) and row.tenant_id != tenant:
            raise CrossTenantWrite(f"a session of one tenant may not write {type(row).__name__} of another")


def scoped_tables() -> list[str]:
    """The names of all tables whose rows belong to a tenant."""
    return sorted(
        str(mapper.local_table.name)  # type: ignore[attr-defined]
        for mapper in Base.registry.mappers
        if issubclass(mapper.class_, TenantScoped)
    )
