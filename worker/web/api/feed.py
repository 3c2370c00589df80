"""`/v1/feed`: what a user of the host was told, for the list inside the app; a device that was off, or dead, missed nothing."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from models.bulletin import content_of
from models.feed_read import Entry, feed, is_for, mark_read
from models.opt_out import user_mark
from models.tenancy import tenant_session
from models.vault import Keyring
from worker.web.api.devices import Locale
from worker.web.api.fields import Line, Wish
from worker.web.api.paging import Cursor, Limit, Page, known_id, page_of, read_cursor
from worker.web.callers import Access, Parts, tenant_access
from worker.web.problems import not_found
from worker.work import Work

router = APIRouter(prefix="/v1/feed", tags=["bulletins"])
Reader = Annotated[Access, Depends(tenant_access("bulletins:read"))]
Writer = Annotated[Access, Depends(tenant_access("bulletins:write"))]


class Opened(Wish):
    """Who has read it."""

    user: Line


class EntryShown(BaseModel):
    """A bulletin as the user reads it, in the words of their locale. `body` may hold the light markup it was written with."""

    id: str
    title: str
    body: str
    url: str | None
    image_url: str | None
    announced_at: datetime
    expires_at: datetime
    read_at: datetime | None


@router.get("")
def listed(
    access: Reader,
    services: Parts,
    user: Annotated[Line, Query(description="The host's id of the user.")],
    locale: Annotated[Locale | None, Query(description="Which variant to show.")] = None,
    unread: Annotated[bool, Query(description="Only what was not read.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[EntryShown]:
    """The user's bulletins, newest first, also those that no device took."""
    before = read_cursor("feed", cursor)
    with tenant_session(services.database, access.tenant_id, reads_only=True) as session:
        keyring = services.vault.existing(session, access.tenant_id, access.tenant_id)
        if keyring is None:
            return Page(items=[], next=None)
        rows = feed(session, access.tenant_id, user_mark(keyring, user), services.clock(), before=before,
                    limit=limit + 1, unread=unread)  # fmt: skip
    return page_of("feed", rows, limit, id_of=lambda it: it.bulletin.id, show=lambda it: _shown(it, keyring, locale))


@router.post("/{bulletin_id}/read", status_code=204)
def read(bulletin_id: str, body: Opened, access: Writer, services: Parts) -> None:
    """The user has read it. Repeating it changes nothing."""
    known_id(bulletin_id)
    with Work(services, access.tenant_id) as work:
        keyring = services.vault.existing(work.session, access.tenant_id, access.tenant_id)
        if keyring is None:
            raise not_found()
        user, now = user_mark(keyring, body.user), services.clock()
        if not is_for(work.session, access.tenant_id, bulletin_id, user, now):
            raise not_found()
        mark_read(work.session, access.tenant_id, bulletin_id, user, now)


def _shown(entry: Entry, keyring: Keyring, locale: str | None) -> EntryShown:
    row, content = entry.bulletin, content_of(keyring, entry.bulletin)
    title, body = content.words(locale)
    return EntryShown(
        id=row.id, title=title, body=body, url=content.url, image_url=content.image_url, announced_at=row.starts_at,
        expires_at=row.expires_at, read_at=entry.read_at,
    )  # fmt: skip
