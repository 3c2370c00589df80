"""Receipts by the API, and the page that judges one for anybody: clear words, and nothing of what was sent stays."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from models.base import new_id
from models.deletion import Deletion
from models.receipt import document
from tests.conftest import Company
from tests.receipts import CODE, a_deletion, a_receipt
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from worker.services import Services

CANARY = "canary@example.com"


@pytest.fixture
def issued(services: Services, acme: Company, clock: Any) -> Callable[[], dict[str, Any]]:
    """issued() -> the next receipt of acme's deletion, as it is given out."""
    deletion: list[Deletion] = []

    def make() -> dict[str, Any]:
        deletion[:] = deletion or [a_deletion(services.database, acme, clock)]
        return document(a_receipt(services.database, services.vault, acme, clock, deletion[0]))

    return make


def asked(http: httpx.Client, pasted: object) -> dict[str, Any]:
    """What a program is told of a receipt."""
    text = pasted if isinstance(pasted, str) else json.dumps(pasted)
    answer: dict[str, Any] = good(
        http.post("/receipts/verify", data={"pasted": text}, headers={"accept": "application/json"})
    )
    return answer


@pytest.mark.every_database
def test_a_deletion_has_a_receipt_when_it_is_done_and_its_newest_is_shown(
    as_tenant: Callable[..., Api], services: Services, acme: Company, clock: Any, issued: Callable[[], dict[str, Any]]
) -> None:
    api = as_tenant(acme, "deletions:read")
    waiting = a_deletion(services.database, acme, clock)
    assert "steps" in problem(api("GET", f"/v1/deletions/{waiting.id}/receipt"), 404, "no-receipt-yet")["detail"]
    issued()
    newest = issued()
    shown = good(api("GET", f"/v1/deletions/{newest['body']['deletion']['id']}/receipt"))
    assert shown == newest
    for unknown in (new_id(), "x", "%00"):
        problem(api("GET", f"/v1/deletions/{unknown}/receipt"), 404, "not-found")
    for path in ("/v1/receipts", f"/v1/deletions/{waiting.id}/receipt"):
        problem(as_tenant(acme, "connections:read")("GET", path), 403, "missing-scope")


@pytest.mark.every_database
def test_receipts_are_listed_in_the_order_of_their_chain_and_a_page_can_be_judged(
    as_tenant: Callable[..., Api], http: httpx.Client, acme: Company, issued: Callable[[], dict[str, Any]]
) -> None:
    made, api = [issued() for _ in range(3)], as_tenant(acme)
    first = good(api("GET", "/v1/receipts?limit=2"))
    second = good(api("GET", f"/v1/receipts?limit=2&cursor={first['next']}"))
    assert (first["items"] + second["items"], second["next"]) == (made, None)
    assert asked(http, first)["sentence"] == "The chain is whole from receipt 1 to 2, and each is as it was signed."
    problem(api("GET", "/v1/receipts?cursor=AAAA"), 400, "bad-cursor")


def test_globex_sees_nothing_of_acmes_receipts(
    as_tenant: Callable[..., Api], acme: Company, globex: Company, issued: Callable[[], dict[str, Any]]
) -> None:
    ours, _ = issued(), issued()
    cursor = good(as_tenant(acme)("GET", "/v1/receipts?limit=1"))["next"]
    for query in ("", f"?cursor={cursor}"):
        assert good(as_tenant(globex)("GET", f"/v1/receipts{query}")) == {"items": [], "next": None}
    theirs, unknown = (
        as_tenant(globex)("GET", f"/v1/deletions/{one}/receipt") for one in (ours["body"]["deletion"]["id"], new_id())
    )
    assert problem(theirs, 404, "not-found") == unknown.json()


def test_the_public_keys_are_for_everyone(http: httpx.Client, issued: Callable[[], dict[str, Any]]) -> None:
    assert good(http.get("/.well-known/troth-receipt-keys.json")) == {"keys": []}
    signature = issued()["signature"]
    (key,) = good(http.get("/.well-known/troth-receipt-keys.json"))["keys"]
    assert key == {
        "id": signature["key"], "algorithm": "ed25519", "public_key": signature["public_key"],
        "created_at": "2026-03-02T09:00:00Z",
    }  # fmt: skip


def test_the_page_says_in_words_what_a_true_receipt_says(
    http: httpx.Client, issued: Callable[[], dict[str, Any]]
) -> None:
    assert 'enctype="multipart/form-data"' in http.get("/receipts/verify").text
    file = {"file": ("receipt.json", json.dumps(issued()), "application/json")}
    page = http.post("/receipts/verify", data={"pasted": ""}, files=file)
    assert page.status_code == 200
    for told in (
        "It holds",
        "Receipt 1",
        CODE,
        "12 records deleted, 0 left",
        "2026-03-02 09:00:00 UTC",
        "Back-ups are not",
    ):
        assert told in page.text


def test_what_is_not_true_is_said_and_what_was_sent_is_nowhere(
    http: httpx.Client, issued: Callable[[], dict[str, Any]], log_lines: list[str]
) -> None:
    changed = issued()
    changed["body"]["exceptions"] = [CANARY]
    page = http.post("/receipts/verify", data={"pasted": json.dumps(changed)})
    assert page.status_code == 200
    assert "It does not hold" in page.text
    assert "The body was changed after it was signed" in page.text
    assert CODE not in page.text, "nothing of what is not true is shown as if it were"
    for nonsense in (f"<script>{CANARY}", "", f"[{CANARY}", "[" * 50_000, '{"body": {}}', "null", "\x00"):
        told = asked(http, nonsense)
        assert not told["holds"]
        page = http.post("/receipts/verify", files={"file": ("x", nonsense.encode() or b" ")})
        assert "not a receipt" in page.text
        assert "canary" not in page.text
        assert "<script>" not in page.text
    assert [line for line in log_lines if "canary" in line] == []


def test_too_much_and_too_many_are_refused(http: httpx.Client) -> None:
    answer = http.post("/receipts/verify", files={"file": ("x", b"1" * 257 * 1024)})
    assert answer.status_code == 413
    assert "Send at most 256 KiB." in answer.text
    many = {f"f{number}": ("x", b"1") for number in range(3)}
    assert http.post("/receipts/verify", files=many).status_code == 400
    broken = http.post("/receipts/verify", content=b"--", headers={"content-type": "multipart/form-data; boundary=x"})
    assert broken.status_code < 500
