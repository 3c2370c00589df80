"""Google's consent page, for people and for tests without a browser; there are no passwords and no sessions.

https://developers.google.com/identity/protocols/oauth2/web-server#creatingclient
"""

import html
from collections.abc import Collection, Mapping
from urllib.parse import parse_qs, urlencode, urlsplit

from integrations.simulator.google_answers import page_fault
from integrations.simulator.google_call import GoogleCall
from integrations.simulator.google_records import GoogleCode
from integrations.simulator.google_world import Google, long_form, spelled, unknown_scopes
from integrations.simulator.meta_answers import HTML, Answer
from integrations.simulator.query import read_query

_KEPT = "client_id redirect_uri response_type scope state access_type prompt include_granted_scopes nonce".split()
_KEPT += ["code_challenge", "code_challenge_method"]


def authorize(google: Google, call: GoogleCall) -> Answer:
    """GET the page, POST its form: back to the app with a code, or with a refusal."""
    if call.method != "POST":
        return _page(google, call.params)
    form = parse_qs(call.body.decode(errors="replace"), keep_blank_values=True)
    asked = spelled(call.params.get("scope", "").split())
    ticked = form.get("tick", [])
    allowed = call.params.get("answer") == "allow"
    name = call.params.get("account", "")
    return decide(google, call.params, name, untick=[it for it in asked if it not in ticked], deny=not allowed)


def consent(google: Google, url: str, account: str, *, untick: Collection[str] = (), deny: bool = False) -> str:
    """A person at the page behind an authorize address: the address they are sent back to.

    LookupError for a stranger; ValueError with Google's word when the page would show an error instead.
    """
    google.account(account)
    given = decide(google, read_query(urlsplit(url).query.encode()), account, untick=untick, deny=deny)
    for name, value in given.headers:
        if name == "Location":
            return value
    raise ValueError(f"Google shows an error page: {_word(given)}")


def decide(
    google: Google, asked: Mapping[str, str], account: str, *, untick: Collection[str] = (), deny: bool = False
) -> Answer:
    """The redirect that a person's answer leads to, or the page with Google's complaint about the app."""
    wrong = _wrong(google, asked)
    if wrong is not None:
        return wrong
    if deny:
        return _back(asked, {"error": "access_denied"})
    try:
        person = google.account(account)
    except LookupError:
        return page_fault("invalid_request")
    if person.admin_policy:
        return page_fault("admin_policy_enforced")
    left_out = {long_form(scope) for scope in untick}
    scopes = tuple(scope for scope in spelled(asked["scope"].split()) if scope not in left_out)
    if not scopes:
        return _back(asked, {"error": "access_denied"})
    holder = (asked["client_id"], person.sub)
    forced = "consent" in asked.get("prompt", "").split()
    due = google.consent(holder, scopes, forced=forced) and asked.get("access_type") == "offline"
    if asked.get("include_granted_scopes") == "true":
        scopes = google.grants[holder].scopes
    code = GoogleCode(
        holder,
        asked["redirect_uri"],
        scopes,
        google.clock(),
        due,
        asked.get("code_challenge", ""),
        asked.get("code_challenge_method", "plain"),
        asked.get("nonce", ""),
    )
    given = {"code": google.add_code(code), "scope": " ".join(scopes), "authuser": "0", "prompt": "consent"}
    return _back(asked, given)


def _wrong(google: Google, asked: Mapping[str, str]) -> Answer | None:
    if asked.get("client_id") not in google.clients:
        return page_fault("invalid_client", 401)
    if asked.get("response_type") != "code" or not asked.get("scope"):
        return page_fault("invalid_request")
    if not asked.get("redirect_uri", "").startswith(("http://", "https://")):
        return page_fault("redirect_uri_mismatch")
    if asked.get("code_challenge_method", "plain") not in ("plain", "S256"):
        return page_fault("invalid_request")
    return page_fault("invalid_scope") if unknown_scopes(asked["scope"].split()) else None


def _back(asked: Mapping[str, str], params: Mapping[str, str]) -> Answer:
    state = {"state": asked["state"]} if "state" in asked else {}
    address = asked["redirect_uri"]
    joint = "&" if "?" in address else "?"
    return Answer(302, b"", (("Location", f"{address}{joint}{urlencode({**state, **params})}"),), HTML)


def _page(google: Google, asked: Mapping[str, str]) -> Answer:
    wrong = _wrong(google, asked)
    if wrong is not None:
        return wrong
    kept = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(asked[name])}">' for name in _KEPT if name in asked
    )
    hint = asked.get("login_hint")
    people = "".join(
        f'<p><label><input type="radio" name="account" value="{it.sub}" required'
        f"{' checked' if hint in (it.sub, it.email) else ''}> {html.escape(it.name)} "
        f"({html.escape(it.email)})</label></p>"
        for it in google.accounts.values()
    )
    boxes = "".join(
        f'<p><label><input type="checkbox" name="tick" value="{html.escape(scope)}" checked> '
        f"{html.escape(scope)}</label></p>"
        for scope in spelled(asked["scope"].split())
    )
    name = html.escape(google.clients[asked["client_id"]].name)
    text = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Sign in (simulated)</title></head><body>'
        f"<h1>{name} wants access to your Google Account</h1>"
        f'<form method="post" action="?">{kept}<fieldset><legend>Choose an account</legend>{people}</fieldset>'
        f"<fieldset><legend>Select what {name} can access</legend>{boxes}</fieldset>"
        '<button name="answer" value="allow">Allow</button> '
        '<button name="answer" value="cancel" formnovalidate>Cancel</button></form></body></html>'
    )
    return Answer(200, text.encode(), (), HTML)


def _word(page: Answer) -> str:
    return page.body.decode().rpartition(": ")[2].removesuffix("</p></html>")
