"""/_sim/calendars: what people do in Google Calendar, and what befalls the API; knows no HTTP of Google's.

GET    /_sim/calendars                     calendars, channels, calls so far and those that a quota refused
POST   /_sim/calendars                     "user_quota", "project_quota" (calls a minute, 0: none), "restores" (update of a
                                           deleted event), "empty_pages", "most_parts" (of a batch), "lost" (of the next
                                           notices), "twice", "late" (s)
POST   /_sim/calendars/theirs              {"account": sub, "summary"} -> {"id"}: one that no app has made
GET    /_sim/calendars/{id}                its events, deleted ones too
POST   /_sim/calendars/{id}/events         {"event": resource}: one of a person's own
POST   /_sim/calendars/{id}/events/{event} {"set": fields} or {"deleted": true}; of a series also one of its single events
POST   /_sim/calendars/{id}/expire         every sync token is forgotten
DELETE /_sim/calendars/{id}                a person deletes the calendar
"""

from typing import Any

from starlette.requests import Request

from integrations.simulator import calendar_rules, calendar_series
from integrations.simulator.calendar_world import Calendar, Calendars
from integrations.simulator.control_json import Table, read_object

_SWITCHES = ("user_quota", "project_quota", "restores", "empty_pages", "most_parts", "lost", "twice", "late")


def calendar_table(world: Calendars) -> Table:
    """The switches."""
    control = _Control(world)
    return [
        ("GET", "calendars", control.state),
        ("POST", "calendars", control.switch),
        ("POST", "calendars/theirs", control.theirs),
        ("GET", "calendars/{calendar}", control.events),
        ("DELETE", "calendars/{calendar}", control.remove),
        ("POST", "calendars/{calendar}/expire", control.expire),
        ("POST", "calendars/{calendar}/events", control.add),
        ("POST", "calendars/{calendar}/events/{event}", control.change),
    ]


class _Control:
    def __init__(self, world: Calendars) -> None:
        self.world = world

    async def state(self, request: Request) -> Any:
        calendars = [
            {"id": it.id, "account": it.owner[1], "summary": it.resource["summary"],
             "events": sum(not event.is_cancelled for event in it.events.values())}
            for it in self.world.calendars.values()
        ]  # fmt: skip
        channels = [
            {
                "id": it.id,
                "calendar": it.calendar,
                "address": it.address,
                "expires_at": it.expires_at,
                "number": it.number,
            }
            for it in self.world.channels.values()
        ]
        return {
            "calendars": calendars,
            "channels": channels,
            "calls": self.world.calls,
            "refused": self.world.quota.refused,
        }

    async def switch(self, request: Request) -> Any:
        data, world = await read_object(request, _SWITCHES), self.world
        world.quota.user = int(data.get("user_quota", world.quota.user))
        world.quota.project = int(data.get("project_quota", world.quota.project))
        world.restores = bool(data.get("restores", world.restores))
        world.empty_pages = bool(data.get("empty_pages", world.empty_pages))
        world.most_parts = int(data.get("most_parts", world.most_parts))
        for name in ("lost", "twice", "late"):
            if name in data:
                setattr(world.notify, name, data[name])
        return {}

    async def theirs(self, request: Request) -> Any:
        data = await read_object(request, ("account", "summary"))
        return {"id": self.world.add_calendar(("", data["account"]), data.get("summary", "Theirs"), "UTC").id}

    async def events(self, request: Request) -> Any:
        return [event.resource for event in self._calendar(request).events.values()]

    async def remove(self, request: Request) -> Any:
        self.world.remove_calendar(self._calendar(request))
        return {}

    async def expire(self, request: Request) -> Any:
        self.world.expire_sync_tokens(self._calendar(request))
        return {}

    async def add(self, request: Request) -> Any:
        event = dict((await read_object(request, ("event",)))["event"])
        return calendar_rules.insert(self.world, self._calendar(request), event, {"conferenceDataVersion": 1})

    async def change(self, request: Request) -> Any:
        data, calendar = await read_object(request, ("set", "deleted")), self._calendar(request)
        name = request.path_params["event"]
        event = calendar.events.get(name) or calendar_series.untouched_one(calendar, name)
        if event is None:
            raise LookupError(name)
        if data.get("deleted"):
            self.world.cancel(calendar, event)
            return {}
        return calendar_rules.patch(
            self.world, calendar, event, dict(data.get("set") or {}), {"conferenceDataVersion": 1}
        )

    def _calendar(self, request: Request) -> Calendar:
        return self.world.calendars[request.path_params["calendar"]]
