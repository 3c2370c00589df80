"""The chapters about connections: given by a link, broken and mended, and closed for good."""

import html
import re
from typing import Any

from integrations.simulator.seed import ACME_USER, SHARED_ACCOUNT
from worker.demo.stage import NotTrue, Stage, Tenant


def connect_by_link(stage: Stage) -> list[str]:
    """One Google account is connected in both tenants, each by a link of its own"""
    link = ""
    for tenant in stage.tenants:
        link, consent = open_link(stage, tenant, "google_calendar")
        refused = stage.http.get(_at_google(stage, consent, deny=True))
        _check(refused.status_code == 200, "who cancels at Google was shown an error")
        _, consent = _visit(stage, link)
        back = _at_google(stage, consent)
        given, again = stage.http.get(back), stage.http.get(back)
        _check(given.status_code == 200, f"the grant was not taken: {given.status_code}")
        _check(again.status_code == 400, "the same answer was taken twice")
        tenant.google_id = _only(stage, tenant, "google_calendar")["id"]
        _look_at(stage, tenant, None)
        _check(_of(stage, tenant, tenant.google_id)["status"] == "active", "the connection is not active")
    spent = stage.http.get(link)
    _check(spent.status_code in (404, 410), "a spent link still leads to Google")
    return [
        "the page behind the link names each permission; cancelling left the link usable",
        "state and PKCE verifier worked once: the same answer a second time was a 400, the spent link a dead end",
    ]


def break_and_mend(stage: Stage) -> list[str]:
    """A page's access ends at Meta while leads keep coming; somebody connects again"""
    acme = stage.acme
    stage.meta("POST", f"users/{ACME_USER}", json={"password_changed": True})
    ids: list[str] = stage.meta("POST", "leads", json={"page": acme.page_id, "count": 6})["ids"]
    before = len(stage.leads(acme))
    wish = {"leads": ids, "callback_url": f"{stage.local.url}/webhooks/meta"}
    stage.meta("POST", "deliver", json=wish)
    stage.wait("the trouble to be told", lambda: _of(stage, acme, acme.connection_id)["status"] == "needs_reconnect")
    health = _of(stage, acme, acme.connection_id)["health"]
    _check(health["waiting"] == len(ids), f"{health['waiting']} leads wait, not {len(ids)}")
    _check(len(stage.leads(acme)) == before, "a lead came through a dead token")
    _, consent = open_link(stage, acme, "facebook_leads")
    back = stage.meta("POST", "meta/consent", json={"url": consent, "user": ACME_USER, "pages": None})["location"]
    _check(stage.http.get(back).status_code == 200, "the page was not connected again")
    waited = stage.wait("the leads that waited", lambda: len(stage.leads(acme)) == before + len(ids))
    told = [event["type"] for event in _events(stage, acme) if event["data"].get("connection_id") == acme.connection_id]
    _check(told.count("connection.needs_reconnect") == 1 == told.count("connection.recovered"), f"told: {told}")
    return [
        f"“{health['sentence']}” - {health['fix']} {len(ids)} leads waited behind it",
        f"after the reconnect all of them arrived within {waited:.1f} s; the host was told once of each",
    ]


def disconnect(stage: Stage) -> list[str]:
    """acme disconnects Google; the same account goes on at globex"""
    acme, globex = stage.tenants
    asked = stage.api("POST", f"/v1/connections/{acme.google_id}/revoke", stage.platform_key, tenant=acme)
    _check(asked.status_code == 202, f"the connection was not closed: {asked.text}")
    deletion = asked.json()["deletion"]
    stage.wait("the grant to be gone", lambda: _of(stage, acme, acme.google_id)["status"] == "revoked")
    steps = stage.api("GET", f"/v1/deletions/{deletion['id']}", stage.platform_key, tenant=acme).json()["steps"]
    outcome = {step["name"]: step["status"] for step in steps}
    _check(outcome["revoke_grant"] == "skipped", f"the shared grant was revoked: {outcome}")
    _check(outcome["destroy_tokens"] == "done", f"the tokens are still there: {outcome}")
    before = _of(stage, globex, globex.google_id)["checked_at"]
    again = stage.api("POST", f"/v1/connections/{globex.google_id}/check", stage.platform_key, tenant=globex)
    _check(again.status_code == 202, "globex's grant could not be looked at")
    _look_at(stage, globex, before)
    _check(_of(stage, globex, globex.google_id)["status"] == "active", "globex lost its grant")
    page = stage.http.get(f"{stage.local.url}/deletions/{deletion['confirmation_code']}")
    _check(page.status_code == 200, "the page of the deletion is not there")
    return [
        "tokens and their key are destroyed; Google was not asked to revoke, since globex lives by the same account",
        f"a deletion request was written: {deletion['working_days_left']} working days left, to {deletion['promise_due_at']}",
        "globex's grant was looked at afterwards, and is well",
    ]


def _check(holds: object, otherwise: str) -> None:
    if not holds:
        raise NotTrue(otherwise)


def open_link(stage: Stage, tenant: Tenant, integration: str) -> tuple[str, str]:
    made = stage.api("POST", "/v1/connect-links", stage.platform_key, tenant=tenant, json={"integration": integration})
    _check(made.status_code == 201, f"no link was made: {made.text}")
    return _visit(stage, made.json()["url"])


def _visit(stage: Stage, link: str) -> tuple[str, str]:
    """(the link, the provider's address that its page leads to)"""
    page = stage.http.get(link)
    found = re.search(rf'href="({re.escape(stage.simulator_url)}[^"]+)"', page.text)
    if found is None:
        raise NotTrue(f"the page behind the link does not lead to the provider: {page.status_code}")
    return link, html.unescape(found[1])


def _at_google(stage: Stage, consent: str, *, deny: bool = False) -> str:
    wish = {"url": consent, "account": SHARED_ACCOUNT, "deny": deny}
    back: str = stage.meta("POST", "google/consent", json=wish)["location"]
    return back


def _look_at(stage: Stage, tenant: Tenant, before: str | None) -> None:
    stage.wait("the grant to be looked at", lambda: _of(stage, tenant, tenant.google_id)["checked_at"] != before)


def _only(stage: Stage, tenant: Tenant, integration: str) -> dict[str, Any]:
    items = stage.api("GET", "/v1/connections", stage.platform_key, tenant=tenant).json()["items"]
    found: list[dict[str, Any]] = [item for item in items if item["integration"] == integration]
    _check(len(found) == 1, f"{tenant.external_id} has {len(found)} connections of {integration}")
    return found[0]


def _of(stage: Stage, tenant: Tenant, connection_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = stage.api(
        "GET", f"/v1/connections/{connection_id}", stage.platform_key, tenant=tenant
    ).json()
    return answer


def _events(stage: Stage, tenant: Tenant) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = stage.api("GET", "/v1/events", stage.platform_key, tenant=tenant).json()["items"]
    return items
