"""Leads as a file: what is filtered and nothing else, nothing lost, and no cell that a spreadsheet would calculate."""

import csv
import io
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from models.tenancy import tenant_session
from worker.services import Services
from worker.web import lead_csv

CSV = "/admin/leads/csv"


def rows_of(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


def test_globex_gets_nothing_of_acmes_leads(
    enter: Callable[..., httpx.Client], acme: Any, globex: Any, add_lead: Callable[..., str]
) -> None:
    add_lead(acme, "5001")
    browser = enter(globex.id)

    for body in ({}, {"q": "ada@example.com"}, {"q": "5001"}, {"form_id": "777"}):
        answer = browser.post(CSV, data=body)
        assert rows_of(answer) == []
        assert b"5001" not in answer.content
    assert browser.post(CSV, data={"tenant": acme.id}).status_code == 404


def test_what_cannot_be_meant_is_refused(signed_in: httpx.Client) -> None:
    assert signed_in.post(CSV, data={"since": "yesterday"}).status_code == 422
    assert signed_in.post(CSV, data={"q": "Ada"}).status_code == 400
    assert signed_in.post(CSV, data={"q": "x" * 500}).status_code == 422
    assert signed_in.get(CSV).status_code == 404  # taken for the id of a lead: an address must hold no filter


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＠"], ids=repr)
def test_no_cell_begins_like_a_formula(
    begin: str, signed_in: httpx.Client, acme: Any, add_lead: Callable[..., str]
) -> None:
    evil = f'{begin}HYPERLINK("http://evil.example","x")'
    add_lead(
        acme, "5001", form_name=evil, contact={"full_name": evil, "email": None, "phone": None, "phone_raw": evil},
        answers=[{"key": evil, "label": None, "values": [evil, "b"]}], consents=[{"key": evil, "is_checked": None}],
    )  # fmt: skip

    text = signed_in.post(CSV).content.decode("utf-8-sig")
    cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]

    assert f"'{evil}" in cells
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＠"))] == []


def test_every_answer_has_a_column_and_nothing_is_lost(
    signed_in: httpx.Client, acme: Any, add_lead: Callable[..., str]
) -> None:
    nobody = {"full_name": None, "email": None, "phone": None, "phone_raw": None}
    first = add_lead(acme, "5001", answers=[{"key": "city", "label": None, "values": ["Dún Laoghaire", "Cork; East"]},
                                            {"key": "email", "label": None, "values": ["other@example.com"]}])  # fmt: skip
    add_lead(acme, "5002", contact=nobody, consents=[], is_test=True,
             answers=[{"key": "size", "label": None, "values": ['a "b", c\nd']}])  # fmt: skip

    answer = signed_in.post(CSV)
    rows = rows_of(answer)

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="leads-2026-03-02.csv"'
    assert answer.headers["cache-control"] == "no-store"
    assert [row["external_id"] for row in rows] == ["5002", "5001"]
    assert rows[1] == {
        "id": first, "external_id": "5001", "created_at": "2026-03-02T08:59:56Z", "received_at": "2026-03-02T09:00:00Z",
        "acknowledged_at": "", "duplicate_of": "", "page_id": acme.page_id, "form_id": "777", "form_name": "Spring offer",
        "platform": "fb", "source": "webhook", "is_test": "no", "full_name": "Ada Example", "email": "ada@example.com",
        "phone": "'+12025550143", "phone_raw": "202 555 0143", "answer city": "Dún Laoghaire; Cork; East",
        "answer email": "other@example.com", "answer size": "", "consent terms": "yes",
    }  # fmt: skip
    assert (rows[0]["answer size"], rows[0]["consent terms"], rows[0]["is_test"]) == ('a "b", c\nd', "", "yes")


@pytest.mark.every_database
def test_the_file_holds_what_is_filtered(signed_in: httpx.Client, acme: Any, add_lead: Callable[..., str]) -> None:
    nobody = {"full_name": None, "email": None, "phone": None, "phone_raw": None}
    add_lead(acme, "5001", form_external_id="1")
    add_lead(acme, "5002", form_external_id="2", contact=nobody, source="backfill")
    add_lead(acme, "5003", form_external_id="2", contact=nobody, is_test=True)

    for body, wanted in (
        ({"form_id": "2"}, ["5003", "5002"]),
        ({"form_id": "2", "is_test": "no"}, ["5002"]),
        ({"source": "backfill"}, ["5002"]),
        ({"acknowledged": "yes"}, []),
        ({"since": "2026-03-03"}, []),
        ({"q": "ada@example.com"}, ["5001"]),
        ({"q": "5003"}, ["5003"]),
    ):
        assert [row["external_id"] for row in rows_of(signed_in.post(CSV, data=body))] == wanted, body
        page = signed_in.get("/admin/leads", params=body).text if "q" not in body else ""
        assert [one for one in ("5001", "5002", "5003") if f'value="{one}"' in page] == []


@pytest.mark.every_database
def test_a_file_of_many_pieces_holds_every_lead_once(
    signed_in: httpx.Client, acme: Any, add_lead: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lead_csv, "AT_ONCE", 2)
    for number in range(5):
        add_lead(acme, f"500{number}")

    assert [row["external_id"] for row in rows_of(signed_in.post(CSV))] == [
        f"500{number}" for number in (4, 3, 2, 1, 0)
    ]
    assert len(rows_of(signed_in.post(CSV, data={"q": "ada@example.com"}))) == 5


def test_leads_whose_key_was_destroyed_show_no_person(
    signed_in: httpx.Client, acme: Any, add_lead: Callable[..., str], services: Services
) -> None:
    add_lead(acme, "5001")
    with tenant_session(services.database, acme.id) as session:
        services.vault.destroy(session, acme.id, acme.connection_id)

    answer = signed_in.post(CSV)

    assert [row["external_id"] for row in rows_of(answer)] == ["5001"]
    assert b"Ada" not in answer.content
    assert b"answer" not in answer.content
