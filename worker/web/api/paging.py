"""Pages of lists: an opaque cursor that says after which id the next page begins; it holds nothing else."""

import base64
import binascii
import hashlib
import uuid
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel

from models.base import is_id
from worker.web.problems import Problem, not_found

Limit = Annotated[int, Query(ge=1, le=100, description="How many items at most.")]
Cursor = Annotated[str | None, Query(max_length=100, description="`next` of the page before.")]
Row = TypeVar("Row")
Item = TypeVar("Item", bound=BaseModel)


class Page(BaseModel, Generic[Item]):
    """A page of a list; `next` is None on the last one."""

    items: list[Item]
    next: str | None


def cursor_to(listing: str, last_id: str) -> str:
    """The cursor of the page that follows `last_id` in the list of that name."""
    raw = uuid.UUID(last_id).bytes
    check = hashlib.sha256(listing.encode() + raw).digest()[:4]
    return base64.urlsafe_b64encode(check + raw).decode().rstrip("=")


def read_cursor(listing: str, cursor: str | None) -> str | None:
    """The id behind a cursor. One that was changed, or belongs to another list, is a 400.

    The check is against mistakes, not attacks: a cursor only says where to begin in the caller's own rows.
    """
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    last_id = str(uuid.UUID(bytes=raw[4:])) if len(raw) == 20 else None
    # Written again and compared: base64 has several spellings of one value, and only ours is taken.
    if last_id is None or cursor != cursor_to(listing, last_id):
        raise Problem("bad-cursor", "Send `next` of the page before as it was, or leave the cursor out.")
    return last_id


def page_of(
    listing: str, rows: Sequence[Row], limit: int, *, id_of: Callable[[Row], str], show: Callable[[Row], Item]
) -> Page[Item]:
    """A page from `limit + 1` rows: the one too many only says that there is a next page."""
    shown = rows[:limit]
    following = cursor_to(listing, id_of(shown[-1])) if len(rows) > limit else None
    return Page(items=[show(row) for row in shown], next=following)


def known_id(value: str) -> str:
    """An id out of a path; what cannot be one of ours is not found, like any unknown id."""
    if not is_id(value):
        raise not_found()
    return value
