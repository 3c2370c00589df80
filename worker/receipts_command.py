"""`troth receipts`: verify one anywhere, also without a database; list and show those that are here, and change the key."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click
import orjson
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from models.base import is_id
from models.receipt import Receipt, document
from models.receipt_key import known_keys, rotate_signing_key
from models.vault import Vault
from models.verdict import judge
from worker.console import open_session, show, tenant_called
from worker.receipt_file import BESIDE, BadKeys, keys_beside, keys_given
from worker.services import wall_clock
from worker.settings import BadSettings, read_settings

FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def receipts() -> None:
    """The signed receipts of deletions."""


@receipts.command("verify")
@click.argument("file", type=FILE)
@click.option("--key", "public_keys", multiple=True, help="A public key in base64url; may be repeated.")
@click.option("--previous", type=FILE, help="The receipt before it: verify their link, too.")
def verify(file: Path, public_keys: tuple[str, ...], previous: Path | None) -> None:
    """Whether FILE is true: a receipt, a list of them, or a page of the API's list.

    Exit status 1 when it is not. Without a key given, those of troth-receipt-keys.json beside FILE are used (as the web
    process gives them out), and where there is none, those of the database.
    """
    try:
        known = keys_given(public_keys) or keys_beside(file) or _keys_of_database()
    except BadKeys as error:
        raise click.ClickException(str(error)) from None
    verdict = judge(file.read_bytes(), known, previous=None if previous is None else previous.read_bytes())
    if not verdict.holds:
        raise click.ClickException(verdict.sentence)
    click.echo(verdict.sentence)


def _keys_of_database() -> Mapping[str, str]:
    """Those of the settings. BadKeys: an auditor has neither settings nor a database."""
    try:
        with open_session() as session:
            return known_keys(session)
    except (BadSettings, DBAPIError):
        raise BadKeys(f"no keys were given by --key, none are in {BESIDE} beside it, and no database answers") from None


@receipts.command("list")
@click.option("--tenant", required=True, help="The tenant's external id.")
@click.option("--limit", default=1000, type=click.IntRange(1, 100_000))
def list_receipts(tenant: str, limit: int) -> None:
    """A tenant's receipts, the newest first."""
    with open_session() as session:
        query = select(Receipt).where(Receipt.tenant_id == tenant_called(session, tenant).id)
        rows = [
            (r.number, r.id, r.deletion_id, r.created_at, r.key_id)
            for r in session.scalars(query.order_by(Receipt.number.desc()).limit(limit))
        ]
    show("number", "id", "deletion", "issued", "key", rows=[*rows])


@receipts.command("show")
@click.argument("receipt_id")
def show_one(receipt_id: str) -> None:
    """One receipt as JSON, as `troth receipts verify` reads it."""
    with open_session() as session:
        row = session.get(Receipt, receipt_id) if is_id(receipt_id) else None
        if row is None:
            raise click.ClickException("no receipt has this id; `troth receipts list` shows them")
        shown = document(row)
    click.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())


@receipts.command("rotate")
def rotate() -> None:
    """Sign with a new key from now on. The public keys before it stay, so that their receipts can be verified."""
    with open_session() as session:
        key = rotate_signing_key(session, Vault(read_settings().master_keys), wall_clock())
    click.echo(f"{key.id} {key.public_key}")
