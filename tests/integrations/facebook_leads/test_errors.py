"""Meta's error codes: each leads to one decision, and the wait is the one that Meta asked for."""

from datetime import timedelta
from typing import Any

import orjson
import pytest

from integrations.errors import GrantGone, IntegrationError, Missing, NeedsUser, OurBug, Throttled, Transient
from integrations.facebook_leads.errors import ERRORS, classify

CANARY = "Canary Person 4155550123 EAAcanarytoken"


def error_for(code: Any, subcode: Any = None, status: int = 400, **more: Any) -> IntegrationError:
    body = {"message": CANARY, "type": "OAuthException", "code": code, "fbtrace_id": "AbC_1-2", **more}
    if subcode is not None:
        body["error_subcode"] = subcode
    return classify(status, body, {})


@pytest.mark.parametrize(
    ("code", "subcode", "decision"),
    [
        (1, None, Transient),
        (2, None, Transient),
        (1, 99, Transient),
        (190, 99, Transient),
        (960, None, Transient),
        (4, None, Throttled),
        (17, None, Throttled),
        (32, None, Throttled),
        (341, None, Throttled),
        (368, None, Throttled),
        (613, None, Throttled),
        (80001, None, Throttled),
        (80005, None, Throttled),
        (80005, 2446079, Throttled),
        (80014, None, Throttled),
        (190, None, NeedsUser),
        (190, 458, GrantGone),
        (190, 459, NeedsUser),
        (190, 460, NeedsUser),
        (190, 463, NeedsUser),
        (190, 464, NeedsUser),
        (190, 467, NeedsUser),
        (190, 492, NeedsUser),
        (190, 123456, NeedsUser),
        (102, None, NeedsUser),
        (10, None, NeedsUser),
        (200, None, NeedsUser),
        (230, None, NeedsUser),
        (299, None, NeedsUser),
        (100, 33, Missing),
        (100, None, OurBug),
        (100, 34, OurBug),
        (100, 36007, NeedsUser),
        (100, 36008, OurBug),
        (100, 36009, NeedsUser),
        (101, None, OurBug),
        (104, None, OurBug),
        (803, None, OurBug),
        (3, None, OurBug),
        (300, None, Transient),
        (199, None, Transient),
        (987654, None, Transient),
        ("190", "463", NeedsUser),
    ],
)
def test_a_code_and_its_subcode_lead_to_one_decision(code: Any, subcode: Any, decision: type[IntegrationError]) -> None:
    assert type(error_for(code, subcode)) is decision


def test_only_the_person_who_took_the_app_away_ends_the_grant() -> None:
    """A grant that is gone loses its tokens for good: no other line may say so."""
    assert [key for key, case in ERRORS.items() if case.error is GrantGone] == ["190/458"]


@pytest.mark.parametrize("subcode", [None, 458, 459, 460, 463, 464, 467, 492])
def test_a_lost_token_says_what_a_person_can_do(subcode: int | None) -> None:
    error = error_for(190, subcode)
    assert error.fix and "connect link" in error.fix


def test_each_cause_of_a_lost_token_has_its_own_sentence() -> None:
    sentences = {error_for(190, subcode).sentence for subcode in (None, 458, 459, 460, 463, 464, 467, 492)}
    assert len(sentences) == 8


@pytest.mark.parametrize("key", ERRORS)
def test_every_line_of_the_table_has_a_sentence_a_fix_and_for_a_throttle_a_wait(key: str) -> None:
    case = ERRORS[key]
    assert case.sentence.endswith(".") and case.fix and case.fix.endswith(".")
    assert (case.wait is not None) == (case.error is Throttled)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("code", [None, 100, 190, 999])
def test_an_answer_of_5xx_is_transient_whatever_it_says(status: int, code: int | None) -> None:
    assert type(error_for(code, status=status)) is Transient


def test_what_meta_calls_transient_is_transient() -> None:
    assert type(error_for(190, is_transient=True)) is Transient
    assert type(error_for(100, 33, is_transient=True)) is Transient
    assert type(error_for(190, is_transient="true")) is NeedsUser


def test_a_throttle_stays_a_throttle_though_meta_calls_it_transient() -> None:
    assert type(error_for(80005, is_transient=True)) is Throttled
    assert type(error_for(4, status=503)) is Throttled


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404])
def test_an_answer_without_a_code_is_transient_and_raises_no_alarm(status: int) -> None:
    error = classify(status, None, {})
    assert type(error) is Transient and error.code == f"http_{status}"


def test_429_is_a_throttle() -> None:
    error = classify(429, None, {})
    assert type(error) is Throttled and error.retry_after == timedelta(minutes=15)


def test_the_wording_does_not_matter() -> None:
    for message in ("Error validating access token: Session has expired", "", None, 7, "(#80005) throttled"):
        assert type(error_for(100, 33, message=message)) is Missing


@pytest.mark.parametrize("code", [True, -1, 1.0, "x", "\u0661", [], {}, 10**30, None])
def test_a_code_that_is_none_is_transient(code: Any) -> None:
    error = error_for(code, subcode=code)
    assert type(error) is Transient and error.code == "http_400"


def test_the_code_and_the_trace_are_kept() -> None:
    error = error_for(190, 463)
    assert (error.code, error.trace) == ("190/463", "AbC_1-2")
    assert error_for(10).code == "10"


@pytest.mark.parametrize("trace", [CANARY, 7, None, "", "x" * 65, "a\nb", []])
def test_a_trace_that_could_carry_something_else_is_dropped(trace: Any) -> None:
    assert error_for(190, fbtrace_id=trace).trace is None


def test_nothing_of_metas_wording_is_repeated() -> None:
    for code in (1, 4, 10, 100, 190, 803, 999, None):
        error = error_for(code, error_user_title=CANARY, error_user_msg=CANARY)
        assert "anary" not in str(error) + repr(error) + repr(vars(error))


def business(*entries: dict[str, Any], name: str = "X-Business-Use-Case-Usage") -> dict[str, str]:
    return {name: orjson.dumps({"102": list(entries)}).decode()}


def waited(code: int, headers: dict[str, str]) -> timedelta | None:
    return classify(400, {"code": code}, headers).retry_after


def regain(kind: str, minutes: Any) -> dict[str, Any]:
    return {"type": kind, "call_count": 100, "estimated_time_to_regain_access": minutes}


def test_the_longest_wait_of_the_fitting_kind_counts() -> None:
    headers = business(regain("leadgen", 7), regain("pages", 30), regain("leadgen", 12), regain("ads_insights", 600))
    assert waited(80005, headers) == timedelta(minutes=12)
    assert waited(80001, headers) == waited(32, headers) == timedelta(minutes=30)
    assert waited(613, headers) == timedelta(minutes=30)


def test_every_id_of_the_usage_header_counts() -> None:
    header = orjson.dumps({"1": [regain("leadgen", 3)], "2": [regain("leadgen", 9)], "3": [regain("leadgen", 5)]})
    assert waited(80005, {"x-business-use-case-usage": header.decode()}) == timedelta(minutes=9)


@pytest.mark.parametrize(
    "header",
    ["", "{", "[]", "null", "7", '{"1":7}', '{"1":[7,null]}', '{"1":[{"type":"leadgen"}]}', '{"1":[{"type":["a"]}]}'],
)
def test_an_unreadable_usage_header_leaves_the_usual_wait(header: str) -> None:
    headers = {"x-business-use-case-usage": header, "x-app-usage": header}
    assert waited(4, headers) == timedelta(minutes=15)
    assert waited(80005, headers) == timedelta(hours=1)


@pytest.mark.parametrize("minutes", [0, -5, "12", None, True, [], {}])
def test_a_wait_that_is_none_leaves_the_usual_wait(minutes: Any) -> None:
    assert waited(80005, business(regain("leadgen", minutes))) == timedelta(hours=1)


@pytest.mark.parametrize("minutes", [10**9, 10**18, 1e300])
def test_no_wait_is_longer_than_the_longest_window(minutes: float) -> None:
    assert waited(80005, business(regain("leadgen", minutes))) == timedelta(days=1)


@pytest.mark.parametrize(("percent", "minutes"), [(99, 15), (100, 5), (101, 5), (120, 10), (200, 30), (10**9, 60)])
def test_the_apps_own_usage_says_how_much_of_the_hour_must_pass(percent: int, minutes: int) -> None:
    headers = {"X-App-Usage": orjson.dumps({"call_count": percent, "total_time": 3, "total_cputime": 1}).decode()}
    wait = waited(4, headers)
    assert wait is not None and abs(wait - timedelta(minutes=minutes)) < timedelta(minutes=1)


def test_an_error_that_is_no_throttle_has_no_wait() -> None:
    assert waited(190, business(regain("leadgen", 7))) is None
