"""Whose rows a session may touch: acme sees its own, globex sees nothing of them, a stranger sees nothing at all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest
from sqlalchemy import Connection as SqlConnection
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, aliased

from models import inbox
from models.base import new_id
from models.connection import Connection
from models.database import APP_ROLE, Database
from models.inbox import InboxEvent, Notice
from models.job import Job
from models.lead import LeadHistory
from models.schema import metadata
from models.tenancy import SYSTEM, CrossTenantWrite, scoped_tables, system_session, tenant_session
from models.tenant import Tenant
from tests.conftest import Company, FrozenClock

READS: list[Callable[[Session, Company], object]] = [
    lambda session, _: session.scalars(select(Connection)).first(),
    lambda session, acme: session.get(Connection, acme.connection_id),
    lambda session, acme: session.get(Connection, acme.connection_id, with_for_update=True),
    lambda session, acme: session.scalars(select(Connection).where(Connection.tenant_id == acme.id)).first(),
    lambda session, _: session.execute(select(Connection.id, Connection.external_id)).first(),
    lambda session, _: session.scalar(select(func.max(Connection.external_id))),
    lambda session, _: session.scalar(select(func.count()).select_from(Connection)) or None,
    lambda session, _: session.scalars(select(aliased(Connection))).first(),
    lambda session, acme: session.scalars(
        select(Tenant.id).join(Connection, Connection.tenant_id == Tenant.id).where(Tenant.id == acme.id)
    ).first(),
    lambda session, _: session.scalars(select(Connection.id).union_all(select(Connection.id))).first(),
    lambda session, _: session.scalars(select(select(Connection.id).subquery().c.id)).first(),
    lambda session, acme: session.query(Connection).filter_by(external_id=acme.page_id).first(),
    lambda session, _: session.execute(update(Connection).values(external_id="taken")).rowcount or None,  # type: ignore[attr-defined]
    lambda session, acme: (
        session.execute(delete(InboxEvent).where(InboxEvent.tenant_id == acme.id)).rowcount or None  # type: ignore[attr-defined]
    ),
]


def give_event(database: Database, clock: FrozenClock, company: Company) -> None:
    with tenant_session(database, company.id) as session:
        inbox.take_in(session, [Notice(company.id, company.connection_id, "lead", "1", "webhook")], clock())


def test_every_way_to_read_shows_a_tenant_its_own_and_nobody_elses(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    give_event(database, clock, acme)
    for stranger in (new_id(), SYSTEM):
        with tenant_session(database, stranger) as session:
            assert [read(session, acme) for read in READS] == [None] * len(READS)
    with tenant_session(database, acme.id) as session:
        assert None not in [read(session, acme) for read in READS]


def test_a_neighbour_with_rows_of_its_own_gets_those_alone(database: Database, acme: Company, globex: Company) -> None:
    for mine, other in ((acme, globex), (globex, acme)):
        with tenant_session(database, mine.id, reads_only=True) as session:
            assert [row.id for row in session.scalars(select(Connection))] == [mine.connection_id]
            assert session.get(Connection, other.connection_id) is None
            twin = aliased(Connection)
            pairs = session.execute(
                select(Connection.tenant_id, twin.tenant_id).join(twin, twin.external_id != "")
            ).all()
            assert [tuple(pair) for pair in pairs] == [(mine.id, mine.id)]


def test_a_bulk_statement_reaches_its_own_tenants_rows_only(database: Database, acme: Company, globex: Company) -> None:
    with tenant_session(database, globex.id) as session:
        session.execute(update(Connection).values(health_fix="renamed"))
    with tenant_session(database, globex.id) as session:
        session.execute(delete(Connection))
    with system_session(database, reads_only=True) as session:
        assert session.scalars(select(Connection.external_id)).all() == [acme.page_id]
    assert acme.id != globex.id


def test_the_system_sees_every_tenant(database: Database, acme: Company, globex: Company) -> None:
    with system_session(database, reads_only=True) as session:
        assert set(session.scalars(select(Connection.tenant_id))) == {acme.id, globex.id}


def _history(tenant_id: str, now: datetime) -> Job:
    return Job(
        tenant_id=tenant_id, kind="k", lane="bulk", key="k", state="waiting", due_at=now, created_at=now
    )  # fmt: skip


def test_a_new_row_of_another_tenant_is_refused(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    with pytest.raises(CrossTenantWrite), tenant_session(database, globex.id) as session:
        session.add(_history(acme.id, clock()))
    with system_session(database, reads_only=True) as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 0


def test_a_row_cannot_be_given_away_or_taken(database: Database, acme: Company, globex: Company) -> None:
    with pytest.raises(CrossTenantWrite), tenant_session(database, globex.id) as session:
        session.get_one(Connection, globex.connection_id).tenant_id = acme.id

    def rename(session: Session, foreign: Connection) -> None:
        session.add(foreign)
        foreign.external_id = "taken"

    changes: list[Callable[[Session, Connection], None]] = [rename, lambda session, foreign: session.delete(foreign)]
    for change in changes:
        with system_session(database, reads_only=True) as session:
            foreign = session.get_one(Connection, acme.connection_id)
        with pytest.raises(CrossTenantWrite), tenant_session(database, globex.id) as session:
            change(session, foreign)
    with pytest.raises(CrossTenantWrite), tenant_session(database, globex.id) as session:
        session.merge(Connection(id=acme.connection_id, tenant_id=acme.id, external_id="taken"))


def test_a_bulk_statement_cannot_give_rows_away_or_make_foreign_ones(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    give_event(database, clock, globex)
    with pytest.raises(CrossTenantWrite), tenant_session(database, globex.id) as session:
        session.execute(update(Connection).values(tenant_id=acme.id))
    with pytest.raises(CrossTenantWrite), tenant_session(database, globex.id) as session:
        session.execute(update(Connection).values({Connection.tenant_id: acme.id}))
    with pytest.raises(CrossTenantWrite), tenant_session(database, globex.id) as session:
        session.execute(update(Connection), [{"id": acme.connection_id, "external_id": "taken"}])
    foreign = {"tenant_id": acme.id, "kind": "k", "lane": "bulk", "key": "k", "state": "waiting",
               "due_at": clock(), "created_at": clock()}  # fmt: skip
    for rows in (foreign, [foreign, {**foreign, "tenant_id": globex.id}]):
        with pytest.raises(CrossTenantWrite), tenant_session(database, globex.id) as session:
            session.execute(insert(Job), rows)
    with pytest.raises(CrossTenantWrite), tenant_session(database, globex.id) as session:
        session.execute(insert(Job).values(**foreign))
    with system_session(database, reads_only=True) as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 0


def test_statements_behind_the_guard_refuse_another_tenants_rows(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    notice = Notice(acme.id, acme.connection_id, "lead", "1", "webhook")
    with pytest.raises(CrossTenantWrite), tenant_session(database, globex.id) as session:
        inbox.take_in(session, [notice], clock())
    with pytest.raises(CrossTenantWrite), tenant_session(database, globex.id) as session:
        inbox.handled(session, tenant_id=acme.id, ids=[new_id()], now=clock())
    with pytest.raises(CrossTenantWrite), tenant_session(database, globex.id) as session:
        inbox.unhandled(session, tenant_id=acme.id, event_id=new_id(), kind="k", sentence="S.", due_at=None)


def test_a_row_cannot_hang_on_another_tenants(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    hangs_on_acmes = Notice(globex.id, acme.connection_id, "lead", "1", "webhook")
    with pytest.raises(IntegrityError), tenant_session(database, globex.id) as session:
        inbox.take_in(session, [hangs_on_acmes], clock())
    with pytest.raises(IntegrityError), system_session(database) as session:
        inbox.take_in(session, [hangs_on_acmes], clock())
    with pytest.raises(IntegrityError), tenant_session(database, globex.id) as session:
        session.add(
            LeadHistory(tenant_id=globex.id, lead_id=new_id(), kind="k", occurred_at=clock(), recorded_at=clock())
        )


def test_an_error_rolls_everything_back(database: Database, clock: FrozenClock, acme: Company) -> None:
    def write_and_fail() -> None:
        with tenant_session(database, acme.id) as session:
            inbox.take_in(session, [Notice(acme.id, acme.connection_id, "lead", "1", "webhook")], clock())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    with tenant_session(database, acme.id, reads_only=True) as session:
        assert session.scalar(select(func.count()).select_from(InboxEvent)) == 0


def test_every_table_that_names_a_tenant_is_guarded() -> None:
    named = {table.name for table in metadata.sorted_tables if "tenant_id" in table.c}
    assert named - set(scoped_tables()) == {"api_keys", "sign_ins"}  # the platform's own: read in the system's scope
    for name in scoped_tables():
        for constraint in metadata.tables[name].foreign_key_constraints:
            if constraint.referred_table.name != "tenants":
                assert constraint.column_keys[0] == "tenant_id", f"{name} refers to a row without its tenant"


@contextmanager
def tenant_connection(database: Database, tenant_id: str) -> Iterator[SqlConnection]:
    """Raw SQL in a tenant's scope."""
    with database.engine.begin() as connection:
        connection.execute(text("SELECT set_config('troth.tenant', :scope, true)"), {"scope": tenant_id})
        yield connection


# PostgreSQL's own walls, for the statement that some day forgets all of the above.


only_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@only_postgresql
def test_raw_sql_sees_one_tenant_only(database: Database, acme: Company, globex: Company) -> None:
    for mine in (acme, globex):
        with tenant_connection(database, mine.id) as connection:
            assert connection.scalars(text("SELECT external_id FROM connections")).all() == [mine.page_id]
            assert connection.scalars(text("SELECT external_id FROM tenants")).all() == [mine.external_id]
            assert connection.execute(text("UPDATE connections SET external_id = 'x'")).rowcount == 1
            assert connection.execute(text("SELECT count(*) FROM data_keys")).scalar() == 3


@only_postgresql
@pytest.mark.parametrize("scope", [None, "", "%", "01a2086d-aa9e-7c02-ab43-9082d4cc8248", "NULL"])
def test_raw_sql_without_a_tenants_scope_sees_nothing(database_url: str, acme: Company, scope: str | None) -> None:
    fresh = Database(database_url)  # on a connection that never had a scope the setting is not even empty
    with fresh.engine.begin() as connection:
        if scope is not None:
            connection.execute(text("SELECT set_config('troth.tenant', :scope, true)"), {"scope": scope})
        for table in metadata.sorted_tables:
            assert connection.execute(text(f"SELECT count(*) FROM {table.name}")).scalar() == 0, table.name
            assert connection.execute(text(f"DELETE FROM {table.name}")).rowcount == 0, table.name
        with pytest.raises(DBAPIError, match="row-level security"):
            connection.execute(
                text("INSERT INTO data_keys VALUES (:tenant, :tenant, 'k', '', now())"), {"tenant": acme.id}
            )
    fresh.close()


@only_postgresql
def test_a_scope_ends_with_its_transaction(database: Database, acme: Company) -> None:
    lone = Database(database.engine.url.render_as_string(hide_password=False), pool_size=1)
    with tenant_session(lone, acme.id, reads_only=True) as session:
        backend = session.scalar(text("SELECT pg_backend_pid()"))
    with lone.engine.begin() as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar() == backend
        assert connection.execute(text("SELECT count(*) FROM connections")).scalar() == 0
    lone.close()


@only_postgresql
def test_raw_sql_cannot_write_into_another_tenant(database: Database, acme: Company, globex: Company) -> None:
    for statement in (
        "UPDATE connections SET tenant_id = :other",
        "INSERT INTO data_keys VALUES (:other, :other, 'k', '', now())",
    ):
        with (
            pytest.raises(DBAPIError, match="row-level security"),
            tenant_connection(database, globex.id) as connection,
        ):
            connection.execute(text(statement), {"other": acme.id})


@only_postgresql
def test_a_tenants_scope_sees_no_keys_sign_ins_or_refusals(database: Database, acme: Company) -> None:
    for table in ("api_keys", "sign_ins", "refusals"):
        with tenant_connection(database, acme.id) as connection:
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0
    with pytest.raises(DBAPIError, match="row-level security"), tenant_connection(database, acme.id) as connection:
        connection.execute(
            text("INSERT INTO api_keys (id, tenant_id, digest, hint, scopes, created_at)"
                 " VALUES (:id, :tenant, 'd', 'h', '[]', now())"),
            {"id": new_id(), "tenant": acme.id},
        )  # fmt: skip


@only_postgresql
def test_every_table_is_walled_off_from_a_role_that_owns_nothing(database: Database) -> None:
    walls = text("SELECT relname, relrowsecurity, relforcerowsecurity, relowner::regrole::text FROM pg_class"
                 " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'")  # fmt: skip
    with database.engine.begin() as connection:
        found = {name: (on, forced, owner) for name, on, forced, owner in connection.execute(walls)}
        role = connection.execute(
            text("SELECT rolsuper, rolbypassrls, rolcanlogin FROM pg_roles WHERE rolname = current_user")
        ).one()
        assert connection.execute(text("SELECT current_user")).scalar() == APP_ROLE
    assert tuple(role) == (False, False, False)
    assert found.pop("alembic_version")[2] != APP_ROLE
    assert set(found) == set(metadata.tables)
    for name, (on, forced, owner) in found.items():
        assert (on, forced, owner != APP_ROLE) == (True, True, True), name


@only_postgresql
@pytest.mark.parametrize(
    "statement",
    ["ALTER TABLE jobs DISABLE ROW LEVEL SECURITY", "DROP TABLE jobs", "TRUNCATE jobs", "CREATE TABLE x (y int)",
     "DROP POLICY tenant_scope ON jobs", "UPDATE alembic_version SET version_num = 'x'"],
)  # fmt: skip
def test_the_applications_role_cannot_take_the_walls_down(database: Database, statement: str) -> None:
    with pytest.raises(DBAPIError, match=r"permission denied|must be owner"), database.engine.begin() as connection:
        connection.execute(text(statement))
