"""What is asked about Pages and tokens, and what is made of the answers."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from integrations.errors import Missing, NeedsUser, OurBug, Transient
from integrations.facebook_leads.graph import Graph
from integrations.facebook_leads.sdk import API_VERSION
from integrations.facebook_leads.token_info import TokenInfo
from tests.integrations.facebook_leads.conftest import PROOF, SECRET, TOKEN, Meta, error_item, one_each

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


def told(data: Any) -> dict[str, Any]:
    return {"code": 200, "body": json.dumps({"data": data})}


def test_each_of_many_tokens_is_answered_for_itself(graph: Graph, meta: Meta) -> None:
    meta.says(200, [told({"is_valid": True, "scopes": []}), None, told({"is_valid": False})])
    first, second, third = graph.debug_tokens(["a", "b", "c"])
    assert isinstance(first, TokenInfo) and first.is_valid
    assert isinstance(second, Transient)
    assert isinstance(third, TokenInfo) and not third.is_valid
    assert len(meta.calls) == 1


def test_a_valid_token_whose_permissions_are_not_told_is_asked_about_again(graph: Graph, meta: Meta) -> None:
    meta.says(200, [told({"is_valid": True})])
    with pytest.raises(Transient):
        graph.debug_token(TOKEN)


@pytest.mark.parametrize(("status", "code"), [(400, 190), (403, 200), (400, 104)])
def test_an_app_that_is_refused_is_our_bug_and_no_tenants_broken_grant(
    graph: Graph, meta: Meta, status: int, code: int
) -> None:
    refusal = {"error": {"code": code}}
    for body in (refusal, [{"code": status, "body": json.dumps(refusal)}]):
        meta.says(status if body is refusal else 200, body)
        with pytest.raises(OurBug) as caught:
            graph.debug_token(TOKEN)
        assert caught.value.code == str(code) and caught.value.__context__ is None


def test_a_token_of_another_app_needs_a_new_connection(graph: Graph, meta: Meta) -> None:
    meta.says(200, [{"code": 400, "body": json.dumps({"error": {"code": 100}})}])
    with pytest.raises(NeedsUser, match="another Meta app"):
        graph.debug_token(TOKEN)


def test_a_permission_may_be_given_for_some_pages_only(graph: Graph, meta: Meta) -> None:
    granular = [
        {"scope": "pages_manage_metadata", "target_ids": ["102", 103]},
        {"scope": "pages_manage_ads"},
        {"scope": "ads_management", "target_ids": ["act_7"]},
        {"scope": "pages_show_list", "target_ids": []},
        {"scope": 7, "target_ids": ["1"]},
        7,
    ]
    scopes = ["pages_manage_metadata", "pages_manage_ads", "ads_management", "pages_show_list"]
    meta.says(200, [told({"is_valid": True, "scopes": scopes, "granular_scopes": granular})])
    info = graph.debug_token(TOKEN)
    assert info.granted_for("101") == ("pages_manage_ads", "ads_management", "pages_show_list")
    assert info.granted_for("102") == info.granted_for("103") == tuple(scopes)


def test_a_page_is_looked_at_in_one_call_and_each_part_may_fail_alone(graph: Graph, meta: Meta) -> None:
    apps = [7, {"id": "1", "subscribed_fields": ["feed"]}, {"id": 999, "subscribed_fields": ["messages", 7]}]
    parts = [told({"is_valid": True, "scopes": []}), error_item(400, 100, 33), told(apps)]
    meta.says(200, parts)
    [facts] = graph.page_facts([(TOKEN, "101")])
    assert isinstance(facts.token, TokenInfo) and isinstance(facts.access, Missing)
    assert facts.fields == ("messages",)
    [call] = meta.calls
    asked = [one_each(urlsplit(one["relative_url"]).query) for one in call.batch]
    assert asked[0] == {"input_token": TOKEN}
    assert [one["access_token"] for one in asked[1:]] == [TOKEN, TOKEN]
    assert [one["appsecret_proof"] for one in asked[1:]] == [PROOF, PROOF]


@pytest.mark.parametrize("page_id", ["", "0", "101/../me", "101?x=1", "-1", "\u0661", "me"])
def test_a_page_id_that_is_none_is_not_sent(graph: Graph, meta: Meta, page_id: str) -> None:
    with pytest.raises(OurBug):
        graph.page_facts([(TOKEN, page_id)])
    assert meta.calls == []
