"""Reads query strings and form bodies quickly: a batch of 50 calls is 13 kB of percent signs; knows no parameter."""

import re

# The signs of a batch, tried first: looking for what there is costs more than replacing it.
_COMMON = tuple((f"%{ord(sign):02X}".encode(), sign.encode()) for sign in '",:{}?=[]/ ')
_ESCAPE = re.compile(rb"%[0-9a-fA-F]{2}")


def read_query(raw: bytes) -> dict[str, str]:
    """`a=1&b=%22` as {"a": "1", "b": '"'}; of a repeated name the last value; broken UTF-8 is replaced, never refused."""
    found: dict[str, str] = {}
    for pair in raw.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            found[_plain(name)] = _plain(value)
    return found


def _plain(text: bytes) -> str:
    text = text.replace(b"+", b" ")
    if b"%" in text:
        # Every % of a well-formed text begins an escape, and only %25 makes a new one: it goes last.
        for escape, sign in _COMMON:
            text = text.replace(escape, sign)
    if b"%" in text:
        for escape in sorted(set(_ESCAPE.findall(text)), key=b"%25".__eq__):
            text = text.replace(escape, bytes((int(escape[1:], 16),)))
    return text.decode(errors="replace")
