"""What Meta signs: a forged one is refused, and of a true one the person or the Page is read."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.errors import BadPayload, BadSignature, Refused
from integrations.facebook_leads.signed_request import SignedRequest, read_signed_request
from integrations.simulator.meta_callbacks import callback_payload, signed_request
from tests.integrations.facebook_leads.conftest import NOON

SECRET = "app-secret"
USUAL = {"algorithm": "HMAC-SHA256", "issued_at": 1767323045, "expires": 1, "user_id": "77"}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()


def signed(payload: Any, secret: str = SECRET, digest: str = "sha256") -> str:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    encoded = b64(raw).rstrip("=")
    return f"{b64(hmac.new(secret.encode(), encoded.encode(), digest).digest()).rstrip('=')}.{encoded}"


def read(payload: Any) -> SignedRequest:
    return read_signed_request(signed(payload), SECRET)


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "a.",
        ".a",
        "a",
        "a.b.c",
        "a b.c",
        "!.!",
        "\u00e4.b",
        "\ud800.b",
        signed(b""),
        signed(USUAL, "other-secret"),
        signed(USUAL, digest="sha1"),
        signed(USUAL, digest="sha512"),
        "A" + signed(USUAL),
        signed(USUAL) + "A",
        signed(USUAL) + "\n",
        signed(USUAL).partition(".")[2] + "." + signed(USUAL).partition(".")[0],
        signed(USUAL).partition(".")[0] + "." + signed({**USUAL, "user_id": "78"}).partition(".")[2],
        signed({**USUAL, "more": "x" * 9000}),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_what_meta_did_not_sign_is_refused(value: str) -> None:
    with pytest.raises(BadSignature):
        read_signed_request(value, SECRET)


def test_the_decoded_payload_is_not_what_is_signed() -> None:
    raw = json.dumps(USUAL).encode()
    value = f"{b64(hmac.new(SECRET.encode(), raw, hashlib.sha256).digest())}.{b64(raw)}"
    with pytest.raises(BadSignature):
        read_signed_request(value, SECRET)


@pytest.mark.parametrize("algorithm", ["HMAC-SHA1", "none", "", None, 7, ["HMAC-SHA256"]])
def test_another_algorithm_is_refused_though_the_signature_fits(algorithm: Any) -> None:
    with pytest.raises(BadSignature):
        read({**USUAL, "algorithm": algorithm})


@pytest.mark.parametrize("secret", ["", "  "])
def test_without_a_secret_nothing_is_accepted(secret: str) -> None:
    with pytest.raises(BadSignature):
        read_signed_request(signed(USUAL, secret), secret)


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"\xff",
        b"[]",
        b"7",
        b"[" * 5000,
        {**USUAL, "user_id": None},
        {**USUAL, "user_id": 0},
        {**USUAL, "user_id": "77 "},
        {**USUAL, "user_id": 7.5, "profile_id": "101"},
        {**USUAL, "user_id": True},
        {**USUAL, "user_id": "0", "profile_id": "x"},
        {**USUAL, "user_id": {"id": "77"}},
    ],
    ids=lambda payload: repr(payload)[:30],
)
def test_what_names_nobody_cannot_be_read(payload: Any) -> None:
    with pytest.raises(BadPayload) as caught:
        read(payload)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("user_id", ["77", 77])
def test_the_person_is_read_from_a_number_or_a_text(user_id: Any) -> None:
    issued = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert read({**USUAL, "user_id": user_id}) == SignedRequest("77", None, issued)


@pytest.mark.parametrize("user_id", ["0", 0, "", None])
@pytest.mark.parametrize("page_id", ["101", 101])
def test_a_page_that_dropped_the_app_is_named_where_there_is_no_person(user_id: Any, page_id: Any) -> None:
    found = read({**USUAL, "user_id": user_id, "profile_id": page_id})
    assert (found.user_id, found.page_id) == (None, "101")


def test_a_person_with_a_page_is_the_person() -> None:
    assert read({**USUAL, "profile_id": "101"})[:2] == ("77", None)


@pytest.mark.parametrize("more", [{"expires": 1}, {"expires": "soon"}, {"issued_at": None}, {"issued_at": 10**30}])
def test_neither_age_nor_an_odd_instant_is_a_reason_to_refuse(more: dict[str, Any]) -> None:
    assert read({**USUAL, **more}).user_id == "77"


@pytest.mark.parametrize("name", ["x", "xx", "xxx"])
def test_padding_is_accepted_whether_it_was_signed_or_not(name: str) -> None:
    payload = b64(json.dumps({**USUAL, "n": name}).encode())
    for over in (payload, payload.rstrip("=")):
        signature = b64(hmac.new(SECRET.encode(), over.encode(), hashlib.sha256).digest())
        assert read_signed_request(f"{signature}.{payload}", SECRET).user_id == "77"


def test_what_the_simulator_signs_is_read() -> None:
    person = read_signed_request(signed_request(SECRET, callback_payload(NOON, user_id="77")), SECRET)
    page = read_signed_request(signed_request(SECRET, callback_payload(NOON, page_id="101")), SECRET)
    assert person == ("77", None, NOON) and page == (None, "101", NOON)


@given(st.one_of(st.text(), st.from_regex(r"[\w=-]{0,50}\.[\w=-]{0,80}")))
def test_no_text_raises_anything_but_a_refusal(value: str) -> None:
    with pytest.raises(Refused):
        read_signed_request(value, SECRET)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
)


@given(
    st.one_of(
        st.binary(max_size=60),
        st.fixed_dictionaries(
            {"algorithm": st.just("HMAC-SHA256") | json_values},
            optional={"user_id": json_values, "profile_id": json_values, "issued_at": json_values},
        ),
    )
)
def test_nothing_that_is_signed_raises_anything_but_a_refusal(payload: Any) -> None:
    try:
        found = read(payload)
    except Refused:
        return
    assert (found.user_id is None) != (found.page_id is None)
