"""Meta's deliveries: a forged one is refused, and of a true one nothing usable is lost."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations import INTEGRATIONS
from integrations.errors import BadPayload, BadSignature
from integrations.facebook_leads.webhook import Delivery, LeadChange, handshake, read, verify

SECRET = "app-secret"
BODY = b'{"object": "page", "entry": []}'
HEX = hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()


def change(**value: Any) -> dict[str, Any]:
    usual = {"leadgen_id": "555", "page_id": "101", "form_id": "301", "created_time": 1767322800}
    return {"field": "leadgen", "value": usual | value}


def body(*changes: Any, page: Any = "101") -> bytes:
    return json.dumps({"object": "page", "entry": [{"id": page, "time": 1, "changes": list(changes)}]}).encode()


def read_one(**value: Any) -> LeadChange:
    delivery = read(body(change(**value)))
    assert delivery.skipped == {}
    [only] = delivery.changes
    return only


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        HEX,
        "sha256=",
        f"sha256={HEX[:-1]}",
        f"sha256={HEX}0",
        f"sha1={HEX}",
        f"sha256={HEX[::-1]}",
        f"sha256={'z' * 64}",
        f"sha256={HEX[:-1]}\u00e9",
        "sha256=" + "\u0661" * 64,
        f"sha256={HEX[:-1]}\ud800",
        f" sha256={HEX}",
        f"sha256={HEX[:62]} 0",
    ],
)
def test_a_signature_that_does_not_fit_is_refused(header: str | None) -> None:
    with pytest.raises(BadSignature) as caught:
        verify(BODY, header, SECRET)
    assert HEX not in str(caught.value) and SECRET not in str(caught.value)


@pytest.mark.parametrize("secret", ["", "  "])
def test_without_an_app_secret_even_a_fitting_signature_is_refused(secret: str) -> None:
    fitting = hmac.new(secret.encode(), BODY, hashlib.sha256).hexdigest()
    with pytest.raises(BadSignature):
        verify(BODY, f"sha256={fitting}", secret)


def test_a_signature_covers_every_byte() -> None:
    with pytest.raises(BadSignature):
        verify(BODY + b" ", f"sha256={HEX}", SECRET)
    with pytest.raises(BadSignature):
        verify(json.dumps(json.loads(BODY), separators=(",", ":")).encode(), f"sha256={HEX}", SECRET)


def test_a_fitting_signature_passes_in_either_case() -> None:
    verify(BODY, f"sha256={HEX}", SECRET)
    verify(BODY, f"sha256={HEX.upper()}", SECRET)


SUBSCRIBE = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": "ours"}


@pytest.mark.parametrize(
    ("params", "token"),
    [
        ({}, "ours"),
        (SUBSCRIBE | {"hub.verify_token": "theirs"}, "ours"),
        (SUBSCRIBE | {"hub.verify_token": "\u00f6urs"}, "ours"),
        (SUBSCRIBE | {"hub.verify_token": ""}, ""),
        (SUBSCRIBE, ""),
        (SUBSCRIBE | {"hub.mode": "unsubscribe"}, "ours"),
        (SUBSCRIBE | {"hub.challenge": "<script>"}, "ours"),
        (SUBSCRIBE | {"hub.challenge": ""}, "ours"),
        (SUBSCRIBE | {"hub.challenge": "\u0661"}, "ours"),
        (SUBSCRIBE | {"hub.challenge": "1" * 65}, "ours"),
    ],
)
def test_a_handshake_that_is_not_metas_is_refused(params: Mapping[str, str], token: str) -> None:
    with pytest.raises(BadSignature):
        handshake(params, token)


def test_a_handshake_gives_the_challenge_back() -> None:
    assert handshake(SUBSCRIBE, "ours") == "1158201444"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"page"',
        b"7",
        b'{"object":"page"}',
        b'{"object":"page","entry":{}}',
        b'{"object":"page","entry":null}',
        b'{"object":"page","entry":[NaN]}',
        b'{"object":"page","entry":[1e999]}',
        b'{"object":"page","entry":[' + b"9" * 500 + b"]}",
        b'{"object":"page","entry":["\xff\xfe"]}',
        b'{"object":"page","entry":["\\ud800"]}',
        b"[" * 200_000,
        b'{"entry":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"object":"page","entry":[' + b"[" * 5_000 + b"]" * 5_000 + b"]}",
    ],
    ids=lambda raw: repr(raw[:34]),
)
def test_a_body_that_cannot_be_read_is_refused_in_one_sentence(raw: bytes) -> None:
    with pytest.raises(BadPayload) as caught:
        read(raw)
    assert str(caught.value).startswith("The delivery is not ")
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "bad",
    [
        None,
        7,
        "leadgen",
        [],
        {},
        {"field": "leadgen"},
        {"field": "leadgen", "value": None},
        {"field": "leadgen", "value": "555"},
        {"field": 7, "value": {"leadgen_id": "555", "page_id": "101"}},
        change(leadgen_id=None),
        change(leadgen_id=True),
        change(leadgen_id=555.0),
        change(leadgen_id=-555),
        change(leadgen_id=0),
        change(leadgen_id="0"),
        change(leadgen_id=""),
        change(leadgen_id="0555"),
        change(leadgen_id="-555"),
        change(leadgen_id=" 555"),
        change(leadgen_id="55x"),
        change(leadgen_id="\u0665\u0665"),
        change(leadgen_id="5" * 31),
        change(leadgen_id=10**29),
        change(leadgen_id=["555"]),
        change(leadgen_id={"id": "555"}),
        change(page_id=True),
        change(page_id=101.5),
        change(page_id="101/../102"),
    ],
    ids=lambda bad: repr(bad)[:60],
)
def test_a_bad_change_is_counted_and_its_neighbours_are_kept(bad: Any) -> None:
    delivery = read(body(change(leadgen_id="1"), bad, change(leadgen_id="2")))
    assert [one.lead_id for one in delivery.changes] == ["1", "2"]
    assert delivery.skipped == {"bad_change": 1}


@pytest.mark.parametrize("bad", [None, 7, "x", [], [[]], {"id": "1", "changes": {}}, {"changes": "x"}])
def test_a_bad_entry_is_counted_and_its_neighbours_are_kept(bad: Any) -> None:
    good = {"id": "101", "changes": [change()]}
    delivery = read(json.dumps({"object": "page", "entry": [good, bad, good]}).encode())
    assert len(delivery.changes) == 2
    assert delivery.skipped == {"bad_entry": 1}


def test_an_entry_without_values_is_counted() -> None:
    named = {"id": "101", "time": 1, "changed_fields": ["leadgen"]}
    chat = {"id": "101", "time": 1, "messaging": [{}]}
    delivery = read(json.dumps({"object": "page", "entry": [named, chat]}).encode())
    assert delivery == Delivery([], {"no_changes": 2})


def test_another_field_is_counted() -> None:
    delivery = read(body({"field": "feed", "value": {}}, change(), {"field": "leadgen_update", "value": {}}))
    assert len(delivery.changes) == 1
    assert delivery.skipped == {"unknown_field": 2}


@pytest.mark.parametrize("about", ["user", "PAGE", None, 7, ["page"], {"page": 1}])
def test_another_object_is_counted_and_not_read(about: Any) -> None:
    raw = json.dumps({"object": about, "entry": [{"id": "101", "changes": [change()]}] * 3}).encode()
    assert read(raw) == Delivery([], {"unknown_object": 3})


def test_ids_are_read_as_numbers_and_as_text() -> None:
    as_text = read_one(leadgen_id="555", page_id="101", form_id="301", ad_id="401", adgroup_id="501")
    as_numbers = read_one(leadgen_id=555, page_id=101, form_id=301, ad_id=401, adgroup_id=501)
    assert as_text == as_numbers
    assert as_text == LeadChange("101", "555", "301", "401", "501", datetime(2026, 1, 2, 3, 0, tzinfo=UTC))


@pytest.mark.parametrize("nothing", [0, "0", "", None])
def test_an_ad_id_of_zero_is_no_ad(nothing: Any) -> None:
    one = read_one(ad_id=nothing, adgroup_id=nothing)
    assert (one.ad_id, one.adgroup_id) == (None, None)


@pytest.mark.parametrize("odd", [True, 1.5, -1, "x", [], {}, "9" * 40])
def test_an_odd_side_id_or_time_does_not_cost_the_lead(odd: Any) -> None:
    one = read_one(form_id=odd, ad_id=odd, adgroup_id=odd, created_time=odd)
    assert one == LeadChange("101", "555", None, None, None, None)


@pytest.mark.parametrize("time", [10**18, "1" * 30, 0, "0"])
def test_a_time_beyond_the_calendar_is_left_out(time: Any) -> None:
    assert read_one(created_time=time).created_at is None


def test_a_time_may_be_text() -> None:
    assert read_one(created_time="1767322800").created_at == datetime(2026, 1, 2, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize("page", [0, "0", None, ""])
def test_the_page_of_the_entry_serves_where_the_value_names_none(page: Any) -> None:
    [one] = read(body(change(page_id=page), page=202)).changes
    assert one.page_id == "202"


def test_the_page_of_the_value_goes_before_the_page_of_the_entry() -> None:
    [one] = read(body(change(page_id="101"), page="0")).changes
    assert one.page_id == "101"


def test_a_change_that_names_no_page_at_all_is_bad() -> None:
    assert read(body(change(page_id=0), page="0")) == Delivery([], {"bad_change": 1})


def test_the_dashboards_test_button_is_read() -> None:
    [one] = read(body(change(leadgen_id="444444444444", page_id="444444444444"), page="0")).changes
    assert one.lead_id == "444444444444"


def test_every_change_of_every_entry_is_read_in_order() -> None:
    entries = [
        {"id": str(page), "changes": [change(page_id=page, leadgen_id=1 + page * 100 + n) for n in range(100)]}
        for page in range(1, 11)
    ]
    delivery = read(json.dumps({"object": "page", "entry": entries}).encode())
    assert len(delivery.changes) == 1000
    assert {one.page_id for one in delivery.changes} == {str(page) for page in range(1, 11)}
    assert [int(one.lead_id) for one in delivery.changes] == sorted(int(one.lead_id) for one in delivery.changes)


def test_escaped_text_beside_the_ids_is_read() -> None:
    raw = b'{"object":"page","entry":[{"id":"1","changes":[{"field":"leadgen","value":{"leadgen_id":"5","page_id":"1"'
    assert len(read(raw + b',"note":"\\u00e4\\u0040\\u0000","note":2}}]}]}').changes) == 1


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(odd=json_values, entry_id=json_values, extra=json_values)
def test_whatever_is_inside_the_good_change_beside_it_is_kept(odd: Any, entry_id: Any, extra: Any) -> None:
    entries = [odd, {"id": entry_id, "changes": [odd, change(leadgen_id="777"), change(form_id=extra, x=odd)]}]
    delivery = read(json.dumps({"object": "page", "entry": entries}).encode())
    assert "777" in [one.lead_id for one in delivery.changes]


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_no_bytes_raise_anything_but_bad_payload(raw: bytes) -> None:
    with suppress(BadPayload):
        read(raw)


def test_the_list_of_integrations_leads_to_these_functions() -> None:
    [facebook] = [one for one in INTEGRATIONS if one.name == "facebook_leads"]
    assert (facebook.verify, facebook.read) == (verify, read)
    assert "leads_retrieval" in facebook.scopes
    assert "190/463" in facebook.errors
