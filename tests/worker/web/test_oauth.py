"""Coming back from the provider: everything that must be turned away first, then whole ways of connecting."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from integrations.simulator import seed
from integrations.simulator.buttons import Button
from integrations.simulator.server import SimulatorServer
from tests.worker.web.conftest import Api
from tests.worker.web.providers import FACEBOOK, GOOGLE, Person, connections, make_link, path_of, provider_settings
from worker.services import Services
from worker.web.connect import COOKIE

EVIL = "<script>alert(1)</script>https://evil.example"
BEGIN_AGAIN = "This sign-in cannot be finished"


@pytest.fixture
def settings_given(settings_given: dict[str, str], simulator: SimulatorServer) -> dict[str, str]:
    return {**settings_given, **provider_settings(simulator.url)}


@pytest.fixture
def google_link(as_tenant: Callable[..., Api], acme: Any) -> str:
    return make_link(as_tenant(acme), GOOGLE)


def outside_calls(simulator: SimulatorServer) -> int:
    return sum(simulator.calls.requests.values())


def refused(answer: httpx.Response, simulator: SimulatorServer) -> None:
    assert answer.status_code == 400
    assert BEGIN_AGAIN in answer.text
    assert "Open the link that you were sent once more" in answer.text
    assert outside_calls(simulator) == 0


def test_a_return_without_a_good_state_stores_nothing_and_asks_nobody(
    person: Callable[[], Person], acme: Any, google_link: str, simulator: SimulatorServer, services: Services
) -> None:
    ada = person()
    ada.open(google_link)
    for query in ("", "?code=x", "?state=&code=x", "?state=x&code=x", "?state=%00&code=x", f"?state={'a' * 5000}",
                  f"?state={EVIL}&code={EVIL}&error={EVIL}", "?error=access_denied"):  # fmt: skip
        answer = ada.browser.get(f"/oauth/google_calendar/callback{query}")
        refused(answer, simulator)
        assert "evil" not in answer.text
    for integration in ("unknown", "%00", "facebook_leads"):
        refused(ada.browser.get(f"/oauth/{integration}/callback?state=x&code=x"), simulator)
    assert connections(services, acme, GOOGLE) == []


def test_a_state_of_another_browser_is_refused_and_its_own_may_go_on(
    person: Callable[[], Person], google_link: str, simulator: SimulatorServer
) -> None:
    ada, eve = person(), person()
    back = ada.allow(ada.open(google_link), seed.ACME_EMAIL)

    refused(eve.browser.get(back), simulator)
    eve.open(google_link)
    refused(eve.browser.get(back), simulator)

    assert "<h1>Connected</h1>" in ada.browser.get(back).text


def test_a_state_for_another_integration_is_refused(
    person: Callable[[], Person], google_link: str, simulator: SimulatorServer
) -> None:
    ada = person()
    back = ada.allow(ada.open(google_link), seed.ACME_EMAIL)

    refused(ada.browser.get(back.replace(GOOGLE, FACEBOOK)), simulator)


def test_an_expired_state_is_refused(
    person: Callable[[], Person], google_link: str, simulator: SimulatorServer, clock: Any
) -> None:
    ada = person()
    back = ada.allow(ada.open(google_link), seed.ACME_EMAIL)
    cookie = ada.browser.cookies[COOKIE]
    clock.tick(30 * 60 + 1)

    refused(ada.browser.get(back, headers={"cookie": f"{COOKIE}={cookie}"}), simulator)


@pytest.mark.every_database
def test_a_replayed_return_changes_nothing(
    person: Callable[[], Person], acme: Any, google_link: str, services: Services
) -> None:
    ada = person()
    back = ada.allow(ada.open(google_link), seed.ACME_EMAIL)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: ada.browser.get(back), range(6)))

    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400, 400, 400]
    assert len(connections(services, acme, GOOGLE)) == 1


@pytest.mark.every_database
def test_of_two_who_use_one_link_at_once_one_is_stored(
    person: Callable[[], Person], acme: Any, google_link: str, services: Services
) -> None:
    ada, eve = person(), person()
    backs = [
        (ada, ada.allow(ada.open(google_link), seed.ACME_EMAIL)),
        (eve, eve.allow(eve.open(google_link), seed.GLOBEX_EMAIL)),
    ]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda one: one[0].browser.get(one[1]), backs))

    assert sorted(answer.status_code for answer in answers) == [200, 400]
    assert len(connections(services, acme, GOOGLE)) == 1
    assert ada.browser.get(path_of(google_link)).status_code == 404


@pytest.mark.parametrize(("integration", "who"), [(GOOGLE, seed.ACME_EMAIL), (FACEBOOK, seed.ACME_USER)])
def test_who_says_no_is_told_so_and_the_link_still_works(
    person: Callable[[], Person],
    as_tenant: Callable[..., Api],
    acme: Any,
    services: Services,
    integration: str,
    who: str,
) -> None:
    ada, link = person(), make_link(as_tenant(acme), integration)

    answer = ada.connect(link, who, deny=True)

    assert answer.status_code == 200
    assert "Nothing was connected" in answer.text
    assert f'href="{path_of(link)}"' in answer.text
    assert connections(services, acme, integration) == []
    assert ada.connect(link, who).status_code == 200
    assert len(connections(services, acme, integration)) == 1


def test_a_refusal_that_brings_a_code_is_a_refusal(
    person: Callable[[], Person], acme: Any, google_link: str, simulator: SimulatorServer, services: Services
) -> None:
    ada = person()
    answer = ada.browser.get(ada.allow(ada.open(google_link), seed.ACME_EMAIL) + "&error=access_denied")

    assert "Nothing was connected" in answer.text
    assert (outside_calls(simulator), connections(services, acme, GOOGLE)) == (0, [])


def test_the_providers_word_for_a_refusal_chooses_a_sentence_of_ours(
    person: Callable[[], Person], google_link: str
) -> None:
    for error, told in (
        ("admin_policy_enforced", "administrator of this Google Workspace"),
        (EVIL, "change your mind"),
    ):
        ada = person()
        state = httpx.URL(ada.open(google_link)).params["state"]
        answer = ada.browser.get("/oauth/google_calendar/callback", params={"state": state, "error": error})
        assert answer.status_code == 200
        assert told in answer.text
        assert "evil" not in answer.text


def test_a_code_that_google_refuses_stores_nothing(
    person: Callable[[], Person], acme: Any, google_link: str, services: Services
) -> None:
    for code in ("made-up", "\x00", EVIL, "a" * 4000):
        ada = person()
        state = httpx.URL(ada.open(google_link)).params["state"]
        answer = ada.browser.get("/oauth/google_calendar/callback", params={"state": state, "code": code})
        assert answer.status_code == 400
        assert "Nothing was connected" in answer.text
        assert path_of(google_link) in answer.text
        assert "evil" not in answer.text
    assert connections(services, acme, GOOGLE) == []


@pytest.mark.parametrize(
    ("button", "status", "told"),
    [
        (Button("error", kind="google_token", status=503), 503, "cannot be reached just now"),
        (Button("cut", kind="google_token"), 503, "cannot be reached just now"),
        (Button("html_502", kind="google_token"), 503, "cannot be reached just now"),
        (Button("throttle", kind="google_token"), 503, "cannot be reached just now"),
        (
            Button("error", kind="google_token", status=401, reason="invalid_client"),
            500,
            "Something is not set up right",
        ),
    ],
)
def test_what_google_cannot_do_is_said_and_the_link_still_works(
    person: Callable[[], Person], acme: Any, google_link: str, simulator: SimulatorServer, services: Services,
    log_lines: list[str], button: Button, status: int, told: str,
) -> None:  # fmt: skip
    pressed = simulator.panel.set(button)
    ada = person()

    answer = ada.connect(google_link, seed.ACME_EMAIL)

    assert answer.status_code == status, answer.text
    assert told in answer.text
    assert connections(services, acme, GOOGLE) == []
    assert any("connect_failed" in line for line in log_lines)
    simulator.panel.release(pressed)
    assert ada.connect(google_link, seed.ACME_EMAIL).status_code == 200
