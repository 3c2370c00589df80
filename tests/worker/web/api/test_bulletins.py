"""Bulletins and the feed at the API: composed, counted, refused with the field to mend, cancelled, read; and nobody else's."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from tests.worker.runner import Runner
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from worker import jobs
from worker.services import Services
from worker.tasks import HANDLERS

KEY = {"project_id": "p", "client_email": "a@p.example", "private_key": "none", "token_uri": "http://127.0.0.1:9/token"}
WISH: dict[str, Any] = {
    "title": "Fire drill",
    "body": "<p>At <b>ten</b>.</p><script>alert(1)</script>",
    "url": "https://crm.example/b/1",
    "variants": {"de": {"title": "Feueralarm", "body": "Um zehn."}},
    "audience": {"all": True},
}


@pytest.fixture
def settings_given(settings_given: dict[str, str]) -> dict[str, str]:
    return {**settings_given, "TROTH_FCM_CREDENTIALS": orjson.dumps(KEY).decode()}


def device(api: Api, name: str, **more: Any) -> None:
    good(api("PUT", f"/v1/devices/{name}", json={"user": f"u-{name}", "kind": "fcm", "fid": f"fid-{name}", **more}))


def start(services: Services) -> None:
    """Fix the recipients of what was announced; nothing is sent."""
    runner = Runner(services, {jobs.BULLETINS_START: HANDLERS[jobs.BULLETINS_START]})
    assert runner.run_one("bulk")


def fields(body: dict[str, Any]) -> list[str]:
    return [it["field"] for it in body["errors"]]


@pytest.mark.every_database
def test_globex_sees_nothing_of_acmes_bulletins(
    as_tenant: Callable[..., Api], acme: Any, globex: Any, services: Services
) -> None:
    api, theirs = as_tenant(acme), as_tenant(globex)
    device(api, "one")
    made = good(api("POST", "/v1/bulletins", json=WISH), 202)
    start(services)

    assert made["body"] == "<p>At <b>ten</b>.</p>" and made["status"] == "scheduled"
    shown = good(api("GET", f"/v1/bulletins/{made['id']}"))
    assert (shown["status"], shown["counts"]["devices"], shown["counts"]["pending"]) == ("sending", 1, 1)
    assert [it["id"] for it in good(api("GET", "/v1/bulletins"))["items"]] == [made["id"]]
    feed = good(api("GET", "/v1/feed", params={"user": "u-one", "locale": "de-AT"}))["items"]
    assert [(it["title"], it["read_at"]) for it in feed] == [("Feueralarm", None)]

    assert good(theirs("GET", "/v1/bulletins"))["items"] == []
    assert good(theirs("GET", "/v1/feed", params={"user": "u-one"}))["items"] == []
    for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/preview")):
        problem(theirs(method, f"/v1/bulletins/{made['id']}{path}"), 404, "not-found")
    problem(theirs("POST", f"/v1/feed/{made['id']}/read", json={"user": "u-one"}), 404, "not-found")
    assert good(api("GET", f"/v1/bulletins/{made['id']}"))["counts"]["opened"] == 0


@pytest.mark.every_database
def test_who_has_read_it_is_counted_once_and_a_stranger_not(
    as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    api = as_tenant(acme)
    device(api, "one")
    wish = {**WISH, "audience": {"users": ["u-one", "u-without-device"]}}
    made = good(api("POST", "/v1/bulletins", json=wish), 202)
    start(services)
    for user in ("u-one", "u-one", "u-without-device"):
        assert api("POST", f"/v1/feed/{made['id']}/read", json={"user": user}).status_code == 204
    problem(api("POST", f"/v1/feed/{made['id']}/read", json={"user": "u-stranger"}), 404, "not-found")
    assert made["audience"] == {"users": ["u-one", "u-without-device"]}
    shown = good(api("GET", f"/v1/bulletins/{made['id']}"))
    counts = shown["counts"]
    assert (counts["opened"], counts["recipients"], counts["devices"]) == (2, 2, 1)
    assert shown["audience"] == {"users": []}, "nobody is named any longer than needed"
    problem(api("POST", f"/v1/bulletins/{made['id']}/preview"), 409, "wrong-state")
    assert good(api("GET", "/v1/feed", params={"user": "u-one", "unread": True}))["items"] == []
    assert good(api("GET", "/v1/feed", params={"user": "u-stranger"}))["items"] == []


def test_a_preview_counts_and_sends_nothing(
    as_tenant: Callable[..., Api], acme: Any, clock: Callable[[], datetime]
) -> None:
    api = as_tenant(acme)
    device(api, "one", tags=["dublin"], timezone="Europe/Dublin")
    device(api, "two", tags=["cork"], timezone="Asia/Tokyo")
    wish = {**WISH, "body": "word " * 1_500, "audience": {"tags": ["dublin", "cork"]}, "local_at": "2026-03-03T09:00"}
    seen = good(api("POST", "/v1/bulletins/preview", json=wish))
    assert (seen["recipients"], seen["devices"], seen["fcm"], seen["webpush"]) == (2, 2, 2, 0)
    assert [(it["locale"], it["is_shortened"]) for it in seen["screens"]] == [(None, True), ("de", False)]
    assert (seen["first_at"], seen["last_at"]) == ("2026-03-03T00:00:00Z", "2026-03-03T09:00:00Z")
    assert len(seen["warnings"]) == 1
    assert good(api("GET", "/v1/bulletins"))["items"] == []
    assert good(api("GET", "/v1/jobs"))["items"] == []


def test_what_makes_no_sense_is_refused_with_its_field(
    as_tenant: Callable[..., Api], acme: Any, clock: Callable[[], datetime]
) -> None:
    api = as_tenant(acme)
    nobody = problem(api("POST", "/v1/bulletins", json=WISH), 422, "invalid")
    assert fields(nobody) == ["body.audience"]
    device(api, "one", tags=["dublin"])
    past = (clock() - timedelta(hours=1)).isoformat()
    bad: list[tuple[dict[str, Any], str]] = [
        ({"send_at": past}, "body.send_at"),
        ({"local_at": "2026-03-01T09:00"}, "body.local_at"),
        ({"local_at": "2026-03-03T09:00+01:00"}, "body.local_at"),
        ({"local_at": "tomorrow"}, "body.local_at"),
        ({"local_at": "2026-03-03T09:00", "send_at": "2026-03-03T09:00:00Z"}, "body.local_at"),
        ({"expires_at": past}, "body.expires_at"),
        ({"expires_at": (clock() + timedelta(days=40)).isoformat()}, "body.expires_at"),
        ({"send_at": "2028-01-01T00:00:00Z"}, "body.send_at"),
        ({"audience": {"tags": ["dublin", "dubln"]}}, "body.audience.tags"),
        ({"audience": {}}, "body.audience"),
        ({"audience": {"all": True, "tags": ["dublin"]}}, "body.audience"),
        ({"audience": {"users": []}}, "body.audience.users"),
        ({"title": ""}, "body.title"),
        ({"title": "x" * 191}, "body.title"),
        ({"body": "<script>1</script>"}, "body.body"),
        ({"body": "x" * 10_001}, "body.body"),
        ({"url": "javascript:alert(1)"}, "body.url"),
        ({"image_url": "http://crm.example/i.png"}, "body.image_url"),
        ({"priority": "loud"}, "body.priority"),
        ({"per_minute": 0}, "body.per_minute"),
        ({"is_test": True}, "body.is_test"),
    ]
    for change, field in bad:
        found = fields(problem(api("POST", "/v1/bulletins", json={**WISH, **change}), 422, "invalid"))
        assert found and all(name.startswith(field) for name in found), (change, found)
    assert good(api("GET", "/v1/bulletins"))["items"] == []


def test_it_is_cancelled_once_and_not_when_it_is_over(
    as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    api = as_tenant(acme)
    device(api, "one")
    made = good(api("POST", "/v1/bulletins", json={**WISH, "send_at": "2026-03-03T09:00:00Z"}), 202)
    for _ in range(2):
        assert good(api("POST", f"/v1/bulletins/{made['id']}/cancel"))["status"] == "cancelled"
    assert Runner(services, HANDLERS).run_all("bulk") == 1
    assert good(api("GET", "/v1/feed", params={"user": "u-one"}))["items"] == []
    events = [it["type"] for it in good(api("GET", "/v1/events"))["items"]]
    assert events.count("bulletin.completed") == 1


def test_a_repeat_with_the_same_key_announces_nothing_twice(as_tenant: Callable[..., Api], acme: Any) -> None:
    api = as_tenant(acme)
    device(api, "one")
    ids = {good(api("POST", "/v1/bulletins", json=WISH, headers={"idempotency-key": "k"}), 202)["id"] for _ in range(2)}
    assert len(ids) == 1 == len(good(api("GET", "/v1/bulletins"))["items"])


def test_a_test_is_in_no_list_and_no_feed(as_tenant: Callable[..., Api], acme: Any, services: Services) -> None:
    api = as_tenant(acme)
    device(api, "one")
    made = good(api("POST", "/v1/bulletins", json={**WISH, "is_test": True, "audience": {"users": ["u-one"]}}), 202)
    start(services)
    assert good(api("GET", f"/v1/bulletins/{made['id']}"))["counts"]["devices"] == 1
    assert good(api("GET", "/v1/bulletins"))["items"] == []
    assert good(api("GET", "/v1/feed", params={"user": "u-one"}))["items"] == []


def test_keys_need_their_scope(as_tenant: Callable[..., Api], acme: Any) -> None:
    reader = as_tenant(acme, "bulletins:read")
    good(reader("GET", "/v1/bulletins"))
    problem(reader("POST", "/v1/bulletins", json=WISH), 403, "missing-scope")
    problem(as_tenant(acme, "leads:read")("GET", "/v1/feed", params={"user": "u"}), 403, "missing-scope")


@pytest.mark.every_database
def test_a_pace_is_asked_for_by_each_tenant_for_itself(as_tenant: Callable[..., Api], acme: Any, globex: Any) -> None:
    api, theirs = as_tenant(acme), as_tenant(globex)
    for one in (api, theirs):
        device(one, "one")
        device(one, "two")
    for wrong in ({"per_minute": 0}, {"per_minute": 600_001}, {}, {"per_minute": "fast"}):
        assert fields(problem(api("PUT", "/v1/bulletin-pace", json=wrong), 422, "invalid")) == ["body.per_minute"]
    assert good(api("GET", "/v1/bulletin-pace")) == {"per_minute": None}

    assert good(api("PUT", "/v1/bulletin-pace", json={"per_minute": 1})) == {"per_minute": 1}

    assert good(api("GET", "/v1/bulletin-pace")) == {"per_minute": 1}
    assert good(theirs("GET", "/v1/bulletin-pace")) == {"per_minute": None}

    def takes(one: Api) -> timedelta:
        seen = good(one("POST", "/v1/bulletins/preview", json=WISH))
        return datetime.fromisoformat(seen["last_at"]) - datetime.fromisoformat(seen["first_at"])

    assert (takes(api), takes(theirs)) == (timedelta(seconds=75), timedelta(0)), "four fifths of it in the long run"
    assert good(api("PUT", "/v1/bulletin-pace", json={"per_minute": None})) == {"per_minute": None}
    assert takes(api) == timedelta(0)
