"""Reads one lead as Graph gives it, and loses nothing of it; it knows neither the form's mapping nor any tenant.

Source: https://developers.facebook.com/documentation/ads-commerce/marketing-api/guides/lead-ads/retrieving
"""

import reprlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from integrations.facebook_leads.phone import e164
from integrations.facebook_leads.scalars import read_time

# In the order of trust. Older forms write FULL_NAME, PHONE and EMAIL: keys are compared without regard to case.
STANDARD_KEYS: Mapping[str, tuple[str, ...]] = {
    "full_name": ("full_name",),
    "first_name": ("first_name",),
    "last_name": ("last_name",),
    "email": ("email", "work_email"),
    "phone": ("phone_number", "phone", "work_phone_number"),
}
_AD = ("ad_id", "ad_name", "adset_id", "adset_name", "campaign_id", "campaign_name", "partner_name", "retailer_item_id")

# No flag marks a test lead; these are what Meta's testing tool and the dashboard's button send.
_TEST_VALUE = "<test lead:"
_TEST_EMAILS = frozenset({"test@meta.com", "test@fb.com"})
DASHBOARD_LEAD = "444444444444"

_UNNAMED = "unnamed"
_MAPPING = (dict, Mapping)  # what JSON gives is found out at once; to ask `Mapping` is dear


@dataclass(frozen=True, slots=True, repr=False)
class Contact:
    """Whom to call. `phone` is E.164, or None when `phone_raw`, the text as it was given, is not a valid number."""

    full_name: str | None
    email: str | None
    phone: str | None
    phone_raw: str | None


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """One question's answers. `key` is the form's key: the label may be translated or edited, the key stays."""

    key: str
    label: str | None
    values: list[str]


@dataclass(frozen=True, slots=True)
class Consent:
    """One box of the form's own disclaimer. Only a clear yes counts as checked."""

    key: str
    is_checked: bool


@dataclass(frozen=True, slots=True)
class LeadData:
    """A lead, read. `created_at` is UTC, or None if Meta's text was unreadable; `ad` holds only what was present.

    Its repr shows no personal data.
    """

    external_id: str
    form_external_id: str | None
    created_at: datetime | None
    platform: str | None
    is_organic: bool | None
    is_test: bool
    contact: Contact = field(repr=False)
    answers: list[Answer] = field(repr=False)
    consents: list[Consent]
    ad: dict[str, str]


def parse(raw: Mapping[str, Any], *, default_region: str | None = None) -> LeadData:
    """Reads a lead in any shape without raising: what is odd is kept as text.

    `default_region`: ISO 3166 alpha-2, for phone numbers written without their country.
    """
    answers = list(_answers(raw.get("field_data")))
    external_id = _id(raw.get("id")) or ""
    return LeadData(
        external_id=external_id,
        form_external_id=_id(raw.get("form_id")),
        created_at=read_time(raw.get("created_time")),
        platform=_word(raw.get("platform")),
        is_organic=_organic(raw.get("is_organic")),
        is_test=external_id == DASHBOARD_LEAD or _is_test(answers),
        contact=_contact(answers, default_region),
        answers=answers,
        consents=list(_consents(raw.get("custom_disclaimer_responses"))),
        ad={name: value for name in _AD if (given := raw.get(name)) is not None and (value := _id(given))},
    )


def _answers(field_data: object) -> Iterator[Answer]:
    if isinstance(field_data, _MAPPING):
        field_data = [field_data]
    elif not isinstance(field_data, list):
        field_data = [] if field_data is None else [{"values": field_data}]
    for item in field_data:
        if isinstance(item, _MAPPING) and ("name" in item or "values" in item):
            values = item.get("values")
            if not isinstance(values, list):
                values = [] if values is None else [values]
            key = item.get("name")
            label = item.get("label")
            yield Answer(
                _text(key) if key is not None else _UNNAMED,
                _text(label) if label is not None else None,
                [_text(value) for value in values],
            )
        else:
            yield Answer(_UNNAMED, None, [_text(item)])


def first_values(answers: Iterable[Answer]) -> dict[str, str]:
    """The first answer that is not blank of each key; keys are case-folded."""
    first: dict[str, str] = {}
    for answer in answers:
        key = answer.key.casefold()
        if key in first:
            continue
        for value in answer.values:
            if value and not value.isspace():
                first[key] = value
                break
    return first


def contact_from(said: Mapping[str, str], default_region: str | None) -> Contact:
    """A contact of what was said for each contact field (the keys of STANDARD_KEYS); none has to be there."""
    name, phone_raw = said.get("full_name"), said.get("phone")
    parts = [said[half].strip() for half in ("first_name", "last_name") if half in said]
    return Contact(
        full_name=name.strip() if name is not None else (" ".join(parts) or None),
        email=_email(said.get("email")),
        phone=e164(phone_raw, default_region) if phone_raw is not None else None,
        phone_raw=phone_raw,
    )


def _contact(answers: list[Answer], default_region: str | None) -> Contact:
    first = first_values(answers)
    said = {}
    for contact_field, keys in STANDARD_KEYS.items():
        for key in keys:
            if key in first:
                said[contact_field] = first[key]
                break
    return contact_from(said, default_region)


def _email(text: str | None) -> str | None:
    """The address if it can be one; whatever else was typed stays in the answers."""
    if text is None:
        return None
    address = text.strip()
    local, at, domain = address.rpartition("@")
    return address if at and local and domain and len(address.split()) == 1 else None


def _is_test(answers: Iterable[Answer]) -> bool:
    for answer in answers:
        for value in answer.values:
            if value.startswith(_TEST_VALUE) or ("@" in value and value.strip().casefold() in _TEST_EMAILS):
                return True
    return False


def _consents(responses: object) -> Iterator[Consent]:
    for response in responses if isinstance(responses, list) else ():
        if isinstance(response, _MAPPING):
            checked = response.get("is_checked")
            key = response.get("checkbox_key")
            # Documented as "1" or ""; seen as a real boolean and as "true".
            is_checked = checked is True or (not isinstance(checked, bool) and _text(checked).lower() in ("1", "true"))
            yield Consent(_text(key) if key is not None else _UNNAMED, is_checked)


def _organic(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "1": True, "false": False, "0": False}.get(_text(value).lower())


def _word(value: object) -> str | None:
    return _text(value) or None


def _id(value: object) -> str | None:
    """Text, where Meta's 0 and "" mean that there is none."""
    text = _text(value)
    return text if text and text != "0" else None


def _text(value: object) -> str:
    """Anything as text: text as it is, nothing as "", the rest as JSON."""
    if not isinstance(value, str):
        if value is None:
            return ""
        try:
            value = orjson.dumps(value).decode()
        except TypeError:
            value = reprlib.repr(value)  # too deep or too large for JSON; never too deep for this
    # PostgreSQL's text holds no NUL; the replacement character shows that something was there.
    return value.replace("\0", "\ufffd") if "\0" in value else value
