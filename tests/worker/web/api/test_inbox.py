"""Notices that failed: each tenant sees its own with the reason, and tries one, some or all of them again."""

from collections.abc import Callable
from typing import Any

import pytest

from models.base import new_id
from models.connection import Connection
from models.inbox import Notice, take_in
from models.tenancy import tenant_session
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from tests.worker.web.forms import add_failed, every_job, inbox_of, jobs_of
from worker.services import Services


@pytest.mark.every_database
def test_globex_sees_nothing_of_acmes_notices_and_replays_none(
    as_tenant: Callable[..., Api], platform: Callable[..., Api], acme: Any, globex: Any, services: Services
) -> None:
    failed = add_failed(services, acme, "9001")

    for api in (as_tenant(globex), platform("globex")):
        assert good(api("GET", "/v1/inbox"))["items"] == []
        assert good(api("GET", "/v1/inbox", params={"connection_id": acme.connection_id}))["items"] == []
        for body in ({}, {"ids": [failed]}, {"connection_id": acme.connection_id}, {"class": "missing"}):
            assert good(api("POST", "/v1/inbox/replay", json=body)) == {"replayed": 0}
    assert inbox_of(services, acme) == {"9001": "failed"}
    assert every_job(services) == 0


def test_a_question_or_a_wish_that_makes_no_sense_is_refused(
    as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    add_failed(services, acme, "9001")
    api = as_tenant(acme)
    for params in ({"state": "lost"}, {"connection_id": "x"}, {"limit": "101"}):
        problem(api("GET", "/v1/inbox", params=params), 422, "invalid")
    problem(api("GET", "/v1/inbox", params={"cursor": "AAAA"}), 400, "bad-cursor")
    wishes: list[Any] = [{"ids": []}, {"ids": ["9001"]}, {"ids": [new_id()] * 501}, {"class": "bad luck"}, {"kind": "missing"},
                 {"connection_id": 7}, []]  # fmt: skip
    for wish in wishes:
        problem(api("POST", "/v1/inbox/replay", json=wish), 422, "invalid")
    problem(as_tenant(acme, "leads:read")("POST", "/v1/inbox/replay", json={}), 403, "missing-scope")
    assert inbox_of(services, acme) == {"9001": "failed"}


@pytest.mark.every_database
def test_a_notice_has_exactly_the_promised_fields(as_tenant: Callable[..., Api], acme: Any, services: Services) -> None:
    failed = add_failed(services, acme, "9001")
    with tenant_session(services.database, acme.id) as session:
        take_in(session, [Notice(acme.id, acme.connection_id, "lead", "9002", "webhook")], services.clock())
    api = as_tenant(acme, "leads:read")

    assert good(api("GET", "/v1/inbox", params={"state": "failed"})) == {"items": [
        {"id": failed, "external_id": "9001", "kind": "lead", "connection_id": acme.connection_id, "state": "failed",
         "error": {"class": "missing", "sentence": "Meta has no such lead."}, "attempts": 1,
         "received_at": "2026-03-02T09:00:00Z"}
    ], "next": None}  # fmt: skip
    assert [one["error"] for one in good(api("GET", "/v1/inbox", params={"state": "pending"}))["items"]] == [None]
    first = good(api("GET", "/v1/inbox", params={"limit": 1}))
    second = good(api("GET", "/v1/inbox", params={"limit": 1, "cursor": first["next"]}))
    assert {one["external_id"] for page in (first, second) for one in page["items"]} == {"9001", "9002"}


def test_one_some_or_all_are_tried_again_and_a_second_time_changes_nothing(
    as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    one = add_failed(services, acme, "9001")
    add_failed(services, acme, "9002", "our_bug")
    add_failed(services, acme, "9003")
    add_failed(services, acme, "9004")
    api = as_tenant(acme, "leads:write")

    def replayed(**wish: Any) -> int:
        count: int = good(api("POST", "/v1/inbox/replay", json=wish))["replayed"]
        return count

    assert replayed(ids=[new_id()]) == replayed(connection_id=new_id()) == replayed(**{"class": "throttled"}) == 0
    assert jobs_of(services, acme) == []
    assert (replayed(ids=[one, new_id()]), replayed(ids=[one])) == (1, 0)
    assert inbox_of(services, acme) == {"9001": "pending", "9002": "failed", "9003": "failed", "9004": "failed"}
    assert jobs_of(services, acme) == ["leads.fetch"]
    assert replayed(**{"class": "our_bug"}) == 1
    assert replayed(connection_id=acme.connection_id, **{"class": "missing"}) == 2
    assert replayed() == 0
    assert set(inbox_of(services, acme).values()) == {"pending"}


def test_what_failed_for_a_page_that_was_disconnected_stays_as_it_is(
    as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    failed = add_failed(services, acme, "9001")
    with tenant_session(services.database, acme.id) as session:
        session.get_one(Connection, acme.connection_id).status = "revoked"

    for wish in ({}, {"ids": [failed]}, {"connection_id": acme.connection_id}):
        assert good(as_tenant(acme)("POST", "/v1/inbox/replay", json=wish)) == {"replayed": 0}
    assert (inbox_of(services, acme), jobs_of(services, acme)) == ({"9001": "failed"}, [])
