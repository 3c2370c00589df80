"""What an operator does by hand with tenants, keys and jobs; all but `keys rotate` are one transaction."""

from datetime import timedelta
from functools import partial
from typing import Final

import click
import orjson
from sqlalchemy import select

from models.database import Database, past_deadlocks
from models.host import EVERY_SCOPE, SCOPES, ApiKey, add_key
from models.job import DEAD, Job, replay
from models.tenancy import system_session
from models.tenant import add_tenant, tenant_by_external_id
from models.tenant import tenants as all_tenants
from models.vault import Vault, VaultError, wrapped_by
from worker.console import open_database as _database
from worker.console import open_session as _session
from worker.console import show as _show
from worker.console import tenant_called as _tenant
from worker.local import new_master_key
from worker.progress import progress
from worker.services import wall_clock
from worker.settings import read_settings

DAYS = click.IntRange(1, 3650)
REWRAPPED_AT_ONCE: Final = 500
"""Data keys in one transaction: a kill loses at most so much work, and nobody waits long for their rows."""


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


@keys.command("rotate")
def rotate() -> None:
    """Wrap every data key with the first key of TROTH_MASTER_KEYS.

    Put the new key in front of the old ones, restart every process, then run this; it goes on where a killed run stopped.
    When its last line says that no data key is under another one, the old keys may leave the list.
    """
    vault = Vault(read_settings().master_keys)
    with _database() as database:
        try:
            _rewrap(database, vault)
        except VaultError as error:
            raise click.ClickException(f"{error}. What was rewrapped stays so; run this again.") from None
        with system_session(database, reads_only=True) as session:
            counts = wrapped_by(session)
    others = {name: count for name, count in counts.items() if name != vault.active}
    if others:
        left = ", ".join(f"{count} under {name}" for name, count in sorted(others.items()))
        raise click.ClickException(
            f"data keys are left: {left}. A process that still has the old TROTH_MASTER_KEYS makes such keys, and one that is"
            " being used cannot be changed: restart every process, then run this again."
        )
    click.echo(f"{counts.get(vault.active, 0)} data keys, all under {vault.active}; none under another.")


def _rewrap(database: Database, vault: Vault) -> None:
    with system_session(database, reads_only=True) as session:
        old = sum(count for name, count in wrapped_by(session).items() if name != vault.active)
    with progress("data keys", old) as step:
        while done := past_deadlocks(partial(_rewrap_some, database, vault)):
            step(done)


def _rewrap_some(database: Database, vault: Vault) -> int:
    with system_session(database) as session:
        return vault.rewrap(session, limit=REWRAPPED_AT_ONCE)


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
