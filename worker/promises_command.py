"""`troth promises`: each promise of the privacy policies with what keeps and proves it, and how it is kept at this moment."""

import sys
from dataclasses import asdict

import click
import orjson

from models.promise import promises as all_promises
from models.tally import tallies
from worker.console import open_session, show
from worker.services import wall_clock


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Everything, with the names of the tests, as JSON.")
def promises(as_json: bool) -> None:
    """What is promised, and how it is kept over all tenants. Exit status 1 when a promise is broken."""
    with open_session() as session:
        counted = tallies(session, wall_clock())
    if as_json:
        entries = [
            {**asdict(one), "now": asdict(counted[one.counts]) if one.counts else None} for one in all_promises()
        ]
        click.echo(orjson.dumps(entries, option=orjson.OPT_INDENT_2).decode())
    else:
        rows: list[tuple[object, ...]] = []
        for one in all_promises():
            tally = counted.get(one.counts)
            numbers = ("", "", "") if tally is None else (tally.kept, tally.due, tally.broken)
            rows.append((one.id, one.clock, ", ".join(one.jobs), len(one.tests), *numbers, one.not_yet))
        show("promise", "clock", "jobs", "tests", "kept", "due", "broken", "not yet", rows=rows)
    broken = [one.id for one in all_promises() if one.counts and counted[one.counts].broken]
    if broken:
        click.echo(f"Broken: {', '.join(broken)}.", err=True)
        sys.exit(1)
