"""Brings a typed phone number into E.164, or says that it is none; it keeps no number and guesses no country."""

import re
from functools import cache

import phonenumbers
from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    PhoneMetadata,
    PhoneNumber,
    PhoneNumberFormat,
)

# Exports write "p:+61412345678".
_EXPORT_PREFIX = "p:"
_CLEAN = re.compile(r"\+[1-9][0-9]{6,14}")
_LONGEST_COUNTRY_CODE = 3


def e164(text: str, default_region: str | None = None) -> str | None:
    """E.164 ("+61412345678") if the text is one valid number, else None.

    `default_region` (ISO 3166 alpha-2, any case) serves numbers without a country code. A number that is merely
    possible is not taken: people are matched by this field, and made-up numbers must not match.
    """
    number = text.strip()
    if number[:2].lower() == _EXPORT_PREFIX:
        number = number[2:].lstrip()
    if _is_valid_as_it_is(number):
        return number
    try:
        parsed = phonenumbers.parse(number, default_region.upper() if default_region else None)
    except NumberParseException:
        return None
    return phonenumbers.format_number(parsed, PhoneNumberFormat.E164) if phonenumbers.is_valid_number(parsed) else None


def _is_valid_as_it_is(number: str) -> bool:
    """Whether parsing would change nothing, which halves the cost for what Facebook fills in itself.

    Parsing a clean number does two things to it: it splits off the country code (no code is the start of another), and
    it drops a national prefix. Where a prefix could be in the way, the answer is no and the number is parsed.
    """
    if not _CLEAN.fullmatch(number):
        return False
    for end in range(2, _LONGEST_COUNTRY_CODE + 2):
        country_code, national = int(number[1:end]), number[end:]
        if country_code in COUNTRY_CODE_TO_REGION_CODE:
            prefix = _national_prefix(country_code)
            if national.startswith("0") or prefix is None or prefix.match(national):
                return False
            return phonenumbers.is_valid_number(PhoneNumber(country_code, int(national)))
    return False


@cache
def _national_prefix(country_code: int) -> re.Pattern[str] | None:
    """What the library drops from the front of a national number; None where it is not known."""
    region = COUNTRY_CODE_TO_REGION_CODE[country_code][0]
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(country_code, region)
    if metadata is None:
        return None
    return re.compile(metadata.national_prefix_for_parsing or r"(?!)")
