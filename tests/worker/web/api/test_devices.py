"""Devices as a host registers them: one address is one device's, nobody else's is seen, and what cannot be meant is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from models.device import Device
from models.tenancy import system_session
from tests.push import subscription
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from worker.services import Services

FID = {
    "user": "u-1",
    "kind": "fcm",
    "fid": "cFid-1",
    "tags": ["dublin"],
    "locale": "en-IE",
    "timezone": "Europe/Dublin",
}
OPEN_ORIGIN = "http://127.0.0.1:9"


@pytest.fixture
def settings_given(settings_given: dict[str, str]) -> dict[str, str]:
    return {**settings_given, "TROTH_WEBPUSH_ALLOWED": OPEN_ORIGIN}


def removed(api: Api) -> list[tuple[str, str]]:
    items = good(api("GET", "/v1/events"))["items"]
    return [(it["data"]["host_id"], it["data"]["reason"]) for it in items if it["type"] == "device.removed"]


@pytest.mark.every_database
def test_a_device_is_kept_sealed_and_globex_sees_nothing_of_it(
    as_tenant: Callable[..., Api], acme: Any, globex: Any, services: Services
) -> None:
    api = as_tenant(acme)
    made = good(api("PUT", "/v1/devices/phone-1", json=FID))
    assert made == {**made, "host_id": "phone-1", "user": "u-1", "target": "fid", "tags": ["dublin"]}
    assert good(api("GET", "/v1/devices/phone-1")) == made
    with system_session(services.database) as session:
        row = session.scalars(select(Device)).one()
    assert b"cFid-1" not in bytes(row.address) and b"u-1" not in bytes(row.user)

    theirs = as_tenant(globex)
    for method in ("GET", "DELETE"):
        problem(theirs(method, "/v1/devices/phone-1"), 404, "not-found")
    good(theirs("PUT", "/v1/devices/phone-1", json={**FID, "user": "g-1"}))
    assert good(api("GET", "/v1/devices/phone-1")) == made, (
        "the same id and address at another tenant are another device"
    )
    assert removed(theirs) == removed(api) == []


@pytest.mark.every_database
def test_an_address_moves_to_the_device_and_user_that_bring_it_last(as_tenant: Callable[..., Api], acme: Any) -> None:
    api = as_tenant(acme)
    good(api("PUT", "/v1/devices/old", json=FID))
    moved = good(api("PUT", "/v1/devices/new", json={**FID, "user": "u-2", "tags": ["cork", "galway"]}))

    assert (moved["user"], moved["tags"]) == ("u-2", ["cork", "galway"])
    problem(api("GET", "/v1/devices/old"), 404, "not-found")
    assert removed(api) == [("old", "moved")]


def test_a_device_that_changes_its_token_for_a_fid_is_one_device(as_tenant: Callable[..., Api], acme: Any) -> None:
    api = as_tenant(acme)
    before = good(api("PUT", "/v1/devices/phone", json={"user": "u-1", "kind": "fcm", "token": "t-1", "tags": ["x"]}))
    after = good(api("PUT", "/v1/devices/phone", json=FID))
    assert (before["id"], before["target"]) == (after["id"], "token")
    assert (after["target"], after["tags"]) == ("fid", ["dublin"])
    good(api("PUT", "/v1/devices/other", json={"user": "u-1", "kind": "fcm", "token": "t-1"}))
    assert removed(api) == []


def test_a_device_that_is_forgotten_is_told_of(as_tenant: Callable[..., Api], acme: Any) -> None:
    api = as_tenant(acme)
    good(api("PUT", "/v1/devices/phone", json=FID))
    assert api("DELETE", "/v1/devices/phone").status_code == 204
    problem(api("DELETE", "/v1/devices/phone"), 404, "not-found")
    assert removed(api) == [("phone", "by_host")]


@pytest.mark.parametrize(
    "endpoint",
    ["https://127.0.0.1/p", "https://localhost/p", "https://10.1.2.3/p", "https://[::1]/p", "https://[::ffff:10.0.0.1]/p",
     "https://169.254.169.254/p", "http://push.example.com/p", "https://push.example.com:8443/p", "https://2130706433/p",
     "https://0x7f.1/p", "https://[64:ff9b::a00:1]/p", "ftp://push.example.com/p", "https://me@push.example.com/p",
     "http://127.0.0.1:10/p", "nonsense", "https://metadata.internal/p"],
)  # fmt: skip
def test_an_endpoint_that_leads_inwards_is_refused(as_tenant: Callable[..., Api], acme: Any, endpoint: str) -> None:
    wish = {"user": "u-1", "kind": "webpush", "subscription": subscription(endpoint)}
    body = problem(as_tenant(acme)("PUT", "/v1/devices/browser", json=wish), 422, "invalid")
    assert [it["field"] for it in body["errors"]] == ["body.subscription.endpoint"]
    assert endpoint not in str(body)


def test_an_origin_that_was_allowed_is_taken(as_tenant: Callable[..., Api], acme: Any) -> None:
    wish = {"user": "u-1", "kind": "webpush", "subscription": subscription(f"{OPEN_ORIGIN}/p/1")}
    assert good(as_tenant(acme)("PUT", "/v1/devices/browser", json=wish))["target"] == "webpush"


def test_what_is_no_device_is_refused(as_tenant: Callable[..., Api], acme: Any) -> None:
    api, browser = as_tenant(acme), subscription(f"{OPEN_ORIGIN}/p/1")
    keys = browser["keys"]
    bad: list[dict[str, Any]] = [
        {**FID, "token": "t"},
        {**FID, "kind": "webpush"},
        {"user": "u-1", "kind": "fcm"},
        {**FID, "user": ""},
        {**FID, "timezone": "Dublin"},
        {**FID, "tags": ["two words"]},
        {**FID, "locale": "Irish, please"},
        {**FID, "fid": "has space"},
        {"user": "u", "kind": "webpush", "subscription": {**browser, "keys": {**keys, "auth": "AAAA"}}},
        {"user": "u", "kind": "webpush", "subscription": {**browser, "keys": {**keys, "p256dh": keys["p256dh"][:-4]}}},
        {"user": "u", "kind": "webpush", "subscription": {**browser, "keys": {**keys, "p256dh": "B" + "A" * 86}}},
        {"user": "u", "kind": "webpush", "subscription": {**browser, "keys": {**keys, "p256dh": "é" * 87}}},
    ]
    for wish in bad:
        problem(api("PUT", "/v1/devices/d", json=wish), 422, "invalid")


def test_keys_need_their_scope(as_tenant: Callable[..., Api], acme: Any) -> None:
    problem(as_tenant(acme, "leads:read")("PUT", "/v1/devices/d", json=FID), 403, "missing-scope")
    problem(as_tenant(acme, "bulletins:read")("PUT", "/v1/devices/d", json=FID), 403, "missing-scope")
    problem(as_tenant(acme, "bulletins:write")("GET", "/v1/devices/d"), 403, "missing-scope")


def test_an_erasure_of_a_person_counts_their_devices(as_tenant: Callable[..., Api], acme: Any) -> None:
    api = as_tenant(acme)
    good(api("PUT", "/v1/devices/one", json=FID))
    good(api("PUT", "/v1/devices/two", json={"user": "ada@example.com", "kind": "fcm", "token": "t"}))
    for scope in ({"user": "u-1"}, {"email": "ada@example.com"}, {"user": "ada@example.com"}):
        stores = good(api("POST", "/v1/deletions/preview", json={"scope": {"kind": "subject", **scope}}))["stores"]
        assert {it["name"]: it["rows"] for it in stores if it["rows"]}.items() >= {"devices": 1}.items()


def test_nothing_is_announced_where_nothing_can_be_pushed(as_tenant: Callable[..., Api], acme: Any) -> None:
    api = as_tenant(acme)
    good(api("PUT", "/v1/devices/one", json=FID))
    wish = {"title": "t", "body": "b", "audience": {"all": True}}
    body = problem(api("POST", "/v1/bulletins", json=wish), 503, "turned-off")
    assert "TROTH_FCM_CREDENTIALS" in body["detail"]
