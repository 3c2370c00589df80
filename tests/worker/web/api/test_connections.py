"""Importing a page: once per page, for one tenant, and no token ever comes out again."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from models.base import new_id
from models.connection import NEEDS_RECONNECT, Connection, needs_person, read_tokens
from models.inbox import Notice, take_in
from models.job import Job
from models.tenancy import tenant_session
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from worker.services import Services

DATABASES = ("sqlite", "postgresql")
SECRET = "EAAsecret"


def page(external_id: str, token: str = SECRET) -> dict[str, Any]:
    return {
        "integration": "facebook_leads",
        "account": {"external_id": external_id, "name": "Our page"},
        "tokens": {"page_access_token": token},
    }


def test_a_tenant_key_cannot_import(as_tenant: Callable[..., Api], acme: Any) -> None:
    problem(as_tenant(acme)("POST", "/v1/connections", json=page("333")), 403, "platform-only")


MISTAKES: list[dict[str, Any]] = [
    {"integration": "google_calendar"},
    {"account": {"external_id": "0", "name": "x"}},
    {"tokens": {}},
    {"account": {"external_id": 333, "name": "x"}},
    {"account": {"external_id": "my page", "name": "x"}},
    {"account": {"external_id": "333"}},
    {"tokens": {"page_access_token": ""}},
    {"tokens": {"page_access_token": "with space"}},
    {"tokens": {"page_access_token": "x", "app_secret": "y"}},
    {"tenant_id": new_id()},
    {"tokens": {"page_access_token": "x" * 4001}},
]


def test_what_is_not_a_page_is_refused_without_its_token(platform: Callable[..., Api], acme: Any) -> None:
    for change in MISTAKES:
        answer = platform("acme")("POST", "/v1/connections", json={**page("333"), **change})
        problem(answer, 422, "invalid")
        assert SECRET not in answer.text


def test_a_page_of_another_tenant_is_a_conflict_that_names_nobody(
    platform: Callable[..., Api], acme: Any, globex: Any, services: Services
) -> None:
    answer = platform("globex")("POST", "/v1/connections", json=page(acme.page_id, "EAAstolen"))

    problem(answer, 409, "account-claimed")
    assert "acme" not in answer.text.lower()
    assert acme.id not in answer.text
    with tenant_session(services.database, acme.id) as session:
        row = session.scalars(select(Connection)).one()
        keyring = services.vault.existing(session, acme.id, row.id)
        assert keyring is not None
        assert read_tokens(keyring, row) == {"page_access_token": acme.token}


def test_a_page_is_imported_and_its_token_is_sealed(
    platform: Callable[..., Api], acme: Any, services: Services, log_lines: list[str]
) -> None:
    answer = platform("acme")("POST", "/v1/connections", json=page("333"))

    shown = good(answer, 201)
    assert shown["account"] == {"external_id": "333", "name": "Our page"}
    assert shown["status"] == "active"
    assert shown["health"] == {"sentence": None, "fix": None, "since": None, "waiting": 0}
    assert SECRET not in answer.text
    assert not any(SECRET in line for line in log_lines)
    with tenant_session(services.database, acme.id) as session:
        row = session.get_one(Connection, shown["id"])
        assert row.tokens is not None
        assert SECRET.encode() not in row.tokens


def test_a_page_that_is_imported_again_gets_its_new_token_and_its_waiting_leads_are_fetched(
    platform: Callable[..., Api], as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    with tenant_session(services.database, acme.id) as session:
        row = session.scalars(select(Connection)).one()
        needs_person(row, code="190", sentence="Meta refused the token.", fix="Connect again.", now=services.clock())
        take_in(session, [Notice(acme.id, row.id, "lead", str(n), "webhook") for n in range(3)], services.clock())
    sick = good(as_tenant(acme)("GET", f"/v1/connections/{acme.connection_id}"))
    assert sick["status"] == NEEDS_RECONNECT
    assert sick["health"] == {
        "sentence": "Meta refused the token.", "fix": "Connect again.", "since": "2026-03-02T09:00:00Z", "waiting": 3,
    }  # fmt: skip

    shown = good(platform("acme")("POST", "/v1/connections", json=page(acme.page_id, "EAAnew")), 201)

    assert shown["id"] == acme.connection_id
    assert (shown["status"], shown["health"]["sentence"], shown["health"]["waiting"]) == ("active", None, 3)
    with tenant_session(services.database, acme.id) as session:
        keyring = services.vault.existing(session, acme.id, shown["id"])
        assert keyring is not None
        assert read_tokens(keyring, session.get_one(Connection, shown["id"])) == {"page_access_token": "EAAnew"}
        job = session.scalars(select(Job)).one()
        assert (job.kind, job.connection_id) == ("leads.fetch", shown["id"])
    assert services.gates["interactive"].backlog().queued == 1


def test_globex_sees_nothing_of_acmes_connections(as_tenant: Callable[..., Api], acme: Any, globex: Any) -> None:
    seen = good(as_tenant(globex)("GET", "/v1/connections"))["items"]
    assert [item["id"] for item in seen] == [globex.connection_id]

    theirs = as_tenant(globex)("GET", f"/v1/connections/{acme.connection_id}")
    unknown = as_tenant(globex)("GET", f"/v1/connections/{new_id()}")
    problem(theirs, 404, "not-found")
    assert theirs.text == unknown.text
