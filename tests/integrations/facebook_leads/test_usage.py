"""How much of Meta's budgets is used, from headers in every shape."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from integrations.facebook_leads.usage import Usage, read_usage


def headers(business: Any = None, app: Any = None) -> dict[str, str]:
    found = {}
    if business is not None:
        found["X-Business-Use-Case-Usage"] = business if isinstance(business, str) else json.dumps(business)
    if app is not None:
        found["x-app-usage"] = app if isinstance(app, str) else json.dumps(app)
    return found


def entry(kind: str = "leadgen", percent: int = 0, minutes: float = 0, **more: Any) -> dict[str, Any]:
    return {"type": kind, "call_count": percent, "estimated_time_to_regain_access": minutes, **more}


def test_the_worst_of_all_objects_of_a_page_counts() -> None:
    told = {"101": [entry("pages", 3), entry("leadgen", 10, total_time=85), entry("leadgen", 40, minutes=7)]}
    assert read_usage(headers(told), "101") == Usage(85, timedelta(minutes=7))


def test_other_pages_and_other_products_do_not_concern_us() -> None:
    told = {"101": [entry(percent=5), entry("ads_insights", 100, 60)], "102": [entry(percent=100, minutes=60)]}
    assert read_usage(headers(told), "101") == Usage(5, None)


def test_where_only_a_business_is_named_it_counts() -> None:
    assert read_usage(headers({"9": [entry(percent=91, minutes=2)]}), "101") == Usage(91, timedelta(minutes=2))


def test_the_apps_own_usage_counts_and_asks_for_a_wait_when_it_is_full() -> None:
    told = {"101": [entry(percent=5)]}
    assert read_usage(headers(told, {"call_count": 28, "total_time": 82, "total_cputime": 25}), "101").percent == 82
    full = read_usage(headers(told, {"call_count": 120}), "101")
    assert full.percent == 120 and full.wait == timedelta(minutes=10)


def test_a_wait_is_a_day_at_most() -> None:
    assert read_usage(headers({"1": [entry(minutes=1e9)]})).wait == timedelta(days=1)


@pytest.mark.parametrize("said", [None, "", "{", "[]", "7", '{"1":7}', '{"1":[7,{"type":"leadgen","call_count":"x"}]}'])
def test_what_cannot_be_read_is_no_usage(said: str | None) -> None:
    assert read_usage(headers(said, said)) == Usage(0, None)


WAIT = "estimated_time_to_regain_access"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "call_count", WAIT]), inner, max_size=3)
    ),
    max_leaves=8,
)
# Mostly numbers: what is not read at all needs no more than JSON's share.
FIGURE = st.floats(allow_nan=False) | st.integers() | JSON
ENTRY = st.fixed_dictionaries({"type": st.just("leadgen"), "call_count": FIGURE, WAIT: FIGURE})


@settings(deadline=None)  # a busy machine is no finding
@given(st.dictionaries(st.sampled_from(["101", "102"]), JSON | st.lists(ENTRY, max_size=3), max_size=2), JSON)
@example({"101": [entry(minutes=1e-9)]}, None)
def test_no_header_raises(business: Any, app: Any) -> None:
    found = read_usage(headers(business, app), "101")
    assert found.percent >= 0 and (found.wait is None or timedelta() < found.wait <= timedelta(days=1))
