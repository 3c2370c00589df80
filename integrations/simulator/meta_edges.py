"""Lists that hang on nodes: a form's leads and test leads, a page's forms, a person's pages; knows no cursors."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence

import orjson

from integrations.simulator.meta import Call, Graph, Place
from integrations.simulator.meta_answers import Answer, bad_parameter, missing, ok
from integrations.simulator.meta_fields import wanted
from integrations.simulator.meta_nodes import form_values, lead_body, page_values, require_leads, require_page, sees_ads
from integrations.simulator.meta_paging import page_of, read_json
from integrations.simulator.records import Form, Lead, Page, Token, User

# operator: (whether the leads before are left out, or those after; on which side of an equal instant)
_BOUNDS: dict[str, tuple[bool, Callable[..., int]]] = {
    "GREATER_THAN": (True, bisect_right),
    "GREATER_THAN_OR_EQUAL": (True, bisect_left),
    "LESS_THAN": (False, bisect_left),
    "LESS_THAN_OR_EQUAL": (False, bisect_right),
}


def list_leads(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """GET /{form}/leads: newest first"""
    form = place.node_as(Form)
    require_leads(graph, token, form.page, form.id)
    fields = call.params.get("fields", "")
    wanted("lead", fields)
    found = _filtered(graph.world.kept(form), call.params.get("filtering"))
    ads = sees_ads(token)

    def behind(lead_id: str) -> int:
        # A lead that is no longer there, or is of another form: begin again, as Meta may.
        lead = graph.world.leads.get(lead_id)
        return len(found) - bisect_left(found, lead) if lead is not None and lead.form is form else 0

    return page_of(
        graph,
        call,
        place,
        found[::-1],
        key=lambda lead: lead.id,
        render=lambda lead: orjson.Fragment(lead_body(lead, fields, ads)),
        empty=form.empty_page,
        most=form.most,
        behind=behind,
    )


def list_test_leads(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """GET /{form}/test_leads"""
    form = place.node_as(Form)
    require_leads(graph, token, form.page, form.id)
    fields = call.params.get("fields", "")
    wanted("lead", fields)
    leads = [form.test_lead] if form.test_lead is not None else []
    return ok({"data": [orjson.Fragment(lead_body(lead, fields, sees_ads(token))) for lead in leads]})


def create_test_lead(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """POST /{form}/test_leads: one at a time"""
    form = place.node_as(Form)
    require_page(graph, token, form.page, form.id, "pages_manage_ads")
    try:
        lead = graph.world.add_test_lead(form.id, read_json(call.params.get("field_data"), list, "field_data"))
    except ValueError as error:
        raise bad_parameter("Only one test lead can exist for a form: delete the other one first") from error
    return ok({"id": lead.id})


def delete_test_leads(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """DELETE /{form}/test_leads"""
    form = place.node_as(Form)
    require_page(graph, token, form.page, form.id, "pages_manage_ads")
    if form.test_lead is not None:
        graph.world.remove(form.test_lead)
    return ok({"success": True})


def list_forms(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """GET /{page}/leadgen_forms"""
    page = place.node_as(Page)
    require_page(graph, token, page, page.id)
    fields = wanted("form", call.params.get("fields"))
    return page_of(
        graph,
        call,
        place,
        list(page.forms),
        key=lambda form: form.id,
        render=lambda form: form_values(graph, form, fields),
        empty=page.empty_page,
    )


def list_accounts(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """GET /me/accounts: the pages this person gave the app"""
    user = place.node_as(User)
    if token.user_id != user.id:
        raise missing(user.id)
    if "pages_show_list" not in token.scopes:
        return ok({"data": []})
    fields = wanted("account", call.params.get("fields"))
    pages = [graph.world.pages[page] for page in graph.world.pages_given(token.app_id, user)]
    return page_of(
        graph,
        call,
        place,
        pages,
        key=lambda page: page.id,
        render=lambda page: page_values(graph, page, token, fields),
        empty=user.empty_page,
    )


def _filtered(leads: Sequence[Lead], text: str | None) -> list[Lead]:
    low, high = 0, len(leads)
    for rule in read_json(text, list, "filtering") or ():
        bound = _BOUNDS.get(str(rule.get("operator"))) if isinstance(rule, Mapping) else None
        if bound is None or rule.get("field") != "time_created":
            raise bad_parameter("Filtering field is invalid: use time_created with a comparison")
        try:
            asked = float(rule["value"])
        except (KeyError, TypeError, ValueError) as error:
            raise bad_parameter("Filtering value must be a unix time") from error
        is_start, side = bound
        place = side(leads, asked, key=lambda lead: lead.created_at.timestamp())
        low, high = (max(low, place), high) if is_start else (low, min(high, place))
    return list(leads[low:high])
