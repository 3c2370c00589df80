import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from integrations.simulator.meta_callbacks import signed_request
from integrations.simulator.records import Page
from integrations.simulator.seed import (
    ACME_FORM,
    ACME_PAGE,
    ACME_TOKEN,
    ACME_USER,
    APP_ID,
    APP_SECRET,
    GLOBEX_PAGE,
    GLOBEX_TOKEN,
    GLOBEX_USER,
)
from integrations.simulator.server import SimulatorServer
from integrations.simulator.world import SCOPES
from tests.integrations.simulator.conftest import APP_TOKEN, Asker

BACK = "https://troth.example/oauth/facebook_leads/callback"
SECOND_PAGE = "510000000000009"


@pytest.fixture(autouse=True)
def _second_page(simulator: SimulatorServer) -> None:
    user = simulator.world.users[ACME_USER]
    simulator.world.add_page(Page(SECOND_PAGE, "Acme Baths", "acme"), user)


def address(**more: str) -> str:
    asked = {"client_id": APP_ID, "redirect_uri": BACK, "state": "s1", "scope": ",".join(SCOPES), **more}
    return "https://www.facebook.com/v26.0/dialog/oauth?" + urlencode(asked)


def consent(ask: Asker, url: str = "", **more: Any) -> dict[str, str]:
    reply = ask.bare("POST", "/_sim/meta/consent", json={"url": url or address(), "user": ACME_USER, **more})
    assert reply.status_code == 200, reply.text
    return {name: values[0] for name, values in parse_qs(urlsplit(reply.json()["location"]).query).items()}


def login(ask: Asker, url: str = "", **more: Any) -> str:
    """A user token, as after the dialog and the exchange of its code."""
    form = {"client_id": APP_ID, "client_secret": APP_SECRET, "code": consent(ask, url, **more)["code"]}
    token: str = ask.bare("POST", "/v26.0/oauth/access_token", data={**form, "redirect_uri": BACK}).json()[
        "access_token"
    ]
    return token


def accounts(ask: Asker, token: str) -> dict[str, str]:
    listed = ask("GET", "/me/accounts", token=token, fields="id,access_token").json()["data"]
    return {page["id"]: page["access_token"] for page in listed}


def debugged(ask: Asker, token: str) -> dict[str, Any]:
    found: dict[str, Any] = ask("GET", "/debug_token", token=APP_TOKEN, input_token=token).json()["data"]
    return found


def codes(reply: Any) -> tuple[int, int | None]:
    error = reply.json()["error"]
    return error["code"], error.get("error_subcode")


def switch(ask: Asker, path: str, **values: Any) -> None:
    reply = ask.bare("POST", f"/_sim/{path}", json=values)
    assert reply.status_code == 200, reply.text


def test_a_person_may_say_no_and_a_stranger_or_a_wrong_address_is_a_sentence(ask: Asker) -> None:
    assert consent(ask, deny=True)["error"] == "access_denied"
    wrong: list[tuple[dict[str, Any], int]] = [
        ({"user": "9"}, 404),
        ({"url": "https://x.example/"}, 400),
        ({"unticked": []}, 400),
    ]
    for more, status in wrong:
        wish = {"url": address(), "user": ACME_USER, **more}
        assert ask.bare("POST", "/_sim/meta/consent", json=wish).status_code == status


def test_a_permission_left_out_is_absent_everywhere_and_asked_again_only_on_request(ask: Asker) -> None:
    token = login(ask, untick=["leads_retrieval"])
    page_token = accounts(ask, token)[ACME_PAGE]
    for value in (token, page_token):
        told = debugged(ask, value)
        assert "leads_retrieval" not in told["scopes"]
        assert "leads_retrieval" not in [it["scope"] for it in told["granular_scopes"]]
    listed = ask("GET", "/me/permissions", token=token).json()["data"]
    assert {it["permission"]: it["status"] for it in listed}["leads_retrieval"] == "declined"
    access = ask("GET", f"/{ACME_PAGE}", token=page_token, fields="has_lead_access").json()["has_lead_access"]
    assert (access["can_access_lead"], access["app_has_leads_permission"]) == (False, False)
    assert "leads_retrieval" in access["failure_reason"]
    assert "leads_retrieval" not in debugged(ask, login(ask))["scopes"]
    again = login(ask, address(auth_type="rerequest"))
    assert "leads_retrieval" in debugged(ask, again)["scopes"]
    assert "leads_retrieval" in debugged(ask, page_token)["scopes"]


def test_a_page_left_out_loses_its_token_and_gets_a_new_one_when_ticked_again(ask: Asker) -> None:
    before = accounts(ask, login(ask))
    assert set(before) == {ACME_PAGE, SECOND_PAGE}
    token = login(ask, pages=[SECOND_PAGE])
    assert accounts(ask, token) == {SECOND_PAGE: before[SECOND_PAGE]}
    assert codes(ask("GET", "/me", token=before[ACME_PAGE])) == (190, None)
    assert codes(ask("GET", f"/{ACME_PAGE}", token=token)) == (100, 33)
    assert debugged(ask, token)["granular_scopes"][0]["target_ids"] == [SECOND_PAGE]
    after = accounts(ask, login(ask))
    assert after[SECOND_PAGE] == before[SECOND_PAGE]
    assert after[ACME_PAGE] != before[ACME_PAGE]
    assert debugged(ask, after[ACME_PAGE])["is_valid"]
    assert accounts(ask, login(ask, pages=[])) == {}


def test_a_person_ticks_on_the_page_itself(ask: Asker) -> None:
    page = ask.bare("GET", "/v26.0/dialog/oauth?" + urlsplit(address()).query).text
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    assert set(re.findall(r'name="permission" value="([^"]*)" checked', page)) == set(SCOPES)
    form = {**hidden, "user": ACME_USER, "permission": ["pages_show_list"], "answer": "yes"}
    location = ask.bare("POST", "/v26.0/dialog/oauth", data=form).headers["location"]
    assert location.endswith("#_=_")
    code = parse_qs(urlsplit(location).query)["code"][0]
    params = {"client_id": APP_ID, "client_secret": APP_SECRET, "code": code, "redirect_uri": BACK}
    token = ask.bare("GET", "/v26.0/oauth/access_token", params=params).json()["access_token"]
    assert debugged(ask, token)["scopes"] == ["pages_show_list"]
    assert accounts(ask, token) == {}


def test_the_list_of_pages_has_an_empty_page_in_the_middle_on_demand(ask: Asker) -> None:
    token = login(ask)
    switch(ask, f"users/{ACME_USER}", empty_page=1)
    found, after = [], None
    while True:
        more: dict[str, Any] = {"after": after} if after else {}
        body = ask("GET", "/me/accounts", token=token, fields="id,tasks", limit=1, **more).json()
        found.append([page["id"] for page in body["data"]])
        if "next" not in body["paging"]:
            break
        after = body["paging"]["cursors"]["after"]
    assert found == [[ACME_PAGE], [], [SECOND_PAGE]]


@pytest.mark.parametrize(
    ("path", "values", "expected"),
    [
        (f"users/{ACME_USER}", {"password_changed": True}, (190, 460)),
        (f"users/{ACME_USER}", {"removed_app": True}, (190, 458)),
        (f"pages/{ACME_PAGE}", {"role_lost": True}, (190, 492)),
        (f"pages/{ACME_PAGE}", {"role_lost": True, "code": 200}, (200, None)),
        (f"pages/{ACME_PAGE}", {"role_lost": True, "code": 10}, (10, None)),
        (f"pages/{ACME_PAGE}", {"drops_app": True}, (190, None)),
    ],
)
def test_a_pages_token_ends_as_it_is_told_and_its_neighbours_does_not(
    ask: Asker, path: str, values: dict[str, Any], expected: tuple[int, int | None]
) -> None:
    switch(ask, path, **values)
    assert codes(ask("GET", "/me")) == expected
    assert debugged(ask, ACME_TOKEN)["is_valid"] is False
    assert ask("GET", "/me", token=GLOBEX_TOKEN).json()["id"] == GLOBEX_PAGE


def test_a_login_after_an_end_brings_new_tokens(ask: Asker) -> None:
    for values in ({"password_changed": True}, {"removed_app": True}):
        old = login(ask)
        switch(ask, f"users/{ACME_USER}", **values)
        assert codes(ask("GET", "/me", token=old))[0] == 190
        page_token = accounts(ask, login(ask))[ACME_PAGE]
        assert ask("GET", "/me", token=page_token).json()["id"] == ACME_PAGE


def test_a_role_lost_hides_the_page_until_it_is_given_back(ask: Asker) -> None:
    switch(ask, f"pages/{ACME_PAGE}", role_lost=True)
    assert set(accounts(ask, login(ask))) == {SECOND_PAGE}
    switch(ask, f"pages/{ACME_PAGE}", role_lost=False)
    assert set(accounts(ask, login(ask))) == {ACME_PAGE, SECOND_PAGE}


def test_without_the_task_to_advertise_there_are_no_leads(simulator: SimulatorServer, ask: Asker) -> None:
    (lead,) = simulator.world.add_leads(ACME_FORM)
    switch(ask, f"pages/{ACME_PAGE}", tasks=["ANALYZE"])
    assert codes(ask("GET", f"/{lead.id}")) == (100, 33)
    page = ask("GET", f"/{ACME_PAGE}", fields="tasks,has_lead_access").json()
    assert page["tasks"] == ["ANALYZE"]
    access = page["has_lead_access"]
    assert (access["can_access_lead"], access["is_page_admin"], access["user_has_leads_permission"]) == (False,) * 3
    assert "ADVERTISE" in access["failure_reason"]


def test_removing_the_app_leaves_the_pages_silent_and_one_permission_only_narrows(
    simulator: SimulatorServer, ask: Asker
) -> None:
    token = login(ask)
    assert ask("DELETE", "/me/permissions/ads_management", token=token).text == "true"
    assert "ads_management" not in debugged(ask, token)["scopes"]
    assert simulator.world.pages[ACME_PAGE].subscribed
    assert ask("DELETE", "/me/permissions", token=token).text == "true"
    assert codes(ask("GET", "/me")) == (190, 458)
    assert not simulator.world.pages[ACME_PAGE].subscribed
    assert simulator.world.pages[GLOBEX_PAGE].subscribed


class Callback:
    """Keeps the forms it is sent."""

    def __init__(self) -> None:
        self.got: list[str] = []
        callback = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                callback.got.append(parse_qs(body, strict_parsing=True)["signed_request"][0])
                answer = b'{"url": "https://troth.example/deletions/c1", "confirmation_code": "c1"}'
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/meta/deletion"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def callback() -> Iterator[Callback]:
    found = Callback()
    yield found
    found.server.shutdown()
    found.server.server_close()


def opened(value: str, secret: str = APP_SECRET) -> dict[str, Any]:
    """Checked as Meta's own sample checks it: the signature is over the encoded payload."""
    assert "=" not in value
    signature, _, encoded = value.partition(".")
    expected = hmac.new(secret.encode(), encoded.encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(signature + "==") == expected
    payload: dict[str, Any] = json.loads(base64.urlsafe_b64decode(encoded + "=="))
    return payload


def test_a_signed_callback_is_about_a_person_or_a_page(callback: Callback, ask: Asker) -> None:
    wish = {"kind": "deletion", "user": GLOBEX_USER, "callback_url": callback.url}
    reply = ask.bare("POST", "/_sim/meta/callback", json=wish).json()
    assert (reply["status"], json.loads(reply["body"])["confirmation_code"]) == (200, "c1")
    person = opened(callback.got[0])
    assert (person["algorithm"], person["user_id"]) == ("HMAC-SHA256", GLOBEX_USER)
    assert person["expires"] > person["issued_at"]
    page = {"kind": "deauthorize", "page": ACME_PAGE, "callback_url": callback.url, "removed": True}
    ask.bare("POST", "/_sim/meta/callback", json=page)
    assert opened(callback.got[1])["user_id"] == "0"
    assert opened(callback.got[1])["profile_id"] == ACME_PAGE
    assert codes(ask("GET", "/me")) == (190, None)
    assert ask("GET", "/me", token=GLOBEX_TOKEN).status_code == 200


def test_a_callback_can_be_forged_for_those_who_must_refuse_it(callback: Callback, ask: Asker) -> None:
    wish = {"kind": "deletion", "user": "7", "callback_url": callback.url, "secret": "wrong", "payload": {"user_id": 8}}
    ask.bare("POST", "/_sim/meta/callback", json=wish)
    assert opened(callback.got[0], "wrong")["user_id"] == 8
    assert signed_request("a", {"user_id": "1"}) != signed_request("b", {"user_id": "1"})


@pytest.mark.parametrize("wish", [{}, {"kind": "deletion"}, {"kind": "deletion", "user": "1", "page": "2"}])
def test_a_callback_about_nobody_is_a_sentence(ask: Asker, wish: dict[str, str]) -> None:
    reply = ask.bare("POST", "/_sim/meta/callback", json={**wish, "callback_url": "http://127.0.0.1:9/"})
    assert reply.status_code == 400


def test_a_callback_that_nobody_answers_has_status_zero(ask: Asker) -> None:
    wish = {"kind": "deletion", "user": "1", "callback_url": "http://127.0.0.1:9/"}
    assert ask.bare("POST", "/_sim/meta/callback", json=wish).json() == {"status": 0, "body": ""}
