"""`/webhooks/meta`: bad input gets a clear answer, and what is acknowledged is a row."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import func, select

from integrations.simulator.deliver import sign
from models.database import Database
from models.inbox import InboxEvent
from models.job import Job
from models.tenancy import system_session
from tests.conftest import Company
from tests.worker.web.conftest import run
from worker.gate import Gate
from worker.jobs import LANES
from worker.services import Services, connect_redis
from worker.web.webhooks import MOST_BYTES

SECRET = "app-secret-of-these-tests"
PATH = "/webhooks/meta"


@pytest.fixture
def settings_given(settings_given: dict[str, str]) -> dict[str, str]:
    return settings_given | {
        "TROTH_META_APP_ID": "1",
        "TROTH_META_APP_SECRET": SECRET,
        "TROTH_META_VERIFY_TOKEN": "the-verify-token",
    }


def change(company: Company, lead: Any = "901", **more: Any) -> dict[str, Any]:
    value = {"leadgen_id": lead, "page_id": company.page_id, "form_id": "5", "created_time": 1_772_000_000, **more}
    return {"field": "leadgen", "value": value}


def body(company: Company, *changes: Any) -> dict[str, Any]:
    return {"object": "page", "entry": [{"id": company.page_id, "time": 1, "changes": list(changes)}]}


def post(http: httpx.Client, payload: object, *, secret: str = SECRET) -> httpx.Response:
    raw = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    return http.post(PATH, content=raw, headers={"X-Hub-Signature-256": sign(raw, secret)})


def rows(services: Services) -> tuple[int, int]:
    """(inbox events, jobs)."""
    with system_session(services.database, reads_only=True) as session:
        counts = [session.scalar(select(func.count()).select_from(table)) or 0 for table in (InboxEvent, Job)]
    return counts[0], counts[1]


@pytest.mark.parametrize(
    "header", [None, "", "sha256=", "sha256=00", "sha1=" + "0" * 40, "sha256=" + "g" * 64, "x" * 9000]
)
def test_a_wrong_missing_or_truncated_signature_is_401_and_nothing_is_stored(
    http: httpx.Client, services: Services, acme: Company, header: str | None
) -> None:
    headers = {} if header is None else {"X-Hub-Signature-256": header}
    answer = http.post(PATH, content=orjson.dumps(body(acme, change(acme))), headers=headers)
    assert (answer.status_code, answer.json()["type"], rows(services)) == (401, "/problems/bad-signature", (0, 0))


def test_another_apps_secret_does_not_sign_for_ours(http: httpx.Client, services: Services, acme: Company) -> None:
    assert post(http, body(acme, change(acme)), secret="another").status_code == 401
    assert rows(services) == (0, 0)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b'"page"', b"\xff\xfe", b'{"object":"page","entry":7}', b"[" * 5000]
)
def test_a_signed_body_that_cannot_be_read_is_400(
    http: httpx.Client, services: Services, acme: Company, raw: bytes
) -> None:
    answer = post(http, raw)
    assert (answer.status_code, answer.json()["type"], rows(services)) == (400, "/problems/bad-payload", (0, 0))


def test_4_mib_are_taken_and_a_byte_more_is_413(http: httpx.Client, services: Services, acme: Company) -> None:
    raw = orjson.dumps(body(acme, change(acme)))
    assert post(http, raw + b" " * (MOST_BYTES - len(raw))).status_code == 200
    answer = post(http, raw + b" " * (MOST_BYTES - len(raw) + 1))
    assert (answer.status_code, answer.json()["type"]) == (413, "/problems/too-large")


def test_a_body_that_hides_its_length_is_cut_off_too(http: httpx.Client, acme: Company) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(5):
            yield b" " * 1024 * 1024

    assert http.post(PATH, content=chunks(), headers={"X-Hub-Signature-256": "sha256=" + "0" * 64}).status_code == 413


BAD_CHANGES: list[Any] = [
    None,
    7,
    {},
    {"field": "leadgen"},
    {"field": "leadgen", "value": None},
    {"field": "leadgen", "value": {"leadgen_id": True, "page_id": "1"}},
    {"field": "leadgen", "value": {"leadgen_id": "0", "page_id": "1"}},
    {"field": "leadgen", "value": {"leadgen_id": 1.5, "page_id": "1"}},
    {"field": "leadgen", "value": {"leadgen_id": "9" * 31, "page_id": "1"}},
    {"field": "leadgen", "value": {"leadgen_id": "1'; DROP TABLE leads", "page_id": "1"}},
    {"field": "feed", "value": {"item": "post"}},
]


@pytest.mark.parametrize("bad", BAD_CHANGES)
def test_one_bad_change_costs_its_neighbours_nothing(
    http: httpx.Client, services: Services, acme: Company, bad: Any
) -> None:
    assert post(http, body(acme, change(acme, "901"), bad, change(acme, 902))).status_code == 200
    assert rows(services) == (2, 1)


@pytest.mark.parametrize(
    "payload",
    [
        {"object": "instagram", "entry": [{"id": "1", "changes": []}]},
        {"object": "page", "entry": [{"id": "1", "time": 1, "changed_fields": ["leadgen"]}]},
        {"object": "page", "entry": []},
    ],
)
def test_what_a_retry_could_not_help_is_acknowledged_and_counted(
    http: httpx.Client, services: Services, acme: Company, payload: object
) -> None:
    assert post(http, payload).status_code == 200
    assert rows(services) == (0, 0)


def test_ids_may_be_numbers_and_ad_ids_may_be_missing(http: httpx.Client, services: Services, acme: Company) -> None:
    assert (
        post(
            http, body(acme, change(acme, 901), change(acme, "902", ad_id="0"), change(acme, 903, ad_id=12))
        ).status_code
        == 200
    )
    assert rows(services) == (3, 1)


@pytest.mark.every_database
def test_an_unknown_page_is_acknowledged_and_counted(http: httpx.Client, services: Services, acme: Company) -> None:
    stranger = replace(acme, page_id="999")
    assert post(http, body(stranger, change(stranger))).status_code == 200
    assert rows(services) == (0, 0)
    assert 'outcome="unknown_page"' in http.get("/metrics").text


@pytest.mark.every_database
def test_the_owner_is_who_connected_the_page_whatever_the_entry_claims(
    http: httpx.Client, services: Services, acme: Company, globex: Company
) -> None:
    assert post(http, body(globex, change(acme))).status_code == 200
    with system_session(services.database, reads_only=True) as session:
        assert session.scalars(select(InboxEvent.tenant_id)).all() == [acme.id]


def test_a_repeat_is_a_no_op_and_shares_the_waiting_job(http: httpx.Client, services: Services, acme: Company) -> None:
    for _ in range(3):
        assert post(http, body(acme, change(acme))).status_code == 200
    assert rows(services) == (1, 1)


@pytest.mark.every_database
def test_deliveries_at_the_same_time_are_all_stored(
    http: httpx.Client, services: Services, acme: Company, globex: Company
) -> None:
    def send(number: int) -> int:
        company = acme if number % 2 else globex
        return post(http, body(company, change(company, 1000 + number))).status_code

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(send, range(200))) == {200}
    assert rows(services) == (200, 2)


def test_without_a_database_meta_is_asked_to_deliver_again(services: Services, acme: Company) -> None:
    away = replace(services, database=Database("postgresql://nobody@127.0.0.1:9/none"))
    for url in run(away):
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
            answer = post(http, body(acme, change(acme)))
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/database-away")


def test_without_redis_the_row_is_safe_and_the_answer_is_200(services: Services, acme: Company) -> None:
    redis = connect_redis("unix:///nonexistent/redis.sock")
    away = replace(services, redis=redis, gates={lane: Gate(redis, lane) for lane in LANES})
    for url in run(away):
        with httpx.Client(base_url=url, trust_env=False) as http:
            assert post(http, body(acme, change(acme))).status_code == 200
    assert rows(services) == (1, 1)


def test_the_handshake_gives_the_challenge_back_to_who_knows_the_token(http: httpx.Client) -> None:
    ask = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": "the-verify-token"}
    assert http.get(PATH, params=ask).text == "1158201444"


@pytest.mark.parametrize(
    "change_",
    [
        {"hub.verify_token": "wrong"},
        {"hub.verify_token": ""},
        {"hub.mode": "unsubscribe"},
        {"hub.challenge": "<script>"},
    ],
)
def test_any_other_handshake_is_refused(http: httpx.Client, change_: dict[str, str]) -> None:
    ask = {"hub.mode": "subscribe", "hub.challenge": "1", "hub.verify_token": "the-verify-token"} | change_
    assert http.get(PATH, params=ask).status_code == 403


def test_without_an_app_secret_nothing_is_accepted(services: Services, acme: Company) -> None:
    off = replace(services, settings=replace(services.settings, meta=replace(services.settings.meta, app_secret="")))
    for url in run(off):
        with httpx.Client(base_url=url, trust_env=False) as http:
            assert post(http, body(acme, change(acme)), secret="").status_code == 503
            assert http.get(PATH, params={"hub.mode": "subscribe", "hub.verify_token": ""}).status_code == 503
    assert rows(services) == (0, 0)
