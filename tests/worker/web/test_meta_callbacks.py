"""Meta's signed callbacks: what must be turned away, and what a removed app or a wish for deletion brings about."""

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import func, select

from integrations.simulator import seed
from integrations.simulator.meta_callbacks import callback_payload, signed_request
from integrations.simulator.server import SimulatorServer
from models.connection import Connection
from models.database import Database
from models.deletion import Deletion
from models.job import Job
from models.revocation import end_revocation
from models.tenancy import SYSTEM, system_session, tenant_session
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import NO_TLS, Api, run
from tests.worker.web.providers import FACEBOOK, Person, make_link, path_of, provider_settings
from worker.services import Services

BOTH = ("/meta/deauthorize", "/meta/deletion")


@pytest.fixture
def settings_given(settings_given: dict[str, str], simulator: SimulatorServer) -> dict[str, str]:
    return {**settings_given, **provider_settings(simulator.url)}


@pytest.fixture
def say(http: httpx.Client, clock: Any) -> Callable[..., httpx.Response]:
    """say(path, user_id=... or page_id=...) -> the answer to what Meta signed."""

    def post(path: str, **about: Any) -> httpx.Response:
        value = signed_request(seed.APP_SECRET, callback_payload(clock(), **about))
        return http.post(path, data={"signed_request": value})

    return post


@pytest.fixture
def ada(person: Callable[[], Person], as_tenant: Callable[..., Api], acme: Any, services: Services) -> str:
    """Ada connected her page for acme; the connection."""
    assert person().connect(make_link(as_tenant(acme), FACEBOOK), seed.ACME_USER).status_code == 200
    with tenant_session(services.database, acme.id, reads_only=True) as session:
        return session.scalars(select(Connection.id).where(Connection.external_id == seed.ACME_PAGE)).one()


def deletions(services: Services) -> list[Deletion]:
    with system_session(services.database, reads_only=True) as session:
        return list(session.scalars(select(Deletion).order_by(Deletion.id)))


def statuses(services: Services) -> dict[str, str]:
    with system_session(services.database, reads_only=True) as session:
        return {id: status for id, status in session.execute(select(Connection.id, Connection.status))}  # noqa: A001


def revocations(services: Services) -> set[str | None]:
    with system_session(services.database, reads_only=True) as session:
        return set(session.scalars(select(Job.connection_id).where(Job.kind == "connections.revoke")))


def encoded(payload: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(payload)).decode().rstrip("=")


def forged(clock: Any) -> list[str]:
    payload = callback_payload(clock(), user_id=seed.ACME_USER)
    value = signed_request(seed.APP_SECRET, payload)
    signature, _, body = value.partition(".")
    return [
        "", ".", "x", body, f".{body}", f"{signature}.", f"{signature}.{body}.{body}", f"!!!.{body}", f"{signature}.!!!",
        value[:-2] + "xx",
        signed_request("other-secret", payload),
        signed_request("", payload),
        signed_request(seed.APP_SECRET, {**payload, "algorithm": "HMAC-SHA1"}),
        signed_request(seed.APP_SECRET, {**payload, "algorithm": "none"}),
        f"{encoded('')}.{body}",
        signed_request(seed.APP_SECRET, {"algorithm": "HMAC-SHA256"}),
        signed_request(seed.APP_SECRET, {**payload, "user_id": None}),
        "a" * 9000,
    ]  # fmt: skip


@pytest.mark.parametrize("path", BOTH)
def test_what_meta_did_not_sign_changes_nothing(
    http: httpx.Client, services: Services, ada: str, clock: Any, path: str
) -> None:
    for value in forged(clock):
        answer = http.post(path, data={"signed_request": value})
        problem(answer, 400, "bad-signed-request")
        assert seed.ACME_USER not in answer.text
    for options in ({}, {"json": {"signed_request": "x"}}, {"data": {"other": "x"}}, {"content": b"\xff\x00"}):
        problem(http.post(path, **options), 400, "bad-signed-request")
    problem(http.post(path, files={"signed_request": b"x"}), 400, "bad-request")
    problem(http.post(path, data={"signed_request": "a" * 66_000}), 413, "too-large")
    assert http.get(path).status_code == 405

    assert deletions(services) == []
    assert set(statuses(services).values()) == {"active"}


@pytest.mark.parametrize("path", BOTH)
def test_while_the_app_is_off_nothing_is_accepted(
    settings_given: dict[str, str], request: pytest.FixtureRequest, path: str
) -> None:
    settings_given["TROTH_META_APP_SECRET"] = ""
    http: httpx.Client = request.getfixturevalue("http")

    problem(http.post(path, data={"signed_request": signed_request("", {"user_id": "1"})}), 503, "turned-off")


@pytest.mark.every_database
@pytest.mark.parametrize("path", BOTH)
def test_while_the_database_is_away_meta_is_told_to_come_again(services: Services, clock: Any, path: str) -> None:
    away = Database("postgresql://troth@127.0.0.1:1/troth")
    value = signed_request(seed.APP_SECRET, callback_payload(clock(), user_id=seed.ACME_USER))
    for url in run(replace(services, database=away)):
        answer = httpx.post(f"{url}{path}", data={"signed_request": value}, trust_env=False, verify=NO_TLS, timeout=30)
        problem(answer, 503, "unavailable")
    away.close()


@pytest.mark.every_database
def test_a_person_who_removes_the_app_closes_all_that_they_granted_and_nothing_else(
    say: Callable[..., httpx.Response], services: Services, ada: str, acme: Any, globex: Any,
    person: Callable[[], Person], as_tenant: Callable[..., Api], simulator: SimulatorServer, log_lines: list[str],
) -> None:  # fmt: skip
    simulator.world.users[seed.GLOBEX_USER].pages = [seed.GLOBEX_PAGE]
    assert person().connect(make_link(as_tenant(globex), FACEBOOK), seed.GLOBEX_USER).status_code == 200

    for _ in range(3):
        assert good(say("/meta/deauthorize", user_id=seed.ACME_USER)) == {}

    closed = {id for id, status in statuses(services).items() if status == "revoking"}  # noqa: A001
    assert closed == {ada} == revocations(services)
    (asked,) = deletions(services)
    assert (asked.tenant_id, asked.connection_id, asked.requested_by) == (acme.id, ada, "meta_deauthorize")
    assert not any(seed.ACME_USER in line for line in log_lines)


@pytest.mark.every_database
def test_a_page_that_drops_the_app_is_closed_alone(
    say: Callable[..., httpx.Response], services: Services, ada: str, acme: Any
) -> None:
    assert good(say("/meta/deauthorize", page_id=acme.page_id)) == {}

    assert statuses(services) == {acme.connection_id: "revoking", ada: "active"}
    assert good(say("/meta/deauthorize", page_id="999")) == {}


def test_whom_nobody_knows_gets_a_code_all_the_same(
    say: Callable[..., httpx.Response], services: Services, acme: Any
) -> None:
    assert good(say("/meta/deauthorize", user_id="404")) == {}

    answer = good(say("/meta/deletion", user_id="404"))

    code = answer["confirmation_code"]
    assert answer == {"url": f"http://127.0.0.1:8000/deletions/{code}", "confirmation_code": code}
    (asked,) = deletions(services)
    assert (asked.tenant_id, asked.status, asked.confirmation_code) == (SYSTEM, "nothing_held", code)
    assert set(statuses(services).values()) == {"active"}


def test_a_wish_for_deletion_covers_what_was_disconnected_before(
    say: Callable[..., httpx.Response], services: Services, ada: str, acme: Any, http: httpx.Client
) -> None:
    say("/meta/deauthorize", user_id=seed.ACME_USER)
    with tenant_session(services.database, acme.id) as session:
        end_revocation(session, services.vault, session.get_one(Connection, ada), services.clock())

    first, second = (good(say("/meta/deletion", user_id=seed.ACME_USER)) for _ in range(2))

    assert first == second
    before, after = deletions(services)
    assert before.confirmation_code != after.confirmation_code == first["confirmation_code"]
    assert (after.connection_id, after.requested_by, after.status) == (ada, "meta_deletion", "scheduled")
    assert http.get(path_of(first["url"])).status_code == 200


@pytest.mark.every_database
def test_one_code_stands_for_all_tenants_that_a_person_served(
    say: Callable[..., httpx.Response], services: Services, ada: str, globex: Any, person: Callable[[], Person],
    as_tenant: Callable[..., Api], simulator: SimulatorServer, http: httpx.Client,
) -> None:  # fmt: skip
    simulator.world.users[seed.ACME_USER].pages.append(seed.GLOBEX_PAGE)
    assert person().connect(make_link(as_tenant(globex), FACEBOOK), seed.ACME_USER).status_code == 200

    code = good(say("/meta/deletion", user_id=seed.ACME_USER))["confirmation_code"]

    rows = deletions(services)
    assert {row.confirmation_code for row in rows} == {code}
    assert len({row.tenant_id for row in rows}) == 2
    page = http.get(f"/deletions/{code}").text
    assert page.count("everything acquired through it") == 2
    assert not any(name in page for name in ("Acme", "Globex", seed.ACME_PAGE, seed.ACME_USER))
    with tenant_session(services.database, globex.id, reads_only=True) as session:
        assert session.scalar(select(func.count()).select_from(Deletion)) == 1
