"""Rows as CSV that spreadsheets read and never calculate; it knows no row's meaning."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Final

MARK: Final = b"\xef\xbb\xbf"
"""By which spreadsheets know UTF-8."""
# https://owasp.org/www-community/attacks/CSV_Injection: what begins so is calculated, in its wide form in Japanese.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def lines(rows: Iterable[Sequence[str]]) -> bytes:
    """Rows of cells as UTF-8."""
    text = StringIO()
    csv.writer(text).writerows([_tame(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def _tame(cell: str) -> str:
    """An apostrophe makes it text to every spreadsheet; a phone number in E.164 gets one, too."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
