import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from integrations.simulator.buttons import Panel, Target, read_button
from integrations.simulator.seed import ACME_FORM, ACME_PAGE, ACME_TOKEN, GLOBEX_PAGE, GLOBEX_TOKEN, build_world
from integrations.simulator.server import SimulatorServer
from tests.integrations.simulator.conftest import NOON, Asker, proof


def read(ask: Asker, ids: list[str], **params: Any) -> list[Any]:
    items = [{"method": "GET", "relative_url": f"{lead}?fields=id"} for lead in ids]
    found: list[Any] = ask("POST", "/", batch=json.dumps(items), **params).json()
    return found


@pytest.mark.parametrize("data", [{}, {"does": "explode"}, {"does": "cut", "colour": 1}, {"does": "cut", "pressed": 9}])
def test_a_button_that_cannot_be_is_refused_with_a_sentence(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"button|does"):
        read_button(data)


def test_a_button_acts_so_many_times_and_is_gone(simulator: SimulatorServer, ask: Asker) -> None:
    simulator.panel.press("error", code=2, times=2)
    assert [ask("GET", "/me").status_code for _ in range(3)] == [500, 500, 200]
    assert not simulator.panel.on


def test_a_button_for_one_page_leaves_the_other_alone(simulator: SimulatorServer, ask: Asker) -> None:
    simulator.panel.press("error", code=190, subcode=460, page=ACME_PAGE)
    assert ask("GET", "/me").json()["error"]["error_subcode"] == 460
    assert ask("GET", "/me", token=GLOBEX_TOKEN).json()["id"] == GLOBEX_PAGE


def test_a_throttle_is_400_and_its_wait_is_in_the_header_only(simulator: SimulatorServer, ask: Asker) -> None:
    (lead,) = simulator.world.add_leads(ACME_FORM)
    simulator.panel.press("throttle", minutes=19)
    reply = ask("GET", f"/{lead.id}")
    usage = json.loads(reply.headers["x-business-use-case-usage"])[ACME_PAGE]
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, 80005)
    assert {it["type"]: it["estimated_time_to_regain_access"] for it in usage} == {"pages": 0, "leadgen": 19}
    assert "retry-after" not in reply.headers


def test_a_throttled_batch_is_200_and_tells_the_wait_inside_and_outside(simulator: SimulatorServer, ask: Asker) -> None:
    ids = [lead.id for lead in simulator.world.add_leads(ACME_FORM, 2)]
    simulator.panel.press("throttle", kind="lead", minutes=3)
    items = [{"method": "GET", "relative_url": lead} for lead in ids]
    reply = ask("POST", "/", batch=json.dumps(items))
    assert reply.status_code == 200
    assert [item["code"] for item in reply.json()] == [400, 400]
    assert "X-Business-Use-Case-Usage" in [header["name"] for header in reply.json()[0]["headers"]]
    assert "x-business-use-case-usage" in reply.headers
    simulator.panel.release()
    simulator.panel.press("throttle", kind="batch", code=4, times=1)
    whole = ask("POST", "/", batch=json.dumps(items))
    assert (whole.status_code, whole.json()["error"]["code"]) == (400, 4)
    assert json.loads(whole.headers["x-app-usage"])["call_count"] == 100


def test_usage_headers_rise_on_good_answers(simulator: SimulatorServer, ask: Asker) -> None:
    simulator.panel.press("usage", percent=93, minutes=0)
    reply = ask("GET", "/me")
    assert reply.status_code == 200
    assert json.loads(reply.headers["x-app-usage"])["call_count"] == 93


def test_null_items_come_once_for_each_lead(simulator: SimulatorServer, ask: Asker) -> None:
    ids = [lead.id for lead in simulator.world.add_leads(ACME_FORM, 5)]
    simulator.panel.press("null_item", each=1)
    assert read(ask, ids) == [None] * 5
    assert [item["code"] for item in read(ask, ids, include_headers="false")] == [200] * 5
    assert set(simulator.calls.leads.values()) == {1}


def test_a_share_of_items_fails_the_same_way_with_the_same_seed() -> None:
    target = Target("lead", "t", "p", "acme", "l")
    runs = []
    for _ in range(2):
        panel = Panel(seed=5)
        panel.press("null_item", share=0.3)
        runs.append([panel.acting(target, ("null_item",)) is not None for _ in range(500)])
    assert runs[0] == runs[1]
    assert 100 < sum(runs[0]) < 200


def test_chosen_leads_are_missing(simulator: SimulatorServer, ask: Asker) -> None:
    ids = [lead.id for lead in simulator.world.add_leads(ACME_FORM, 3)]
    simulator.panel.press("missing", leads=[ids[1]], times=1)
    assert [item["code"] for item in read(ask, ids)] == [200, 400, 200]
    assert [item["code"] for item in read(ask, ids)] == [200, 200, 200]


def test_a_gateway_page_is_html(simulator: SimulatorServer, ask: Asker) -> None:
    simulator.panel.press("html_502", kind="page", times=1)
    reply = ask("GET", "/me")
    assert (reply.status_code, reply.text[:9]) == (502, "<!DOCTYPE")


def test_a_cut_connection_has_no_answer(simulator: SimulatorServer, ask: Asker) -> None:
    ask("GET", "/me")
    simulator.panel.press("cut", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        ask("GET", "/me")
    assert ask("GET", "/me").status_code == 200


def test_a_hang_answers_late_or_never_and_never_is_bounded(simulator: SimulatorServer, ask: Asker) -> None:
    simulator.panel.press("hang", seconds=0.2, times=1)
    begun = time.monotonic()
    assert ask("GET", "/me").status_code == 200
    assert time.monotonic() - begun >= 0.2
    simulator.panel.press("hang", times=1)
    ask.http.timeout = httpx.Timeout(0.3)
    with pytest.raises(httpx.ReadTimeout):
        ask("GET", "/me")


def test_a_server_stops_at_once_and_in_peace_while_an_answer_hangs(caplog: pytest.LogCaptureFixture) -> None:
    server = SimulatorServer(build_world(lambda: NOON), longest_hang=60)
    server.panel.press("hang")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.get, f"{server.url}/me", timeout=30, trust_env=False)
        while not server.calls.requests:
            time.sleep(0.005)
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 5
        with pytest.raises(httpx.TransportError):
            answer.result(5)
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


def test_latency_is_waited_for_side_by_side(simulator: SimulatorServer, ask: Asker) -> None:
    simulator.world.latency = 0.3
    begun = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda _: ask("GET", "/me").status_code, range(20)))
    assert statuses == [200] * 20
    assert 0.3 <= time.monotonic() - begun < 3.0


def test_three_hundred_requests_wait_side_by_side(simulator: SimulatorServer) -> None:
    simulator.world.latency = 1.0
    request = f"GET /me?access_token={ACME_TOKEN}&appsecret_proof={proof(ACME_TOKEN)} HTTP/1.1\r\nHost: x\r\n\r\n"

    async def one() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
        writer.write(request.encode())
        line = await reader.readline()
        writer.close()
        return line

    async def all_of_them() -> list[bytes]:
        return await asyncio.gather(*(one() for _ in range(300)))

    begun = time.monotonic()
    assert set(asyncio.run(all_of_them())) == {b"HTTP/1.1 200 OK\r\n"}
    assert time.monotonic() - begun < 10


def test_a_button_for_a_token_meets_only_that_token(simulator: SimulatorServer, ask: Asker) -> None:
    simulator.panel.press("latency", token=GLOBEX_TOKEN, seconds=0.2)
    simulator.panel.press("error", token=ACME_TOKEN, code=10)
    assert ask("GET", "/me").status_code == 403
    assert ask("GET", "/me", token=GLOBEX_TOKEN).status_code == 200


def test_paging_can_lose_its_cursors(simulator: SimulatorServer, ask: Asker) -> None:
    simulator.world.add_leads(ACME_FORM, 3)
    simulator.panel.press("no_cursors", kind="form_leads", times=1)
    paging = ask("GET", f"/{ACME_FORM}/leads", limit=2).json()["paging"]
    assert set(paging) == {"next"}
