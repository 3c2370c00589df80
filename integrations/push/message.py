"""What fits on a lock screen: a bulletin's words as plain text, cut at a word where a provider's limit is."""

import html
import re

import nh3
import orjson

ALLOWED_TAGS = {"a", "b", "br", "em", "i", "li", "ol", "p", "strong", "u", "ul"}
_BREAKS = re.compile(r"(?i)<br\s*/?>|</(p|li|ul|ol)>")
_SPACES = re.compile(r"[ \t]+")
_LINES = re.compile(r"\n\s*\n\s*")


def sanitised(body: str) -> str:
    """Light markup as it is kept: a few tags, links that are http(s) or mailto, and nothing that runs."""
    return nh3.clean(body, tags=ALLOWED_TAGS, attributes={"a": {"href"}}, url_schemes={"http", "https", "mailto"})


def plain(body: str) -> str:
    """The same without any tag."""
    text = html.unescape(nh3.clean(_BREAKS.sub("\n", body), tags=set()))
    return _LINES.sub("\n\n", _SPACES.sub(" ", text)).strip()


def shortened(text: str, most: int) -> str:
    """The text, or as many whole words of it as take no more than `most` bytes of JSON, and an ellipsis."""
    if size(text) <= most:
        return text
    low, high = 0, len(text)
    while low < high:  # the longest beginning that fits
        middle = (low + high + 1) // 2
        low, high = (middle, high) if size(text[:middle] + "…") <= most else (low, middle - 1)
    kept = text[:low]
    whole = kept.rsplit(None, 1)[0] if len(kept.rsplit(None, 1)) == 2 else kept
    return (whole if len(whole) * 2 > len(kept) else kept).rstrip() + "…"


def size(text: str) -> int:
    """Bytes in JSON, without the quotes."""
    return len(orjson.dumps(text)) - 2
