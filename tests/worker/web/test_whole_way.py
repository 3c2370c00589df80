"""Whole ways of connecting: link, consent page, return and what is stored; the providers are simulated, over HTTP."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select

from integrations.google_calendar.scopes import CALENDAR
from integrations.simulator import seed
from integrations.simulator.records import User
from integrations.simulator.server import SimulatorServer
from models.connection import ACTIVE, NEEDS_RECONNECT, PENDING, REVOKING, account_names, read_tokens
from models.feed import Event
from models.job import Job
from models.revocation import begin_revocation
from models.tenancy import tenant_session
from tests.worker.web.answers import good
from tests.worker.web.conftest import Api
from tests.worker.web.providers import FACEBOOK, GOOGLE, Person, connections, make_link, path_of, provider_settings
from worker.services import Services

pytestmark = pytest.mark.every_database

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def settings_given(settings_given: dict[str, str], simulator: SimulatorServer) -> dict[str, str]:
    return {**settings_given, **provider_settings(simulator.url)}


@pytest.fixture
def google_link(as_tenant: Callable[..., Api], acme: Any) -> str:
    return make_link(as_tenant(acme), GOOGLE)


def test_a_google_account_is_connected(
    person: Callable[[], Person], as_tenant: Callable[..., Api], acme: Any, globex: Any, google_link: str,
    services: Services, log_lines: list[str],
) -> None:  # fmt: skip
    ada = person()
    back = ada.allow(ada.open(google_link), seed.ACME_EMAIL)

    answer = ada.browser.get(back)

    assert answer.status_code == 200
    assert "<h1>Connected</h1>" in answer.text
    assert seed.ACME_EMAIL in answer.text
    (row,) = connections(services, acme, GOOGLE)
    shown = good(as_tenant(acme)("GET", f"/v1/connections/{row.id}"))
    assert (shown["status"], shown["granted_at"]) == (ACTIVE, "2026-03-02T09:00:00Z")
    assert shown["account"] == {"external_id": seed.ACME_ACCOUNT, "name": seed.ACME_EMAIL}
    assert CALENDAR in shown["scopes"]
    with tenant_session(services.database, acme.id, reads_only=True) as session:
        tokens = read_tokens(session, services.vault, row)
        assert [event.type for event in session.scalars(select(Event).where(Event.data.contains(row.id)))] == [
            "connection.created"
        ]
        assert "connections.check" in session.scalars(select(Job.kind).where(Job.connection_id == row.id)).all()
    query = parse_qs(urlsplit(back).query)
    secrets = (*tokens.values(), query["code"][0], query["state"][0], path_of(google_link), seed.ACME_EMAIL)
    assert len(tokens) == 2
    assert not any(secret in line for line in log_lines for secret in secrets)
    assert good(as_tenant(globex)("GET", "/v1/connections"))["items"][0]["id"] == globex.connection_id
    assert ada.browser.get(path_of(google_link)).status_code == 404


def test_a_calendar_left_unticked_is_named_and_the_link_mends_it(
    person: Callable[[], Person], acme: Any, google_link: str, services: Services
) -> None:
    ada = person()

    answer = ada.connect(google_link, seed.ACME_EMAIL, untick=[CALENDAR])

    assert answer.status_code == 200
    for told in ("Not quite connected yet", "Google was not allowed one thing that is needed", "What to do:"):
        assert told in answer.text
    (row,) = connections(services, acme, GOOGLE)
    assert (row.status, row.health_code) == (NEEDS_RECONNECT, "scope_missing")

    assert "<h1>Connected</h1>" in ada.connect(google_link, seed.ACME_EMAIL).text
    (mended,) = connections(services, acme, GOOGLE)
    assert (mended.id, mended.status, mended.health_code) == (row.id, ACTIVE, None)


def test_one_google_account_serves_two_tenants(
    person: Callable[[], Person], as_tenant: Callable[..., Api], acme: Any, globex: Any, services: Services
) -> None:
    for company in (acme, globex):
        answer = person().connect(make_link(as_tenant(company), GOOGLE), seed.SHARED_EMAIL)
        assert "<h1>Connected</h1>" in answer.text
        assert [row.status for row in connections(services, company, GOOGLE)] == [ACTIVE]


def test_the_pages_of_a_person_are_connected_each_with_its_own_outcome(
    person: Callable[[], Person], as_tenant: Callable[..., Api], acme: Any, globex: Any, services: Services,
    simulator: SimulatorServer,
) -> None:  # fmt: skip
    world = simulator.world
    world.users[seed.ACME_USER].pages.append(seed.GLOBEX_PAGE)
    world.pages[seed.ACME_PAGE].name = EVIL
    theirs = person().connect(make_link(as_tenant(globex), FACEBOOK), seed.GLOBEX_USER)
    assert "<h1>Connected</h1>" in theirs.text

    answer = person().connect(make_link(as_tenant(acme), FACEBOOK), seed.ACME_USER)

    assert answer.status_code == 200
    assert "<script" not in answer.text
    for told in ("<h1>Connected</h1>", "Not connected", "connected to another customer of this service"):
        assert told in answer.text
    rows = connections(services, acme, FACEBOOK)
    assert {row.external_id: row.status for row in rows} == {seed.ACME_PAGE: ACTIVE, seed.GLOBEX_PAGE: PENDING}
    assert not any(row.tokens for row in rows if row.status == PENDING)
    (kept,) = connections(services, globex, FACEBOOK)
    assert (kept.external_id, kept.status) == (seed.GLOBEX_PAGE, ACTIVE)
    with tenant_session(services.database, acme.id, reads_only=True) as session:
        assert {name.name for name in account_names(session, services.vault, rows).values()} == {EVIL, "Globex Travel"}
        # The page that was there before may have been left out this time, and is looked at.
        looked_at = session.scalars(select(Job.connection_id).where(Job.kind == "connections.check")).all()
        assert acme.connection_id in looked_at


def test_a_person_without_a_page_is_told_what_to_do(
    person: Callable[[], Person], as_tenant: Callable[..., Api], acme: Any, services: Services,
    simulator: SimulatorServer,
) -> None:  # fmt: skip
    simulator.world.users["7"] = User("7", "Nobody")

    answer = person().connect(make_link(as_tenant(acme), FACEBOOK), "7")

    assert answer.status_code == 400
    assert "Nothing was connected" in answer.text
    assert connections(services, acme, FACEBOOK) == []


def test_an_account_that_is_being_disconnected_has_to_wait(
    person: Callable[[], Person], as_tenant: Callable[..., Api], acme: Any, google_link: str, services: Services
) -> None:
    ada = person()
    ada.connect(google_link, seed.ACME_EMAIL)
    (row,) = connections(services, acme, GOOGLE)
    with tenant_session(services.database, acme.id) as session:
        begin_revocation(
            session, row.id, requested_by="api", undo=services.settings.undo, now=services.clock()
        )  # fmt: skip
    link = make_link(as_tenant(acme), GOOGLE)

    answer = ada.connect(link, seed.ACME_EMAIL)

    assert answer.status_code == 409
    assert "being disconnected just now" in answer.text
    assert [one.status for one in connections(services, acme, GOOGLE)] == [REVOKING]
    assert ada.browser.get(path_of(link)).status_code == 200
