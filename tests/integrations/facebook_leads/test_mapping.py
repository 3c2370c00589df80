"""A tenant's own mapping of answers: what it gives, what it leaves over, and what is said of a wrong one."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.facebook_leads.forms import Forms, Question
from integrations.facebook_leads.lead import parse
from integrations.facebook_leads.mapping import CONTACT_FIELDS, mapped, problems, suggested
from integrations.simulator.seed import ACME_FORM, ACME_TOKEN, GLOBEX_FORM, GLOBEX_TOKEN
from tests.integrations.facebook_leads.conftest import Simulated

QUESTIONS = (
    Question("who_are_you?", "Who are you?", "CUSTOM"),
    Question("email", "E-mail", "EMAIL"),
    Question("tel", "Telephone", "PHONE"),
    Question("anything_else", "Anything else?", "CUSTOM"),
)


def lead(*answers: tuple[str, list[str]]) -> Any:
    return parse({"id": "1", "field_data": [{"name": key, "values": values} for key, values in answers]})


def test_a_custom_question_can_fill_a_field_and_the_rest_is_named() -> None:
    given_ = lead(("who_are_you?", ["", " Ada "]), ("tel", ["0781 123 4567"]), ("more", ["x"]), ("none", []))
    found = mapped(given_, {"full_name": "who_are_you?", "phone": "tel", "email": "email"}, default_region="ch")
    assert found.contact == {"full_name": "Ada", "email": None, "phone": None, "phone_raw": "0781 123 4567"}
    assert found.unmapped == ("more",)
    again = mapped(lead(("tel", ["078 123 45 67"])), {"phone": "tel"}, default_region="CH")
    assert again.contact["phone"] == "+41781234567"


def test_a_field_that_is_not_mapped_stays_empty_even_if_there_is_a_standard_answer() -> None:
    found = mapped(lead(("email", ["a@b.example"]), ("full_name", ["Ada"])), {"full_name": "full_name"})
    assert found.contact["email"] is None and found.unmapped == ("email",)


def test_two_halves_of_a_name_become_one() -> None:
    found = mapped(lead(("a", ["Ada"]), ("b", ["Lovelace"])), {"last_name": "b", "first_name": "a"})
    assert found.contact["full_name"] == "Ada Lovelace"


def test_case_is_disregarded_only_where_the_very_key_has_no_answer() -> None:
    assert mapped(lead(("EMAIL", ["a@b.example"])), {"email": "email"}).contact["email"] == "a@b.example"
    both = lead(("EMAIL", ["upper@b.example"]), ("email", ["lower@b.example"]))
    found = mapped(both, {"email": "email"})
    assert (found.contact["email"], found.unmapped) == ("lower@b.example", ("EMAIL",))


def test_a_repr_shows_no_person() -> None:
    assert "Ada" not in repr(mapped(lead(("a", ["Ada"])), {"full_name": "a"}))


def test_a_mapping_is_suggested_by_type_and_then_by_key() -> None:
    assert suggested(QUESTIONS) == {"email": "email", "phone": "tel"}
    work = (Question("x", "Work", "WORK_EMAIL"), Question("y", "Own", "EMAIL"), Question("FULL_NAME", "N", "CUSTOM"))
    assert suggested(work) == {"full_name": "FULL_NAME", "email": "y"}
    halves = (Question("l", "L", "LAST_NAME"), Question("f", "F", "FIRST_NAME"))
    assert suggested(halves) == {"first_name": "f", "last_name": "l"}
    assert suggested((*halves, Question("n", "N", "FULL_NAME"))) == {"full_name": "n"}
    assert suggested((Question("email", "Spouse's", "CUSTOM"), Question("y", "Own", "EMAIL"))) == {"email": "y"}
    assert suggested(()) == {}


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"shoe_size": "email"}, "no contact field 'shoe_size'"),
        ({"email": "mail"}, "no question with the key 'mail'"),
        ({"email": "EMAIL"}, "no question with the key 'EMAIL'"),
        ({"email": "email", "phone": "email"}, "'email' is mapped to email and phone"),
        ({"full_name": "tel", "first_name": "email"}, "mapped twice"),
        ({"full_name": "x" * 5000}, "no question"),
    ],
)
def test_a_wrong_mapping_is_told_in_a_short_sentence(mapping: dict[str, str], said: str) -> None:
    [sentence] = problems(mapping, QUESTIONS)
    assert said in sentence and sentence.endswith(".") and len(sentence) < 200


def test_every_problem_is_told_at_once_and_a_good_mapping_has_none() -> None:
    assert len(problems({"a": "b", "phone": "c"}, QUESTIONS)) == 3
    assert problems({"full_name": "who_are_you?", "email": "email", "phone": "tel"}, QUESTIONS) == []
    assert problems({}, QUESTIONS) == []


KEYS = st.sampled_from(["email", "EMAIL", "ß", "SS", "who?", ""]) | st.text(max_size=5)
QUESTION = st.builds(
    Question, KEYS, st.text(max_size=3), st.sampled_from(["EMAIL", "PHONE", "CUSTOM", "", "full_name"])
)


@settings(deadline=None)  # a busy machine is no finding
@given(st.lists(QUESTION, max_size=6, unique_by=lambda one: one.key))
def test_whatever_is_suggested_can_be_saved(questions: list[Question]) -> None:
    assert problems(suggested(questions), questions) == []


ANSWER = st.fixed_dictionaries(
    {},
    optional={
        "name": KEYS | st.none() | st.integers(),
        "values": st.lists(st.text() | st.none()) | st.none() | st.text(),
    },
)


@settings(deadline=None)  # a busy machine is no finding
@given(
    st.lists(ANSWER | st.none() | st.text()) | st.none() | st.text() | ANSWER,
    st.dictionaries(st.sampled_from(CONTACT_FIELDS), KEYS),
    st.sampled_from([None, "CH", "zz", ""]),
)
def test_no_answer_raises_and_none_is_lost(field_data: Any, mapping: dict[str, str], region: str | None) -> None:
    read = parse({"id": "1", "field_data": field_data})
    found = mapped(read, mapping, default_region=region)
    assert set(found.contact) == {"full_name", "email", "phone", "phone_raw"}
    used = {key.casefold() for key in mapping.values()}
    assert {one.key for one in read.answers if one.values and one.key.casefold() not in used} <= set(found.unmapped)


@pytest.mark.parametrize(("token", "form_id"), [(ACME_TOKEN, ACME_FORM), (GLOBEX_TOKEN, GLOBEX_FORM)])
def test_the_suggestion_for_a_usual_form_gives_what_no_mapping_gives(
    simulated: Simulated, token: str, form_id: str
) -> None:
    leads = simulated.world.add_leads(form_id, 20)
    mapping = suggested(Forms(simulated.graph).one(token, form_id).questions)
    for reply in simulated.graph.fetch_leads(token, [one.id for one in leads]):
        data = parse(reply.lead or {})
        contact = data.contact
        assert mapped(data, mapping).contact == {
            "full_name": contact.full_name,
            "email": contact.email,
            "phone": contact.phone,
            "phone_raw": contact.phone_raw,
        }
