"""Single nodes of Graph: a lead, a form, a page, a person, an app; knows which of their fields a token may see."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from integrations.simulator.meta import Call, Graph, Place
from integrations.simulator.meta_answers import Answer, GraphFault, missing, needs_permission, ok
from integrations.simulator.meta_fields import AD_FIELDS, Wanted, wanted
from integrations.simulator.records import App, Form, Lead, Page, Token, User


def get_lead(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """GET /{lead}"""
    lead = place.node_as(Lead)
    require_leads(graph, token, lead.form.page, lead.id)
    body = lead_body(lead, call.params.get("fields", ""), sees_ads(token))
    graph.calls.leads[lead.id] += 1
    return Answer(200, body)


def delete_lead(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """DELETE /{lead}: test leads only; a real one belongs to the person who sent it."""
    lead = place.node_as(Lead)
    require_leads(graph, token, lead.form.page, lead.id)
    if not lead.is_test:
        raise GraphFault(200, "(#200) Only the owner of the lead may delete it", status=403)
    graph.world.remove(lead)
    return ok({"success": True})


def get_form(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """GET /{form}"""
    form = place.node_as(Form)
    require_page(graph, token, form.page, form.id)
    return ok(form_values(graph, form, wanted("form", call.params.get("fields"))))


def get_page(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """GET /{page}, and /me with a page's token"""
    page = place.node_as(Page)
    if not graph.may_read(token, page):
        raise missing(page.id)
    return ok(page_values(graph, page, token, wanted("page", call.params.get("fields"))))


def get_user(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """GET /{user}, and /me with a person's token"""
    user = place.node_as(User)
    if token.user_id != user.id:
        raise missing(user.id)
    values = {"id": user.id, "name": user.name}
    return ok({field.name: values[field.name] for field in wanted("user", call.params.get("fields"))})


def get_app(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """GET /{app}"""
    app = place.node_as(App)
    values = {"id": app.id, "name": app.name, "link": "https://www.facebook.com/", "category": "Business"}
    fields = wanted("app", call.params.get("fields"))
    return ok({field.name: values[field.name] for field in fields if field.name in values})


def require_leads(graph: Graph, token: Token, page: Page, node: str) -> None:
    """A token that may read leads of this page; without lead access Meta speaks as if the lead were not there."""
    if not graph.may_read(token, page) or not page.lead_access or "ADVERTISE" not in page.tasks:
        raise missing(node)
    if "leads_retrieval" not in token.scopes:
        raise needs_permission("leads_retrieval")


def require_page(graph: Graph, token: Token, page: Page, node: str, scope: str = "pages_read_engagement") -> None:
    """A token of this page with a permission; GraphFault otherwise."""
    if not graph.may_read(token, page):
        raise missing(node)
    if scope not in token.scopes:
        raise needs_permission(scope)


def sees_ads(token: Token) -> bool:
    """Without rights on the ad account, ad fields are absent, and nothing says so."""
    return "ads_management" in token.scopes


def lead_body(lead: Lead, fields: str, ads: bool) -> bytes:
    """A lead as JSON, with the asked-for fields only; kept, as a burst asks for each lead in the same way."""
    body = lead.rendered.get((fields, ads))
    if body is None:
        body = lead.rendered[fields, ads] = orjson.dumps(lead_values(lead, wanted("lead", fields), ads))
    return body


def prepare(leads: Iterable[Lead], fields: str) -> None:
    """Render leads before anybody asks, so that a benchmark does not pay for it while it measures."""
    for lead in leads:
        lead_body(lead, fields, ads=True)


def lead_values(lead: Lead, fields: Sequence[Wanted], ads: bool) -> dict[str, Any]:
    """A lead's asked-for fields; those that have no value are absent."""
    values: dict[str, Any] = {
        "id": lead.id,
        "created_time": _time(lead.created_at),
        "field_data": lead.field_data,
        "form_id": lead.form.id,
        "is_organic": lead.is_organic,
        "platform": lead.platform,
    }
    if lead.disclaimers:
        values["custom_disclaimer_responses"] = lead.disclaimers
    if ads:
        values.update((name, lead.ad[name]) for name in AD_FIELDS if name in lead.ad)
    return {field.name: values[field.name] for field in fields if field.name in values}


def form_values(graph: Graph, form: Form, fields: Sequence[Wanted]) -> dict[str, Any]:
    """A form's asked-for fields; `leads_count` counts the expired ones too."""
    values: dict[str, Any] = {
        "id": form.id,
        "name": form.name,
        "locale": form.locale,
        "status": form.status,
        "created_time": _time(form.created_at),
        "leads_count": len(form.leads),
        "expired_leads_count": graph.world.expired(form),
        "page": {"id": form.page.id, "name": form.page.name},
        "page_id": form.page.id,
        "privacy_policy_url": "https://example.com/privacy",
        "allow_organic_lead": True,
        "questions": [],
    }
    if form.consents:
        values["legal_content"] = _legal_content(form)
    for field in fields:
        if field.name == "questions":
            values["questions"] = _questions(form, field)
        elif field.name == "organic_leads_count":
            values["organic_leads_count"] = sum(1 for lead in form.leads if lead.is_organic)
    return {field.name: values[field.name] for field in fields if field.name in values}


def page_values(graph: Graph, page: Page, token: Token, fields: Sequence[Wanted]) -> dict[str, Any]:
    """A page's asked-for fields; `access_token` is the page's own, as this person gets it."""
    values: dict[str, Any] = {
        "id": page.id,
        "name": page.name,
        "category": "Local business",
        "link": f"https://www.facebook.com/{page.id}",
        "tasks": page.tasks,
        "is_published": True,
        "has_added_app": token.app_id in page.subscribed,
        "is_webhooks_subscribed": token.app_id in page.subscribed,
    }
    for field in fields:
        if field.name == "has_lead_access":
            access = lead_access(graph, page, token)
            inner = field.inner or wanted("access", None)
            values["has_lead_access"] = {it.name: access[it.name] for it in inner if it.name in access}
        elif field.name == "access_token":
            values["access_token"] = _page_token(graph, page, token)
    return {field.name: values[field.name] for field in fields if field.name in values}


def lead_access(graph: Graph, page: Page, token: Token) -> dict[str, Any]:
    """What Leads Access Manager says: once customised, it may shut out even a page's admin."""
    scope, task = "leads_retrieval" in token.scopes, "ADVERTISE" in page.tasks
    access: dict[str, Any] = {
        "app_has_leads_permission": page.lead_access and scope,
        "can_access_lead": page.lead_access and scope and task,
        "enabled_lead_access_manager": not page.lead_access,
        "is_page_admin": "MANAGE" in page.tasks,
        "page_id": page.id,
        "user_has_leads_permission": page.lead_access and task,
        "user_id": token.user_id,
    }
    if not page.lead_access:
        access["failure_reason"] = "CRM access has been revoked from Lead Access Manager"
        access["failure_resolution"] = "Assign this CRM to the Page in Leads Access of the business settings."
    elif not task:
        access["failure_reason"] = "The user lacks the ADVERTISE task on the Page"
        access["failure_resolution"] = "Give the user the task to create ads on the Page."
    elif not scope:
        access["failure_reason"] = "The app lacks the leads_retrieval permission"
        access["failure_resolution"] = "Log in again and grant leads_retrieval."
    return access


def _time(instant: datetime) -> str:
    """Meta's way to write UTC; a third of strftime's time, and each lead of a burst is rendered once."""
    return f"{instant.astimezone(UTC).isoformat()[:19]}+0000"


def _questions(form: Form, field: Wanted) -> list[dict[str, Any]]:
    asked = [it.name for it in field.inner or wanted("question", None)]
    listed = []
    for number, question in enumerate(form.questions):
        values: dict[str, Any] = {
            "id": f"{form.id}{number:02d}",
            "key": question.key,
            "label": question.label,
            "type": question.type,
        }
        if question.options:
            values["options"] = [{"key": key, "value": value} for key, value in question.options]
        listed.append({name: values[name] for name in asked if name in values})
    return listed


def _legal_content(form: Form) -> dict[str, Any]:
    boxes = [
        {"id": f"{form.id}9{number}", "key": key, "text": text, "is_required": required, "is_checked_by_default": False}
        for number, (key, text, required) in enumerate(form.consents)
    ]
    return {
        "id": f"{form.id}9",
        "privacy_policy": {"url": "https://example.com/privacy", "link_text": "Privacy policy"},
        "custom_disclaimer": {
            "title": "Consent",
            "body": {"text": "What you agree to.", "url_entities": []},
            "checkboxes": boxes,
        },
    }


def _page_token(graph: Graph, page: Page, token: Token) -> str:
    """The page token of this person for this app: the same as long as it lives; it never ends."""
    if token.kind == "page":
        return token.value
    for known in reversed(graph.world.tokens.values()):
        if known.kind == "page" and known.page_id == page.id and known.user_id == token.user_id and known.dead is None:
            return known.value
    issued = graph.world.issue("page", app_id=token.app_id, user_id=token.user_id, page_id=page.id, scopes=token.scopes)
    return issued.value
