"""The page of promises: all of them, each with its proof, and a tenant's own numbers."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import httpx

from models.promise import promises
from tests.receipts import a_deletion
from worker.services import Services


def numbers(page: str, promise: str) -> list[str]:
    row = page.split(f'<tr id="{promise}">')[1].split("</tr>")[0]
    return re.findall(r'data-label="(?:Kept|Due|Broken)">(?:<span[^>]*>)?(\d+)', row)


def test_each_promise_is_shown_with_its_proof_and_the_tenants_own_counts(
    enter: Callable[..., httpx.Client], services: Services, acme: Any, globex: Any, clock: Any
) -> None:
    asked = a_deletion(services.database, acme, clock)
    mine, theirs = enter(acme.id), enter(globex.id)

    page = unescape(mine.get("/admin/promises").text)
    for one in promises():
        assert one.sentence in page and one.clock in page and one.not_yet in page
        assert all(f"<code>{job}</code>" in page for job in one.jobs)
    assert "A tenant that leaves leaves nothing" in page
    first = promises()[0].id
    assert numbers(page, first) == ["0", "1", "0"]
    assert numbers(page, "tenants-apart") == []
    assert numbers(theirs.get("/admin/promises").text, first) == ["0", "0", "0"]

    clock.now = asked.promise_due_at
    again = enter(acme.id).get("/admin/promises").text
    assert numbers(again, first) == ["0", "0", "1"]
    assert 'href="/admin/promises" aria-current="page"' in again


def test_nobody_reads_it_without_a_session(http: httpx.Client) -> None:
    assert http.get("/admin/promises").status_code == 303
