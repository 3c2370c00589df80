"""The feed: every event once, in order, from wherever the reader stopped; never another tenant's."""

from collections.abc import Callable
from typing import Any

import pytest

from models.base import new_id
from models.feed import emit
from models.tenancy import tenant_session
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from worker.services import Services


@pytest.fixture
def five(services: Services, acme: Any, globex: Any) -> list[str]:
    """Five more events of acme's, after the one that its connection made; the ids that the feed gives."""
    with tenant_session(services.database, acme.id) as session:
        emit(session, acme.id, [("x.happened", {"number": number}) for number in range(5)], services.clock())
    return []


def test_a_place_that_is_none_of_this_feed_is_refused(as_tenant: Callable[..., Api], acme: Any, globex: Any) -> None:
    theirs = good(as_tenant(acme)("GET", "/v1/events"))["items"][0]["id"]
    for after in ("", "x", new_id(), "%00", theirs, "a" * 100):
        problem(as_tenant(globex)("GET", f"/v1/events?after={after}"), 400, "bad-cursor")
    problem(as_tenant(globex)("GET", f"/v1/events?after={'a' * 101}"), 422, "invalid")
    for limit in ("0", "101", "x"):
        problem(as_tenant(globex)("GET", f"/v1/events?limit={limit}"), 422, "invalid")


@pytest.mark.every_database
def test_the_feed_needs_its_scope(as_tenant: Callable[..., Api], acme: Any) -> None:
    problem(as_tenant(acme, "connections:read")("GET", "/v1/events"), 403, "missing-scope")
    good(as_tenant(acme, "events:read")("GET", "/v1/events"))
    key = good(as_tenant(acme)("POST", "/v1/keys", json={"scopes": ["events:read"]}), 201)
    assert key["scopes"] == ["events:read"]


@pytest.mark.every_database
def test_events_are_read_once_each_and_in_order(as_tenant: Callable[..., Api], acme: Any, five: list[str]) -> None:
    api, after, seen = as_tenant(acme), "", []
    while True:
        feed = good(api("GET", f"/v1/events?limit=2{after}"))
        if not feed["items"]:
            break
        seen += feed["items"]
        assert feed["next"] == feed["items"][-1]["id"]
        after = f"&after={feed['next']}"

    assert feed["next"] == seen[-1]["id"]
    assert [event["type"] for event in seen] == ["connection.created"] + ["x.happened"] * 5
    assert seen[0]["data"] == {
        "connection_id": acme.connection_id, "integration": "facebook_leads", "status": "active", "code": None,
    }  # fmt: skip
    assert [event["data"]["number"] for event in seen[1:]] == [0, 1, 2, 3, 4]
    assert seen[0]["created_at"] == "2026-03-02T09:00:00Z"


def test_a_feed_without_events_has_no_next(platform: Callable[..., Api]) -> None:
    body = {"external_id": "new", "name": "New", "country": "IE", "timezone": "UTC"}
    good(platform()("POST", "/v1/tenants", json=body), 201)

    assert good(platform("new")("GET", "/v1/events")) == {"items": [], "next": None}


def test_globex_sees_nothing_of_acmes_events(
    as_tenant: Callable[..., Api], acme: Any, globex: Any, five: list[str]
) -> None:
    seen = good(as_tenant(globex)("GET", "/v1/events"))["items"]

    assert [event["data"]["connection_id"] for event in seen] == [globex.connection_id]
