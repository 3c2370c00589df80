"""The Graph client and the SDK on our connections, against a server that answers as the test says."""

import hashlib
import hmac
import json
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from facebook_business.adobjects.lead import Lead  # type: ignore[import-untyped]
from facebook_business.api import FacebookAdsApi  # type: ignore[import-untyped]

from integrations.errors import IntegrationError, Missing, NeedsUser, OurBug, Throttled, Transient
from integrations.facebook_leads.graph import Graph, LeadReply
from integrations.facebook_leads.sdk import API_VERSION, LEAD_FIELDS, ads_api
from integrations.http import Http

TOKEN = "EAAcanarytoken|with/odd+signs"
SECRET = "canary-app-secret"
PROOF = hmac.new(SECRET.encode(), TOKEN.encode(), hashlib.sha256).hexdigest()
HTML = b"<html><body>502 Bad Gateway</body></html>"


@dataclass
class Call:
    """One request as the server saw it."""

    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: dict[str, str]

    @property
    def batch(self) -> list[dict[str, str]]:
        calls: list[dict[str, str]] = json.loads(self.form["batch"])
        return calls


Answer = Callable[[Call], tuple[int, bytes, dict[str, str]]]


class Meta:
    """A server on loopback; `answer` gives status, body and headers for a call."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answer: Answer = lambda call: (200, b"{}", {})
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
                address = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                call = Call(self.command, address.path, one_each(address.query), one_each(body), headers)
                outer.calls.append(call)
                status, content, extra = outer.answer(call)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **extra}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_DELETE = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"
        threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def says(self, status: int, body: Any, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answer = lambda call: (status, content, sent)

    def answers_items(self, make: Callable[[str], Any]) -> None:
        """Answers a batch with what `make` gives for each lead id."""

        def answer(call: Call) -> tuple[int, bytes, dict[str, str]]:
            ids = [one["relative_url"].partition("?")[0] for one in call.batch]
            return 200, json.dumps([make(one) for one in ids]).encode(), {}

        self.answer = answer


def one_each(encoded: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(encoded, keep_blank_values=True).items()}


@pytest.fixture
def meta() -> Iterator[Meta]:
    running = Meta()
    yield running
    running.httpd.shutdown()
    running.httpd.server_close()


@pytest.fixture(scope="module")  # reading the trusted certificates takes longer than a test
def http() -> Iterator[Http]:
    with closing(Http(read_timeout=timedelta(seconds=5))) as client:
        yield client


@pytest.fixture
def graph(http: Http, meta: Meta) -> Graph:
    return Graph(http, base_url=meta.url, app_id="999", app_secret=SECRET)


@pytest.fixture
def api(http: Http, meta: Meta) -> Any:
    return ads_api(http, base_url=meta.url, version=API_VERSION, token=TOKEN, proof=PROOF)


def lead_item(lead_id: str, **more: Any) -> dict[str, Any]:
    return {"code": 200, "headers": [], "body": json.dumps({"id": lead_id, "field_data": []} | more)}


def error_item(status: int, code: int, subcode: int | None = None, **headers: str) -> dict[str, Any]:
    error = {"message": "Canary Person", "code": code, "error_subcode": subcode, "fbtrace_id": "Tr1"}
    listed = [{"name": name.replace("_", "-"), "value": value} for name, value in headers.items()]
    return {"code": status, "headers": listed, "body": json.dumps({"error": error})}


def fetch_one(graph: Graph) -> LeadReply:
    [reply] = graph.fetch_leads(TOKEN, ["555"])
    return reply


def failed(graph: Graph) -> IntegrationError:
    with pytest.raises(IntegrationError) as caught:
        graph.fetch_leads(TOKEN, ["555"])
    return caught.value


def told_by(error: BaseException) -> str:
    """Everything an error reporter could print of it, its causes included."""
    return "".join(traceback.format_exception(error, chain=True)) + repr(error) + repr(vars(error))


@pytest.mark.parametrize(
    ("status", "body", "decision"),
    [
        (502, HTML, Transient),
        (200, HTML, Transient),
        (200, b"", Transient),
        (200, {}, Transient),
        (200, True, Transient),
        (200, None, Transient),
        (200, [], Transient),
        (200, [None, None], Transient),
        (500, {"oops": 1}, Transient),
        (500, [lead_item("555")], Transient),
        (302, b"", Transient),
        (200, {"error": {"code": 190, "error_subcode": 460}}, NeedsUser),
        (400, {"error": {"code": 190}}, NeedsUser),
        (401, {"error": {"code": 190}}, NeedsUser),
        (400, {"error": {"code": 100}}, OurBug),
        (400, {"error": {"code": 4}}, Throttled),
        (400, {"error": "text"}, Transient),
        (400, {"error": None}, Transient),
    ],
    ids=repr,
)
def test_a_call_that_fails_as_a_whole_is_raised(
    graph: Graph, meta: Meta, status: int, body: Any, decision: type[IntegrationError]
) -> None:
    meta.says(status, body)
    error = failed(graph)
    assert type(error) is decision
    assert error.__context__ is None


@pytest.mark.parametrize(
    ("item", "decision"),
    [
        (None, Transient),
        (7, Transient),
        ({}, Transient),
        ({"code": 200}, Transient),
        ({"code": 200, "body": None}, Transient),
        ({"code": 200, "body": 7}, Transient),
        ({"code": 200, "body": {"id": "2"}}, Transient),
        ({"code": 200, "body": "<html>"}, Transient),
        ({"code": 200, "body": "true"}, Transient),
        ({"code": 200, "body": '{"id":"7"}'}, Transient),
        ({"code": 200, "body": "{}"}, Transient),
        ({"code": 502, "body": "<html>"}, Transient),
        ({"code": 500, "body": '{"id":"2"}'}, Transient),
        ({"code": "200", "body": '{"id":"2"}'}, Transient),
        (error_item(400, 100, 33), Missing),
        (error_item(400, 190, 463), NeedsUser),
        (error_item(400, 80005), Throttled),
        (error_item(200, 10), NeedsUser),
        (error_item(500, 100, 33), Transient),
        (error_item(400, 803), OurBug),
    ],
    ids=repr,
)
def test_a_lead_that_fails_costs_its_neighbours_nothing(
    graph: Graph, meta: Meta, item: Any, decision: type[IntegrationError]
) -> None:
    meta.answers_items(lambda one: item if one == "2" else lead_item(one))
    first, second, third = graph.fetch_leads(TOKEN, ["1", "2", "3"])
    assert first.lead and third.lead and not first.error and not third.error
    assert (second.lead_id, second.lead) == ("2", None)
    assert type(second.error) is decision


def test_replies_keep_the_order_and_number_of_the_question(graph: Graph, meta: Meta) -> None:
    meta.answers_items(lambda one: None if int(one) % 7 == 0 else lead_item(one))
    asked = [str(number) for number in range(50, 0, -1)]
    replies = graph.fetch_leads(TOKEN, asked)
    assert [reply.lead_id for reply in replies] == asked
    assert [reply.lead and reply.lead["id"] for reply in replies] == [
        None if int(one) % 7 == 0 else one for one in asked
    ]


def test_the_same_lead_may_be_asked_for_twice(graph: Graph, meta: Meta) -> None:
    meta.answers_items(lead_item)
    assert all(reply.lead for reply in graph.fetch_leads(TOKEN, ["5", "5"]))


def test_fifty_leads_are_one_call_with_the_token_in_no_address(graph: Graph, meta: Meta) -> None:
    meta.answers_items(lead_item)
    graph.fetch_leads(TOKEN, [str(number) for number in range(1, 51)])
    [call] = meta.calls
    assert (call.method, call.path, call.query) == ("POST", f"/{API_VERSION}/", {})
    assert call.headers["authorization"] == f"Bearer {TOKEN}"
    assert call.form["appsecret_proof"] == PROOF
    assert len(call.batch) == 50
    assert call.batch[1] == {"method": "GET", "relative_url": f"2?fields={','.join(LEAD_FIELDS)}"}


def test_the_version_and_an_address_with_a_slash_at_its_end_are_taken(http: Http, meta: Meta) -> None:
    meta.answers_items(lead_item)
    Graph(http, base_url=meta.url + "/", app_id="9", app_secret=SECRET, version="v25.0").fetch_leads(TOKEN, ["1"])
    assert meta.calls[0].path == "/v25.0/"


@pytest.mark.parametrize("ids", [["1"] * 51, ["1/../2"], ["1", ""], ["1?fields=x"], ["\u0661"], ["-1"]])
def test_a_question_that_cannot_be_asked_is_our_bug_and_is_not_sent(graph: Graph, meta: Meta, ids: list[str]) -> None:
    with pytest.raises(OurBug):
        graph.fetch_leads(TOKEN, ids)
    assert meta.calls == []


def test_no_leads_are_no_call(graph: Graph, meta: Meta) -> None:
    assert graph.fetch_leads(TOKEN, []) == []
    assert meta.calls == []


def usage(minutes: int) -> str:
    return json.dumps({"102": [{"type": "leadgen", "estimated_time_to_regain_access": minutes}]})


def test_a_throttled_item_waits_as_its_own_headers_say(graph: Graph, meta: Meta) -> None:
    meta.answers_items(lambda one: error_item(400, 80005, X_Business_Use_Case_Usage=usage(11)))
    error = fetch_one(graph).error
    assert error and error.retry_after == timedelta(minutes=11)


def test_a_throttled_item_without_headers_waits_as_the_whole_answer_says(graph: Graph, meta: Meta) -> None:
    body = json.dumps([error_item(400, 80005) | {"headers": None}]).encode()
    meta.answer = lambda call: (200, body, {"X-Business-Use-Case-Usage": usage(13)})
    error = fetch_one(graph).error
    assert error and error.retry_after == timedelta(minutes=13)


def test_a_throttled_call_waits_as_its_headers_say(graph: Graph, meta: Meta) -> None:
    meta.says(400, {"error": {"code": 80005}}, X_Business_Use_Case_Usage=usage(17))
    assert failed(graph).retry_after == timedelta(minutes=17)


def test_an_app_without_a_secret_is_refused_at_the_start(http: Http) -> None:
    with pytest.raises(ValueError, match="secret"):
        Graph(http, base_url="http://127.0.0.1", app_id="9", app_secret="")


def test_no_error_or_log_ever_holds_a_token_or_a_person(
    graph: Graph, meta: Meta, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    hostile = {"error": {"code": 190, "message": f"Canary Person {TOKEN} {PROOF}", "fbtrace_id": TOKEN}}
    calls: list[Callable[[], object]] = [
        lambda: graph.fetch_leads(TOKEN, ["555"]),
        lambda: graph.page_access(TOKEN, "101"),
        lambda: graph.debug_token(TOKEN),
        lambda: Lead("555", api=api).api_get(fields=["id"]),
        lambda: Lead("555", api=api).api_delete(),
    ]
    answers: list[tuple[int, Any]] = [
        (400, hostile),
        (200, hostile),
        (502, HTML + TOKEN.encode()),
        (200, [hostile] * 2),
    ]
    told = []
    with caplog.at_level(logging.DEBUG):
        for status, body in answers:
            meta.says(status, body)
            for call in calls:
                with pytest.raises(IntegrationError) as caught:
                    call()
                told.append(told_by(caught.value))
        meta.httpd.shutdown()
        meta.httpd.server_close()
    everything = "".join(told) + caplog.text + repr(graph)
    for secret in (TOKEN, SECRET, PROOF, "Canary Person", "EAAcanary"):
        assert secret not in everything


def test_no_token_is_ever_in_an_address(graph: Graph, meta: Meta) -> None:
    meta.says(200, [None])
    for call in (graph.debug_token, lambda token: graph.page_access(token, "101")):
        with pytest.raises(IntegrationError):
            call(TOKEN)
    for seen in meta.calls:
        assert "access_token" not in seen.query and TOKEN not in repr((seen.path, seen.query))


ACCESS = {
    "can_access_lead": False,
    "app_has_leads_permission": True,
    "user_has_leads_permission": False,
    "enabled_lead_access_manager": True,
    "is_page_admin": True,
    "failure_reason": "The user was left out.",
}


def test_page_access_is_asked_through_the_sdk(graph: Graph, meta: Meta) -> None:
    meta.says(200, {"id": "101", "has_lead_access": ACCESS})
    access = graph.page_access(TOKEN, "101")
    assert (access.can_access_lead, access.enabled_lead_access_manager) == (False, True)
    assert (access.failure_reason, access.failure_resolution) == ("The user was left out.", None)
    [call] = meta.calls
    assert (call.method, call.path.rstrip("/")) == ("GET", f"/{API_VERSION}/101")
    assert call.query == {"fields": "has_lead_access", "appsecret_proof": PROOF}
    assert call.headers["authorization"] == f"Bearer {TOKEN}"
    assert call.headers["user-agent"].startswith("fbbizsdk-python")


@pytest.mark.parametrize("body", [{}, {"id": "101"}, {"id": "101", "has_lead_access": 7}, [], [7], 7, "x", True, None])
def test_an_answer_without_page_access_is_transient(graph: Graph, meta: Meta, body: Any) -> None:
    meta.says(200, body)
    with pytest.raises(Transient):
        graph.page_access(TOKEN, "101")


def test_a_token_is_asked_about_in_the_body_of_a_call(graph: Graph, meta: Meta) -> None:
    data = {
        "is_valid": True,
        "app_id": "999",
        "user_id": 77,
        "expires_at": 0,
        "data_access_expires_at": 1767323045,
        "scopes": ["leads_retrieval", 7],
    }
    meta.says(200, [{"code": 200, "body": json.dumps({"data": data})}])
    info = graph.debug_token(TOKEN)
    assert (info.is_valid, info.app_id, info.user_id, info.scopes) == (True, "999", "77", ("leads_retrieval",))
    assert (info.expires_at, info.data_access_expires_at) == (None, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    [call] = meta.calls
    [item] = call.batch
    assert one_each(urlsplit(item["relative_url"]).query) == {"input_token": TOKEN}
    assert call.headers["authorization"] == f"Bearer 999|{SECRET}"


def test_a_dead_token_says_why(graph: Graph, meta: Meta) -> None:
    data = {"is_valid": False, "scopes": [], "error": {"code": 190, "subcode": 460, "message": "Canary"}}
    meta.says(200, [{"code": 200, "body": json.dumps({"data": data})}])
    info = graph.debug_token(TOKEN)
    assert not info.is_valid
    assert type(info.error) is NeedsUser and info.error.code == "190/460"


@pytest.mark.parametrize(
    ("status", "body"), [(502, HTML), (500, {"oops": 1}), (200, HTML), (200, b""), (200, 7), (200, {"success": False})]
)
def test_the_sdk_no_longer_takes_a_failure_for_success(api: Any, meta: Meta, status: int, body: Any) -> None:
    meta.says(status, body)
    with pytest.raises(Transient):
        Lead("555", api=api).api_get(fields=["id"])


def test_the_sdk_no_longer_crashes_on_a_body_of_true(api: Any, meta: Meta) -> None:
    meta.says(200, True)
    api.call("DELETE", ("77", "permissions"))
    assert meta.calls[0].method == "DELETE"


def test_the_sdks_errors_are_ours(api: Any, meta: Meta) -> None:
    meta.says(400, {"error": {"code": 100, "error_subcode": 33}})
    with pytest.raises(Missing):
        Lead("555", api=api).api_get(fields=["id"])


def test_the_sdk_reads_and_posts_over_our_connection(api: Any, meta: Meta) -> None:
    meta.says(200, {"id": "555", "platform": "fb"})
    assert Lead("555", api=api).api_get(fields=["id", "platform"])["platform"] == "fb"
    api.call("POST", ("301", "test_leads"), params={"field_data": [{"name": "a"}]})
    assert meta.calls[1].form == {"field_data": '[{"name":"a"}]', "appsecret_proof": PROOF}
    assert meta.calls[1].query == {}


def test_the_sdk_is_not_led_away_from_the_graph(api: Any, meta: Meta) -> None:
    for address in ("https://example.com/v26.0/me", meta.url + ".example.com/", "http://127.0.0.1:9/v26.0/me"):
        with pytest.raises(OurBug):
            api.call("GET", address)
    with pytest.raises(OurBug):
        api.call("POST", ("1", "x"), files={"source": b""})
    assert meta.calls == []


def test_an_address_that_only_begins_like_the_graph_is_not_the_graph(http: Http, meta: Meta) -> None:
    api = ads_api(http, base_url=f"{meta.url}/graph", version=API_VERSION, token=TOKEN, proof=PROOF)
    with pytest.raises(OurBug):
        api.call("GET", f"{meta.url}/graphic/v26.0/me")
    assert meta.calls == []


def test_two_tenants_apis_do_not_share_a_token(http: Http, meta: Meta) -> None:
    meta.says(200, {"id": "1"})
    made = [ads_api(http, base_url=meta.url, version=API_VERSION, token=one, proof=one) for one in ("acme", "globex")]
    for one in (*made, made[0]):
        Lead("1", api=one).api_get(fields=["id"])
    assert [call.headers["authorization"] for call in meta.calls] == ["Bearer acme", "Bearer globex", "Bearer acme"]
    assert [call.query["appsecret_proof"] for call in meta.calls] == ["acme", "globex", "acme"]


def test_the_sdk_gets_no_default_api_and_no_hook_for_crashes(api: Any) -> None:
    assert FacebookAdsApi.get_default_api() is None
    assert sys.excepthook.__module__ != "facebook_business.crashreporter"
