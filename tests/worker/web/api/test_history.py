"""What happened to a lead, told by us and by the host."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from models.lead import LeadHistory
from models.tenancy import tenant_session
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from worker.services import Services

MISTAKES: list[Any] = [
    {},
    {"kind": ""},
    {"kind": "Has Space"},
    {"kind": "x" * 33},
    {"kind": "called", "text": ""},
    {"kind": "called", "text": "a\x00"},
    {"kind": "called", "text": "x" * 4001},
    {"kind": "called", "occurred_at": "now"},
    {"kind": "called", "by": "me"},
    [],
    "called",
    None,
]


def test_what_is_not_an_entry_is_refused(
    as_tenant: Callable[..., Api], acme: Any, add_lead: Callable[..., str]
) -> None:
    lead, api = add_lead(acme, "5001"), as_tenant(acme)
    for body in MISTAKES:
        problem(api("POST", f"/v1/leads/{lead}/history", json=body), 422, "invalid")


def test_reading_does_not_allow_writing(as_tenant: Callable[..., Api], acme: Any, add_lead: Callable[..., str]) -> None:
    lead = add_lead(acme, "5001")

    answer = as_tenant(acme, "leads:read")("POST", f"/v1/leads/{lead}/history", json={"kind": "called"})
    problem(answer, 403, "missing-scope")


def test_the_host_adds_entries_whose_text_is_sealed(
    as_tenant: Callable[..., Api], acme: Any, add_lead: Callable[..., str], services: Services
) -> None:
    lead, api = add_lead(acme, "5001"), as_tenant(acme)
    text = "Ada wants a garden 🌱\nand calls back."

    made = good(api("POST", f"/v1/leads/{lead}/history", json={"kind": "called", "text": text}), 201)
    good(
        api("POST", f"/v1/leads/{lead}/history", json={"kind": "won", "occurred_at": "2026-03-01T10:00:00+02:00"}), 201
    )

    items = good(api("GET", f"/v1/leads/{lead}/history"))["items"]
    assert {item["kind"]: item["text"] for item in items} == {"received": None, "called": text, "won": None}
    assert {item["occurred_at"] for item in items if item["kind"] == "won"} == {"2026-03-01T08:00:00Z"}
    assert made in items
    assert good(api("GET", f"/v1/leads/{lead}"))["history_count"] == 3
    with tenant_session(services.database, acme.id) as session:
        sealed = session.scalars(select(LeadHistory.text).where(LeadHistory.id == made["id"])).one()
    assert sealed is not None
    assert b"garden" not in sealed
