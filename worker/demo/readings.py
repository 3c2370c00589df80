"""The chapter about leads that no delivery told of: read from Meta itself, named, mapped and acknowledged."""

from datetime import timedelta
from typing import Any

from worker.demo.stage import NotTrue, Stage, Tenant

LOST = 8


def find_what_was_lost(stage: Stage) -> list[str]:
    """Deliveries get lost for good; Troth asks Meta for what it never heard of"""
    acme = stage.acme
    form = _form(stage, acme)
    ids: list[str] = stage.meta("POST", "leads", json={"page": acme.page_id, "count": LOST})["ids"]
    _check(not set(ids) & set(stage.leads(acme)), "a lead came that nobody had told of")
    since = stage.services.clock() - timedelta(hours=1)
    asked = _call(stage, "POST", f"/v1/forms/{form['id']}/backfill", json={"since": f"{since:%Y-%m-%dT%H:%M:%SZ}"})
    _check(asked.status_code == 202, f"the backfill was not taken: {asked.text}")
    waited = stage.wait("the leads that were lost", lambda: set(ids) <= set(stage.leads(acme)))
    leads = stage.leads(acme)
    _check(not [name for name in leads if name.endswith(" again")], "a lead was stored twice")
    _check({leads[one]["source"] for one in ids} == {"backfill"}, "the leads came some other way")
    one = leads[ids[0]]
    _check(one["form_name"] == form["name"], "the form's name is missing")
    _check(all(answer["label"] for answer in one["answers"]), "a question has no label")
    told = _acknowledge(stage, [leads[name]["id"] for name in ids])
    return [
        f"{LOST} leads of which no delivery came were there within {waited:.1f} s, each once, with the form's labels",
        f"the host was told of each by lead.received, and acknowledged {told}",
    ]


def _acknowledge(stage: Stage, leads: list[str]) -> int:
    events = _events(stage)
    received = {event["data"]["lead_id"] for event in events if event["type"] == "lead.received"}
    _check(set(leads) <= received, "the host was not told of every lead")
    answer = _call(stage, "POST", "/v1/leads/acknowledge", json={"ids": leads})
    _check(answer.status_code == 200, f"the leads could not be acknowledged: {answer.text}")
    number: int = answer.json()["acknowledged"]
    _check(number == len(leads), f"{number} of {len(leads)} were acknowledged")
    return number


def _form(stage: Stage, tenant: Tenant) -> dict[str, Any]:
    """The tenant's form, as soon as the page's forms have been listed."""
    stage.wait("the forms to be listed", lambda: _forms(stage))
    found = [form for form in _forms(stage) if form["page_id"] == tenant.page_id]
    _check(len(found) == 1, f"{len(found)} forms were found, not one")
    return found[0]


def _forms(stage: Stage) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = _call(stage, "GET", "/v1/forms").json()["items"]
    return items


def _events(stage: Stage) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while items := _call(stage, "GET", "/v1/events", params={"limit": "100", **after}).json()["items"]:
        found += items
        after = {"after": items[-1]["id"]}
    return found


def _call(stage: Stage, method: str, path: str, **options: Any) -> Any:
    return stage.api(method, path, stage.platform_key, tenant=stage.acme, **options)


def _check(holds: object, otherwise: str) -> None:
    if not holds:
        raise NotTrue(otherwise)
