"""Names of push services become addresses: looked at between name and connect, so that none leads inwards."""

import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from integrations.push.addresses import is_public


class Refused(OSError):
    """A name led to an address that is not public."""


class PublicOnly(AbstractResolver):
    """Resolves for aiohttp, which connects to just the addresses it is given: those that are public, or were allowed.

    It comes between name and connect, so a name that changed its mind since the registration leads nowhere.
    """

    def __init__(self, allowed: Sequence[str], within: AbstractResolver | None = None) -> None:
        self._hosts = {urlsplit(origin).hostname for origin in allowed}
        self._within = within or ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        """Every address, or Refused when one of them is private."""
        found = await self._within.resolve(host, port, family)
        if host not in self._hosts and not all(is_public(one["host"]) for one in found):
            raise Refused("a push service's name leads to a private address")
        return found

    async def close(self) -> None:
        """Nothing is held."""
        await self._within.close()
