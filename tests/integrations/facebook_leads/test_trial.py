"""A test lead is made, replaced and removed, and nothing but a test lead is ever removed."""

from typing import Any

import pytest

from integrations.errors import Missing, NeedsUser, OurBug, Transient
from integrations.facebook_leads.graph import Graph
from integrations.facebook_leads.lead import DASHBOARD_LEAD, parse
from integrations.facebook_leads.trial import Trials
from integrations.simulator.seed import ACME_FORM, ACME_TOKEN, GLOBEX_TOKEN
from tests.integrations.facebook_leads.conftest import TOKEN, Call, Meta, Simulated


@pytest.fixture
def trials(simulated: Simulated) -> Trials:
    return Trials(simulated.graph)


def test_a_test_lead_is_made_and_is_recognised(trials: Trials, simulated: Simulated) -> None:
    made = trials.create_test_lead(ACME_TOKEN, ACME_FORM)
    [reply] = simulated.graph.fetch_leads(ACME_TOKEN, [made])
    assert reply.lead is not None and parse(reply.lead).is_test
    assert trials.test_leads(ACME_TOKEN, ACME_FORM) == [made]


def test_a_second_test_lead_takes_the_place_of_the_first(trials: Trials) -> None:
    first, second = (trials.create_test_lead(ACME_TOKEN, ACME_FORM) for _ in range(2))
    assert first != second and trials.test_leads(ACME_TOKEN, ACME_FORM) == [second]


def test_a_test_lead_that_went_away_meanwhile_is_no_hindrance(graph: Graph, meta: Meta) -> None:
    wrong, gone = b'{"error":{"code":100}}', b'{"error":{"code":100,"error_subcode":33}}'
    replies = iter([(400, wrong), (200, b'{"data":[{"id":"8"},7,{"id":"x"}]}'), (400, gone), (200, b'{"id":"9"}')])

    def answer(call: Call) -> tuple[int, bytes, dict[str, str]]:
        return (*next(replies), {})

    meta.answer = answer
    assert Trials(graph).create_test_lead(TOKEN, "202") == "9"
    assert [call.method for call in meta.calls] == ["POST", "GET", "DELETE", "POST"]


def test_a_refusal_that_has_another_cause_is_told_as_it_is(graph: Graph, meta: Meta) -> None:
    meta.answer = lambda call: (
        (200, b'{"data":[]}', {}) if call.method == "GET" else (400, b'{"error":{"code":100,"fbtrace_id":"Tr1"}}', {})
    )
    with pytest.raises(OurBug) as caught:
        Trials(graph).create_test_lead(TOKEN, "202")
    assert caught.value.trace == "Tr1" and len(meta.calls) == 2


@pytest.mark.parametrize("body", [{}, {"id": "x"}, {"id": 0}, {"id": None}])
def test_a_test_lead_without_an_id_is_transient(graph: Graph, meta: Meta, body: Any) -> None:
    meta.says(200, body)
    with pytest.raises(Transient):
        Trials(graph).create_test_lead(TOKEN, "202")


def test_a_missing_permission_needs_a_person(trials: Trials, simulated: Simulated) -> None:
    simulated.world.tokens[ACME_TOKEN].scopes -= {"pages_manage_ads"}
    with pytest.raises(NeedsUser):
        trials.create_test_lead(ACME_TOKEN, ACME_FORM)


def test_a_test_lead_is_removed_once(trials: Trials) -> None:
    made = trials.create_test_lead(ACME_TOKEN, ACME_FORM)
    trials.delete_lead(ACME_TOKEN, made)
    assert trials.test_leads(ACME_TOKEN, ACME_FORM) == []
    with pytest.raises(Missing):
        trials.delete_lead(ACME_TOKEN, made)


def test_a_real_lead_is_never_removed(trials: Trials, simulated: Simulated) -> None:
    [real] = simulated.world.add_leads(ACME_FORM)
    with pytest.raises(OurBug, match="Only test leads"):
        trials.delete_lead(ACME_TOKEN, real.id)
    assert not any(line.startswith("DELETE") for line in simulated.asked)


@pytest.mark.parametrize("wrong", [DASHBOARD_LEAD, "", "0", "1/leads", "me"])
def test_the_dashboards_lead_and_what_is_no_id_are_not_asked_about(
    trials: Trials, simulated: Simulated, wrong: str
) -> None:
    with pytest.raises(OurBug):
        trials.delete_lead(ACME_TOKEN, wrong)
    assert simulated.asked == []
    assert parse({"id": DASHBOARD_LEAD}).is_test


def test_globex_makes_no_test_lead_at_acme(trials: Trials) -> None:
    with pytest.raises(Missing):
        trials.create_test_lead(GLOBEX_TOKEN, ACME_FORM)
