"""What an integration is, as far as the rest of Troth may know; it names no provider."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from integrations.errors import IntegrationError


@dataclass(frozen=True, slots=True)
class Case:
    """One line of an error table: what a provider's code means for us.

    `wait` is used for a throttle that came without the provider's own delay.
    """

    error: type[IntegrationError]
    sentence: str
    fix: str | None = None
    wait: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Integration:
    """One product of one provider.

    `name` is the folder and the word in addresses and rows; `title` is for people; `scopes` is what is asked of the
    person who connects. `verify(raw, signature_header, secret)` raises BadSignature; `read(raw)` gives the provider's
    own delivery type or raises BadPayload. `errors` maps the provider's code, as text, to its case.
    """

    name: str
    title: str
    scopes: tuple[str, ...]
    verify: Callable[[bytes, str | None, str], None]
    read: Callable[[bytes], Any]
    errors: Mapping[str, Case]
