"""Meta's own SDK on our connections: it goes nowhere else, keeps no token, and fails as we do."""

import sys
from typing import Any

import pytest
from facebook_business.adobjects.lead import Lead  # type: ignore[import-untyped]
from facebook_business.api import FacebookAdsApi  # type: ignore[import-untyped]

from integrations.errors import Missing, OurBug, Transient
from integrations.facebook_leads.sdk import API_VERSION, NOT_DONE, ads_api, ask
from integrations.http import Http
from tests.integrations.facebook_leads.conftest import HTML, PROOF, TOKEN, Meta


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


@pytest.mark.parametrize("body", [[], 7, "x", None])
def test_a_call_without_an_object_in_its_answer_is_transient(api: Any, meta: Meta, body: Any) -> None:
    meta.says(200, body)
    with pytest.raises(Transient) as caught:
        ask(api, "GET", "me", "accounts")
    assert caught.value.__context__ is None


def test_what_meta_did_not_do_can_be_told_from_what_it_could_not_say(api: Any, meta: Meta) -> None:
    meta.says(200, {"success": False})
    with pytest.raises(Transient) as caught:
        ask(api, "DELETE", "101", "subscribed_apps")
    assert caught.value.code == NOT_DONE
