"""Lists the Pages that a person gave the app; it knows no grants and judges no Page.

Source: https://developers.facebook.com/docs/graph-api/reference/user/accounts
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from facebook_business.api import FacebookAdsApi  # type: ignore[import-untyped]

from integrations.facebook_leads.paging import listed, next_cursor
from integrations.facebook_leads.scalars import read_id, read_text
from integrations.facebook_leads.sdk import ask

_FIELDS = "id,name,access_token,tasks"
_LIMIT = 100


@dataclass(frozen=True, slots=True)
class ManagedPage:
    """A Page as its manager sees it. `token` None: this person gets none. `tasks` None: Meta did not say."""

    page_id: str
    name: str = field(repr=False)
    token: str | None = field(repr=False)
    tasks: frozenset[str] | None


def managed_pages(api: FacebookAdsApi, limit: int = _LIMIT) -> list[ManagedPage]:
    """Every Page once, in Meta's order, for a user's token."""
    found: dict[str, ManagedPage] = {}
    seen: set[str] = set()
    after: dict[str, str] = {}
    while True:
        answer = ask(api, "GET", "me", "accounts", fields=_FIELDS, limit=limit, **after)
        for page in _pages(answer):
            found.setdefault(page.page_id, page)
        cursor = next_cursor(answer)
        if cursor is None or cursor in seen:
            return list(found.values())
        seen.add(cursor)
        after = {"after": cursor}


def _pages(answer: Mapping[str, Any]) -> list[ManagedPage]:
    return [page for one in listed(answer) if (page := _page(one)) is not None]


def _page(one: object) -> ManagedPage | None:
    page_id = read_id(one.get("id")) if isinstance(one, dict) else None
    if not isinstance(one, dict) or not page_id:
        return None
    token, tasks = one.get("access_token"), one.get("tasks")
    return ManagedPage(
        page_id=page_id,
        name=read_text(one.get("name")) or page_id,
        token=token if isinstance(token, str) and token else None,
        tasks=frozenset(task for task in tasks if isinstance(task, str)) if isinstance(tasks, list) else None,
    )
