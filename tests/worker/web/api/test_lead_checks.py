"""The lines of the daily count: exactly the tenant's own; what is missing is fetched, also when it had been given up."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from models.base import new_id
from models.connection import Connection
from models.tenancy import tenant_session
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from tests.worker.web.forms import add_check, add_failed, add_form, every_job, form_row, inbox_of, jobs_of
from worker.services import Services

DAY = date(2026, 3, 1)


def test_globex_sees_nothing_of_acmes_lines_and_fetches_nothing(
    as_tenant: Callable[..., Api], platform: Callable[..., Api], acme: Any, globex: Any, services: Services
) -> None:
    form = add_form(services, acme)
    check = add_check(services, acme, form, DAY, ["9001"])

    for api in (as_tenant(globex), platform("globex")):
        assert good(api("GET", "/v1/lead-checks"))["items"] == []
        assert good(api("GET", "/v1/lead-checks", params={"form_id": form}))["items"] == []
        theirs = api("POST", f"/v1/lead-checks/{check}/fetch")
        problem(theirs, 404, "not-found")
        assert theirs.text == api("POST", f"/v1/lead-checks/{new_id()}/fetch").text
    assert every_job(services) == 0
    assert inbox_of(services, acme) == {}


def test_a_question_that_makes_no_sense_is_refused(as_tenant: Callable[..., Api], acme: Any) -> None:
    api = as_tenant(acme)
    for params in ({"since": "yesterday"}, {"since": "0"}, {"until": "2026-02-30"}, {"since": "2026-3-1"},
                   {"since": "٢٠٢٦-٠٣-٠١"}, {"form_id": "777"}, {"limit": "0"}):  # fmt: skip
        problem(api("GET", "/v1/lead-checks", params=params), 422, "invalid")
    problem(api("GET", "/v1/lead-checks", params={"cursor": "AAAA"}), 400, "bad-cursor")
    problem(as_tenant(acme, "jobs:read")("GET", "/v1/lead-checks"), 403, "missing-scope")
    problem(as_tenant(acme, "leads:read")("POST", f"/v1/lead-checks/{new_id()}/fetch"), 403, "missing-scope")


@pytest.mark.every_database
def test_a_line_has_exactly_the_promised_fields_and_lines_are_found_by_form_and_day(
    as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    forms = [add_form(services, acme, str(number)) for number in (1, 2)]
    red = add_check(services, acme, forms[0], DAY, ["9001"])
    green = add_check(services, acme, forms[0], DAY + timedelta(days=1), [])
    other = add_check(services, acme, forms[1], DAY, [])
    api = as_tenant(acme, "leads:read")

    def found(**params: Any) -> set[str]:
        return {one["id"] for one in good(api("GET", "/v1/lead-checks", params=params))["items"]}

    assert found() == {red, green, other}
    assert found(form_id=forms[0]) == {red, green}
    assert found(since="2026-03-02") == {green}
    assert found(until="2026-03-02") == {red, other}
    assert found(form_id=new_id()) == set()
    assert good(api("GET", "/v1/lead-checks", params={"form_id": forms[0], "until": "2026-03-02"}))["items"] == [
        {"id": red, "form_id": forms[0], "day": "2026-03-01", "provider": 5, "received": 4, "acknowledged": 1,
         "missing": ["9001"], "status": "red", "checked_at": "2026-03-02T09:00:00Z"}
    ]  # fmt: skip


@pytest.mark.every_database
def test_pages_hold_every_line_once(as_tenant: Callable[..., Api], acme: Any, services: Services) -> None:
    form, api = add_form(services, acme), as_tenant(acme)
    ids = [add_check(services, acme, form, DAY - timedelta(days=number), []) for number in range(3)]

    first = good(api("GET", "/v1/lead-checks", params={"limit": 2}))
    second = good(api("GET", "/v1/lead-checks", params={"limit": 2, "cursor": first["next"]}))

    assert sorted(one["id"] for page in (first, second) for one in page["items"]) == sorted(ids)
    assert second["next"] is None


@pytest.mark.every_database
def test_what_is_missing_is_fetched_once_and_what_was_given_up_is_tried_again(
    as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    add_failed(services, acme, "9002")
    add_failed(services, acme, "9003")
    check = add_check(services, acme, add_form(services, acme), DAY, ["9001", "9002"])
    path, api = f"/v1/lead-checks/{check}/fetch", as_tenant(acme, "leads:write")

    for _ in range(2):
        assert good(api("POST", path), 202) == {"fetching": 2}
        assert inbox_of(services, acme) == {"9001": "pending", "9002": "pending", "9003": "failed"}
        assert jobs_of(services, acme) == ["leads.check", "leads.fetch"]


def test_a_day_of_long_ago_is_counted_again_after_its_fetch(
    as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    form = add_form(services, acme)
    check = add_check(services, acme, form, DAY - timedelta(days=4), ["9001"])

    good(as_tenant(acme)("POST", f"/v1/lead-checks/{check}/fetch"), 202)

    assert form_row(services, form).check_due_at == datetime(2026, 2, 26, tzinfo=UTC)


def test_a_green_line_fetches_nothing(as_tenant: Callable[..., Api], acme: Any, services: Services) -> None:
    check = add_check(services, acme, add_form(services, acme), DAY, [])

    assert good(as_tenant(acme)("POST", f"/v1/lead-checks/{check}/fetch"), 202) == {"fetching": 0}
    assert jobs_of(services, acme) == []


def test_nothing_is_fetched_for_a_page_that_was_disconnected(
    as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    check = add_check(services, acme, add_form(services, acme), DAY, ["9001"])
    with tenant_session(services.database, acme.id) as session:
        session.get_one(Connection, acme.connection_id).status = "revoked"

    problem(as_tenant(acme)("POST", f"/v1/lead-checks/{check}/fetch"), 409, "wrong-state")
    assert (inbox_of(services, acme), jobs_of(services, acme)) == ({}, [])
