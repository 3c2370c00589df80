import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from integrations.simulator.seed import ACME_FORM, ACME_PAGE, ACME_TOKEN, GLOBEX_TOKEN
from integrations.simulator.server import SimulatorServer, serve
from tests.integrations.simulator.conftest import NOON, Asker

ROOT = Path(__file__).parents[3]


def test_leads_are_made_counted_told_and_removed_over_http(simulator: SimulatorServer, ask: Asker) -> None:
    ids = ask.bare("POST", "/_sim/leads", json={"page": ACME_PAGE, "count": 3}).json()["ids"]
    assert ask.bare("GET", "/_sim/leads", params={"page": ACME_PAGE, "ids": 1}).json() == ids
    truth = ask.bare("GET", "/_sim/leads", params={"page": ACME_PAGE}).json()[0]
    assert (truth["tenant"], truth["created_at"]) == ("acme", "2026-03-04T12:00:00Z")
    ask("GET", f"/{ids[0]}")
    counted = ask.bare("GET", "/_sim/calls").json()
    assert counted["requests"] == {"lead": 1}
    assert counted["calls"] == [{"kind": "lead", "token": f"page:{ACME_PAGE}", "tenant": "acme", "count": 1}]
    assert (counted["leads_read"], counted["lead_reads"]) == (1, {"1": 1})
    ask.bare("DELETE", "/_sim/calls")
    assert ask.bare("GET", "/_sim/calls").json()["calls"] == []
    ask.bare("DELETE", f"/_sim/leads/{ids[0]}")
    assert ask("GET", f"/{ids[0]}").status_code == 400


def test_leads_prepared_for_a_benchmark_are_the_same_leads(simulator: SimulatorServer, ask: Asker) -> None:
    made = {"page": ACME_PAGE, "count": 2, "prepare": "id,form_id"}
    (first, _) = ask.bare("POST", "/_sim/leads", json=made).json()["ids"]
    assert len(simulator.world.leads[first].rendered) == 1
    assert ask("GET", f"/{first}", fields="id,form_id").json() == {"id": first, "form_id": ACME_FORM}
    assert ask.bare("POST", "/_sim/leads", json={**made, "prepare": "shoe_size"}).status_code == 400


def test_buttons_are_pressed_and_released_over_http(ask: Asker) -> None:
    pressed = ask.bare("POST", "/_sim/buttons", json={"does": "error", "code": 190, "subcode": 463, "page": ACME_PAGE})
    assert ask("GET", "/me").json()["error"]["error_subcode"] == 463
    (listed,) = ask.bare("GET", "/_sim/buttons").json()
    assert (listed["id"], listed["pressed"]) == (pressed.json()["id"], 1)
    ask.bare("DELETE", f"/_sim/buttons/{listed['id']}")
    assert ask("GET", "/me").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/_sim/buttons", b'{"does": "explode"}', 400),
        ("POST", "/_sim/buttons", b"{", 400),
        ("POST", "/_sim/buttons", b"[]", 400),
        ("POST", "/_sim/leads", b'{"page": "0"}', 404),
        ("POST", "/_sim/leads", b"{}", 404),
        ("DELETE", "/_sim/leads/0", b"", 404),
        ("POST", "/_sim/nothing", b"", 404),
    ],
)
def test_a_wrong_question_gets_a_sentence_and_no_500(
    ask: Asker, method: str, path: str, body: bytes, status: int
) -> None:
    assert ask.bare(method, path, content=body).status_code == status


def test_a_token_is_killed_and_revived_over_http(ask: Asker) -> None:
    ask.bare("POST", "/_sim/tokens", json={"page": ACME_PAGE, "dead": {"subcode": 458}})
    assert ask("GET", "/me").json()["error"]["error_subcode"] == 458
    assert ask("GET", "/me", token=GLOBEX_TOKEN).status_code == 200
    ask.bare("POST", "/_sim/tokens", json={"token": ACME_TOKEN, "dead": None})
    assert ask("GET", "/me").status_code == 200


def test_the_state_shows_pages_and_tokens_to_begin_with(ask: Asker) -> None:
    ask.bare("POST", f"/_sim/pages/{ACME_PAGE}", json={"lead_access": False})
    acme, _ = ask.bare("GET", "/_sim/state").json()["pages"]
    assert (acme["tenant"], acme["access_token"], acme["lead_access"]) == ("acme", ACME_TOKEN, False)
    assert acme["forms"] == [{"id": ACME_FORM, "name": "Spring offer", "leads": 0}]


def test_a_port_in_use_is_an_error_at_once(simulator: SimulatorServer) -> None:
    with pytest.raises(OSError, match="in use"):
        serve(port=simulator.port, seed_path=None, clock=lambda: NOON)


def test_the_command_serves_until_it_is_told_to_stop() -> None:
    program = (
        "from datetime import UTC, datetime\n"
        "from integrations.simulator.server import serve\n"
        "serve(port=0, seed_path=None, clock=lambda: datetime.now(UTC), say=lambda it: print(it, flush=True))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ}
    )
    try:
        assert child.stdout is not None
        url = child.stdout.readline().split()[1]
        assert httpx.get(f"{url}/_sim/state", trust_env=False).status_code == 200
        child.send_signal(signal.SIGTERM)
        child.wait(10)
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
