from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.simulator.query import read_query


@given(st.dictionaries(st.text(max_size=12), st.text(alphabet='%25cC7b"{}[],:/?=&+ é\n', max_size=40), max_size=4))
def test_what_was_encoded_is_read_back(params: dict[str, str]) -> None:
    assert read_query(urlencode(params).encode()) == params


@pytest.mark.parametrize(
    "text", ["a=%zz&b=%", "a", "=1", "&&a=1&", "a=%e9", "a=1&a=2", "a=%2541", "a=%250A%0A", "a+b=c+d"]
)
def test_odd_texts_are_read_as_the_standard_library_does(text: str) -> None:
    assert read_query(text.encode()) == dict(parse_qsl(text, keep_blank_values=True))
