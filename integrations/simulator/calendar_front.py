"""The Calendar API's front: whose call it is, whether it may, and who answers it; alone or as a part of a batch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from integrations.simulator import calendar_lists, calendar_rules
from integrations.simulator.buttons import Button, Panel, Target
from integrations.simulator.calendar_schema import Method, api, bad_request
from integrations.simulator.calendar_world import Calendars, Channel, Event, Owner, gone
from integrations.simulator.calls import Calls
from integrations.simulator.google_answers import JSON, GoogleFault, api_fault, bad_bearer, lacks_scope
from integrations.simulator.google_world import Google
from integrations.simulator.meta_answers import Answer
from integrations.simulator.query import read_query

ROOT = "/calendar/v3/"
_LONGEST_CHANNEL = timedelta(days=30)
_WEEK = timedelta(days=7)
_EMPTY = Answer(204, b"", (), JSON)


@dataclass(frozen=True, slots=True)
class Ask:
    """One call that may go on: its method, what it names, and whose it is."""

    method: Method
    path: Mapping[str, str]
    params: Mapping[str, Any]
    body: dict[str, Any]
    headers: Mapping[str, str]
    owner: Owner
    scopes: frozenset[str] = field(default=frozenset())


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
            return fault.answer()

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
        self.world.quota.charge(owner)
        params = api().params(method, read_query(query.encode()))
        ask = Ask(method, names, params, _body(method, content), headers, owner, scopes)
        answer = _ROUTES.get(method.id, _unknown)(self.world, ask)
        if answer is None:
            return _EMPTY
        api().check(method.response, answer)
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
    if button.does == "throttle":
        wait = (("Retry-After", str(int(button.seconds))),) if button.seconds else ()
        reason = button.reason or "rateLimitExceeded"
        return api_fault(button.status or 403, reason, button.message or "Rate Limit Exceeded", wait)
    status = button.status or 500
    return api_fault(
        status, button.reason or ("backendError" if status >= 500 else "badRequest"), button.message or "Error"
    )


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
    return body


def _event(world: Calendars, ask: Ask) -> Event:
    found = world.calendar(ask.owner, ask.path["calendarId"]).events.get(ask.path["eventId"])
    if found is None:
        raise api_fault(404, "notFound", "Not Found")
    return found


def _matching(world: Calendars, ask: Ask) -> Event:
    event = _event(world, ask)
    wanted = ask.headers.get("if-match")
    if wanted is not None and wanted not in ("*", event.resource["etag"]):
        raise api_fault(412, "conditionNotMet", "Precondition Failed")
    return event


def _insert_calendar(world: Calendars, ask: Ask) -> dict[str, Any]:
    if not ask.body.get("summary"):
        raise api_fault(400, "required", "Missing title.")
    more = {name: ask.body[name] for name in ("description", "location") if name in ask.body}
    return world.add_calendar(ask.owner, ask.body["summary"], ask.body.get("timeZone", "UTC"), **more).resource


def _get_calendar(world: Calendars, ask: Ask) -> dict[str, Any]:
    return world.calendar(ask.owner, ask.path["calendarId"]).resource


def _update_calendar(world: Calendars, ask: Ask) -> dict[str, Any]:
    resource = _get_calendar(world, ask)
    names = ("summary", "description", "location", "timeZone")
    resource |= {name: ask.body[name] for name in names if name in ask.body} | {"etag": world.etag()}
    return resource


def _delete_calendar(world: Calendars, ask: Ask) -> None:
    world.remove_calendar(world.calendar(ask.owner, ask.path["calendarId"]))


def _insert(world: Calendars, ask: Ask) -> dict[str, Any]:
    return calendar_rules.insert(world, world.calendar(ask.owner, ask.path["calendarId"]), ask.body, ask.params)


def _get(world: Calendars, ask: Ask) -> dict[str, Any]:
    event = _event(world, ask)
    if ask.headers.get("if-none-match") == event.resource["etag"]:
        raise GoogleFault(304, "notModified", {})
    return event.resource


def _update(world: Calendars, ask: Ask) -> dict[str, Any]:
    calendar = world.calendar(ask.owner, ask.path["calendarId"])
    return calendar_rules.update(world, calendar, _matching(world, ask), ask.body, ask.params)


def _patch(world: Calendars, ask: Ask) -> dict[str, Any]:
    calendar = world.calendar(ask.owner, ask.path["calendarId"])
    return calendar_rules.patch(world, calendar, _matching(world, ask), ask.body, ask.params)


def _delete(world: Calendars, ask: Ask) -> None:
    event = _event(world, ask)
    if event.is_cancelled:
        raise gone("deleted", "Resource has been deleted")
    world.cancel(world.calendar(ask.owner, ask.path["calendarId"]), _matching(world, ask))


def _list(world: Calendars, ask: Ask) -> dict[str, Any]:
    return calendar_lists.listed(world, world.calendar(ask.owner, ask.path["calendarId"]), ask.params)


def _watch(world: Calendars, ask: Ask) -> dict[str, Any]:
    calendar, body = world.calendar(ask.owner, ask.path["calendarId"]), ask.body
    if body.get("type") != "web_hook" or not body.get("id") or len(body["id"]) > 64 or len(body.get("token", "")) > 256:
        raise api_fault(400, "invalid", "Invalid value for channel.")
    if body["id"] in world.channels:
        raise api_fault(400, "channelIdNotUnique", f"Channel id {body['id']} not unique")
    address = body.get("address", "")
    # A certificate cannot be had on loopback; anywhere else Google wants one.
    if not address.startswith(("https://", "http://127.0.0.1", "http://localhost")):
        raise api_fault(400, "push.webhookUrlNotHttps", f"WebHook callback must be HTTPS: {address}")
    expires_at = min(_expiry(world, body), world.clock() + _LONGEST_CHANNEL)
    channel = Channel(body["id"], calendar.id, ask.owner, address, body.get("token", ""), world.digest("watched")[:27],
                      expires_at)  # fmt: skip
    world.channels[channel.id] = channel
    world.say(channel, "sync")
    found = {"kind": "api#channel", "id": channel.id, "resourceId": channel.resource_id,
             "resourceUri": f"https://www.googleapis.com/calendar/v3/calendars/{calendar.id}/events?alt=json",
             "expiration": str(int(expires_at.timestamp() * 1000))}  # fmt: skip
    return found | ({"token": channel.token} if channel.token else {})


def _expiry(world: Calendars, body: Mapping[str, Any]) -> datetime:
    if "expiration" in body:
        return datetime.fromtimestamp(int(body["expiration"]) / 1000, UTC)
    ttl = (body.get("params") or {}).get("ttl")
    return world.clock() + (timedelta(seconds=int(ttl)) if ttl else _WEEK)


def _stop(world: Calendars, ask: Ask) -> None:
    channel = world.channels.get(ask.body.get("id", ""))
    if channel is None or channel.resource_id != ask.body.get("resourceId") or channel.owner != ask.owner:
        raise api_fault(404, "notFound", f"Channel '{ask.body.get('id')}' not found for project")
    del world.channels[channel.id]


def _unknown(_world: Calendars, ask: Ask) -> dict[str, Any]:
    raise api_fault(501, "notImplemented", f"The simulator does not answer {ask.method.id}.")


_ROUTES: Mapping[str, Callable[[Calendars, Ask], dict[str, Any] | None]] = {
    "calendar.calendars.insert": _insert_calendar,
    "calendar.calendars.get": _get_calendar,
    "calendar.calendars.update": _update_calendar,
    "calendar.calendars.patch": _update_calendar,
    "calendar.calendars.delete": _delete_calendar,
    "calendar.events.insert": _insert,
    "calendar.events.get": _get,
    "calendar.events.update": _update,
    "calendar.events.patch": _patch,
    "calendar.events.delete": _delete,
    "calendar.events.list": _list,
    "calendar.events.watch": _watch,
    "calendar.channels.stop": _stop,
}
