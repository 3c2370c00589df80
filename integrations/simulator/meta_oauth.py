"""Login: codes and tokens exchanged, looked at and revoked, and the consent page; there are no passwords."""

import html
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from integrations.simulator.meta import Call, Graph, Place
from integrations.simulator.meta_answers import HTML, Answer, GraphFault, bad_parameter, fault_of, missing, ok
from integrations.simulator.records import App, Token, User
from integrations.simulator.world import LONG_LIFE, SCOPES, World

SHORT_LIFE = timedelta(hours=1)


def exchange(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """GET or POST /oauth/access_token: a code, a short token or the app's own credentials for a token"""
    app = _client(graph, call)
    grant = call.params.get("grant_type", "")
    if grant == "client_credentials":
        return ok({"access_token": f"{app.id}|{app.secret}", "token_type": "bearer"})
    if grant == "fb_exchange_token":
        return _long_lived(graph, app, call.params.get("fb_exchange_token", ""))
    return _redeem(graph, app, call)


def debug_token(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """GET /debug_token: with the app's token, or one of the same person"""
    value = call.params.get("input_token")
    if not value:
        raise bad_parameter("The parameter input_token is required")
    known = graph.world.tokens.get(value)
    if known is None:
        error = {"code": 190, "message": "Invalid OAuth access token."}
        return ok({"data": {"error": error, "is_valid": False, "scopes": []}})
    if known.app_id != token.app_id or (token.kind != "app" and token.user_id != known.user_id):
        raise GraphFault(100, "(#100) You must provide an app access token, or one of an owner or developer of the app")
    return ok({"data": _debugged(graph, known)})


def revoke(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """DELETE /{user}/permissions[/{permission}]: the answer is a bare `true`"""
    user = place.node_as(User)
    if token.kind != "app" and token.user_id != user.id:
        raise missing(user.id)
    permission = call.path[2] if len(call.path) > 2 else None
    for known in list(graph.world.tokens.values()):
        if known.user_id == user.id and known.app_id == token.app_id and known.kind != "app":
            if permission is None:
                known.dead = known.dead or (190, 458)
            else:
                known.scopes -= {permission}
    if permission is None:
        for page_id in user.pages:
            graph.world.pages[page_id].subscribed.pop(token.app_id, None)
    return ok(True)


def list_permissions(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """GET /{user}/permissions"""
    user = place.node_as(User)
    if token.user_id != user.id:
        raise missing(user.id)
    return ok({"data": [{"permission": scope, "status": "granted"} for scope in sorted(token.scopes)]})


def consent_page(world: World, params: Mapping[str, str]) -> Answer:
    """GET dialog/oauth: who asks, for what, and which pages to give. The form posts back to the same address."""
    app = world.apps.get(params.get("client_id", ""))
    if app is None or not params.get("redirect_uri"):
        return Answer(400, b"<h1>Invalid app id or redirect_uri</h1>", (), HTML)
    # No user chosen yet: any of ours may be "logged in"; `user` chooses.
    people = "".join(_person(world, user) for user in world.users.values())
    kept = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(params.get(name, ""))}">'
        for name in ("client_id", "redirect_uri", "state", "scope")
    )
    text = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Log in (simulated)</title></head><body>'
        f"<h1>{html.escape(app.name)} asks for access</h1><p>{html.escape(params.get('scope', ''))}</p>"
        f'<form method="post">{kept}{people}'
        '<button name="answer" value="yes">Continue</button> <button name="answer" value="no">Cancel</button>'
        "</form></body></html>"
    )
    return Answer(200, text.encode(), (), HTML)


def consent_given(world: World, form: Mapping[str, str], pages: list[str]) -> Answer:
    """POST dialog/oauth: back to the app with a code, or with a refusal. Pages not ticked lose their tokens."""
    app = world.apps.get(form.get("client_id", ""))
    user = world.users.get(form.get("user", next(iter(world.users), "")))
    address = form.get("redirect_uri", "")
    if app is None or user is None or not address:
        return Answer(400, b"<h1>Invalid app id, person or redirect_uri</h1>", (), HTML)
    state = form.get("state", "")
    if form.get("answer") == "no":
        refusal = {"error": "access_denied", "error_code": "200", "error_reason": "user_denied"}
        text = {"error_description": "Permissions error", "state": state}
        return _redirect(address, {**refusal, **text})
    user.pages = [page for page in user.pages if not pages or page in pages]
    for token in world.tokens.values():
        # https://github.com/chatwoot/chatwoot/issues/14729: a page un-ticked loses its token.
        if token.kind == "page" and token.user_id == user.id and token.page_id not in user.pages:
            token.dead = (190, None)
    code = f"AQSIM{len(world.codes) + 1:08d}"
    world.codes[code] = (app.id, user.id, address)
    world.asked[code] = frozenset(scope for scope in form.get("scope", "").replace(",", " ").split() if scope)
    return _redirect(address, {"code": code, "state": state})


def _client(graph: Graph, call: Call) -> App:
    app = graph.world.apps.get(call.params.get("client_id", ""))
    if app is None:
        raise GraphFault(101, "Error validating application. Cannot get application info due to a system error.")
    if call.params.get("client_secret") != app.secret:
        raise GraphFault(1, "Error validating client secret.")
    return app


def _redeem(graph: Graph, app: App, call: Call) -> Answer:
    world, code = graph.world, call.params.get("code", "")
    if code not in world.codes:
        raise GraphFault(100, "Invalid verification code format.", subcode=36009)
    app_id, user_id, address = world.codes[code]
    if not user_id:
        raise GraphFault(100, "This authorization code has been used.", subcode=36009)
    if app_id != app.id or call.params.get("redirect_uri") != address:
        text = "Error validating verification code. Please make sure your redirect_uri is identical to the one you used"
        raise GraphFault(100, text, subcode=36008)
    world.codes[code] = (app_id, "", address)
    scopes = world.asked.pop(code, frozenset()) or frozenset(SCOPES)
    token = world.issue("user", app_id=app.id, user_id=user_id, scopes=scopes, life=SHORT_LIFE)
    return _issued(token, SHORT_LIFE)


def _long_lived(graph: Graph, app: App, value: str) -> Answer:
    short = graph.world.tokens.get(value)
    if short is None or short.app_id != app.id or short.kind != "user":
        raise fault_of(190)
    if short.dead is not None:
        raise fault_of(*short.dead)
    if short.expires_at is not None and short.expires_at <= graph.world.clock():
        raise fault_of(190, 463)
    token = graph.world.issue("user", app_id=app.id, user_id=short.user_id, scopes=short.scopes, life=LONG_LIFE)
    return _issued(token, LONG_LIFE)


def _issued(token: Token, life: timedelta) -> Answer:
    return ok({"access_token": token.value, "token_type": "bearer", "expires_in": int(life.total_seconds())})


def _debugged(graph: Graph, token: Token) -> dict[str, Any]:
    """Meta's description of a token: expires_at 0 means never."""
    expired = token.expires_at is not None and token.expires_at <= graph.world.clock()
    dead = token.dead or ((190, 463) if expired else None)
    pages = [token.page_id] if token.page_id else graph.world.users[token.user_id].pages if token.user_id else []
    data: dict[str, Any] = {
        "app_id": token.app_id,
        "type": token.kind.upper(),
        "application": graph.world.apps[token.app_id].name,
        "data_access_expires_at": int((token.issued_at + timedelta(days=90)).timestamp()),
        "expires_at": int(token.expires_at.timestamp()) if token.expires_at else 0,
        "is_valid": dead is None,
        "issued_at": int(token.issued_at.timestamp()),
        "scopes": sorted(token.scopes),
        "granular_scopes": [{"scope": scope, "target_ids": pages} for scope in sorted(token.scopes)],
        "user_id": token.user_id,
    }
    if token.page_id:
        data["profile_id"] = token.page_id
    if dead is not None:
        fault = fault_of(*dead)
        data["error"] = {"code": fault.code, "message": str(fault), "subcode": fault.subcode or 0}
    return data


def _person(world: World, user: User) -> str:
    boxes = "".join(
        f'<label><input type="checkbox" name="page" value="{html.escape(page)}" checked> '
        f"{html.escape(world.pages[page].name)}</label> "
        for page in user.pages
    )
    name, value = html.escape(user.name), html.escape(user.id)
    return f'<p><label><input type="radio" name="user" value="{value}" required> {name}</label> {boxes}</p>'


def _redirect(address: str, params: Mapping[str, str]) -> Answer:
    joint = "&" if "?" in address else "?"
    # Meta hangs "#_=_" on the address.
    return Answer(302, b"", (("Location", f"{address}{joint}{urlencode(params)}#_=_"),), HTML)
