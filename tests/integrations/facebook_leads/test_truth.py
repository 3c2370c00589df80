"""Client and parser against the simulated Graph: what is read is what people filled in."""

import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest

from integrations.errors import Missing, NeedsUser, OurBug
from integrations.facebook_leads.graph import Graph
from integrations.facebook_leads.lead import LeadData, parse
from integrations.http import Http
from integrations.simulator.seed import ACME_TOKEN, APP_ID, APP_SECRET, build_world
from integrations.simulator.server import SimulatorServer

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorServer]:
    with SimulatorServer(build_world(lambda: NOON)) as server:
        yield server


@pytest.fixture(scope="module")
def http() -> Iterator[Http]:
    with closing(Http(verify=NO_AUTHORITIES)) as client:
        yield client


@pytest.fixture
def graph(http: Http, simulator: SimulatorServer) -> Graph:
    return Graph(http, base_url=simulator.url, app_id=APP_ID, app_secret=APP_SECRET)


def comparable(read: LeadData, page_id: str) -> dict[str, Any]:
    """Our reading in the words of the simulator's truth."""
    found = asdict(read) | {"page_id": page_id}
    found["form_id"] = found.pop("form_external_id")
    return found


def without_labels(truth: dict[str, Any]) -> dict[str, Any]:
    """Labels are the form's, and the tenant is ours: neither is in a lead."""
    answers = [answer | {"label": None} for answer in truth["answers"]]
    return {name: value for name, value in truth.items() if name != "tenant"} | {"answers": answers}


def test_every_lead_of_every_page_is_read_as_it_was_given(graph: Graph, simulator: SimulatorServer) -> None:
    world = simulator.world
    for form in list(world.forms.values()):
        world.add_leads(form.id, 30)
        world.add_leads(form.id, 30, odd=True)
    compared = 0
    for page_id in world.pages:
        truths = {truth["external_id"]: without_labels(truth) for truth in world.leads_of(page_id)}
        token, ids = world.page_token(page_id).value, list(truths)
        for start in range(0, len(ids), 50):
            for reply in graph.fetch_leads(token, ids[start : start + 50]):
                assert reply.lead is not None
                assert comparable(parse(reply.lead), page_id) == truths[reply.lead_id]
                compared += 1
    assert compared >= 60 * len(world.forms)


def test_a_test_lead_is_recognised(graph: Graph, simulator: SimulatorServer) -> None:
    form = next(iter(simulator.world.forms.values()))
    made = simulator.world.add_test_lead(form.id)
    [reply] = graph.fetch_leads(simulator.world.page_token(form.page.id).value, [made.id])
    assert reply.lead is not None and parse(reply.lead).is_test


def test_a_lead_that_is_not_there_is_missing(graph: Graph) -> None:
    [reply] = graph.fetch_leads(ACME_TOKEN, ["123"])
    assert type(reply.error) is Missing and reply.error.trace


def test_a_lead_of_another_tenant_is_missing(graph: Graph, simulator: SimulatorServer) -> None:
    world = simulator.world
    theirs = next(form for form in world.forms.values() if world.page_token(form.page.id).value != ACME_TOKEN)
    [lead] = world.add_leads(theirs.id)
    [reply] = graph.fetch_leads(ACME_TOKEN, [lead.id])
    assert reply.lead is None and type(reply.error) in (Missing, NeedsUser)


def test_an_unknown_token_needs_the_user(graph: Graph) -> None:
    with pytest.raises(NeedsUser):
        graph.fetch_leads("EAAunknown", ["123"])


def test_a_wrong_app_secret_is_our_bug(http: Http, simulator: SimulatorServer) -> None:
    graph = Graph(http, base_url=simulator.url, app_id=APP_ID, app_secret="another")
    with pytest.raises(OurBug):
        graph.fetch_leads(ACME_TOKEN, ["123"])


def test_page_access_and_token_are_understood(graph: Graph, simulator: SimulatorServer) -> None:
    page_id = next(page for page in simulator.world.pages if simulator.world.page_token(page).value == ACME_TOKEN)
    assert graph.page_access(ACME_TOKEN, page_id).can_access_lead is True
    info = graph.debug_token(ACME_TOKEN)
    assert info.is_valid and info.app_id == APP_ID and "leads_retrieval" in info.scopes
