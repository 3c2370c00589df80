"""Copies and restrictions as a page: what is there, what can be done about it, and whose it is."""

import re
from collections.abc import Callable
from typing import Any

import httpx
from sqlalchemy import select

from models.export import Export
from models.restriction import Restriction
from models.tenancy import tenant_session
from tests.worker.outside import settle
from tests.worker.runner import Runner
from worker.services import Services
from worker.tasks import HANDLERS

LIST = "/admin/rights"
ADA = {"kind": "subject", "email": "Ada@Example.com"}


def statuses(services: Services, company: Any) -> tuple[list[str], list[bool]]:
    with tenant_session(services.database, company.id, reads_only=True) as session:
        exports = list(session.scalars(select(Export.status).order_by(Export.id)))
        return exports, [row.lifted_at is None for row in session.scalars(select(Restriction).order_by(Restriction.id))]


def test_globex_sees_nothing_of_acmes_rights_and_cannot_touch_them(
    enter: Callable[..., httpx.Client],
    http: httpx.Client,
    signed_in: httpx.Client,
    acme: Any,
    globex: Any,
    services: Services,
) -> None:
    assert signed_in.post(f"{LIST}/exports", data=ADA).status_code == 303
    assert signed_in.post(f"{LIST}/restrictions", data={**ADA, "reason": "accuracy"}).status_code == 303
    before = statuses(services, acme)
    lift = re.search(rf"{LIST}/restrictions/[0-9a-f-]{{36}}/lift", signed_in.get(LIST).text)
    assert lift is not None and before == (["pending"], [True])

    browser = enter(globex.id)
    assert "Nobody has asked" in browser.get(LIST).text and "Nothing is restricted" in browser.get(LIST).text
    assert browser.get(LIST, params={"tenant": acme.id}).status_code == 404
    for given in ({}, {"tenant": acme.id}):
        assert browser.post(lift.group(), data=given).status_code == 404
    for path in (f"{LIST}/exports", f"{LIST}/restrictions"):
        sent = {"kind": "tenant", "reason": "other", "tenant": acme.id}
        assert browser.post(path, data=sent).status_code == 404
        assert http.post(path, data=sent).headers["location"] == "/admin"
        assert signed_in.post(path, data=sent, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert statuses(services, acme) == before and statuses(services, globex) == ([], [])


def test_people_make_a_copy_take_it_restrict_and_lift(
    signed_in: httpx.Client, acme: Any, add_lead: Callable[..., str], services: Services, log_lines: list[str]
) -> None:
    add_lead(acme, "5001")
    for data in (ADA, {"kind": "tenant"}):
        assert signed_in.post(f"{LIST}/exports", data=data).headers["location"] == LIST
    assert "Being made" in signed_in.get(LIST).text
    settle(Runner(services, HANDLERS), services)
    links = re.findall(r'href="http://127.0.0.1:8000(/exports/[^"]+)"', signed_in.get(LIST).text)
    assert len(links) == 2 and signed_in.get(links[0]).content.startswith(b"PK")
    assert "1 of 5" in signed_in.get(LIST).text

    for data in (ADA, {"kind": "tenant"}):
        assert signed_in.post(f"{LIST}/restrictions", data={**data, "reason": "objection"}).status_code == 303
    shown = signed_in.get(LIST).text
    lifts = re.findall(rf"{LIST}/restrictions/[0-9a-f-]{{36}}/lift", shown)
    assert shown.count("In force") == 2 and "objects" in shown and statuses(services, acme)[1] == [True, True]
    for lift in lifts:
        assert signed_in.post(lift).headers["location"] == LIST
    assert signed_in.get(LIST).text.count("Lifted") == 2 and statuses(services, acme)[1] == [False, False]
    assert not any("ada@" in text.lower() for text in (*log_lines, signed_in.get(LIST).text))


def test_a_form_that_says_nothing_is_refused_and_changes_nothing(
    signed_in: httpx.Client, acme: Any, services: Services
) -> None:
    for path, data in (
        ("exports", {}),
        ("exports", {"kind": "subject"}),
        ("exports", {"kind": "tenant", "email": "ada@example.com"}),
        ("exports", {"kind": "subject", "email": "nobody"}),
        ("restrictions", ADA),
        ("restrictions", {**ADA, "reason": "because"}),
    ):
        answer = signed_in.post(f"{LIST}/{path}", data=data)
        assert answer.status_code == 422 and "nobody" not in answer.text
    assert signed_in.post(f"{LIST}/restrictions/nonsense/lift").status_code == 404
    assert statuses(services, acme) == ([], [])
