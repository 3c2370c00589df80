"""Login's first half: the consent page, where a person ticks pages and permissions; there are no passwords.

https://developers.facebook.com/docs/facebook-login/guides/advanced/manual-flow
"""

import html
from collections.abc import Collection, Mapping
from urllib.parse import parse_qs, urlencode, urlsplit

from integrations.simulator.meta_answers import HTML, Answer
from integrations.simulator.query import read_query
from integrations.simulator.records import App, User
from integrations.simulator.world import SCOPES, World

_KEPT = ("client_id", "redirect_uri", "state", "scope", "auth_type")


def dialog(world: World, method: str, query: bytes, body: bytes) -> Answer:
    """GET the page, POST its form. A form without `shown` (a test's) ticks every box it does not name."""
    if method != "POST":
        return _page(world, read_query(query))
    form = parse_qs(body.decode(errors="replace"), keep_blank_values=True)
    asked = read_query(query) | {name: values[0] for name, values in form.items() if name != "page"}
    shown = "shown" in form
    pages = form.get("page", []) if shown or "page" in form else None
    untick = _scopes(asked) - set(form.get("permission", [])) if shown else ()
    user = asked.get("user", next(iter(world.users), ""))
    return decide(world, asked, user, pages=pages, untick=untick, deny=asked.get("answer") == "no")


def consent(
    world: World,
    url: str,
    user_id: str,
    *,
    pages: Collection[str] | None = None,
    untick: Collection[str] = (),
    deny: bool = False,
) -> str:
    """A person at the dialog behind `url`: the address they are sent back to.

    `pages` None: all of theirs. LookupError for a stranger; ValueError when the page would show an error instead.
    """
    asked = read_query(urlsplit(url).query.encode())
    given = decide(world, asked, world.users[user_id].id, pages=pages, untick=untick, deny=deny)
    for name, value in given.headers:
        if name == "Location":
            return value
    raise ValueError("Meta shows an error page: invalid app id or redirect_uri")


def decide(
    world: World,
    asked: Mapping[str, str],
    user_id: str,
    *,
    pages: Collection[str] | None = None,
    untick: Collection[str] = (),
    deny: bool = False,
) -> Answer:
    """The redirect that a person's answer leads to: a code, or a refusal.

    A page not ticked loses its token, a permission not ticked leaves every token of this person, and one declined
    before is not offered again without auth_type=rerequest.
    """
    app, user, address = world.apps.get(asked.get("client_id", "")), world.users.get(user_id), asked.get("redirect_uri")
    if app is None or user is None or not address:
        return _wrong()
    state = asked.get("state", "")
    if deny:
        refusal = {"error": "access_denied", "error_code": "200", "error_reason": "user_denied"}
        return _back(address, {**refusal, "error_description": "Permissions error", "state": state})
    granted = _offered(world, app, user, asked) - set(untick)
    declined = world.declined.get((app.id, user.id), frozenset()) | (_scopes(asked) & set(untick))
    world.declined[app.id, user.id] = declined - granted
    world.given[app.id, user.id] = frozenset(user.pages if pages is None else pages)
    for token in world.tokens_of(user.id, app.id):
        token.scopes = (token.scopes | granted) - world.declined[app.id, user.id]
        # https://github.com/chatwoot/chatwoot/issues/14729: a page un-ticked loses its token.
        if token.kind == "page" and token.page_id not in world.pages_given(app.id, user):
            token.dead = token.dead or (190, None)
    code = f"AQSIM{len(world.codes) + 1:08d}"
    world.codes[code] = (app.id, user.id, address)
    world.asked[code] = granted
    return _back(address, {"code": code, "state": state})


def _scopes(asked: Mapping[str, str]) -> frozenset[str]:
    found = frozenset(asked.get("scope", "").replace(",", " ").split())
    return found or frozenset(SCOPES)


def _offered(world: World, app: App, user: User, asked: Mapping[str, str]) -> frozenset[str]:
    """https://developers.facebook.com/docs/facebook-login/guides/advanced/manual-flow#reaskperms"""
    again = asked.get("auth_type") == "rerequest"
    return _scopes(asked) - (frozenset() if again else world.declined.get((app.id, user.id), frozenset()))


def _page(world: World, asked: Mapping[str, str]) -> Answer:
    """Who asks, for what, and which pages to give. The form posts back to the same address."""
    app = world.apps.get(asked.get("client_id", ""))
    if app is None or not asked.get("redirect_uri"):
        return _wrong()
    # No user chosen yet: any of ours may be "logged in"; `user` chooses.
    people = "".join(_person(world, user) for user in world.users.values())
    kept = "".join(f'<input type="hidden" name="{it}" value="{html.escape(asked.get(it, ""))}">' for it in _KEPT)
    boxes = "".join(_box("permission", scope, scope) for scope in sorted(_scopes(asked)))
    text = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Log in (simulated)</title></head><body>'
        f"<h1>{html.escape(app.name)} asks for access</h1>"
        f'<form method="post" action="?"><input type="hidden" name="shown" value="1">{kept}{people}'
        f"<fieldset><legend>What is {html.escape(app.name)} allowed to do?</legend>{boxes}</fieldset>"
        '<button name="answer" value="yes">Continue</button> '
        '<button name="answer" value="no" formnovalidate>Cancel</button></form></body></html>'
    )
    return Answer(200, text.encode(), (), HTML)


def _person(world: World, user: User) -> str:
    boxes = "".join(_box("page", page, world.pages[page].name) for page in user.pages)
    name, value = html.escape(user.name), html.escape(user.id)
    return f'<p><label><input type="radio" name="user" value="{value}" required> {name}</label> {boxes}</p>'


def _box(name: str, value: str, text: str) -> str:
    box = f'<input type="checkbox" name="{name}" value="{html.escape(value)}" checked>'
    return f"<label>{box} {html.escape(text)}</label> "


def _wrong() -> Answer:
    return Answer(400, b"<h1>Invalid app id, person or redirect_uri</h1>", (), HTML)


def _back(address: str, params: Mapping[str, str]) -> Answer:
    joint = "&" if "?" in address else "?"
    # Meta hangs "#_=_" on the address.
    return Answer(302, b"", (("Location", f"{address}{joint}{urlencode(params)}#_=_"),), HTML)
