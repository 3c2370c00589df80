"""The promises of the privacy policies as `promises.toml` lists them: each with its clock, its jobs and its tests."""

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("promises.toml")


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise. `policies` are the policies that give it, by number; empty: it is Troth's own. `clock` is how long it
    may take, in words; `jobs` are the kinds that keep it, `tests` (`file::function`) what proves it, `counts` the tally
    (`models.tally`) that it is held to, or empty. `not_yet` says what of it cannot be kept yet, and why; empty: nothing.
    """

    id: str
    sentence: str
    policies: tuple[str, ...]
    clock: str
    jobs: tuple[str, ...]
    tests: tuple[str, ...]
    counts: str
    not_yet: str


@cache
def promises() -> tuple[Promise, ...]:
    """All of them, in the order of the file. ValueError for an entry with a field too many or too few, or of a wrong type."""
    return tuple(read(entry) for entry in tomllib.loads(FILE.read_text(encoding="utf-8"))["promise"])


def read(entry: dict[str, Any]) -> Promise:
    """One entry of the file; ValueError as above."""
    wanted = {field.name: field.type for field in fields(Promise)}
    if entry.keys() != wanted.keys():
        raise ValueError(f"promise {entry.get('id')!r} has these fields wrong: {sorted(entry.keys() ^ wanted.keys())}")
    for name, kind in wanted.items():
        if not _fits(entry[name], is_text=kind is str):
            raise ValueError(f"promise {entry['id']!r} has a wrong type in {name!r}")
    values: dict[str, Any] = {name: value if isinstance(value, str) else tuple(value) for name, value in entry.items()}
    return Promise(**values)


def _fits(value: object, *, is_text: bool) -> bool:
    if is_text:
        return isinstance(value, str)
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
