"""The public keys that a receipt is verified with where there is no database: given, or in a file beside it."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from models.ed25519 import keys_by_id

BESIDE: Final = "troth-receipt-keys.json"
"""As `/.well-known/troth-receipt-keys.json` gives it out."""


class BadKeys(Exception):
    """There are no keys to be had from where they were looked for; the text says what to mend."""


def keys_given(public_keys: Iterable[str]) -> Mapping[str, str]:
    """id -> public key. BadKeys."""
    try:
        return keys_by_id(public_keys)
    except ValueError:
        raise BadKeys("a key is not 32 bytes in base64url, as its owner gives it out") from None


def keys_beside(file: Path) -> Mapping[str, str]:
    """Those of the file of keys in the same folder, none when there is no such file. BadKeys."""
    try:
        listed = json.loads((file.parent / BESIDE).read_bytes())["keys"]
        # Their ids are worked out again: a file may claim anything.
        return keys_by_id(one["public_key"] for one in listed)
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadKeys(f"{BESIDE} beside it is not what the web process gives out: fetch it again") from None
