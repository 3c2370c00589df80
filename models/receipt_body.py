"""What a receipt may say: its parts, its one way to be written as bytes, and the guard that keeps persons out of it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, NotRequired, TypedDict

import orjson

from models.base import is_id

VERSION: Final = 1
NONE_BEFORE: Final = "0" * 64
"""What the first receipt of a chain has as `previous`."""
MOST_BYTES: Final = 60_000
"""What a text of MariaDB surely holds."""


class Scope(TypedDict):
    """What was deleted, as a keyed digest: whoever knows the scope can find it again, nobody can read it out."""

    kind: str
    digest: str
    integration: NotRequired[str]


class DeletionPart(TypedDict):
    """The request, and the instant of each step towards its end."""

    id: str
    confirmation_code: str
    scope: Scope
    requested_by: str
    approved_by_second_person: bool
    requested_at: datetime
    approved_at: datetime | None
    undo_until: datetime
    frozen_at: datetime | None
    safe_due_at: datetime
    promise_due_at: datetime
    erased_at: datetime | None
    verified_at: datetime | None


class SkippedDay(TypedDict):
    """A day that did not count, and why: a weekend, or a public holiday by its name."""

    day: date
    why: str


class CalendarPart(TypedDict):
    """By which calendar the days were counted."""

    name: str
    version: str
    digest: str
    skipped: Sequence[SkippedDay]


class StorePart(TypedDict):
    """Rows of a store: counted before, deleted, counted after."""

    name: str
    before: int | None
    deleted: int | None
    after: int | None


class ProviderPart(TypedDict):
    """A step at the provider and its outcome; with counts where it is about many things."""

    name: str
    status: str
    sentence: str | None
    before: NotRequired[int]
    deleted: NotRequired[int]


class HostPart(TypedDict):
    """What the host attested of its own half."""

    needed: bool
    acknowledged_at: datetime | None
    acks: Sequence[Mapping[str, Any]]


class RescanPart(TypedDict):
    """The second count, a day later."""

    at: datetime
    left: int


class Facts(TypedDict):
    """All that a caller tells of a deletion; `models.receipt.issue` adds the version and the receipt's own part."""

    deletion: DeletionPart
    calendar: CalendarPart
    stores: Sequence[StorePart]
    provider: Sequence[ProviderPart]
    host: HostPart
    rescan: RescanPart | None
    exceptions: Sequence[str]


class UnfitBody(ValueError):
    """A body holds what no receipt may hold. The text says where and what fits there, never what was found."""


def canonical(body: Mapping[str, object]) -> bytes:
    """The bytes that are signed: JSON in UTF-8, keys sorted, no spaces, instants in UTC. TypeError: it is no JSON."""
    options = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER | orjson.OPT_PASSTHROUGH_DATETIME
    return orjson.dumps(body, default=_day_or_instant, option=options)


def _day_or_instant(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a receipt")


def check_body(body: Mapping[str, object]) -> None:
    """UnfitBody unless every part is there and has the shape it must have, and nothing else is there.

    A name that reads like one of our own words cannot be told apart: words come from constants, never from a person.
    """
    _check(body, _BODY, "")
    if len(canonical(body)) > MOST_BYTES:
        raise UnfitBody(f"A receipt's body has at most {MOST_BYTES:,} bytes.")


@dataclass(frozen=True, slots=True)
class _Leaf:
    words: str
    fits: Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class _Many:
    each: "_Shape"


@dataclass(frozen=True, slots=True)
class _Or:
    """None, or this."""

    shape: "_Shape"


_Shape = _Leaf | _Many | _Or | dict[str, "_Shape"]
"""A key that ends in a question mark may be missing."""


def _check(value: object, shape: _Shape, place: str) -> None:
    match shape:
        case _Leaf():
            if not shape.fits(value):
                raise UnfitBody(f"{place} must be {shape.words}.")
        case _Or():
            if value is not None:
                _check(value, shape.shape, place)
        case _Many():
            if not isinstance(value, list | tuple):
                raise UnfitBody(f"{place} must be a list.")
            for position, one in enumerate(value):
                _check(one, shape.each, f"{place}[{position}]")
        case _:
            _check_fields(value, shape, place)


def _check_fields(value: object, shape: dict[str, _Shape], place: str) -> None:
    if not isinstance(value, Mapping):
        raise UnfitBody(f"{place or 'The body'} must be an object.")
    if unknown := set(value) - {name.rstrip("?") for name in shape}:
        # Whoever called chose those names; they may hold anything.
        raise UnfitBody(f"{place or 'The body'} has {len(unknown)} fields that no receipt has.")
    for name, inner in shape.items():
        known, here = name.rstrip("?"), f"{place}.{name}".strip(".?")
        if known in value:
            _check(value[known], inner, here)
        elif not name.endswith("?"):
            raise UnfitBody(f"{here} is missing.")


_ID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_DAY = r"\d{4}-\d\d-\d\d"
_INSTANT = _DAY + r"T\d\d:\d\d:\d\d(\.\d{1,6})?Z"
_OURS = re.compile(rf"\b({_ID}|{_INSTANT}|{_DAY})(?![\w-])", re.ASCII)
_LIKE_A_PHONE = re.compile(r"(\d[\s().\-/–]*){7}")
_WORD = re.compile(rf"[a-z][a-z0-9]*([_.-][a-z0-9]+)*(:{_ID})?", re.ASCII)
_TITLE = re.compile(r"[A-Za-z0-9 ,.()_/+-]{1,60}", re.ASCII)
_SENTENCE = re.compile(r"[A-Z0-9“][\x20-\x7e’‘“”–—…§]{1,498}[.!)”]", re.ASCII)


def _is_text(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and bool(pattern.fullmatch(value)) and not _names_somebody(value)


def _names_somebody(text: str) -> bool:
    """An address of e-mail, or digits enough for a phone number that are not in an id or an instant of ours."""
    return "@" in text or bool(_LIKE_A_PHONE.search(_OURS.sub("", text)))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_instant(value: object) -> bool:
    if isinstance(value, datetime):
        return value.tzinfo is not None
    return isinstance(value, str) and bool(re.fullmatch(_INSTANT, value, re.ASCII))


def _is_day(value: object) -> bool:
    if isinstance(value, date):
        return not isinstance(value, datetime)
    return isinstance(value, str) and bool(re.fullmatch(_DAY, value, re.ASCII))


def _is_reason(value: object) -> bool:
    """The name of a holiday may be in any language."""
    return isinstance(value, str) and 0 < len(value) <= 100 and value.isprintable() and not _names_somebody(value)


def _is_word(value: object) -> bool:
    return _is_text(value, _WORD) and len(str(value)) <= 100


def _hex(*sizes: int) -> _Leaf:
    def fits(value: object) -> bool:
        return isinstance(value, str) and len(value) in sizes and bool(re.fullmatch(r"[0-9a-f]+", value, re.ASCII))

    return _Leaf(f"{' or '.join(map(str, sizes))} hex digits", fits)


_FLAG = _Leaf("true or false", lambda value: isinstance(value, bool))
_OUR_ID = _Leaf("an id of ours", is_id)
_COUNT = _Leaf("a whole number, not negative", _is_count)
_AT = _Leaf("an instant with its zone", _is_instant)
_ON = _Leaf("a day", _is_day)
_NAME = _Leaf("a word of ours, such as facebook_leads", _is_word)
_PLAIN = _Leaf("a short name of letters and digits", lambda value: _is_text(value, _TITLE))
_WHY = _Leaf("the reason why a day does not count, without a person", _is_reason)
_TOLD = _Leaf("a sentence of ours in English, without a person", lambda value: _is_text(value, _SENTENCE))
_DIGEST = _hex(32, 64)


def sentence_or(text: str | None, other: str) -> str | None:
    """A sentence if it may stand in a receipt, else another of ours: an error's words must not keep a receipt from being."""
    return text if text is None or _TOLD.fits(text) else other


def title_or(text: str, other: str) -> str:
    """A name of letters and digits if it may stand in a receipt, else another."""
    return text if _PLAIN.fits(text) else other


def _is_attested(value: object) -> bool:
    """What a host sends is not our words, so of text only ids, digests, instants and single words are taken over."""
    if isinstance(value, Mapping):
        return all(_is_word(name) and _is_attested(one) for name, one in value.items())
    plain = (_FLAG, _OUR_ID, _COUNT, _AT, _ON, _NAME, _DIGEST)
    return value is None or any(shape.fits(value) for shape in plain)


_BODY: Final[dict[str, _Shape]] = {
    "version": _Leaf(f"{VERSION}", lambda value: value == VERSION and not isinstance(value, bool)),
    "receipt": {"id": _OUR_ID, "tenant": _OUR_ID, "number": _COUNT, "previous": _hex(64), "issued_at": _AT, "key": _hex(16)},
    "deletion": {
        "id": _OUR_ID,
        "confirmation_code": _hex(32),
        "scope": {"kind": _NAME, "digest": _DIGEST, "integration?": _Or(_NAME)},
        "requested_by": _NAME,
        "approved_by_second_person": _FLAG,
        "requested_at": _AT,
        "approved_at": _Or(_AT),
        "undo_until": _AT,
        "frozen_at": _Or(_AT),
        "safe_due_at": _AT,
        "promise_due_at": _AT,
        "erased_at": _Or(_AT),
        "verified_at": _Or(_AT),
    },
    "calendar": {
        "name": _PLAIN, "version": _PLAIN, "digest": _DIGEST, "skipped": _Many({"day": _ON, "why": _WHY}),
    },
    "stores": _Many({"name": _NAME, "before": _Or(_COUNT), "deleted": _Or(_COUNT), "after": _Or(_COUNT)}),
    "provider": _Many({"name": _NAME, "status": _NAME, "sentence": _Or(_TOLD), "before?": _COUNT, "deleted?": _COUNT}),
    "host": {
        "needed": _FLAG,
        "acknowledged_at": _Or(_AT),
        "acks": _Many(_Leaf("an object of ids, digests, instants, numbers and single words", _is_attested)),
    },
    "rescan": _Or({"at": _AT, "left": _COUNT}),
    "exceptions": _Many(_TOLD),
}  # fmt: skip
