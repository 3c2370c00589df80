"""`troth deletions`: what is open, Meta's lists of people who want theirs, the ledger to be kept beside backups, and its replay
after one was restored."""

import logging
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

import click
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from models.deletion import OPEN, Deletion, locked
from models.restore import arm_again, bring_back, lines, read_line
from models.tenancy import system_session, tenant_session
from models.watch import is_stalled
from worker.console import open_session, services_for_rows, show, tenant_called
from worker.here import run_here
from worker.id_list import Bad, ask_for_all, read
from worker.jobs import deletions_run
from worker.logs import configure
from worker.progress import progress
from worker.services import Services, wall_clock

BAD_LINES_SHOWN: Final = 50


@click.group()
def deletions() -> None:
    """What has to be deleted, and what was."""


@deletions.command("list")
@click.option("--tenant", help="Only this tenant's, by its external id.")
@click.option("--all", "every", is_flag=True, help="Also those that are over.")
def list_deletions(tenant: str | None, every: bool) -> None:
    """Deletions by their due date; a star marks one that is overdue or stands still."""
    now = wall_clock()
    with open_session() as session:
        query = select(Deletion).where(Deletion.part_of.is_(None)).order_by(Deletion.safe_due_at).limit(1_000)
        if not every:
            query = query.where(Deletion.status.in_(OPEN))
        if tenant:
            query = query.where(Deletion.tenant_id == tenant_called(session, tenant).id)
        rows: list[tuple[object, ...]] = [
            ("*" if is_stalled(row, now) or (row.status in OPEN and row.promise_due_at <= now) else "", row.id, row.kind,
             row.status, row.requested_by, row.safe_due_at, row.promise_due_at)
            for row in session.scalars(query)
        ]  # fmt: skip
    show("", "id", "scope", "status", "asked by", "safe until", "promised until", rows=rows)


@deletions.command("import-ids")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Count who is known, and ask for nothing.")
def import_ids(file: Path, dry_run: bool) -> None:
    """Delete what was acquired through the people in FILE, a list of ids from Meta's app dashboard.

    FILE holds an id a line, or a table with a column `user_id`. For each id that is known here the same is asked for as when
    that person asks Facebook. If a line is bad nothing is asked for at all. The same file may be imported again.
    """
    configure(level=logging.WARNING)
    services = services_for_rows()
    try:
        with file.open("rb") as given:
            total = _good_lines(given)
            with progress("ids", total) as step:
                outcome = ask_for_all(services, given, step, dry_run=dry_run)
    except DBAPIError as error:
        kind = type(error).__name__
        raise click.ClickException(
            f"the database did not answer as it should ({kind}); import the same file again"
        ) from None
    finally:
        services.close()
    would = "would be" if dry_run else "is"
    click.echo(
        f"{outcome.known} of {total} ids are known: the deletion of {outcome.connections} connections {would} asked for. "
        f"{outcome.unknown} are unknown here, and nothing is held of them."
    )


def _good_lines(given: BinaryIO) -> int:
    """How many ids a list holds, if all of it is good; reads it to its end and goes back to its start."""
    total, bad = 0, 0
    for one in read(given):
        if isinstance(one, Bad):
            bad += 1
            if bad <= BAD_LINES_SHOWN:
                click.echo(f"line {one.number}: {one.problem}", err=True)
        else:
            total += 1
    if bad:
        raise click.ClickException(
            f"nothing was asked for: mend the {bad} bad lines (the first {BAD_LINES_SHOWN} are listed), and import again"
        )
    if not total:
        raise click.ClickException("the file holds no id")
    given.seek(0)
    return total


@deletions.command("export")
def export() -> None:
    """Write the ledger of deletions, a JSON object a line: keep it beside the backups. It names no person."""
    with open_session() as session:
        for line in lines(session):
            click.echo(line)


@deletions.command("replay")
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
def replay(file: Path | None) -> None:
    """After a backup was restored and before workers start: erase again what had been erased.

    FILE is what `troth deletions export` wrote last; without it only the deletions that the backup itself knows are carried
    out again. Harmless when repeated. Exit status 1 when something is left.
    """
    services = services_for_rows()
    try:
        missing = 0 if file is None else bring_back_all(services, file.read_bytes().splitlines())
        left = replay_all(services)
    finally:
        services.close()
    if missing:
        click.echo(f"{missing} deletions are of tenants or connections that this backup does not have.")
    if left:
        raise click.ClickException(f"{left} deletions are not verified: start workers, or replay again")


def bring_back_all(services: Services, given: list[bytes]) -> int:
    """Store what the backup does not know; how many are of nobody in it."""
    missing = 0
    for number, line in enumerate(given, start=1):
        try:
            values, dead = read_line(line)
        except ValueError as error:
            raise click.ClickException(f"line {number}: {error}") from None
        with system_session(services.database) as session:
            missing += not bring_back(session, values, dead, services.clock())
    return missing


def replay_all(services: Services) -> int:
    """Carry every deletion that was begun out once more, here and now; how many could not be verified."""
    with system_session(services.database, reads_only=True) as session:
        begun = select(Deletion.tenant_id, Deletion.id).where(
            Deletion.frozen_at.is_not(None), Deletion.part_of.is_(None)
        )
        known = list(session.execute(begun.order_by(Deletion.id)))
    left = 0
    with progress("deletions", len(known)) as step:
        for tenant_id, deletion_id in known:
            left += not _again(services, tenant_id, deletion_id, services.clock())
            step(1)
    click.echo(f"{len(known) - left} of {len(known)} deletions were carried out again and verified.")
    return left


def _again(services: Services, tenant_id: str, deletion_id: str, now: datetime) -> bool:
    with tenant_session(services.database, tenant_id) as session:
        row = locked(session, deletion_id)
        if row is None:
            return False
        arm_again(session, services.vault, row, now)
    run_here(services, deletions_run(tenant_id, deletion_id))
    with tenant_session(services.database, tenant_id, reads_only=True) as session:
        return session.get_one(Deletion, deletion_id).verified_at is not None
