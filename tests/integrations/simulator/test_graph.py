import json
from datetime import timedelta
from typing import Any

import pytest

from integrations.simulator.seed import ACME_FORM, ACME_PAGE, ACME_TOKEN, GLOBEX_PAGE, GLOBEX_TOKEN
from integrations.simulator.server import SimulatorServer
from tests.integrations.simulator.conftest import APP_TOKEN, NOON, Asker, proof


def error_of(reply: Any) -> tuple[int, int, int | None]:
    error = reply.json()["error"]
    assert error["fbtrace_id"]
    return reply.status_code, error["code"], error.get("error_subcode")


def test_a_lead_comes_with_its_default_fields_and_metas_time(simulator: SimulatorServer, ask: Asker) -> None:
    (lead,) = simulator.world.add_leads(ACME_FORM)
    reply = ask("GET", f"/{lead.id}")
    assert reply.status_code == 200
    assert set(reply.json()) == {"id", "created_time", "field_data"}
    assert reply.json()["created_time"] == "2026-03-04T12:00:00+0000"
    assert reply.headers["facebook-api-version"] == "v26.0"


def test_only_asked_fields_come_and_absent_ones_stay_away(simulator: SimulatorServer, ask: Asker) -> None:
    (organic,) = simulator.world.add_leads(ACME_FORM, organic=True)
    (paid,) = simulator.world.add_leads(ACME_FORM, organic=False)
    fields = "platform,is_organic,ad_id,campaign_name,home_listing"
    assert set(ask("GET", f"/{organic.id}", fields=fields).json()) == {"id", "platform", "is_organic"}
    assert set(ask("GET", f"/{paid.id}", fields=fields).json()) == {
        "id",
        "platform",
        "is_organic",
        "ad_id",
        "campaign_name",
    }


def test_ad_fields_are_silently_absent_without_rights_on_the_ad_account(simulator: SimulatorServer, ask: Asker) -> None:
    (lead,) = simulator.world.add_leads(ACME_FORM, organic=False)
    ask("GET", f"/{lead.id}", fields="ad_id")  # rendered once for those who may see it
    token = simulator.world.tokens[ACME_TOKEN]
    token.scopes -= {"ads_management"}
    assert ask("GET", f"/{lead.id}", fields="ad_id,form_id").json() == {"id": lead.id, "form_id": ACME_FORM}


def test_globex_sees_nothing_of_acme(simulator: SimulatorServer, ask: Asker) -> None:
    (lead,) = simulator.world.add_leads(ACME_FORM)
    for path in (f"/{lead.id}", f"/{ACME_FORM}", f"/{ACME_FORM}/leads", f"/{ACME_PAGE}/leadgen_forms", f"/{ACME_PAGE}"):
        assert error_of(ask("GET", path, token=GLOBEX_TOKEN)) == (400, 100, 33), path


def test_lead_access_taken_away_looks_like_a_lead_that_is_not_there(simulator: SimulatorServer, ask: Asker) -> None:
    (lead,) = simulator.world.add_leads(ACME_FORM)
    simulator.world.pages[ACME_PAGE].lead_access = False
    assert error_of(ask("GET", f"/{lead.id}")) == (400, 100, 33)
    access = ask("GET", f"/{ACME_PAGE}", fields="has_lead_access").json()["has_lead_access"]
    assert access["can_access_lead"] is False
    assert "Lead Access Manager" in access["failure_reason"]


@pytest.mark.parametrize(
    ("path", "expected"), [("/4", (400, 100, 33)), ("/{leadgen_id}", (404, 803, None)), ("/me/nothing", (400, 100, 33))]
)
def test_what_is_not_there_is_told_as_meta_tells_it(ask: Asker, path: str, expected: tuple[int, int, int]) -> None:
    assert error_of(ask("GET", path)) == expected


def test_an_unknown_field_is_named(simulator: SimulatorServer, ask: Asker) -> None:
    (lead,) = simulator.world.add_leads(ACME_FORM)
    reply = ask("GET", f"/{lead.id}", fields="id,shoe_size")
    assert error_of(reply) == (400, 100, None)
    assert "nonexisting field (shoe_size)" in reply.json()["error"]["message"]


def test_the_proof_is_demanded_and_checked(simulator: SimulatorServer, ask: Asker) -> None:
    bearer = {"Authorization": f"Bearer {ACME_TOKEN}"}
    without = ask.bare("GET", "/v26.0/me", headers=bearer)
    wrong = ask.bare("GET", "/me", headers=bearer, params={"appsecret_proof": "é" + proof("x")})
    assert error_of(without) == error_of(wrong) == (400, 100, None)
    assert "require an appsecret_proof" in without.text
    assert "Invalid appsecret_proof" in wrong.text
    next(iter(simulator.world.apps.values())).requires_proof = False
    assert ask.bare("GET", "/me", params={"access_token": ACME_TOKEN}).json()["id"] == ACME_PAGE


@pytest.mark.parametrize("subcode", [None, 458, 459, 460, 463, 464, 467, 492])
def test_a_dead_token_is_190_with_its_subcode(simulator: SimulatorServer, ask: Asker, subcode: int | None) -> None:
    simulator.world.kill(ACME_TOKEN, 190, subcode)
    reply = ask("GET", "/me")
    assert error_of(reply) == (400, 190, subcode)
    assert ACME_TOKEN not in reply.text


def test_no_token_and_a_foreign_token_are_refused(ask: Asker) -> None:
    assert error_of(ask.bare("GET", f"/{ACME_PAGE}")) == (400, 104, None)
    assert error_of(ask.bare("GET", f"/{ACME_PAGE}", params={"access_token": "EAAunknown"})) == (400, 190, None)


def test_an_expired_token_is_463(simulator: SimulatorServer, ask: Asker) -> None:
    user = next(iter(simulator.world.users))
    app = next(iter(simulator.world.apps))
    token = simulator.world.issue("user", app_id=app, user_id=user, life=timedelta(0))
    assert error_of(ask("GET", "/me", token=token.value)) == (400, 190, 463)


def pages_of(ask: Asker, **params: Any) -> list[list[str]]:
    found, after = [], None
    while True:
        body = ask("GET", f"/{ACME_FORM}/leads", **params, **({"after": after} if after else {})).json()
        found.append([lead["id"] for lead in body["data"]])
        if "next" not in body.get("paging", {}):
            return found
        assert "appsecret_proof" not in body["paging"]["next"]
        after = body["paging"]["cursors"]["after"]


def test_leads_come_newest_first_through_an_empty_middle_page(simulator: SimulatorServer, ask: Asker) -> None:
    leads = simulator.world.add_leads(ACME_FORM, 7, created_at=NOON)
    simulator.world.forms[ACME_FORM].empty_page = 1
    pages = pages_of(ask, limit=3)
    assert [len(page) for page in pages] == [3, 0, 3, 1]
    assert [lead for page in pages for lead in page] == [lead.id for lead in reversed(leads)]


def test_leads_arriving_between_two_pages_repeat_nothing(simulator: SimulatorServer, ask: Asker) -> None:
    simulator.world.add_leads(ACME_FORM, 4, created_at=NOON)
    first = ask("GET", f"/{ACME_FORM}/leads", limit=2).json()
    simulator.world.add_leads(ACME_FORM, 2, created_at=NOON + timedelta(hours=1))
    second = ask.bare("GET", first["paging"]["next"] + "&appsecret_proof=" + proof(ACME_TOKEN)).json()
    assert not {lead["id"] for lead in first["data"]} & {lead["id"] for lead in second["data"]}
    assert len(second["data"]) == 2


def test_leads_can_be_filtered_by_time(simulator: SimulatorServer, ask: Asker) -> None:
    simulator.world.add_leads(ACME_FORM, 10, created_at=NOON)
    middle = int(NOON.timestamp()) + 4
    for operator, number in (("GREATER_THAN", 5), ("GREATER_THAN_OR_EQUAL", 6), ("LESS_THAN", 4)):
        rule = json.dumps([{"field": "time_created", "operator": operator, "value": middle}])
        reply = ask("GET", f"/{ACME_FORM}/leads", filtering=rule, summary="true").json()
        assert reply["summary"]["total_count"] == number
    assert error_of(ask("GET", f"/{ACME_FORM}/leads", filtering='[{"field":"x"}]'))[1] == 100


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"limit": "0"}, (400, 100)),
        ({"limit": "15000"}, (500, 1)),
        ({"after": "?"}, (400, 100)),
        ({"filtering": "{"}, (400, 100)),
    ],
)
def test_bad_paging_is_refused(ask: Asker, params: dict[str, str], expected: tuple[int, int]) -> None:
    assert error_of(ask("GET", f"/{ACME_FORM}/leads", **params))[:2] == expected


def test_a_form_tells_its_questions_and_legal_content(ask: Asker) -> None:
    form = ask(
        "GET", f"/{ACME_FORM}", fields="questions{key,label,type,options},legal_content,expired_leads_count"
    ).json()
    assert form["questions"][0] == {
        "id": f"{ACME_FORM}00",
        "key": "full_name",
        "label": "Full name",
        "type": "FULL_NAME",
    }
    assert len(form["questions"][4]["options"]) == 3
    assert [box["key"] for box in form["legal_content"]["custom_disclaimer"]["checkboxes"]] == ["terms", "newsletter"]
    assert [form["id"] for form in ask("GET", f"/{ACME_PAGE}/leadgen_forms").json()["data"]] == [ACME_FORM]


def test_a_form_has_one_test_lead_at_a_time_and_no_flag_marks_it(simulator: SimulatorServer, ask: Asker) -> None:
    made = ask("POST", f"/{ACME_FORM}/test_leads").json()["id"]
    assert error_of(ask("POST", f"/{ACME_FORM}/test_leads")) == (400, 100, None)
    answers = {it["name"]: it["values"] for it in ask("GET", f"/{made}").json()["field_data"]}
    assert answers["email"] == ["test@meta.com"]
    assert answers["phone_number"] == ["<test lead: dummy data for phone_number>"]
    assert len(answers["phone_number"][0]) == 40
    assert [it["id"] for it in ask("GET", f"/{ACME_FORM}/test_leads").json()["data"]] == [made]
    assert ask("DELETE", f"/{made}").json() == {"success": True}
    assert error_of(ask("GET", f"/{made}")) == (400, 100, 33)
    (real,) = simulator.world.add_leads(ACME_FORM)
    assert error_of(ask("DELETE", f"/{real.id}")) == (403, 200, None)


def batch(ask: Asker, items: list[Any], **params: Any) -> Any:
    return ask("POST", "/", batch=json.dumps(items), **params)


def test_a_batch_answers_every_item_for_itself(simulator: SimulatorServer, ask: Asker) -> None:
    leads = simulator.world.add_leads(ACME_FORM, 48)
    urls = [f"{lead.id}?fields=id,form_id" for lead in leads] + ["v26.0/4", "?"]
    reply = batch(ask, [{"method": "GET", "relative_url": url} for url in urls])
    assert reply.status_code == 200
    assert [item["code"] for item in reply.json()] == [200] * 48 + [400, 400]
    assert json.loads(reply.json()[3]["body"]) == {"id": leads[3].id, "form_id": ACME_FORM}
    assert reply.json()[0]["headers"][0]["name"] == "Content-Type"
    assert simulator.calls.of("lead", tenant="acme", token=f"page:{ACME_PAGE}") == 48
    assert set(simulator.calls.leads.values()) == {1}
    assert simulator.calls.requests == {"batch": 1}


def test_a_batch_of_51_is_refused(ask: Asker) -> None:
    reply = batch(ask, [{"method": "GET", "relative_url": "me"}] * 51)
    assert error_of(reply)[0] == 400
    assert "Maximum batch size is 50" in reply.text


def test_a_batch_item_may_bring_its_own_token_and_then_needs_its_own_proof(
    simulator: SimulatorServer, ask: Asker
) -> None:
    own = f"me?access_token={GLOBEX_TOKEN}"
    items = ["me", own, f"{own}&appsecret_proof={proof(GLOBEX_TOKEN)}"]
    replies = batch(ask, [{"method": "GET", "relative_url": url} for url in items], include_headers="false").json()
    assert [set(reply) for reply in replies] == [{"code", "body"}] * 3
    bodies = [json.loads(reply["body"]) for reply in replies]
    assert bodies[0]["id"] == ACME_PAGE
    assert "appsecret_proof" in bodies[1]["error"]["message"]
    assert bodies[2]["id"] == GLOBEX_PAGE


def test_broken_batches_are_refused_and_a_broken_item_costs_only_itself(ask: Asker) -> None:
    for text in ("", "{", "[]", "{}"):
        assert error_of(ask("POST", "/", batch=text))[:2] == (400, 100)
    replies = batch(ask, [1, {"method": "GET"}, {"method": "GET", "relative_url": "me"}]).json()
    assert [reply["code"] for reply in replies] == [400, 400, 200]


def test_a_dead_outer_token_fails_the_whole_batch(simulator: SimulatorServer, ask: Asker) -> None:
    simulator.world.kill(ACME_TOKEN)
    assert error_of(batch(ask, [{"method": "GET", "relative_url": "me"}])) == (400, 190, 460)


def test_an_unknown_version_is_served_by_the_default_one(ask: Asker) -> None:
    reply = ask.bare("GET", "/v27.0/me", params={"access_token": ACME_TOKEN, "appsecret_proof": proof(ACME_TOKEN)})
    assert reply.headers["facebook-api-version"] == "v20.0"


def test_debug_token_wants_the_apps_token(simulator: SimulatorServer, ask: Asker) -> None:
    data = ask("GET", "/debug_token", token=APP_TOKEN, input_token=ACME_TOKEN).json()["data"]
    assert (data["is_valid"], data["expires_at"], data["profile_id"]) == (True, 0, ACME_PAGE)
    simulator.world.kill(ACME_TOKEN, 190, 467)
    data = ask("GET", "/debug_token", token=APP_TOKEN, input_token=ACME_TOKEN).json()["data"]
    assert (data["is_valid"], data["error"]["subcode"]) == (False, 467)
    assert error_of(ask("GET", "/debug_token", token=GLOBEX_TOKEN, input_token=ACME_TOKEN))[1] == 100


def test_a_page_is_subscribed_and_left(simulator: SimulatorServer, ask: Asker) -> None:
    path = f"/{ACME_PAGE}/subscribed_apps"
    assert error_of(ask("POST", path))[1] == 100
    assert ask("POST", path, subscribed_fields="leadgen,messages").json() == {"success": True}
    assert ask("GET", path).json()["data"][0]["subscribed_fields"] == ["leadgen", "messages"]
    assert ask("DELETE", path, token=APP_TOKEN).json() == {"success": True}
    assert ask("GET", path).json() == {"data": []}
    simulator.world.tokens[ACME_TOKEN].scopes -= {"leads_retrieval"}
    assert error_of(ask("POST", path, subscribed_fields="leadgen")) == (403, 200, None)
