from typing import Any
from urllib.parse import parse_qs, urlsplit

from integrations.simulator.seed import ACME_PAGE, ACME_TOKEN, APP_ID, APP_SECRET
from integrations.simulator.server import SimulatorServer
from tests.integrations.simulator.conftest import Asker

BACK = "https://troth.example/oauth/facebook_leads/callback"
ADA = "410000000000001"


def consent(ask: Asker, **more: Any) -> dict[str, list[str]]:
    form = {"client_id": APP_ID, "redirect_uri": BACK, "state": "s1", "user": ADA, "answer": "yes", **more}
    reply = ask.bare("POST", "/v26.0/dialog/oauth", data=form)
    assert reply.status_code == 302
    assert reply.headers["location"].startswith(BACK)
    return parse_qs(urlsplit(reply.headers["location"]).query)


def redeem(ask: Asker, **params: Any) -> Any:
    app = {"client_id": APP_ID, "client_secret": APP_SECRET}
    return ask.bare("GET", "/v26.0/oauth/access_token", params={**app, **params}).json()


def test_the_dialog_asks_and_escapes_what_it_shows(ask: Asker) -> None:
    query = {"client_id": APP_ID, "redirect_uri": BACK, "state": '"><script>'}
    page = ask.bare("GET", "/v26.0/dialog/oauth", params=query)
    assert page.status_code == 200
    assert "<script>" not in page.text
    assert ask.bare("GET", "/v26.0/dialog/oauth", params={"client_id": "1"}).status_code == 400


def test_a_code_becomes_a_long_lived_token_and_page_tokens(simulator: SimulatorServer, ask: Asker) -> None:
    answer = consent(ask)
    assert answer["state"] == ["s1"]
    short = redeem(ask, code=answer["code"][0], redirect_uri=BACK)
    long = redeem(ask, grant_type="fb_exchange_token", fb_exchange_token=short["access_token"])
    assert short["expires_in"] == 3600
    assert long["expires_in"] == 60 * 24 * 3600
    (page,) = ask("GET", "/me/accounts", token=long["access_token"], fields="id,name,access_token,tasks").json()["data"]
    assert (page["id"], page["access_token"]) == (ACME_PAGE, ACME_TOKEN)
    assert "ADVERTISE" in page["tasks"]


def test_a_code_serves_once_and_only_its_own_address(ask: Asker) -> None:
    code = consent(ask)["code"][0]
    assert redeem(ask, code=code, redirect_uri=BACK + "x")["error"]["error_subcode"] == 36008
    assert "access_token" in redeem(ask, code=code, redirect_uri=BACK)
    assert redeem(ask, code=code, redirect_uri=BACK)["error"]["error_subcode"] == 36009
    assert redeem(ask, code=code, redirect_uri=BACK, client_secret="no")["error"]["code"] == 1


def test_a_person_who_says_no_is_sent_back_with_the_reason(ask: Asker) -> None:
    answer = consent(ask, answer="no")
    assert answer["error"] == ["access_denied"]
    assert "code" not in answer


def test_a_page_un_ticked_loses_its_token(simulator: SimulatorServer, ask: Asker) -> None:
    consent(ask, page="0")
    assert ask("GET", "/me").json()["error"]["code"] == 190


def test_permissions_revoked_answer_bare_true_and_kill_the_tokens(ask: Asker) -> None:
    token = redeem(ask, code=consent(ask)["code"][0], redirect_uri=BACK)["access_token"]
    reply = ask("DELETE", f"/{ADA}/permissions", token=token)
    assert (reply.status_code, reply.text) == (200, "true")
    assert ask("GET", "/me", token=token).json()["error"]["error_subcode"] == 458
    assert ask("GET", "/me").json()["error"]["error_subcode"] == 458
