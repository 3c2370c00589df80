"""Brings a typed phone number into E.164, or says that it is none; it keeps no number and guesses no country."""

import re
from dataclasses import dataclass
from functools import cache

import phonenumbers
from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    PhoneMetadata,
    PhoneNumberDesc,
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
            return _is_valid(country_code, national)
    return False


@dataclass(frozen=True, slots=True)
class _Kind:
    """What one description of the library's metadata says; no lengths: any."""

    lengths: frozenset[int]
    pattern: re.Pattern[str]

    def fits(self, national: str) -> bool:
        return (not self.lengths or len(national) in self.lengths) and self.pattern.fullmatch(national) is not None


@dataclass(frozen=True, slots=True)
class _Region:
    """A region of a country code. `leading`: which of the code's numbers are its; None: those that are valid in it."""

    leading: re.Pattern[str] | None
    general: _Kind | None
    kinds: tuple[_Kind, ...]


def _is_valid(country_code: int, national: str) -> bool:
    """What `phonenumbers.is_valid_number` says, for a tenth of its cost: it finds out the kind of a number, twice
    where a country code has several regions, and begins with the rare kinds."""
    for region in _regions(country_code):
        if region.leading is not None and not region.leading.match(national):
            continue
        if region.general is not None and region.general.fits(national):
            for kind in region.kinds:
                if kind.fits(national):
                    return True
        if region.leading is not None:  # its number, and not a valid one
            return False
    return False


_KINDS = ("mobile", "fixed_line", "toll_free", "premium_rate", "shared_cost", "voip", "personal_number", "pager", "uan",
          "voicemail")  # fmt: skip
"""Those that a person has come first."""


@cache
def _regions(country_code: int) -> tuple[_Region, ...]:
    names = COUNTRY_CODE_TO_REGION_CODE[country_code]
    found = []
    for name in names:
        metadata = PhoneMetadata.metadata_for_region_or_calling_code(country_code, name)
        if metadata is not None:
            leading = metadata.leading_digits if len(names) > 1 else None
            kinds = (_kind(getattr(metadata, kind)) for kind in _KINDS)
            found.append(
                _Region(
                    None if leading is None else re.compile(leading),
                    _kind(metadata.general_desc),
                    tuple(kind for kind in kinds if kind is not None),
                )
            )
    return tuple(found)


def _kind(description: PhoneNumberDesc | None) -> _Kind | None:
    if description is None or not description.national_number_pattern:
        return None
    return _Kind(frozenset(description.possible_length), re.compile(description.national_number_pattern))


@cache
def _national_prefix(country_code: int) -> re.Pattern[str] | None:
    """What the library drops from the front of a national number; None where it is not known."""
    region = COUNTRY_CODE_TO_REGION_CODE[country_code][0]
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(country_code, region)
    if metadata is None:
        return None
    return re.compile(metadata.national_prefix_for_parsing or r"(?!)")
