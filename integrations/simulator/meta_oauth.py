"""Login's second half: codes and tokens exchanged, looked at and revoked; knows no consent page."""

from datetime import timedelta
from typing import Any

from integrations.simulator.meta import Call, Graph, Place
from integrations.simulator.meta_answers import Answer, GraphFault, bad_parameter, fault_of, missing, ok
from integrations.simulator.records import App, Token, User
from integrations.simulator.world import LONG_LIFE

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
    permission = call.path[2] if len(call.path) > 2 else call.params.get("permission")
    if permission is None:
        graph.world.remove_app(user.id, token.app_id)
        return ok(True)
    for known in graph.world.tokens_of(user.id, token.app_id):
        known.scopes -= {permission}
    holder = (token.app_id, user.id)
    graph.world.declined[holder] = graph.world.declined.get(holder, frozenset()) | {permission}
    return ok(True)


def list_permissions(graph: Graph, call: Call, place: Place, token: Token) -> Answer:
    """GET /{user}/permissions"""
    user = place.node_as(User)
    if token.user_id != user.id:
        raise missing(user.id)
    declined = graph.world.declined.get((token.app_id, user.id), frozenset()) - token.scopes
    listed = [{"permission": scope, "status": "granted"} for scope in sorted(token.scopes)]
    return ok({"data": [*listed, *({"permission": scope, "status": "declined"} for scope in sorted(declined))]})


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
    scopes = world.asked.pop(code)
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
    user = graph.world.users.get(token.user_id)
    pages = [token.page_id] if token.page_id else graph.world.pages_given(token.app_id, user) if user else []
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
