"""`troth connections`: the grants of tenants at providers, listed, and imported from a file of the host's."""

import logging
import sys
from pathlib import Path

import click
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from models.connection import ACTIVE, NEEDS_RECONNECT, PENDING, REVOKED, REVOKING, Connection
from models.tenant import Tenant
from worker.connection_file import Import, count_lines
from worker.console import open_session, services_for_rows, show, tenant_called
from worker.logs import configure
from worker.progress import progress

BAD_LINES_SHOWN = 50
STATUSES = (PENDING, ACTIVE, NEEDS_RECONNECT, REVOKING, REVOKED)


@click.group()
def connections() -> None:
    """The grants of tenants at providers."""


@connections.command("list")
@click.option("--tenant", help="The tenant's external id.  [default: every tenant's]")
@click.option("--status", type=click.Choice(STATUSES), help="Only those in this state.")
@click.option("--limit", default=1000, type=click.IntRange(1, 100_000))
def list_connections(tenant: str | None, status: str | None, limit: int) -> None:
    """Connections in the order they were made; accounts have no names here."""
    with open_session() as session:
        query = select(Connection, Tenant.external_id).join(Tenant, Tenant.id == Connection.tenant_id)
        if tenant is not None:
            query = query.where(Connection.tenant_id == tenant_called(session, tenant).id)
        if status is not None:
            query = query.where(Connection.status == status)
        rows = [
            (c.id, owner, c.integration, c.status, c.health_code, c.checked_at)
            for c, owner in session.execute(query.order_by(Connection.id).limit(limit))
        ]
    show("id", "tenant", "integration", "status", "health", "looked at", rows=[*rows])


@connections.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Check every line against the database, and store nothing.")
def import_connections(file: Path, dry_run: bool) -> None:
    """Import grants that the host holds from FILE, a JSON object a line.

    A line is the body of POST /v1/connections with the tenant's external id beside it as `tenant`. Good lines are stored, bad
    ones listed at the end, and then the exit status is 1. The same file may be imported again.
    """
    configure(level=logging.WARNING)
    services = services_for_rows()
    try:
        with file.open("rb") as lines:
            total = count_lines(lines)
            with progress("lines", total) as step:
                outcome = Import(services, dry_run=dry_run, step=step).run(lines)
    except DBAPIError as error:
        kind = type(error).__name__
        raise click.ClickException(
            f"the database did not answer as it should ({kind}); import the same file again"
        ) from None
    finally:
        services.close()
    would = "would be " if dry_run else ""
    click.echo(
        f"{outcome.stored} of {total} lines {would}stored: {outcome.created} new connections, {outcome.renewed} renewed."
    )
    if outcome.in_need:
        click.echo(f"{outcome.in_need} of them need a person: `troth connections list --status needs_reconnect`")
    if outcome.bad:
        for bad in outcome.bad[:BAD_LINES_SHOWN]:
            click.echo(f"line {bad.number}: {bad.problem}", err=True)
        click.echo(f"{len(outcome.bad)} bad lines, of which the first {BAD_LINES_SHOWN} at most are listed.", err=True)
        sys.exit(1)
