"""The `troth` command: one process each, everything on one machine, and the operations behind `troth COMMAND --help`.

Each command imports what it alone needs when it runs: a worker that carried the web's modules would pay 40 MiB for them.
"""

import json
import logging
import signal
import sys
import threading
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import click
from rich.console import Console

from models.database import Database
from models.host import add_sign_in
from models.tenancy import system_session
from models.vault import VaultError
from worker.embedded import EmbeddedRedisError
from worker.guarded import SuperviseError
from worker.jobs import LANES
from worker.logs import configure
from worker.services import build, wall_clock
from worker.settings import BadSettings, read_settings

EXPECTED = (BadSettings, EmbeddedRedisError, SuperviseError, VaultError)
OPERATIONS = {
    "bulletins": "worker.bulletins_command",
    "connections": "worker.connections_command",
    "deletions": "worker.deletions_command",
    "jobs": "worker.operations",
    "keys": "worker.operations",
    "promises": "worker.promises_command",
    "receipts": "worker.receipts_command",
    "tenants": "worker.operations",
}
"""A command by its name, and the module in which it has that name."""


class Commands(click.Group):
    """The commands below, and the operations: each of those is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return sorted([*super().list_commands(ctx), *OPERATIONS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name."""
        if cmd_name not in OPERATIONS:
            return super().get_command(ctx, cmd_name)
        found: click.Command = getattr(import_module(OPERATIONS[cmd_name]), cmd_name)
        return found


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="troth")
def troth() -> None:
    """Troth, the integration worker behind a multi-tenant CRM."""


def main() -> None:
    """The console script: what an operator can mend is one clear message, not a traceback."""
    try:
        troth()
    except EXPECTED as error:
        click.echo(f"troth: {error}", err=True)
        sys.exit(2)


@troth.command()
@click.option("--port", default=8000, type=click.IntRange(1, 65535), help="Where the pages and the API listen.")
@click.option("--data", default=".troth", type=click.Path(path_type=Path, file_okay=False), help="Where state is kept.")
def up(port: int, data: Path) -> None:
    """Web, workers and beat on this machine, with a Redis of their own unless TROTH_REDIS_URL names one."""
    from worker import local

    machine = local.prepare(data, port)
    console = Console()
    with machine.supervisor():
        console.print(f"Troth is up at {machine.url} (its log: {data / 'troth.log'}). Ctrl-C ends it.")
        link = sign_in_link(machine.settings.database_url, machine.url, None)
        console.print(f"Sign in once, within the hour: {link}", soft_wrap=True)
        if machine.settings.meta.missing:
            console.print("Facebook leads are off: set " + ", ".join(machine.settings.meta.missing))
        _until_told()


def sign_in_link(database_url: str, base_url: str, tenant_id: str | None) -> str:
    """A one-time link to the pages: of one tenant, or (None) of the platform."""
    database = Database(database_url)
    with system_session(database) as session:
        secret = add_sign_in(session, kind="link", tenant_id=tenant_id, now=wall_clock(), lives=timedelta(hours=1))
    database.close()
    return f"{base_url}/admin/enter?link={secret}"


def _until_told() -> None:
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: told.set())
    told.wait()


@troth.command()
@click.option("--once", is_flag=True, help="End when the story has been told; not 0 when a chapter was not true.")
@click.option("--port", default=8000, type=click.IntRange(0, 65535), help="0 picks a free one.")
@click.option("--json", "as_json", is_flag=True, help="A summary as JSON on standard output.")
def demo(once: bool, port: int, as_json: bool) -> None:
    """Everything on this machine against simulated providers: plays a story, verifies it, then stays up."""
    from worker.demo import play

    configure(level=logging.WARNING)  # the chapters speak; standard output may be wanted for JSON
    summary = play(port=port, once=once, console=Console(stderr=as_json), until_told=_until_told)
    if as_json:
        click.echo(json.dumps(summary))
    sys.exit(0 if summary["verified"] else 1)


@troth.command()
@click.option("--port", default=8000, type=click.IntRange(1, 65535))
@click.option("--host", default="127.0.0.1", help="The address to listen on.")
def web(port: int, host: str) -> None:
    """The webhooks, the API and the pages."""
    from worker.web.server import serve as serve_web

    configure()
    serve_web(build(read_settings()), port=port, host=host)


@troth.command()
@click.option("--concurrency", type=click.IntRange(1, 512), help="Jobs at once.  [default: TROTH_CONCURRENCY or 16]")
@click.option("--lane", "lanes", multiple=True, type=click.Choice(LANES), help="Serve this lane only; may be repeated.")
def worker(concurrency: int | None, lanes: tuple[str, ...]) -> None:
    """A worker: takes jobs from the lanes and runs them."""
    from worker.app import create_app, run_worker
    from worker.tasks import HANDLERS

    run_worker(create_app(build(read_settings()), HANDLERS, concurrency=concurrency), lanes=lanes or LANES)


@troth.command()
def beat() -> None:
    """The clock: writes due ticks into the ledger, and reconciles the ledger with Redis every few seconds."""
    from worker.app import create_app, run_beat
    from worker.tasks import HANDLERS

    run_beat(create_app(build(read_settings()), HANDLERS))


@troth.command()
@click.option("--port", default=9000, type=click.IntRange(1, 65535))
@click.option(
    "--seed", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A JSON file of what exists."
)
def simulator(port: int, seed: Path | None) -> None:
    """Only the providers, simulated on this machine."""
    from integrations.simulator.server import serve as serve_simulator

    serve_simulator(port=port, seed_path=seed, clock=wall_clock, say=click.echo)


@troth.command()
def migrate() -> None:
    """Bring the schema to its newest form; safe beside running workers, and harmless when repeated."""
    from models.migrations import upgrade

    upgrade(read_settings().database_url)
    click.echo("The schema is at its newest form.")


@troth.command()
def doctor() -> None:
    """Look at everything Troth needs; a line each, with the fix. Exit status 1 when something is broken."""
    from worker.doctor import examine

    findings = examine()
    for finding in findings:
        click.echo(f"{'ok  ' if finding.ok else 'FAIL'} {finding.subject}: {finding.sentence}")
    sys.exit(0 if all(finding.ok for finding in findings) else 1)
