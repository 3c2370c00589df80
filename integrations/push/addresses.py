"""Where a browser's subscription may send us: public https addresses only, looked at when it is registered and at each connect.

The endpoint is what a stranger's browser said. Whoever runs Troth may allow origins beside (an emulator, an internal service).
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

LONGEST = 1_000
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
Resolve = Callable[[str], Sequence[str]]


class BadEndpoint(ValueError):
    """The endpoint is not taken; the text says why, without repeating it."""


def origin_of(endpoint: str) -> str:
    """scheme://host[:port] of an endpoint: what a VAPID token is for (RFC 8292, 2). BadEndpoint for what has none."""
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise BadEndpoint("The endpoint is no address.") from None
    if not host or parts.scheme not in ("https", "http"):
        raise BadEndpoint("The endpoint is no https address.")
    name = f"[{host}]" if ":" in host else host
    usual = {"https": 443, "http": 80}[parts.scheme]
    return f"{parts.scheme}://{name}" + (f":{port}" if port not in (None, usual) else "")


def check_endpoint(endpoint: str, allowed: Sequence[str] = (), resolve: Resolve | None = None) -> str:
    """The origin of an endpoint that may be called; BadEndpoint otherwise. `allowed` are origins that need no more looking at.

    A name that cannot be resolved now is taken: the connect looks again, and decides.
    """
    if len(endpoint) > LONGEST or not endpoint.isascii() or not endpoint.isprintable() or " " in endpoint:
        raise BadEndpoint(f"The endpoint has more than {LONGEST} characters, or some that no address has.")
    origin, parts = origin_of(endpoint), urlsplit(endpoint)
    if parts.username is not None or parts.fragment:
        raise BadEndpoint("The endpoint names a user or a fragment.")
    if origin in allowed:
        return origin
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme != "https" or parts.port not in (None, 443):
        raise BadEndpoint("The endpoint must be https on port 443.")
    if ("." not in host and ":" not in host) or host.endswith((".localhost", ".local", ".internal")):
        raise BadEndpoint("The endpoint is a name of a private network.")
    if ":" not in host and _NUMBER.fullmatch(host.rsplit(".", 1)[-1]) and not _is_address(host):
        # Whoever connects may take 127.1, 0x7f.1 and 2130706433 for addresses.
        raise BadEndpoint("The endpoint is an address in an unusual spelling.")
    if not all(is_public(one) for one in ([host] if _is_address(host) else (resolve or _resolved)(host))):
        raise BadEndpoint("The endpoint leads to a private address.")
    return origin


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet; one that carries another (IPv4 in IPv6) is judged by it, too."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        within = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        # 64:ff9b::/96 leads to the IPv4 address in its last bits (RFC 6052).
        if found in ipaddress.ip_network("64:ff9b::/96"):
            within = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if within is not None:
            return is_public(str(within))
    return found.is_global and not found.is_multicast


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _resolved(host: str) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)]
    except OSError:
        return []
