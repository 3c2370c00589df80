"""Forms are listed to the end and described as far as Meta says; odd shapes cost only themselves."""

import json
from datetime import timedelta
from typing import Any

import pytest
from facebook_business.adobjects.leadgenform import LeadgenForm  # type: ignore[import-untyped]
from facebook_business.adobjects.leadgenquestion import LeadGenQuestion  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.errors import IntegrationError, Missing, NeedsUser, OurBug, Transient
from integrations.facebook_leads import forms
from integrations.facebook_leads.forms import Forms, Question, read_form
from integrations.facebook_leads.graph import Graph
from integrations.simulator.records import Form
from integrations.simulator.seed import ACME_FORM, ACME_PAGE, ACME_TOKEN, GLOBEX_TOKEN
from tests.integrations.facebook_leads.conftest import NOON, TOKEN, Call, Meta, Simulated

PAGE = "101"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["id", "key", "label", "type", "value"]), inner),
    max_leaves=10,
)
NAMES = ("id", "name", "status", "locale", "created_time", "leads_count", "questions", "options", "legal_content")


def part(*data: Any, after: str | None = None, more: bool = True) -> dict[str, Any]:
    paging: dict[str, Any] = {"cursors": {"after": after}} if after else {}
    return {"data": list(data), "paging": paging | ({"next": "https://elsewhere.example/?x"} if more else {})}


def answers(meta: Meta, *bodies: dict[str, Any]) -> None:
    """The n-th call gets the n-th body, and every later one the last."""

    def answer(call: Call) -> tuple[int, bytes, dict[str, str]]:
        return 200, json.dumps(bodies[min(len(meta.calls), len(bodies)) - 1]).encode(), {}

    meta.answer = answer


def listed(graph: Graph) -> list[str]:
    return [form.external_id for form in Forms(graph).listed(TOKEN, PAGE)]


def test_an_empty_part_is_not_the_end_and_a_form_that_comes_twice_is_one(graph: Graph, meta: Meta) -> None:
    answers(
        meta,
        part({"id": "1"}, {"id": 2}, after="a"),
        part(after="b"),
        part({"id": "2"}, None, {"id": "x"}, {"id": "3"}, more=False),
    )
    assert listed(graph) == ["1", "2", "3"]
    assert [call.query.get("after") for call in meta.calls] == [None, "a", "b"]
    assert "access_token" not in repr([call.query for call in meta.calls])


def test_a_cursor_that_comes_again_ends_the_list(graph: Graph, meta: Meta) -> None:
    answers(meta, part({"id": "1"}, after="a"), part({"id": "2"}, after="b"), part({"id": "1"}, after="a"))
    assert listed(graph) == ["1", "2"]
    assert len(meta.calls) == 3


def test_more_without_a_way_to_ask_for_it_is_no_shorter_list(graph: Graph, meta: Meta) -> None:
    answers(meta, part({"id": "1"}))
    with pytest.raises(Transient):
        listed(graph)


def test_a_part_that_is_too_large_is_asked_for_in_less_and_not_for_ever(graph: Graph, meta: Meta) -> None:
    meta.says(500, {"error": {"code": 1}})
    with pytest.raises(Transient):
        listed(graph)
    assert [call.query["limit"] for call in meta.calls] == ["100", "50", "25", "12", "6", "5"]


@pytest.mark.parametrize(
    ("status", "code", "subcode", "expected"),
    [(400, 190, 463, NeedsUser), (403, 200, None, NeedsUser), (400, 100, 33, Missing), (400, 100, None, OurBug)],
)
def test_a_refusal_keeps_its_class(
    graph: Graph, meta: Meta, status: int, code: int, subcode: int | None, expected: type[IntegrationError]
) -> None:
    meta.says(status, {"error": {"code": code, "error_subcode": subcode, "message": "Canary"}})
    for call in (lambda: Forms(graph).listed(TOKEN, PAGE), lambda: Forms(graph).one(TOKEN, "202")):
        with pytest.raises(IntegrationError) as caught:
            call()
        assert type(caught.value) is expected and "lead" not in caught.value.sentence.lower()


def test_another_form_than_asked_for_is_not_taken(graph: Graph, meta: Meta) -> None:
    for body in ({"id": "203"}, {}, {"id": "x"}):
        meta.says(200, body)
        with pytest.raises(Transient):
            Forms(graph).one(TOKEN, "202")


@pytest.mark.parametrize("wrong", ["", "0", "101/../me", "me"])
def test_what_is_no_id_is_not_asked_for(graph: Graph, meta: Meta, wrong: str) -> None:
    for call in (lambda: Forms(graph).listed(TOKEN, wrong), lambda: Forms(graph).one(TOKEN, wrong)):
        with pytest.raises(OurBug):
            call()
    assert meta.calls == []


def test_only_fields_that_the_sdk_knows_are_asked_for() -> None:
    plain, _, rest = forms._FIELDS.partition("{")
    inner, _, more = rest.partition("}")
    assert {*plain.split(","), *more.strip(",").split(",")} <= set(vars(LeadgenForm.Field).values())
    assert set(inner.split(",")) <= set(vars(LeadGenQuestion.Field).values())


def test_what_is_odd_in_a_form_is_left_out_and_the_rest_is_kept() -> None:
    found = read_form(
        {
            "id": 7,
            "name": "A\0B",
            "leads_count": "12",
            "expired_leads_count": -1,
            "created_time": "soon",
            "legal_content": [],
            "questions": [
                None,
                {"label": "no key"},
                {"key": "k", "options": [7, {}, {"key": "a"}, {"value": "b"}, {"key": "c", "value": "C"}]},
            ],
        }
    )
    assert found is not None
    assert (found.external_id, found.name, found.leads_count, found.expired_leads_count) == ("7", "A\ufffdB", 12, None)
    assert (found.created_at, found.legal, found.status, found.page_external_id) == (None, None, None, None)
    assert found.questions == (Question("k", "k", "CUSTOM", (("a", "a"), ("b", "b"), ("c", "C"))),)


@settings(deadline=None)  # a busy machine is no finding
@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_no_shape_of_a_form_raises(form: dict[str, Any]) -> None:
    found = read_form(form)
    assert found is None or (found.external_id.isdigit() and "\0" not in found.name)


def test_a_form_is_read_as_the_simulator_has_it(simulated: Simulated) -> None:
    simulated.world.add_leads(ACME_FORM, 3)
    simulated.world.add_leads(ACME_FORM, 2, created_at=NOON - timedelta(days=91))
    form, held = Forms(simulated.graph).one(ACME_TOKEN, ACME_FORM), simulated.world.forms[ACME_FORM]
    assert (form.name, form.status, form.locale, form.created_at) == (
        held.name,
        "ACTIVE",
        held.locale,
        NOON - timedelta(days=100),
    )
    assert (form.leads_count, form.expired_leads_count, form.page_external_id) == (5, 2, ACME_PAGE)
    assert form.questions == tuple(Question(one.key, one.label, one.type, one.options) for one in held.questions)
    assert form.legal is not None
    assert [box["key"] for box in form.legal["custom_disclaimer"]["checkboxes"]] == ["terms", "newsletter"]


def test_every_form_of_a_page_is_listed_archived_ones_too(simulated: Simulated) -> None:
    world = simulated.world
    for number in range(9):
        status = "ARCHIVED" if number % 2 else "ACTIVE"
        world.add_form(Form(f"70{number}", world.pages[ACME_PAGE], f"F{number}", "en_US", (), NOON, status=status))
    world.pages[ACME_PAGE].empty_page = 1
    found = Forms(simulated.graph).listed(ACME_TOKEN, ACME_PAGE, limit=4)
    assert [form.external_id for form in found] == [form.id for form in world.pages[ACME_PAGE].forms]
    assert [form.status for form in found].count("ARCHIVED") == 4
    world.remove_form("700")
    assert len(Forms(simulated.graph).listed(ACME_TOKEN, ACME_PAGE)) == 9
    with pytest.raises(Missing):
        Forms(simulated.graph).one(ACME_TOKEN, "700")


def test_globex_sees_nothing(simulated: Simulated) -> None:
    for call in (
        lambda: Forms(simulated.graph).one(GLOBEX_TOKEN, ACME_FORM),
        lambda: Forms(simulated.graph).listed(GLOBEX_TOKEN, ACME_PAGE),
    ):
        with pytest.raises(Missing):
            call()
