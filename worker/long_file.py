"""A file of the operator's that may be long, and have lines that are longer: read a line at a time, and never held whole."""

from collections.abc import Iterator
from typing import BinaryIO, Final

LONGEST_LINE: Final = 64 * 1024
TOO_LONG: Final = f"The line is longer than {LONGEST_LINE // 1024} KiB."


def lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """(number, text) of every line that is not blank; None for one that is too long."""
    number = 0
    while text := file.readline(LONGEST_LINE):
        number += 1
        part = text
        while part and not part.endswith(b"\n"):
            part = file.readline(LONGEST_LINE)
            text = text if not part else b""
        if not text:
            yield number, None
        elif text.strip():
            yield number, text
