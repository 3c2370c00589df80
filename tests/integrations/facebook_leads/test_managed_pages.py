"""Pages are listed to the end, whatever the pages of the list look like."""

import json
from typing import Any

import pytest

from integrations.errors import Transient
from integrations.facebook_leads.managed_pages import managed_pages
from tests.integrations.facebook_leads.conftest import Call, Meta


def page(number: int, **more: Any) -> dict[str, Any]:
    return {"id": str(number), "name": f"Page {number}", "access_token": f"t{number}", "tasks": ["ADVERTISE"]} | more


def answers(meta: Meta, *bodies: dict[str, Any]) -> None:
    """The n-th call gets the n-th body, and every later one the last."""

    def answer(call: Call) -> tuple[int, bytes, dict[str, str]]:
        return 200, json.dumps(bodies[min(len(meta.calls), len(bodies)) - 1]).encode(), {}

    meta.answer = answer


def part(*pages: Any, after: str | None = None, more: str | None = "https://elsewhere.example/?access_token=x") -> Any:
    paging: dict[str, Any] = {"cursors": {"after": after}} if after else {}
    return {"data": list(pages), "paging": paging | ({"next": more} if more else {})}


def ids(api: Any) -> list[str]:
    return [one.page_id for one in managed_pages(api)]


def test_an_empty_part_in_the_middle_is_not_the_end(api: Any, meta: Meta) -> None:
    answers(meta, part(page(1), page(2), after="a"), part(after="b"), part(page(3), after="c", more=None))
    assert ids(api) == ["1", "2", "3"]
    assert [call.query.get("after") for call in meta.calls] == [None, "a", "b"]


def test_the_next_part_is_asked_for_by_cursor_and_no_address_is_followed(api: Any, meta: Meta) -> None:
    answers(meta, part(page(1), more="https://elsewhere.example/v9/x?after=q%3D&access_token=stolen"), part(more=None))
    assert ids(api) == ["1"]
    assert [call.path for call in meta.calls] == [meta.calls[0].path] * 2
    assert meta.calls[1].query["after"] == "q="
    assert "stolen" not in repr(meta.calls)


def test_a_cursor_that_comes_again_ends_the_list(api: Any, meta: Meta) -> None:
    answers(meta, part(page(1), after="a"), part(page(2), after="b"), part(page(1), after="a"))
    assert ids(api) == ["1", "2"]
    assert len(meta.calls) == 3


@pytest.mark.parametrize("more", ["https://elsewhere.example/", "//[", "after=a", "?after=", "?%ff"])
def test_more_without_a_way_to_ask_for_it_is_no_shorter_list(api: Any, meta: Meta, more: str) -> None:
    answers(meta, part(page(1), more=more))
    with pytest.raises(Transient):
        ids(api)


@pytest.mark.parametrize("body", [{"data": None}, {"data": {}}, {"x": 1}])
def test_an_answer_without_a_list_is_transient(api: Any, meta: Meta, body: dict[str, Any]) -> None:
    answers(meta, body)
    with pytest.raises(Transient):
        ids(api)


def test_what_is_no_page_is_passed_over_and_what_is_not_told_is_none(api: Any, meta: Meta) -> None:
    odd = [None, 7, {}, {"id": "x"}, {"id": 4, "name": "", "access_token": 7, "tasks": "ADVERTISE"}]
    answers(meta, part(*odd, page(5, tasks=["MANAGE", 7]), more=None))
    bare, usual = managed_pages(api)
    assert (bare.page_id, bare.name, bare.token, bare.tasks) == ("4", "4", None, None)
    assert usual.tasks == frozenset({"MANAGE"}) and usual.token == "t5"
