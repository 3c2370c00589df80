"""The Calendar API's front: whose call it is, whether it may, and who answers it; alone or as a part of a batch."""

from collections.abc import Mapping
from typing import Any

import orjson

from integrations.simulator.buttons import Button, Panel, Target
from integrations.simulator.calendar_ask import Ask, Handler
from integrations.simulator.calendar_books import BOOKS
from integrations.simulator.calendar_channels import CHANNELS
from integrations.simulator.calendar_events import EVENTS
from integrations.simulator.calendar_schema import Method, api, bad_request, without_nulls
from integrations.simulator.calendar_world import Calendars, Owner
from integrations.simulator.calls import Calls
from integrations.simulator.google_answers import JSON, GoogleFault, api_fault, bad_bearer, lacks_scope
from integrations.simulator.google_world import Google
from integrations.simulator.meta_answers import Answer
from integrations.simulator.query import read_query

ROOT = "/calendar/v3/"
_EMPTY = Answer(204, b"", (), JSON)
_ROUTES: Mapping[str, Handler] = {**BOOKS, **EVENTS, **CHANNELS}
_UNREAD = frozenset({"fields", "timeZone"})
_UNITS = {"calendar.events.patch": 3}
"""What a call counts against a quota, where that is not one."""
_MESSAGES = {
    "quotaExceeded": "Calendar usage limits exceeded.",
    "forbiddenForNonOrganizer": "Shared properties can only be changed by the organizer of the event.",
    "insufficientPermissions": "Insufficient Permission",
}


class CalendarFront:
    """Answers calls below /calendar/v3 from its world."""

    def __init__(self, google: Google, panel: Panel, calls: Calls) -> None:
        self.google, self.panel, self.calls = google, panel, calls
        self.world: Calendars = google.calendars

    def answer(self, http: str, target: str, headers: Mapping[str, str], content: bytes) -> Answer:
        """The answer to one call; `target` is the path with its query, header names are in small letters."""
        try:
            with self.world.turn:
                return self._answer(http, target, headers, content)
        except GoogleFault as fault:
            self.calls.faults[f"calendar/{fault.word}"] += 1
            return fault.answer() if fault.body else Answer(fault.status, b"", fault.headers, JSON)

    def _answer(self, http: str, target: str, headers: Mapping[str, str], content: bytes) -> Answer:
        path, _, query = target.partition("?")
        method, names = api().find(http, path.removeprefix(ROOT))
        self.world.calls += 1
        owner, scopes = self._whose(headers.get("authorization", ""))
        self.calls.made[method.id, f"google:{owner[1]}", self.google.accounts[owner[1]].tenant] += 1
        if self.panel.on:
            self._press(method.id, owner)
        if not scopes & method.scopes:
            raise lacks_scope()
        self.world.quota.charge(owner, _UNITS.get(method.id, 1))
        params = api().params(method, _given(query))
        ask = Ask(method, names, params, _body(method, content), headers, owner, scopes)
        answer = _ROUTES.get(method.id, _unknown)(self.world, ask)
        if answer is None:
            return _EMPTY
        if method.response is not None:
            method.response(answer, "")  # an answer that does not fit is a mistake of this file's, and no client's
        return Answer(200, orjson.dumps(answer), (("ETag", str(answer.get("etag", '"0"'))),), JSON)

    def _whose(self, authorization: str) -> tuple[Owner, frozenset[str]]:
        scheme, _, value = authorization.partition(" ")
        token = self.google.tokens.get(value.strip()) if scheme.lower() == "bearer" else None
        if token is None or token.kind != "access" or self.google.ended(token):
            raise bad_bearer()
        client, sub = token.holder
        return (self.google.clients[client].project, sub), frozenset(token.scopes)

    def _press(self, kind: str, owner: Owner) -> None:
        target = Target(kind, "", "", self.google.accounts[owner[1]].tenant, "", owner[1])
        button = self.panel.acting(target, ("error", "throttle"))
        if button is not None:
            raise _pressed(button)


def _pressed(button: Button) -> GoogleFault:
    wait = (("Retry-After", str(int(button.seconds))),) if button.seconds else ()
    if button.does == "throttle":
        status, reason, message = button.status or 403, button.reason or "rateLimitExceeded", "Rate Limit Exceeded"
    else:
        status = button.status or 500
        reason, message = button.reason or ("backendError" if status >= 500 else "badRequest"), "Error"
    return api_fault(status, reason, button.message or _MESSAGES.get(reason, message), wait)


def _given(query: str) -> dict[str, str]:
    """Raises a 501 for what would be passed over in silence."""
    given = read_query(query.encode())
    unread = sorted(_UNREAD & given.keys())
    if unread or query.count("&") >= max(1, len(given)):
        what = unread[0] if unread else "a parameter that is given twice"
        raise api_fault(501, "notImplemented", f"The simulator does not read {what}.")
    return given


def _body(method: Method, content: bytes) -> dict[str, Any]:
    if method.request is None:
        return {}
    try:
        body = orjson.loads(content or b"{}")
    except orjson.JSONDecodeError:
        raise api_fault(400, "parseError", "Parse Error") from None
    api().check(method.request, body)
    if not isinstance(body, dict):
        raise bad_request("Parse Error")
    # In a patch null takes away; anywhere else it says nothing.
    return without_nulls(body) if b"null" in content and method.http != "PATCH" else body


def _unknown(_world: Calendars, ask: Ask) -> dict[str, Any]:
    raise api_fault(501, "notImplemented", f"The simulator does not answer {ask.method.id}.")
