"""What Meta does to those who read forms and leads in bulk: limits, the 90 days, forms that come and go, budgets."""

import json
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from integrations.simulator.seed import ACME_FORM, ACME_PAGE, APP_ID, GLOBEX_PAGE, GLOBEX_TOKEN, SeedError, build_world
from integrations.simulator.server import SimulatorServer
from tests.integrations.simulator.conftest import NOON, Asker


def switch(ask: Asker, path: str, method: str = "POST", **values: Any) -> Any:
    reply = ask.bare(method, f"/_sim/{path}", json=values)
    assert reply.status_code == 200, reply.text
    return reply.json()


def lead_ids(ask: Asker, form: str = ACME_FORM, **params: Any) -> list[str]:
    return [lead["id"] for lead in ask("GET", f"/{form}/leads", fields="id", **params).json()["data"]]


def test_a_thousand_leads_are_given_at_once_and_no_more(simulator: SimulatorServer, ask: Asker) -> None:
    simulator.world.add_leads(ACME_FORM, 3)
    assert len(lead_ids(ask, limit=1000)) == 3
    refused = ask("GET", f"/{ACME_FORM}/leads", limit=1001)
    assert (refused.status_code, refused.json()["error"]["code"]) == (500, 1)
    assert "reduce the amount of data" in refused.json()["error"]["message"]
    switch(ask, f"forms/{ACME_FORM}", most=2)
    assert ask("GET", f"/{ACME_FORM}/leads", limit=3).status_code == 500
    assert len(lead_ids(ask, limit=2)) == len(lead_ids(ask)) == 2


def test_leads_end_after_ninety_days_and_are_counted(simulator: SimulatorServer, ask: Asker) -> None:
    world = simulator.world
    old, edge, new = (
        world.add_leads(ACME_FORM, created_at=NOON - age)[0]
        for age in (timedelta(days=90, seconds=1), timedelta(days=90), timedelta())
    )
    assert lead_ids(ask) == [new.id, edge.id]
    assert ask("GET", f"/{old.id}").json()["error"]["error_subcode"] == 33
    assert ask("GET", f"/{edge.id}").status_code == 200
    form = ask("GET", f"/{ACME_FORM}", fields="leads_count,expired_leads_count").json()
    assert (form["leads_count"], form["expired_leads_count"]) == (3, 1)
    everything = ask.bare("GET", "/_sim/leads", params={"page": ACME_PAGE, "ids": 1}).json()
    kept = ask.bare("GET", "/_sim/leads", params={"page": ACME_PAGE, "ids": 1, "kept": 1}).json()
    assert (everything, kept) == ([old.id, edge.id, new.id], [edge.id, new.id])


def test_a_lead_that_went_away_between_two_pages_hides_no_other(simulator: SimulatorServer, ask: Asker) -> None:
    leads = simulator.world.add_leads(ACME_FORM, 6, created_at=NOON - timedelta(hours=1))
    first = ask("GET", f"/{ACME_FORM}/leads", fields="id", limit=2).json()
    simulator.world.remove(leads[4])  # the last one given: the cursor stands on it
    second = lead_ids(ask, limit=10, after=first["paging"]["cursors"]["after"])
    assert set(second) >= {lead.id for lead in leads[:4]}


def test_forms_come_are_archived_and_go_while_it_runs(simulator: SimulatorServer, ask: Asker) -> None:
    made = switch(ask, "forms", page=ACME_PAGE, name="Autumn", leads=3, expired=2)["id"]
    listed = ask("GET", f"/{ACME_PAGE}/leadgen_forms", fields="name,status,leads_count").json()["data"]
    assert [form["id"] for form in listed] == [ACME_FORM, made]
    assert (listed[1]["name"], listed[1]["status"], listed[1]["leads_count"]) == ("Autumn", "ACTIVE", 5)
    (gone, *_) = lead_ids(ask, made)
    switch(ask, f"forms/{made}", status="ARCHIVED", name="Autumn, over")
    assert ask("GET", f"/{made}").json()["status"] == "ARCHIVED"
    assert len(lead_ids(ask, made)) == 3
    test_lead = ask("POST", f"/{made}/test_leads").json()["id"]
    switch(ask, f"forms/{made}", "DELETE")
    for path in (f"/{made}", f"/{made}/leads", f"/{gone}", f"/{test_lead}"):
        assert ask("GET", path).json()["error"]["error_subcode"] == 33
    assert len(ask("GET", f"/{ACME_PAGE}/leadgen_forms").json()["data"]) == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("forms", {"page": "0"}, 404),
        ("forms", {"page": ACME_PAGE, "id": ACME_FORM}, 400),
        ("forms", {"page": ACME_PAGE, "shoe_size": 7}, 400),
        ("forms/0", {}, 404),
        (f"forms/{ACME_FORM}", {"leads": 7}, 400),
        ("quota", {"per_day": 7}, 400),
    ],
)
def test_a_wrong_switch_gets_a_sentence(ask: Asker, path: str, body: dict[str, Any], status: int) -> None:
    assert ask.bare("POST", f"/_sim/{path}", json=body).status_code == status


def test_a_page_of_forms_may_be_empty_in_the_middle(ask: Asker) -> None:
    for _ in range(3):
        switch(ask, "forms", page=ACME_PAGE)
    switch(ask, f"pages/{ACME_PAGE}", empty_page=1, tenant="initech")
    found: list[str] = []
    sizes: list[int] = []
    after: dict[str, str] = {}
    while True:
        body = ask("GET", f"/{ACME_PAGE}/leadgen_forms", fields="id", limit=2, **after).json()
        sizes.append(len(body["data"]))
        found += [form["id"] for form in body["data"]]
        if "next" not in body["paging"]:
            break
        after = {"after": body["paging"]["cursors"]["after"]}
    assert (sizes, len(set(found))) == ([2, 0, 2], 4)
    assert ask.bare("GET", "/_sim/state").json()["pages"][0]["tenant"] == "initech"


def told(reply: Any, page: str = ACME_PAGE) -> dict[str, tuple[int, int]]:
    listed = json.loads(reply.headers["X-Business-Use-Case-Usage"])[page]
    return {it["type"]: (it["call_count"], it["estimated_time_to_regain_access"]) for it in listed}


def test_without_the_switch_no_budget_is_told(ask: Asker) -> None:
    assert "X-Business-Use-Case-Usage" not in ask("GET", f"/{ACME_FORM}/leads").headers


def test_a_pages_budget_grows_with_its_leads_and_is_refused_beyond_it(simulator: SimulatorServer, ask: Asker) -> None:
    simulator.world.add_leads(ACME_FORM, 2)
    simulator.world.add_leads(ACME_FORM, 5, created_at=NOON - timedelta(days=91))
    switch(ask, "quota", on=True, per_lead=5)
    replies = [ask("GET", f"/{ACME_FORM}/leads") for _ in range(11)]
    assert [reply.status_code for reply in replies] == [200] * 10 + [400]
    assert told(replies[0]) == {"leadgen": (10, 0), "pages": (0, 0)}
    assert told(replies[9])["leadgen"] == (100, 0)
    assert replies[10].json()["error"]["code"] == 80005
    assert told(replies[10])["leadgen"] == (110, 24 * 60 + 10)
    assert ask("GET", f"/{GLOBEX_PAGE}/leadgen_forms", token=GLOBEX_TOKEN).status_code == 200
    assert ask("GET", f"/{ACME_FORM}").status_code == 200
    switch(ask, "quota", on=False)
    assert ask("GET", f"/{ACME_FORM}/leads").status_code == 200


def test_calls_made_during_the_block_lengthen_it_and_in_the_end_it_is_over() -> None:
    now = [NOON]
    with SimulatorServer(build_world(lambda: now[0])) as simulator, closing(Asker(simulator.url)) as ask:
        switch(ask, "quota", on=True, floor=1, pages=2)
        statuses = [ask("GET", f"/{ACME_FORM}/leads").status_code for _ in range(3)]
        now[0] += timedelta(hours=12)
        impatient = ask("GET", f"/{ACME_FORM}/leads")
        assert (statuses, impatient.status_code) == ([200, 400, 400], 400)
        assert told(impatient)["leadgen"] == (400, 24 * 60 + 10)
        now[0] += timedelta(hours=24, minutes=11)
        assert ask("GET", f"/{ACME_FORM}/leads").status_code == 200
        pages = [ask("GET", f"/{ACME_FORM}") for _ in range(3)]
        assert pages[2].json()["error"]["code"] == 80001 and told(pages[2])["pages"][1] > 0


def test_each_item_of_a_batch_costs_one_call(simulator: SimulatorServer, ask: Asker) -> None:
    leads = simulator.world.add_leads(ACME_FORM, 4)
    switch(ask, "quota", on=True, per_lead=1)
    items = [{"method": "GET", "relative_url": f"{lead.id}?fields=id"} for lead in [*leads, leads[0]]]
    reply = ask("POST", "/", batch=json.dumps(items))
    assert [item["code"] for item in reply.json()] == [200] * 4 + [400]
    assert told(reply)["leadgen"][0] == 125
    assert simulator.panel.quota.used(ACME_PAGE) == 5


def test_a_seed_may_have_old_leads_and_archived_forms() -> None:
    form = {"id": "4", "leads": 2, "expired": 3, "status": "ARCHIVED", "most": 50}
    seed = {"pages": [{"id": "3", "forms": [form]}], "apps": [{"id": APP_ID, "secret": "s", "verify_token": "v"}]}
    world = build_world(lambda: NOON, seed)
    made = world.forms["4"]
    assert (made.status, made.most, len(made.leads), world.expired(made)) == ("ARCHIVED", 50, 5, 3)
    with pytest.raises(SeedError):
        build_world(lambda: NOON, {**seed, "pages": [{"id": "3", "forms": [{}]}]})
