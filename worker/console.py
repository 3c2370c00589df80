"""What an operator's commands share: the database that the settings name, a tenant by its name, and how rows are shown."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy.orm import Session

from models.database import Database
from models.tenancy import system_session
from models.tenant import Tenant, tenant_by_external_id
from worker.services import Services, build
from worker.settings import read_settings


@contextmanager
def open_database() -> Iterator[Database]:
    """The database of the settings."""
    database = Database(read_settings().database_url)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def open_session() -> Iterator[Session]:
    """One transaction across tenants in it."""
    with open_database() as database, system_session(database) as session:
        yield session


def tenant_called(session: Session, external_id: str) -> Tenant:
    """The tenant that the host calls so; a ClickException when there is none."""
    found = tenant_by_external_id(session, external_id)
    if found is None:
        raise click.ClickException(f"no tenant is called {external_id!r}; `troth tenants list` shows who is there")
    return found


def show(*columns: str, rows: list[tuple[object, ...]]) -> None:
    """A table on standard output."""
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    Console().print(table)


def services_for_rows() -> Services:
    """Where no Redis is named (that of `troth up` is its own) jobs are only rows, and its reconciler publishes them."""
    settings = read_settings()
    if settings.redis_url is not None:
        return build(settings)
    return replace(build(replace(settings, redis_url="redis://127.0.0.1:6379")), gates={})
