"""Reading a lead: every answer is kept, and a number is E.164 or it is none."""

from datetime import UTC, datetime
from typing import Any

import phonenumbers
import pytest
from facebook_business.adobjects.lead import Lead  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.facebook_leads.lead import Answer, Consent, LeadData, parse
from integrations.facebook_leads.phone import e164
from integrations.facebook_leads.sdk import LEAD_FIELDS


def lead(*fields: Any, **more: Any) -> LeadData:
    return parse({"id": "555", "created_time": "2026-01-02T03:04:05+0000", "field_data": list(fields)} | more)


def field(name: Any, *values: Any) -> dict[str, Any]:
    return {"name": name, "values": list(values)}


def read_phone(text: str, region: str | None = None) -> tuple[str | None, str | None]:
    contact = parse({"id": "555", "field_data": [field("phone_number", text)]}, default_region=region).contact
    return contact.phone, contact.phone_raw


def test_a_usual_lead_is_read_whole() -> None:
    read = parse(
        {
            "id": "555",
            "form_id": "301",
            "created_time": "2026-01-02T03:04:05+0000",
            "platform": "ig",
            "is_organic": False,
            "ad_id": "401",
            "ad_name": "Spring",
            "campaign_id": 501,
            "partner_name": "",
            "field_data": [
                field("full_name", "Ada Example"),
                field("email", "Ada@example.com"),
                field("phone_number", "+14155552671"),
                field("which_days", "monday", "friday"),
            ],
            "custom_disclaimer_responses": [{"checkbox_key": "news", "is_checked": "1"}],
        }
    )
    assert (read.external_id, read.form_external_id, read.platform, read.is_organic) == ("555", "301", "ig", False)
    assert read.created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert not read.is_test
    assert (read.contact.full_name, read.contact.email) == ("Ada Example", "Ada@example.com")
    assert (read.contact.phone, read.contact.phone_raw) == ("+14155552671", "+14155552671")
    assert read.answers[3] == Answer("which_days", None, ["monday", "friday"])
    assert read.consents == [Consent("news", True)]
    assert read.ad == {"ad_id": "401", "ad_name": "Spring", "campaign_id": "501"}


def test_an_organic_lead_has_no_ad() -> None:
    read = lead(is_organic=True, ad_id="0", adset_id=0, ad_name=None)
    assert (read.is_organic, read.ad) == (True, {})


def test_nothing_at_all_is_still_a_lead() -> None:
    read = parse({})
    assert (read.external_id, read.created_at, read.answers, read.consents, read.ad) == ("", None, [], [], {})
    assert read.contact.phone is read.contact.phone_raw is read.contact.full_name is read.contact.email is None


@pytest.mark.parametrize(
    ("odd", "kept"),
    [
        (None, []),
        ([], []),
        ("text", [Answer("unnamed", None, ["text"])]),
        (7, [Answer("unnamed", None, ["7"])]),
        (field("a", "b"), [Answer("a", None, ["b"])]),
        ([None], [Answer("unnamed", None, [""])]),
        (["text"], [Answer("unnamed", None, ["text"])]),
        ([{"question": "x"}], [Answer("unnamed", None, ['{"question":"x"}'])]),
        ([{"name": "a"}], [Answer("a", None, [])]),
        ([{"name": "a", "values": None}], [Answer("a", None, [])]),
        ([{"name": "a", "values": "b"}], [Answer("a", None, ["b"])]),
        ([{"name": "a", "values": {"x": 1}}], [Answer("a", None, ['{"x":1}'])]),
        ([{"name": "a", "values": [1, True, None, 1.5, [2]]}], [Answer("a", None, ["1", "true", "", "1.5", "[2]"])]),
        ([{"name": 7, "values": ["b"]}], [Answer("7", None, ["b"])]),
        ([{"values": ["b"]}], [Answer("unnamed", None, ["b"])]),
        ([{"name": "a", "label": "A?", "values": ["b"]}], [Answer("a", "A?", ["b"])]),
        ([field("a", "b\0c")], [Answer("a", None, ["b\ufffdc"])]),
    ],
)
def test_odd_answers_are_kept_as_text(odd: Any, kept: list[Answer]) -> None:
    assert parse({"id": "555", "field_data": odd}).answers == kept


def test_repeated_empty_and_unknown_questions_are_all_kept() -> None:
    whole_sentence = "how much would you like to spend, in total?"
    read = lead(field("a", "1"), field("a", "2"), field("b"), field(whole_sentence, "10"), field("ご予算は", "十"))
    assert [(one.key, one.values) for one in read.answers] == [
        ("a", ["1"]),
        ("a", ["2"]),
        ("b", []),
        (whole_sentence, ["10"]),
        ("ご予算は", ["十"]),
    ]


def nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


def test_an_answer_nested_beyond_reason_raises_nothing() -> None:
    assert len(lead(field("a", nested(3000)), nested(3000)).answers) == 2


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=8,
)
NAMES = [*LEAD_FIELDS, "label"]


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(st.sampled_from(NAMES), anything),
    st.lists(st.fixed_dictionaries({"name": anything, "values": anything})),
)
def test_no_shape_raises(raw: dict[str, Any], fields: list[Any]) -> None:
    parse(raw)
    assert len(parse(raw | {"field_data": fields}).answers) == len(fields)


def test_older_forms_write_their_keys_in_capitals() -> None:
    contact = lead(
        field("FULL_NAME", "Ada Example"), field("EMAIL", "a@example.com"), field("PHONE", "+14155552671")
    ).contact
    assert (contact.full_name, contact.email, contact.phone) == ("Ada Example", "a@example.com", "+14155552671")


def test_a_name_in_parts_is_put_together() -> None:
    assert lead(field("last_name", " Example "), field("first_name", "Ada")).contact.full_name == "Ada Example"
    assert lead(field("first_name", "Ada")).contact.full_name == "Ada"
    assert lead(field("first_name", "A"), field("full_name", " Ada Example ")).contact.full_name == "Ada Example"


def test_an_empty_answer_does_not_hide_a_later_one() -> None:
    contact = lead(field("email"), field("email", " "), field("email", "a@example.com")).contact
    assert contact.email == "a@example.com"


def test_the_first_of_two_answers_is_the_contact() -> None:
    read = lead(field("email", "a@example.com", "b@example.com"), field("email", "c@example.com"))
    assert read.contact.email == "a@example.com"
    assert len(read.answers) == 2


def test_the_private_address_goes_before_the_one_at_work() -> None:
    fields = (field("work_email", "a@example.org"), field("email", "a@example.com"))
    assert lead(*fields).contact.email == "a@example.com"
    assert lead(fields[0]).contact.email == "a@example.org"


@pytest.mark.parametrize(
    "text", ["n/a", "@", "a@", "@example.com", "a b@example.com", "<test lead: dummy data for email>"]
)
def test_what_is_no_address_stays_in_the_answers_only(text: str) -> None:
    read = lead(field("email", text))
    assert read.contact.email is None
    assert read.answers[0].values == [text]


@pytest.mark.parametrize(
    ("text", "region", "phone"),
    [
        ("+14155552671", None, "+14155552671"),
        ("+1 (415) 555-2671", None, "+14155552671"),
        ("p:+61412345678", None, "+61412345678"),
        ("P: +61 412 345 678", None, "+61412345678"),
        (" +44 (0)20 7946 0958 ", None, "+442079460958"),
        ("+390612345678", None, "+390612345678"),
        ("+12001230101", "US", None),
        ("0900111222", "TW", "+886900111222"),
        ("0900111222", "tw", "+886900111222"),
        ("0900111222", None, None),
        ("0900111222", "", None),
        ("0900111222", "XX", None),
        ("6591234567", "SG", "+6591234567"),
        ("6591234567", None, None),
        ("+999123456789", None, None),
        ("+1", None, None),
        ("+", None, None),
        ("", "US", None),
        ("call me", "US", None),
        ("<test lead: dummy data for phone_number>", "US", None),
        ("9" * 300, "US", None),
        ("+" + "9" * 4000, "US", None),
        ("\u0664\u0661\u0665\u0665\u0665\u0665\u0662\u0666\u0667\u0661", "US", "+14155552671"),
    ],
)
def test_a_phone_number_is_valid_e164_or_none(text: str, region: str | None, phone: str | None) -> None:
    assert e164(text, region) == phone


def test_the_raw_number_is_kept_as_it_was_typed() -> None:
    assert read_phone(" 0900 111 222 ") == (None, " 0900 111 222 ")
    assert read_phone("p:+61412345678") == ("+61412345678", "p:+61412345678")
    assert read_phone("0900 111 222", "TW") == ("+886900111222", "0900 111 222")


def parsed_by_the_library(number: str) -> str | None:
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return None
    valid = phonenumbers.is_valid_number(parsed)
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) if valid else None


def every_regions_numbers() -> list[str]:
    """Valid numbers of every region and kind, each also with a digit more, less, in the way of a prefix and other ends."""
    kinds = range(11)
    found = [
        phonenumbers.example_number_for_type(region, kind)
        for region in phonenumbers.SUPPORTED_REGIONS
        for kind in kinds
    ]
    found += map(phonenumbers.example_number_for_non_geo_entity, phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS)
    numbers: list[str] = []
    for example in filter(None, found):
        code, national = f"+{example.country_code}", phonenumbers.national_significant_number(example)
        numbers += [code + middle + national for middle in ("", "0", "1", "8", "9")]
        numbers += [code + national[:-1], code + national[1:], code + national + "0"]
        numbers += [code + national[:-3] + "307", code + national[:2] + national[:1:-1]]
    return numbers


def test_the_short_way_for_clean_numbers_agrees_with_the_library_everywhere() -> None:
    numbers = every_regions_numbers()
    assert len(numbers) > 5000
    assert [number for number in numbers if e164(number) != parsed_by_the_library(number)] == []


YES: list[Any] = ["1", True, "true", "True", 1]
NOT_YES: list[Any] = ["", "0", False, None, "false", 0, "yes?", [], {}, 2]


@pytest.mark.parametrize(("checked", "expected"), [*((one, True) for one in YES), *((one, False) for one in NOT_YES)])
def test_only_a_clear_yes_is_consent(checked: Any, expected: bool) -> None:
    read = lead(custom_disclaimer_responses=[{"checkbox_key": "news", "is_checked": checked}])
    assert read.consents == [Consent("news", expected)]


@pytest.mark.parametrize("odd", [None, "x", 7, {}, [None], ["x"]])
def test_odd_consents_are_no_consent(odd: Any) -> None:
    assert lead(custom_disclaimer_responses=odd).consents == []


@pytest.mark.parametrize(
    "fields",
    [
        [field("full_name", "<test lead: dummy data for full_name>")],
        [field("email", "test@meta.com")],
        [field("email", "Test@FB.com ")],
        [field("a", "1"), field("which_days", "monday", "<test lead: dummy data for which_days>")],
    ],
)
def test_metas_test_leads_are_recognised(fields: list[Any]) -> None:
    assert lead(*fields).is_test


def test_the_dashboards_lead_is_a_test_and_a_usual_one_is_not() -> None:
    assert lead(id="444444444444").is_test
    assert lead(id=444444444444).is_test
    assert not lead(field("email", "test@example.com"), field("a", "test lead")).is_test


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-02T03:04:05+0000", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T04:04:05+01:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (1767323045, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("1767323045", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
        (None, None),
        (True, None),
        (float("nan"), None),
        (10**40, None),
        ("9999-12-31T23:59:59-2300", None),
        ([], None),
    ],
)
def test_an_instant_is_utc_or_none(text: Any, instant: datetime | None) -> None:
    read = lead(created_time=text).created_at
    assert read == instant
    assert read is None or read.utcoffset() is not None


def test_a_lead_shows_no_personal_data_by_accident() -> None:
    read = lead(
        field("full_name", "Canary Person"), field("email", "canary@example.com"), field("phone", "+14155552671")
    )
    shown = repr(read) + repr(read.contact) + repr(read.answers)
    assert "anary" not in shown and "4155552671" not in shown


def test_the_fields_we_ask_for_are_fields_of_the_sdk() -> None:
    known = {value for name, value in vars(Lead.Field).items() if not name.startswith("_")}
    assert set(LEAD_FIELDS) <= known
    assert {"custom_disclaimer_responses", "platform", "is_organic", "campaign_name"} <= set(LEAD_FIELDS)
