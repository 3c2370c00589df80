"""Importing grants: once per account, for one tenant (a page) or several (a person), and no token ever comes out again."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select

from models.base import new_id
from models.connection import NEEDS_RECONNECT, Connection, drop_tokens, needs_person, read_tokens
from models.grant import held_by, marks_of
from models.inbox import Notice, take_in
from models.job import Job
from models.tenancy import system_session, tenant_session
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from worker.services import Services

SECRET = "EAAsecret"
CALENDAR = "https://www.googleapis.com/auth/calendar.app.created"
EMAIL = "canary.person@example.com"


def page(external_id: str, token: str = SECRET) -> dict[str, Any]:
    return {
        "integration": "facebook_leads",
        "account": {"external_id": external_id, "name": "Our page"},
        "tokens": {"page_access_token": token},
    }


def google(sub: str = "10001", token: str = SECRET, **tokens: Any) -> dict[str, Any]:
    return {
        "integration": "google_calendar",
        "account": {"external_id": sub, "name": EMAIL},
        "tokens": {"refresh_token": token, **tokens},
    }


def test_a_tenant_key_cannot_import(as_tenant: Callable[..., Api], acme: Any) -> None:
    problem(as_tenant(acme)("POST", "/v1/connections", json=page("333")), 403, "platform-only")


MISTAKES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (page("333"), {"integration": "google_calendar"}, "body.tokens.refresh_token"),
    (page("333"), {"integration": "facebook"}, "body.integration"),
    (page("333"), {"integration": None}, "body.integration"),
    (page("333"), {"integration": ["facebook_leads"]}, "body.integration"),
    (page("333"), {"account": {"external_id": "0", "name": "x"}}, "body.account.external_id"),
    (page("333"), {"account": {"external_id": 333, "name": "x"}}, "body.account.external_id"),
    (page("333"), {"account": {"external_id": "my page", "name": "x"}}, "body.account.external_id"),
    (page("333"), {"account": {"external_id": "333"}}, "body.account.name"),
    (page("333"), {"tokens": {}}, "body.tokens.page_access_token"),
    (page("333"), {"tokens": {"page_access_token": ""}}, "body.tokens.page_access_token"),
    (page("333"), {"tokens": {"page_access_token": "with space"}}, "body.tokens.page_access_token"),
    (page("333"), {"tokens": {"page_access_token": "x" * 4001}}, "body.tokens.page_access_token"),
    (page("333"), {"tokens": {"page_access_token": "x", "app_secret": "y"}}, "body.tokens.(unknown field)"),
    (page("333"), {"tenant_id": new_id()}, "body.(unknown field)"),
    (google(), {"account": {"external_id": "x" * 191, "name": "x"}}, "body.account.external_id"),
    (google(), {"account": {"external_id": "a\x00", "name": "x"}}, "body.account.external_id"),
    (google(), {"tokens": {"access_token": "x"}}, "body.tokens.refresh_token"),
    (google(), {"tokens": {"refresh_token": "x", "expires_at": "tomorrow"}}, "body.tokens.expires_at"),
    (google(), {"tokens": {"refresh_token": "x", "scopes": "openid"}}, "body.tokens.scopes"),
    (google(), {"tokens": {"refresh_token": "x", "scopes": ["a b"]}}, "body.tokens.scopes.0"),
    (google(), {"tokens": {"refresh_token": "x", "page_access_token": "y"}}, "body.tokens.(unknown field)"),
]


def test_what_is_no_grant_is_refused_by_its_field_and_without_its_token(
    platform: Callable[..., Api], acme: Any
) -> None:
    for body, change, field in MISTAKES:
        answer = platform("acme")("POST", "/v1/connections", json={**body, **change})
        assert field in [line["field"] for line in problem(answer, 422, "invalid")["errors"]]
        assert SECRET not in answer.text


def test_a_body_without_an_integration_says_which_there_are(platform: Callable[..., Api], acme: Any) -> None:
    answer = platform("acme")("POST", "/v1/connections", json={"integration": SECRET})

    (line,) = problem(answer, 422, "invalid")["errors"]
    assert line == {"field": "body.integration", "problem": "Use one of 'facebook_leads', 'google_calendar'."}
    problem(platform("acme")("POST", "/v1/connections", json={}), 422, "invalid")
    problem(platform("acme")("POST", "/v1/connections", json=[]), 422, "invalid")


def test_a_page_of_another_tenant_is_a_conflict_that_names_nobody_and_stores_nothing(
    platform: Callable[..., Api], acme: Any, globex: Any, services: Services
) -> None:
    answer = platform("globex")("POST", "/v1/connections", json=page(acme.page_id, "EAAstolen"))

    problem(answer, 409, "account-claimed")
    assert "acme" not in answer.text.lower()
    assert acme.id not in answer.text
    with tenant_session(services.database, acme.id) as session:
        row = session.scalars(select(Connection)).one()
        assert read_tokens(session, services.vault, row) == {"page_access_token": acme.token}
    with tenant_session(services.database, globex.id) as session:
        assert [row.id for row in session.scalars(select(Connection))] == [globex.connection_id]


@pytest.mark.every_database
def test_of_two_tenants_that_import_one_page_at_once_one_has_it(
    platform: Callable[..., Api], acme: Any, globex: Any, services: Services
) -> None:
    with ThreadPoolExecutor(6) as pool:
        names = ["acme", "globex"] * 3
        answers = list(pool.map(lambda name: platform(name)("POST", "/v1/connections", json=page("333")), names))

    assert {answer.status_code for answer in answers} == {201, 409}
    for answer in answers:
        if answer.status_code == 409:
            problem(answer, 409, "account-claimed")
    with system_session(services.database) as session:
        assert len(session.scalars(select(Connection).where(Connection.external_id == "333")).all()) == 1


def test_a_page_is_imported_and_its_token_is_sealed(
    platform: Callable[..., Api], acme: Any, services: Services, log_lines: list[str]
) -> None:
    answer = platform("acme")("POST", "/v1/connections", json=page("333"))

    shown = good(answer, 201)
    assert shown["account"] == {"external_id": "333", "name": "Our page"}
    assert shown["status"] == "active"
    assert shown["health"] == {"sentence": None, "fix": None, "since": None, "waiting": 0}
    assert (shown["granted_at"], shown["checked_at"]) == ("2026-03-02T09:00:00Z", None)
    assert SECRET not in answer.text
    assert not any(SECRET in line for line in log_lines)
    with tenant_session(services.database, acme.id) as session:
        row = session.get_one(Connection, shown["id"])
        assert row.tokens is not None
        assert SECRET.encode() not in row.tokens
        kinds = session.scalars(select(Job.kind).where(Job.connection_id == row.id)).all()
    assert sorted(kinds) == ["connections.check", "forms.discover", "leads.catch_up", "leads.fetch"]


def test_a_google_account_is_imported_and_found_by_its_person_only(
    platform: Callable[..., Api], acme: Any, globex: Any, services: Services
) -> None:
    body = google(access_token="ya29.x", expires_at="2026-03-02T10:00:00Z", scopes=["openid", "email", CALENDAR])

    first, second = (good(platform(name)("POST", "/v1/connections", json=body), 201) for name in ("acme", "globex"))

    assert (first["status"], first["account"]) == ("active", {"external_id": "10001", "name": EMAIL})
    assert first["scopes"] == ["openid", "https://www.googleapis.com/auth/userinfo.email", CALENDAR]
    with system_session(services.database) as session:
        row = session.get_one(Connection, first["id"])
        assert row.external_id not in ("10001", EMAIL)
        assert row.token_expires_at is not None
        marks = marks_of(session, services.vault, "google_calendar", ["10001"], services.clock())
        assert sorted(connection for _, connection in held_by(session, marks)) == sorted([first["id"], second["id"]])
    with tenant_session(services.database, acme.id) as session:
        tokens = read_tokens(session, services.vault, row)
    assert tokens == {"refresh_token": SECRET, "access_token": "ya29.x"}


def test_an_imported_grant_without_the_calendar_says_what_is_missing(platform: Callable[..., Api], acme: Any) -> None:
    shown = good(platform("acme")("POST", "/v1/connections", json=google(scopes=["openid"])), 201)

    assert shown["status"] == NEEDS_RECONNECT
    assert shown["health"]["sentence"].startswith("A permission is missing: Make a calendar of its own")
    assert "leave every permission ticked" in shown["health"]["fix"]


@pytest.mark.every_database
def test_a_page_that_is_imported_again_gets_its_new_token_and_its_waiting_leads_are_fetched(
    platform: Callable[..., Api], as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    with tenant_session(services.database, acme.id) as session:
        row = session.scalars(select(Connection)).one()
        needs_person(session, row, code="190", sentence="Meta refused the token.", fix="Connect again.",
                     now=services.clock())  # fmt: skip
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
        row = session.get_one(Connection, shown["id"])
        assert read_tokens(session, services.vault, row) == {"page_access_token": "EAAnew"}
        kinds = session.scalars(select(Job.kind).where(Job.connection_id == row.id)).all()
    assert sorted(kinds) == ["connections.check", "forms.discover", "leads.catch_up", "leads.fetch"]
    assert services.gates["interactive"].backlog().queued == 1


@pytest.mark.every_database
def test_an_account_whose_key_was_destroyed_has_no_name_any_more(
    as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    with tenant_session(services.database, acme.id) as session:
        drop_tokens(session, services.vault, session.get_one(Connection, acme.connection_id))
        services.vault.destroy(session, acme.id, acme.connection_id)

    shown = good(as_tenant(acme)("GET", "/v1/connections"))["items"][0]
    assert shown["account"] == {"external_id": None, "name": None}


@pytest.mark.every_database
def test_a_connection_is_looked_at_when_asked(
    as_tenant: Callable[..., Api], acme: Any, globex: Any, services: Services
) -> None:
    path = f"/v1/connections/{acme.connection_id}/check"
    problem(as_tenant(acme, "connections:read")("POST", path), 403, "missing-scope")
    problem(as_tenant(globex)("POST", path), 404, "not-found")

    for _ in range(2):
        assert good(as_tenant(acme)("POST", path), 202)["id"] == acme.connection_id

    with tenant_session(services.database, acme.id) as session:
        job = session.scalars(select(Job)).one()
    assert (job.kind, job.connection_id, job.triggers) == ("connections.check", acme.connection_id, 2)


def test_globex_sees_nothing_of_acmes_connections(as_tenant: Callable[..., Api], acme: Any, globex: Any) -> None:
    seen = good(as_tenant(globex)("GET", "/v1/connections"))["items"]
    assert [item["id"] for item in seen] == [globex.connection_id]

    theirs = as_tenant(globex)("GET", f"/v1/connections/{acme.connection_id}")
    unknown = as_tenant(globex)("GET", f"/v1/connections/{new_id()}")
    problem(theirs, 404, "not-found")
    assert theirs.text == unknown.text
