"""`troth bulletins`: how announcements stand, and one of them watched to its end; it shows no words of theirs."""

import time

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.base import is_id
from models.bulletin import OPEN, Bulletin
from models.database import Database
from models.push import OPEN as WAITING
from models.push import Counts, counts
from models.tenancy import system_session
from worker.console import open_database, open_session, tenant_called
from worker.progress import progress

LOOK_EVERY = 1.0
_SHOWN = ("sent", "failed", "removed", "expired", "cancelled", "opted_out", "restricted")


@click.group()
def bulletins() -> None:
    """Announcements to devices."""


@bulletins.command("list")
@click.option("--tenant", help="Only this tenant's, by its external id.")
@click.option("--all", "every", is_flag=True, help="Also those that are over.")
def list_bulletins(tenant: str | None, every: bool) -> None:
    """The newest first, with what became of their pushes."""
    with open_session() as session:
        query = select(Bulletin).order_by(Bulletin.id.desc()).limit(100)
        if not every:
            query = query.where(Bulletin.status.in_(OPEN))
        if tenant:
            query = query.where(Bulletin.tenant_id == tenant_called(session, tenant).id)
        for row in session.scalars(query):
            found = _counted(session, row)
            # One line each, never cut: the id is what `watch` takes.
            click.echo(f"{row.id}  {row.status}  {row.starts_at:%Y-%m-%d %H:%M}Z  of {row.devices}: {_in_words(found)}")


@bulletins.command("watch")
@click.argument("bulletin_id")
def watch(bulletin_id: str) -> None:
    """Progress until it is over; what became of it, then."""
    with open_database() as database:
        row, found = _look(database, bulletin_id)
        while row.status in OPEN and row.fixed_at is None:
            time.sleep(LOOK_EVERY)
            row, found = _look(database, bulletin_id)
        done = 0
        with progress("devices", row.devices) as step:
            while True:
                more = row.devices - found.number(*WAITING) - done
                if more:
                    step(more)
                done += more
                if row.status not in OPEN and not found.number(*WAITING):
                    break
                time.sleep(LOOK_EVERY + row.devices / 100_000)  # each look counts them
                row, found = _look(database, bulletin_id)
    click.echo(f"{row.status}: {_in_words(found)}")
    if row.sentence:
        click.echo(row.sentence)
    for reason, number in sorted(found.reasons.items()):
        click.echo(f"  {number} because of {reason}")


def _look(database: Database, bulletin_id: str) -> tuple[Bulletin, Counts]:
    with system_session(database, reads_only=True) as session:
        row = session.get(Bulletin, bulletin_id) if is_id(bulletin_id) else None
        if row is None:
            raise click.ClickException("there is no bulletin with that id; `troth bulletins list` shows the open ones")
        return row, _counted(session, row)


def _in_words(found: Counts) -> str:
    return ", ".join(f"{found.number(one)} {one}" for one in _SHOWN)


def _counted(session: Session, row: Bulletin) -> Counts:
    return Counts(**row.counts) if row.counts is not None else counts(session, row.tenant_id, row.id)
