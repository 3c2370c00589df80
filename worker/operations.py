"""What an operator does by hand: tenants, keys, jobs and imported connections. Each command is one transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import click
import orjson
from rich.console import Console
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.database import Database
from models.host import EVERY_SCOPE, SCOPES, ApiKey, add_key
from models.job import DEAD, Job, replay
from models.tenancy import system_session
from models.tenant import Tenant, add_tenant, tenant_by_external_id
from models.tenant import tenants as all_tenants
from worker.local import new_master_key
from worker.services import wall_clock
from worker.settings import read_settings

DAYS = click.IntRange(1, 3650)


@contextmanager
def _session() -> Iterator[Session]:
    database = Database(read_settings().database_url)
    try:
        with system_session(database) as session:
            yield session
    finally:
        database.close()


def _tenant(session: Session, external_id: str) -> Tenant:
    found = tenant_by_external_id(session, external_id)
    if found is None:
        raise click.ClickException(f"no tenant is called {external_id!r}; `troth tenants list` shows who is there")
    return found


def _show(*columns: str, rows: list[tuple[object, ...]]) -> None:
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    Console().print(table)


@click.group()
def tenants() -> None:
    """The companies that are served here."""


@tenants.command("add")
@click.argument("external_id")
@click.option("--name", required=True)
@click.option("--country", required=True, help="ISO 3166 code of two letters.")
@click.option("--subdivision", help="ISO 3166-2 part behind the country, such as MH.")
@click.option("--timezone", required=True, help="IANA name, such as Europe/Dublin.")
def add(external_id: str, name: str, country: str, subdivision: str | None, timezone: str) -> None:
    """Add the tenant that the host CRM calls EXTERNAL_ID."""
    with _session() as session:
        if tenant_by_external_id(session, external_id) is not None:
            raise click.ClickException(f"{external_id!r} is taken")
        tenant = add_tenant(session, external_id=external_id, name=name, country=country.upper(), timezone=timezone,
                            subdivision=subdivision, now=wall_clock())  # fmt: skip
    click.echo(tenant.id)


@tenants.command("list")
def list_tenants() -> None:
    """Every tenant."""
    with _session() as session:
        rows = [
            (t.external_id, t.name, t.country, t.timezone, t.status, t.id) for t in all_tenants(session, limit=10_000)
        ]
    _show("external id", "name", "country", "zone", "status", "id", rows=[*rows])


@click.group()
def keys() -> None:
    """API keys, and the master key that the vault is wrapped with."""


@keys.command("add")
@click.option("--tenant", help="The tenant's external id; without it the key is a platform key.")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="May be repeated.  [default: all]")
@click.option("--days", type=DAYS, help="How long it lives.  [default: until it is revoked]")
def add_api_key(tenant: str | None, scopes: tuple[str, ...], days: int | None) -> None:
    """Make a key and print it, once."""
    now = wall_clock()
    with _session() as session:
        tenant_id = _tenant(session, tenant).id if tenant else None
        expires_at = now + timedelta(days=days) if days else None
        _, secret = add_key(session, tenant_id=tenant_id, scopes=scopes or EVERY_SCOPE, now=now, expires_at=expires_at)
    click.echo(secret)


@keys.command("list")
def list_keys() -> None:
    """Every key by its id and last four characters."""
    with _session() as session:
        rows = [
            (k.id, f"…{k.hint}", k.tenant_id or "platform", " ".join(k.scopes), k.created_at, k.revoked_at or "")
            for k in session.scalars(select(ApiKey).order_by(ApiKey.id))
        ]
    _show("id", "key", "tenant", "scopes", "made", "revoked", rows=[*rows])


@keys.command("revoke")
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Revoke a key; it is refused from now on."""
    with _session() as session:
        row = session.get(ApiKey, key_id)
        if row is None:
            raise click.ClickException("no key has this id; `troth keys list` shows them")
        row.revoked_at = row.revoked_at or wall_clock()
    click.echo("revoked")


@keys.command("master")
def master() -> None:
    """Print a fresh entry for TROTH_MASTER_KEYS. Keep it safe: without it nothing sealed can be read."""
    click.echo(new_master_key())


@click.group()
def jobs() -> None:
    """The ledger."""


@jobs.command("list")
@click.option("--state", default=DEAD, help="waiting, queued, running, done, dead or cancelled.")
@click.option("--limit", default=50, type=click.IntRange(1, 1000))
def list_jobs(state: str, limit: int) -> None:
    """Jobs in one state, newest first."""
    with _session() as session:
        query = select(Job).where(Job.state == state).order_by(Job.id.desc()).limit(limit)
        rows = [
            (j.id, j.tenant_id, j.kind, j.attempts, j.due_at, j.error_kind, j.error_sentence)
            for j in session.scalars(query)
        ]
    _show("id", "tenant", "kind", "attempts", "due", "error", "sentence", rows=[*rows])


@jobs.command("retry")
@click.argument("job_id")
def retry(job_id: str) -> None:
    """Let a dead or waiting job run now; the reconciler publishes it within seconds."""
    with _session() as session:
        if not replay(session, job_id, wall_clock()):
            raise click.ClickException(
                "no dead, cancelled or waiting job has this id, or another one waits in its place"
            )
    click.echo("due now")


@jobs.command("show")
@click.argument("job_id")
def show(job_id: str) -> None:
    """One job as JSON."""
    with _session() as session:
        job = session.get(Job, job_id)
        if job is None:
            raise click.ClickException("no job has this id")
        fields = {column.name: getattr(job, column.name) for column in Job.__table__.columns}
    click.echo(orjson.dumps(fields, option=orjson.OPT_INDENT_2).decode())
