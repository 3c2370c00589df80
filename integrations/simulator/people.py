"""Invented people and the answers they give to a lead form; knows no real person; a number is always the same one."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

GIVEN = ("Amara", "Åse", "Bruno", "Çağla", "Dmitri", "Élodie", "Farah", "Goran", "Hana", "Íñigo", "Jomo", "Katya")
FAMILY = (
    "Abendroth",
    "Bjørnstad",
    "Castellane",
    "Dunmore",
    "Eisenhut",
    "Fairweather",
    "Ōkubo",
    "Quillfeather",
    "Zábranská",
)
CITIES = ("Lindenau", "Port Ellery", "Sankt Veit", "Ōmori", "Villanueva")
COMPANIES = ("Acorn & Sons", "Blue Kettle Ltd", "Öl und Eisen GmbH", "株式会社みほん")
TITLES = ("Owner", "Head of Sales", "Clerk", "Ingénieure")

UNREADABLE_PHONE = "ask at the desk"
PLACEHOLDER = "<test lead: dummy data for {}>"

# Older forms use upper-case keys; what a key means does not depend on its case.
MEANINGS = {
    "full_name": "full_name",
    "first_name": "first_name",
    "last_name": "last_name",
    "email": "email",
    "work_email": "email",
    "phone_number": "phone",
    "phone": "phone",
    "work_phone_number": "phone",
}


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a form: Meta's key, the label people see, Meta's type, and options as (key, value)."""

    key: str
    label: str
    type: str
    options: tuple[tuple[str, str], ...] = ()
    several: bool = False

    def meaning(self) -> str:
        """What the answer is about, for questions that Meta prefills; the key itself otherwise."""
        return MEANINGS.get(self.key.lower(), self.key.lower())


@dataclass(frozen=True, slots=True)
class Person:
    """An invented person. `phone` is E.164 and valid for libphonenumber, or None when `phone_raw` cannot be read."""

    given: str
    family: str
    email: str
    phone: str | None
    phone_raw: str

    @property
    def full_name(self) -> str:
        """As one types it."""
        return f"{self.given} {self.family}"


def invent(number: int, *, odd: bool = False) -> Person:
    """Person `number`. With `odd`, one in seven types a telephone number that nobody can read."""
    given, family = GIVEN[number % len(GIVEN)], FAMILY[number // len(GIVEN) % len(FAMILY)]
    host = "example.org" if number % 3 == 0 else "example.com"
    email = f"{_ascii(given)}.{_ascii(family)}.{number}@{host}"
    phone = fictional_phone(number)
    if odd and number % 7 == 3:
        return Person(given, family, email, None, UNREADABLE_PHONE)
    # CSV-like prefixes and spaces are seen in the wild; the number behind them is the same.
    raw = f"p:{phone}" if number % 11 == 5 else phone
    return Person(given, family, email, phone, raw)


def fictional_phone(number: int) -> str:
    """An E.164 number out of the ranges that regulators reserve for fiction (NANPA, Ofcom, BNetzA, ARCEP, ACMA)."""
    country, rest = number % 5, number // 5
    if country == 0:
        area = ("415", "212", "202", "312", "617", "206", "503", "404", "303", "702")[rest // 100 % 10]
        return f"+1{area}55501{rest % 100:02d}"
    if country == 1:
        return f"+442079460{rest % 1000:03d}"
    if country == 2:
        return f"+493023125{rest % 1000:03d}"
    if country == 3:
        return f"+3319900{rest % 10000:04d}"
    return f"+6125550{rest % 10000:04d}"


def answers(
    questions: Sequence[Question], person: Person, chance: Random, *, odd: bool = False
) -> list[dict[str, Any]]:
    """`field_data` of a real lead: a {name, values} per question; with `odd`, empty and repeated answers as well."""
    given: list[dict[str, Any]] = []
    for question in questions:
        values = _values(question, person, chance)
        if odd and question.options and chance.random() < 0.2:
            values = []
        given.append({"name": question.key, "values": values})
        if odd and question.type == "CUSTOM" and chance.random() < 0.2:
            given.append({"name": question.key, "values": ["and once more"]})
    return given


def dummy_answers(questions: Sequence[Question]) -> list[dict[str, Any]]:
    """`field_data` of a test lead: placeholders, which only their text tells from real answers."""
    given: list[dict[str, Any]] = []
    for question in questions:
        value = "test@meta.com" if question.meaning() == "email" else PLACEHOLDER.format(question.key)
        given.append({"name": question.key, "values": [value]})
    return given


def _values(question: Question, person: Person, chance: Random) -> list[str]:
    known = {
        "full_name": person.full_name,
        "first_name": person.given,
        "last_name": person.family,
        "email": person.email,
        "phone": person.phone_raw,
    }
    meaning = question.meaning()
    if meaning in known:
        return [known[meaning]]
    if question.options:
        wanted = chance.randint(1, len(question.options)) if question.several else 1
        return [key for key, _ in chance.sample(question.options, wanted)]
    if meaning == "city":
        return [chance.choice(CITIES)]
    if meaning == "company_name":
        return [chance.choice(COMPANIES)]
    if meaning == "job_title":
        return [chance.choice(TITLES)]
    return [f"Answer {chance.randint(1, 999)}: “naïve” ✓"]


def _ascii(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return plain or "x"
