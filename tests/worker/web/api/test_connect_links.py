"""Making a connect link: for one tenant and one integration, and its secret is stored nowhere."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text

from integrations.simulator.server import SimulatorServer
from models.connect_link import ConnectLink
from models.tenancy import system_session, tenant_session
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from tests.worker.web.providers import provider_settings
from worker.services import Services

LINKS = "/v1/connect-links"


@pytest.fixture
def settings_given(settings_given: dict[str, str], simulator: SimulatorServer) -> dict[str, str]:
    return {**settings_given, **provider_settings(simulator.url)}


MISTAKES: list[dict[str, Any]] = [
    {},
    {"integration": "google"},
    {"integration": None},
    {"integration": ["google_calendar"]},
    {"integration": "google_calendar", "user": ""},
    {"integration": "google_calendar", "user": "a\x00b"},
    {"integration": "google_calendar", "user": 7},
    {"integration": "google_calendar", "redirect": "https://evil.example"},
]


def test_what_is_no_link_is_refused(as_tenant: Callable[..., Api], acme: Any) -> None:
    for body in MISTAKES:
        answer = as_tenant(acme)("POST", LINKS, json=body)
        problem(answer, 422, "invalid")
        assert "evil" not in answer.text


def test_a_key_without_the_scope_makes_no_link(as_tenant: Callable[..., Api], acme: Any) -> None:
    answer = as_tenant(acme, "connections:read")("POST", LINKS, json={"integration": "google_calendar"})
    problem(answer, 403, "missing-scope")


@pytest.mark.every_database
def test_a_link_is_made_and_only_its_hash_is_stored(
    as_tenant: Callable[..., Api], platform: Callable[..., Api], acme: Any, globex: Any, services: Services
) -> None:
    body = {"integration": "google_calendar", "user": "canary.person@example.com"}
    made = [good(api("POST", LINKS, json=body), 201) for api in (as_tenant(acme), platform("acme"))]

    assert made[0]["url"].startswith("http://127.0.0.1:8000/connect/")
    assert (made[0]["integration"], made[0]["expires_at"]) == ("google_calendar", "2026-03-05T09:00:00Z")
    secrets = {one["url"].rpartition("/")[2] for one in made}
    assert len(secrets) == 2
    with system_session(services.database, reads_only=True) as session:
        everything = repr(session.execute(text("SELECT * FROM connect_links")).all())
    assert not any(word in everything for word in ("canary", *secrets))
    with tenant_session(services.database, globex.id, reads_only=True) as session:
        assert session.scalars(select(ConnectLink)).all() == []


@pytest.mark.every_database
def test_a_link_asked_for_twice_is_one_link(as_tenant: Callable[..., Api], acme: Any, services: Services) -> None:
    api, headers = as_tenant(acme), {"idempotency-key": "1"}
    first, second = (api("POST", LINKS, json={"integration": "facebook_leads"}, headers=headers) for _ in range(2))

    assert good(first, 201) == good(second, 201)
    with system_session(services.database, reads_only=True) as session:
        assert len(session.scalars(select(ConnectLink)).all()) == 1
        kept = repr(session.execute(text("SELECT * FROM kept_answers")).all())
    assert first.json()["url"].rpartition("/")[2] not in kept


class TestTurnedOff:
    """Without its settings an integration is off, and says which are missing."""

    @pytest.fixture
    def settings_given(self, settings_given: dict[str, str]) -> dict[str, str]:
        return {name: value for name, value in settings_given.items() if "SECRET" not in name}

    def test_a_link_to_what_is_turned_off_names_the_settings(self, as_tenant: Callable[..., Api], acme: Any) -> None:
        for integration, setting in (
            ("facebook_leads", "META_APP_SECRET"),
            ("google_calendar", "GOOGLE_CLIENT_SECRET"),
        ):
            answer = as_tenant(acme)("POST", LINKS, json={"integration": integration})
            assert f"TROTH_{setting}." in problem(answer, 503, "turned-off")["detail"]
