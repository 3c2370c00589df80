"""Which question fills which contact field, where a tenant says so; pure, and it knows neither tenants nor storage."""

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from integrations.facebook_leads.forms import Question
from integrations.facebook_leads.lead import STANDARD_KEYS, Answer, LeadData, contact_from, first_values

CONTACT_FIELDS: tuple[str, ...] = tuple(STANDARD_KEYS)
_HALVES = ("first_name", "last_name")

# Meta's types of the questions that it fills in itself, in the order of trust.
_TYPES: Mapping[str, tuple[str, ...]] = {
    "full_name": ("FULL_NAME",),
    "first_name": ("FIRST_NAME",),
    "last_name": ("LAST_NAME",),
    "email": ("EMAIL", "WORK_EMAIL"),
    "phone": ("PHONE", "PHONE_NUMBER", "WORK_PHONE_NUMBER"),
}


@dataclass(frozen=True, slots=True)
class Mapped:
    """A lead's contact (`full_name email phone phone_raw`), and the keys of the answers that filled no field of it."""

    contact: dict[str, str | None] = field(repr=False)
    unmapped: tuple[str, ...]


def suggested(questions: Sequence[Question]) -> dict[str, str]:
    """{contact field: question key}: by Meta's type, else by the standard key; what the form does not ask is absent."""
    found: dict[str, str] = {}
    for name in CONTACT_FIELDS:
        if name in _HALVES and "full_name" in found:
            continue
        by_type = [one for type_ in _TYPES[name] for one in questions if one.type.upper() == type_]
        by_key = [one for key in STANDARD_KEYS[name] for one in questions if one.key.casefold() == key]
        key = next((one.key for one in by_type + by_key if one.key not in found.values()), None)
        if key is not None:
            found[name] = key
    return found


def problems(mapping: Mapping[str, str], questions: Sequence[Question]) -> list[str]:
    """What is wrong with a mapping, a sentence each; none is a mapping that can be saved."""
    keys = {one.key for one in questions}
    users: dict[str, list[str]] = {}
    told = []
    for name, key in mapping.items():
        if name not in CONTACT_FIELDS:
            told.append(f"There is no contact field {_quoted(name)}: there are {', '.join(CONTACT_FIELDS)}.")
        if key not in keys:
            told.append(f"This form has no question with the key {_quoted(key)}.")
        users.setdefault(key, []).append(str(name))
    told += [
        f"The question {_quoted(key)} is mapped to {' and '.join(names)}: it can fill one field."
        for key, names in users.items()
        if len(names) > 1
    ]
    if "full_name" in mapping and any(half in mapping for half in _HALVES):
        told.append("A name is mapped twice: map full_name, or first_name and last_name.")
    return told


def mapped(lead: LeadData, mapping: Mapping[str, str], *, default_region: str | None = None) -> Mapped:
    """A lead's contact by a mapping alone: a field that is not mapped is None. Never raises.

    Where no answer has the very key, case is disregarded, as in a lead that is read without a mapping: older forms
    changed theirs.
    """
    said: dict[str, str] = {}
    used: set[str] = set()
    for name, key in mapping.items():
        answers = _answers_to(key, lead.answers)
        used.update(answer.key for answer in answers)
        said.update((name, value) for value in first_values(answers).values())
    contact = contact_from(said, default_region)
    unmapped = {answer.key: None for answer in lead.answers if answer.values and answer.key not in used}
    values = {
        "full_name": contact.full_name,
        "email": contact.email,
        "phone": contact.phone,
        "phone_raw": contact.phone_raw,
    }
    return Mapped(values, tuple(unmapped))


def _answers_to(key: str, answers: Sequence[Answer]) -> list[Answer]:
    exactly = [answer for answer in answers if answer.key == key]
    return exactly or [answer for answer in answers if answer.key.casefold() == key.casefold()]


def _quoted(text: object) -> str:
    """Short enough for a sentence."""
    return reprlib.repr(text)
