"""Meta's list of people whose data is to be deleted, by the app's own ids: read as it streams, checked whole, and asked for;
it knows no terminal.

A file holds an id a line, or a table whose first line names its columns (`COLUMNS`), parted by commas, semicolons or tabs.
Source: https://developers.facebook.com/docs/development/create-an-app/app-dashboard/data-deletion-callback
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple

from integrations.facebook_leads.scalars import read_id
from worker.long_file import TOO_LONG, lines
from worker.meta_wishes import ask_to_delete, granted_by, not_asked_yet
from worker.progress import Step
from worker.services import Services

COLUMNS: Final = ("user_id", "app_scoped_user_id", "app_scoped_id", "uid", "id")
"""What a table may call its column of ids; the first of these that it has counts."""
META_LIST: Final = "meta_list"

_NO_TEXT = "This is not UTF-8: save the list as UTF-8 text."
_NO_ID = "This is no id: write its digits alone, at most 30."
_ROUNDED = (
    "A spreadsheet has rounded this id, so that it is lost: take the list from Meta again, and import it unopened."
)
_NO_COLUMN = f"This is neither an id nor the head of a table: name its column of ids `{COLUMNS[0]}`."
_NO_VALUE = "The line has no value in the column of ids: write one, or take the line out."
_NO_QUOTE = "A quote is not closed, or has something behind it: write the id without quotes."


class Bad(NamedTuple):
    """A line that cannot be read, and the mend; never what it holds."""

    number: int
    problem: str


class Person(NamedTuple):
    """A line that names somebody."""

    number: int
    user_id: str


@dataclass(slots=True)
class Outcome:
    """What came of a list: lines that name somebody who is known here, or nobody, and the connections that are deleted."""

    known: int = 0
    unknown: int = 0
    connections: int = 0


class _Head(NamedTuple):
    """How a table is read; `delimiter` "" is a list without columns."""

    delimiter: str
    column: int


_LIST = _Head("", 0)


def read(file: BinaryIO) -> Iterator[Person | Bad]:
    """What each line says, in their order. Nothing is read behind a first line that is neither an id nor a table's head."""
    head: _Head | None = None
    for number, raw in lines(file):
        try:
            text = None if raw is None else raw.decode("utf-8-sig" if head is None else "utf-8").strip("\r\n")
        except UnicodeDecodeError:
            yield Bad(number, _NO_TEXT)
            continue
        if text is None:
            yield Bad(number, TOO_LONG)
            continue
        if head is None:
            head = _LIST if read_id(text.strip()) else _head_of(text)
            if head is None:
                yield Bad(number, _NO_COLUMN)
                return
            if head is not _LIST:
                continue
        yield _person(number, text, head)


def _head_of(text: str) -> _Head | None:
    delimiter = next((sign for sign in ";\t" if sign in text), ",")
    names = [name.strip().lower().replace(" ", "_").replace("-", "_") for name in _cells(text, delimiter) or ()]
    return next((_Head(delimiter, names.index(name)) for name in COLUMNS if name in names), None)


def _cells(text: str, delimiter: str) -> list[str] | None:
    """None: its quotes cannot be read."""
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error:
        return None


def _person(number: int, text: str, head: _Head) -> Person | Bad:
    cells = [text] if head is _LIST else _cells(text, head.delimiter)
    if cells is None:
        return Bad(number, _NO_QUOTE)
    value = cells[head.column].strip() if head.column < len(cells) else ""
    if not value:
        return Bad(number, _NO_VALUE)
    user_id = read_id(value)
    if not user_id:
        return Bad(number, _ROUNDED if _is_rounded(value) else _NO_ID)
    return Person(number, user_id)


def _is_rounded(value: str) -> bool:
    """As in 1.02158E+16."""
    mantissa, sign, exponent = value.upper().partition("E+")
    return bool(sign) and exponent.isdecimal() and mantissa.replace(",", ".").replace(".", "", 1).isdecimal()


def ask_for_all(services: Services, file: BinaryIO, step: Step, *, dry_run: bool) -> Outcome:
    """Ask for the deletion of all that the people of a good list granted, as if each had asked Facebook; `dry_run` only
    counts. Raises DBAPIError when the database is away: a second run of the same list goes on, and repeats nothing."""
    outcome = Outcome()
    for one in read(file):
        if isinstance(one, Bad):
            continue
        known = granted_by(services, one.user_id)
        if known and not dry_run:
            # By connection: a run that was broken off in the middle of a person leaves nothing to be asked for twice.
            ask_to_delete(services, not_asked_yet(services, known), META_LIST)
        outcome.known += bool(known)
        outcome.unknown += not known
        outcome.connections += len(known)
        step(1)
    return outcome
