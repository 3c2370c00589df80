"""Many leads in one call: each is answered for itself, and an error of the whole is raised."""

import json
from datetime import timedelta
from typing import Any

import pytest

from integrations.errors import IntegrationError, Missing, NeedsUser, OurBug, Throttled, Transient
from integrations.facebook_leads.graph import Graph, LeadReply
from integrations.facebook_leads.sdk import API_VERSION, LEAD_FIELDS
from integrations.http import Http
from tests.integrations.facebook_leads.conftest import HTML, PROOF, SECRET, TOKEN, Meta, error_item, lead_item


def fetch_one(graph: Graph) -> LeadReply:
    [reply] = graph.fetch_leads(TOKEN, ["555"])
    return reply


def failed(graph: Graph) -> IntegrationError:
    with pytest.raises(IntegrationError) as caught:
        graph.fetch_leads(TOKEN, ["555"])
    return caught.value


def usage(minutes: int) -> str:
    return json.dumps({"102": [{"type": "leadgen", "estimated_time_to_regain_access": minutes}]})


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
