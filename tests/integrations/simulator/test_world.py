import re
from pathlib import Path
from typing import Any

import phonenumbers
import pytest

from integrations.simulator.people import invent
from integrations.simulator.seed import (
    ACME_FORM,
    ACME_PAGE,
    DEFAULT,
    GLOBEX_FORM,
    GLOBEX_PAGE,
    SeedError,
    build_world,
    read_seed,
)
from tests.integrations.simulator.conftest import NOON


def test_every_invented_phone_is_valid_and_every_address_is_an_example() -> None:
    people = [invent(number) for number in range(3000)]
    for person in people:
        assert person.phone is not None
        assert phonenumbers.is_valid_number(phonenumbers.parse(person.phone)), person.phone
        assert person.phone_raw.removeprefix("p:") == person.phone
        assert re.fullmatch(r"[a-z]+\.[a-z]+\.\d+@example\.(com|org)", person.email), person.email
    assert len({person.email for person in people}) == 3000


def test_the_same_seed_makes_the_same_leads_and_another_one_others() -> None:
    def content(seed: int) -> Any:
        world = build_world(lambda: NOON, {**DEFAULT, "seed": seed})
        world.add_leads(ACME_FORM, 40, odd=True)
        return world.leads_of(ACME_PAGE)

    assert content(1) == content(1)
    assert content(1) != content(2)


def test_the_truth_is_per_page_and_complete() -> None:
    world = build_world(lambda: NOON)
    acme, globex = world.add_leads(ACME_FORM, 30), world.add_leads(GLOBEX_FORM, 5)
    test = world.add_test_lead(ACME_FORM)
    assert {truth["external_id"] for truth in world.leads_of(ACME_PAGE)} == {lead.id for lead in acme}
    assert {truth["external_id"] for truth in world.leads_of(GLOBEX_PAGE)} == {lead.id for lead in globex}
    truths = world.leads_of(ACME_PAGE, tests=True)
    assert [truth["external_id"] for truth in truths if truth["is_test"]] == [test.id]
    assert any(len(answer["values"]) > 1 for truth in truths for answer in truth["answers"])
    assert {consent["is_checked"] for truth in truths for consent in truth["consents"]} == {True, False}
    assert {truth["platform"] for truth in truths} == {"fb", "ig"}
    assert {truth["is_organic"] for truth in truths} == {True, False}


def test_a_name_in_two_halves_and_upper_case_keys_are_one_contact() -> None:
    world = build_world(lambda: NOON)
    (lead,) = world.add_leads(GLOBEX_FORM)
    assert lead.person is not None
    contact = world.leads_of(GLOBEX_PAGE)[0]["contact"]
    assert contact == {
        "full_name": lead.person.full_name,
        "email": lead.person.email,
        "phone": lead.person.phone,
        "phone_raw": lead.person.phone_raw,
    }


def test_odd_leads_have_empty_and_repeated_answers_and_unreadable_phones() -> None:
    world = build_world(lambda: NOON)
    world.add_leads(ACME_FORM, 60, odd=True)
    truths = world.leads_of(ACME_PAGE)
    assert any(not answer["values"] for truth in truths for answer in truth["answers"])
    assert any(len({answer["key"] for answer in truth["answers"]}) < len(truth["answers"]) for truth in truths)
    assert any(truth["contact"]["phone"] is None and truth["contact"]["phone_raw"] for truth in truths)


def test_a_seed_file_makes_its_own_world(tmp_path: Path) -> None:
    path = tmp_path / "seed.json"
    path.write_text(
        '{"latency_ms": 30, "users": [{"id": "2", "name": "U"}], "pages": [{"id": "3", "tenant": "initech",'
        '"users": ["2"], "access_token": "EAAx", "forms": [{"id": "4", "leads": 20, "empty_page": 1}]}]}'
    )
    world = build_world(lambda: NOON, read_seed(path))
    assert (world.latency, world.page_token("3").value, world.forms["4"].empty_page) == (0.03, "EAAx", 1)
    assert len(world.leads_of("3")) == 20
    assert all(truth["created_at"] < NOON for truth in world.leads_of("3"))


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_seed_file_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "seed.json"
    path.write_text(text)
    with pytest.raises(SeedError):
        read_seed(path)
    with pytest.raises(SeedError):
        read_seed(tmp_path / "absent.json")


@pytest.mark.parametrize("seed", [{"pages": [{}]}, {"apps": [{"id": "1"}]}, {"pages": [{"id": "1", "users": ["9"]}]}])
def test_a_seed_that_lacks_something_is_refused(seed: dict[str, Any]) -> None:
    with pytest.raises(SeedError, match="near"):
        build_world(lambda: NOON, seed)
