"""A POST that is sent twice is carried out once, whatever happens between the two."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select

from models.host import ApiKey
from models.idempotency import KeptAnswer
from models.tenancy import system_session
from models.tenant import Tenant
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from worker.services import Services

pytestmark = pytest.mark.every_database

TENANT = {"external_id": "initech", "name": "Initech", "country": "IN", "timezone": "Asia/Kolkata"}
KEY = {"idempotency-key": "0d7f"}


def count(services: Services, table: Any) -> int:
    with system_session(services.database, reads_only=True) as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_a_key_that_cannot_be_kept_is_refused(platform: Callable[..., Api]) -> None:
    for key in ("", "x" * 256, "a\tb", "é"):
        headers = {"idempotency-key": key.encode()}
        problem(platform()("POST", "/v1/tenants", json=TENANT, headers=headers), 400, "bad-idempotency-key")


def test_a_repeat_gets_the_first_answer(platform: Callable[..., Api], services: Services) -> None:
    first = platform()("POST", "/v1/tenants", json=TENANT, headers=KEY)
    second = platform()("POST", "/v1/tenants", json=TENANT, headers=KEY)

    assert good(first, 201) == good(second, 201)
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"


def test_another_request_under_the_same_key_is_refused(
    platform: Callable[..., Api], acme: Any, services: Services
) -> None:
    good(platform()("POST", "/v1/tenants", json=TENANT, headers=KEY), 201)

    other = platform()("POST", "/v1/tenants", json={**TENANT, "external_id": "other"}, headers=KEY)
    problem(other, 422, "idempotency-key-reused")
    good(platform("acme")("POST", "/v1/keys", json={"scopes": ["*"]}, headers=KEY), 201)  # of that tenant: its own


def test_a_refused_request_may_be_mended_under_its_key(platform: Callable[..., Api], acme: Any) -> None:
    taken = {**TENANT, "external_id": "acme"}

    problem(platform()("POST", "/v1/tenants", json=taken, headers=KEY), 409, "tenant-exists")
    good(platform()("POST", "/v1/tenants", json=TENANT, headers=KEY), 201)


def test_twins_at_the_same_moment_act_once(platform: Callable[..., Api], services: Services, acme: Any) -> None:
    api, body = platform("acme"), {"scopes": ["leads:read"]}

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api("POST", "/v1/keys", json=body, headers=KEY), range(8)))

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.text for answer in answers if answer.status_code == 201}) == 1
    assert count(services, ApiKey) == 1
    assert good(api("POST", "/v1/keys", json=body, headers=KEY), 201)["key"]
    assert count(services, KeptAnswer) == 1


def test_rivals_for_one_name_are_told_apart(platform: Callable[..., Api], services: Services) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: platform()("POST", "/v1/tenants", json=TENANT), range(6)))

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5
    for answer in answers:
        if answer.status_code == 409:
            problem(answer, 409, "tenant-exists")
    assert count(services, Tenant) == 2  # and Troth's own


def test_callers_do_not_share_keys(
    platform: Callable[..., Api], as_tenant: Callable[..., Api], acme: Any, globex: Any, services: Services
) -> None:
    body = {"scopes": ["leads:read"]}
    made = {
        good(api("POST", "/v1/keys", json=body, headers=KEY), 201)["key"]
        for api in (platform("acme"), platform("globex"), as_tenant(acme), as_tenant(globex))
    }

    assert len(made) == 4


def test_a_kept_answer_holds_neither_the_made_key_nor_the_clients_words(
    platform: Callable[..., Api], services: Services, acme: Any
) -> None:
    headers = {"idempotency-key": "canary@example.com"}
    made = good(platform("acme")("POST", "/v1/keys", json={"scopes": ["leads:read"]}, headers=headers), 201)

    with system_session(services.database, reads_only=True) as session:
        row = session.scalars(select(KeptAnswer)).one()
        everything = repr([getattr(row, column.name) for column in KeptAnswer.__table__.columns])
    assert made["key"] not in everything
    assert "canary" not in everything


def test_an_answer_is_forgotten_after_two_days(
    platform: Callable[..., Api], services: Services, acme: Any, clock: Any
) -> None:
    body = {"scopes": ["leads:read"]}
    first = good(platform("acme")("POST", "/v1/keys", json=body, headers=KEY), 201)
    clock.tick(47 * 3600)
    assert good(platform("acme")("POST", "/v1/keys", json=body, headers=KEY), 201) == first
    clock.tick(2 * 3600)

    assert good(platform("acme")("POST", "/v1/keys", json=body, headers=KEY), 201)["key"] != first["key"]
    assert count(services, KeptAnswer) == 1
