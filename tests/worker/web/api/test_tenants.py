"""The platform's tenants."""

from collections.abc import Callable
from typing import Any

from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api

GOOD = {
    "external_id": "initech",
    "name": "Initech",
    "country": "IN",
    "subdivision": "IN-TN",
    "timezone": "Asia/Kolkata",
}


def test_a_tenant_cannot_add_or_list_tenants(as_tenant: Callable[..., Api], acme: Any) -> None:
    problem(as_tenant(acme)("POST", "/v1/tenants", json=GOOD), 403, "platform-only")
    problem(as_tenant(acme)("GET", "/v1/tenants"), 403, "platform-only")


MISTAKES: list[tuple[str, Any]] = [
    ("external_id", ""),
    ("external_id", "x" * 191),
    ("external_id", " a"),
    ("external_id", "a\nb"),
    ("external_id", "é"),
    ("external_id", 7),
    ("external_id", None),
    ("name", ""),
    ("name", "a\x00b"),
    ("name", "x" * 191),
    ("country", "in"),
    ("country", "IND"),
    ("country", "I\n"),
    ("subdivision", "US-TN"),
    ("subdivision", "TN"),
    ("timezone", "America"),
    ("timezone", "../etc/passwd"),
    ("timezone", "Mars/Base"),
    ("timezone", ""),
    ("work_week", []),
    ("work_week", ["mon", "mon"]),
    ("work_week", ["Monday"]),
    ("work_week", "mon"),
    ("id", "x"),
]


def test_what_is_not_a_tenant_is_refused(platform: Callable[..., Api]) -> None:
    for field, value in MISTAKES:
        answer = platform()("POST", "/v1/tenants", json={**GOOD, field: value})
        assert problem(answer, 422, "invalid")["errors"], field

    assert good(platform()("GET", "/v1/tenants"))["items"] == []


def test_an_external_id_is_taken_once(platform: Callable[..., Api]) -> None:
    good(platform()("POST", "/v1/tenants", json=GOOD), 201)

    problem(platform()("POST", "/v1/tenants", json=GOOD), 409, "tenant-exists")
    good(platform()("POST", "/v1/tenants", json={**GOOD, "external_id": "INITECH"}), 201)


def test_a_tenant_is_added_with_a_working_week_in_order(platform: Callable[..., Api]) -> None:
    shown = good(platform()("POST", "/v1/tenants", json={**GOOD, "work_week": ["sun", "tue", "mon"]}), 201)

    assert {key: shown[key] for key in GOOD} == GOOD
    assert shown["work_week"] == ["mon", "tue", "sun"]
    assert shown["status"] == "active"
    assert shown["created_at"] == "2026-03-02T09:00:00Z"


def test_the_list_is_read_page_by_page(platform: Callable[..., Api]) -> None:
    names = [f"t{number}" for number in range(5)]
    for name in names:
        good(platform()("POST", "/v1/tenants", json={**GOOD, "external_id": name}), 201)

    seen, cursor = [], None
    while True:
        page = good(platform()("GET", "/v1/tenants", params={"limit": 2} | ({"cursor": cursor} if cursor else {})))
        seen += [item["external_id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(seen) == names


def test_a_limit_has_bounds(platform: Callable[..., Api]) -> None:
    for limit in ("0", "101", "-1", "x", "", "1e1"):
        problem(platform()("GET", "/v1/tenants", params={"limit": limit}), 422, "invalid")


def test_a_cursor_that_is_not_ours_is_refused(platform: Callable[..., Api]) -> None:
    for cursor in ("", "x", "AAAA", "%%%", "A" * 27, "é"):
        problem(platform()("GET", "/v1/tenants", params={"cursor": cursor}), 400, "bad-cursor")
