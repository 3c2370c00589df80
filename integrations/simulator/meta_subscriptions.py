"""Who is told of new leads: a page's apps, and an app's one callback; knows the handshake, sends nothing itself."""

import secrets
from dataclasses import dataclass

from integrations.simulator.meta import Call, Graph, Place, truthy
from integrations.simulator.meta_answers import Answer, GraphFault, bad_parameter, needs_permission, ok
from integrations.simulator.meta_nodes import require_page
from integrations.simulator.meta_paging import read_json
from integrations.simulator.records import App, Page, Subscription, Token


@dataclass(frozen=True, slots=True)
class Handshake:
    """What must be asked of a callback before it is taken: GET `url` with `params` has to answer `challenge`."""

    url: str
    params: dict[str, str]
    challenge: str


def list_apps(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """GET /{page}/subscribed_apps"""
    page = place.node_as(Page)
    require_page(graph, token, page, page.id, "pages_manage_metadata")
    apps = [(graph.world.apps[app], fields) for app, fields in page.subscribed.items()]
    link = "https://www.facebook.com/"
    return ok(
        {
            "data": [
                {"category": "Business", "link": link, "name": app.name, "id": app.id, "subscribed_fields": fields}
                for app, fields in apps
            ]
        }
    )


def subscribe_app(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """POST /{page}/subscribed_apps: the fields given replace the former ones (the harsher reading of Meta's page)"""
    page = place.node_as(Page)
    require_page(graph, token, page, page.id, "pages_manage_metadata")
    text = call.params.get("subscribed_fields", "")
    fields = read_json(text, list, "subscribed_fields") if text.startswith("[") else text.split(",") if text else []
    if not fields:
        raise bad_parameter("The parameter subscribed_fields is required.")
    if "leadgen" in fields and "leads_retrieval" not in token.scopes:
        raise needs_permission("leads_retrieval")
    page.subscribed[token.app_id] = [str(field).strip() for field in fields]
    return ok({"success": True})


def unsubscribe_app(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """DELETE /{page}/subscribed_apps: with the page's token, or the app's"""
    page = place.node_as(Page)
    if token.kind != "app":
        require_page(graph, token, page, page.id, "pages_manage_metadata")
    page.subscribed.pop(token.app_id, None)
    return ok({"success": True})


def list_subscriptions(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """GET /{app}/subscriptions"""
    app = graph.app_of(token)
    listed = [
        {
            "object": it.object,
            "callback_url": it.callback_url,
            "active": True,
            "fields": [{"name": name, "version": call.version} for name in it.fields],
        }
        for it in app.subscriptions.values()
    ]
    return ok({"data": listed})


def delete_subscriptions(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """DELETE /{app}/subscriptions: of one `object`, or all"""
    app: App = graph.app_of(token)
    name = call.params.get("object")
    for known in list(app.subscriptions):
        if name in (None, known):
            del app.subscriptions[known]
    return ok({"success": True})


def handshake(call: Call) -> Handshake:
    """The question to the callback of POST /{app}/subscriptions; GraphFault when a parameter is missing."""
    for name in ("object", "callback_url", "verify_token"):
        if not call.params.get(name):
            raise bad_parameter(f"The parameter {name} is required")
    challenge = str(secrets.randbelow(10**10))
    verify_token = call.params["verify_token"]
    params = {"hub.mode": "subscribe", "hub.challenge": challenge, "hub.verify_token": verify_token}
    return Handshake(call.params["callback_url"], params, challenge)


def subscribe_callback(app: App, call: Call) -> Answer:
    """POST /{app}/subscriptions, after the handshake: the former callback of this object is replaced."""
    fields = [name.strip() for name in call.params.get("fields", "").split(",") if name.strip()]
    if not fields:
        raise bad_parameter("The parameter fields is required")
    name = call.params["object"]
    app.subscriptions[name] = Subscription(
        name, call.params["callback_url"], fields, truthy(call.params.get("include_values"))
    )
    return ok({"success": True})


def refused_callback(reason: str) -> GraphFault:
    """2200: the callback did not echo the challenge."""
    return GraphFault(2200, f"(#2200) Callback verification failed with the following errors: {reason}")
