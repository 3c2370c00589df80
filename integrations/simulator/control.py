"""/_sim: the simulator's own switches over HTTP, for those who run it as a process; knows no Graph.

Those of logins, accounts, pages and calendars are in control_google, control_meta and control_calendar.

GET    /_sim/state                what there is: pages, tokens, leads, buttons, counts
GET    /_sim/calls, DELETE        what was asked so far; begin again at zero
POST   /_sim/buttons              a button (see `buttons.Button`) -> {"id"}; GET lists; DELETE [/{id}] takes away
POST   /_sim/leads                {"form" or "page", "count", "organic", "odd", "test", "deliver": true or a shape,
                                  "callback_url", "prepare": fields} -> {"ids", "receipts"}; `prepare` renders the
                                  leads beforehand, for benchmarks that will ask for exactly these fields
GET    /_sim/leads?page=          the truth about a page's leads; &ids=1 only their ids, &kept=1 only what Meta still gives
DELETE /_sim/leads/{id}           gone, as after 90 days
POST   /_sim/deliver              {"leads": [...] or "page", "shape", "callback_url", "as_meta", "workers"} -> receipts
POST   /_sim/tokens               {"token" or "page", "dead": {"code", "subcode"} or null}
POST   /_sim/latency              {"seconds"}
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request

from integrations.simulator.buttons import Panel, read_button
from integrations.simulator.calls import Calls
from integrations.simulator.control_calendar import calendar_table
from integrations.simulator.control_google import google_table
from integrations.simulator.control_json import Table, read_object, routes_of
from integrations.simulator.control_meta import meta_table
from integrations.simulator.control_push import push_table
from integrations.simulator.deliver import Deliverer, Receipt, read_shape
from integrations.simulator.meta_nodes import prepare
from integrations.simulator.records import Lead, Token
from integrations.simulator.world import World


def control_app(world: World, panel: Panel, calls: Calls) -> Starlette:
    """The Starlette application for paths under /_sim."""
    control = _Control(world, panel, calls)
    table: Table = [
        ("GET", "state", control.state),
        ("GET", "calls", control.counted),
        ("DELETE", "calls", control.forget_calls),
        ("GET", "buttons", control.buttons),
        ("POST", "buttons", control.press),
        ("DELETE", "buttons", control.release),
        ("DELETE", "buttons/{number:int}", control.release),
        ("GET", "leads", control.leads),
        ("POST", "leads", control.add_leads),
        ("DELETE", "leads/{lead}", control.remove_lead),
        ("POST", "deliver", control.deliver),
        ("POST", "tokens", control.token),
        ("POST", "latency", control.latency),
    ]
    more = [*meta_table(world, panel), *google_table(world.google), *calendar_table(world.google.calendars)]
    return Starlette(routes=routes_of([*table, *more, *push_table(world.push)]))


class _Control:
    def __init__(self, world: World, panel: Panel, calls: Calls) -> None:
        self.world, self.panel, self.calls = world, panel, calls

    async def state(self, request: Request) -> Any:
        pages = [
            {
                "id": page.id,
                "name": page.name,
                "tenant": page.tenant,
                "lead_access": page.lead_access,
                "subscribed": page.subscribed,
                "access_token": next(iter(self._living(page.id)), None),
                "forms": [{"id": form.id, "name": form.name, "leads": len(form.leads)} for form in page.forms],
            }
            for page in self.world.pages.values()
        ]
        apps = [
            {"id": app.id, "callbacks": {name: it.callback_url for name, it in app.subscriptions.items()}}
            for app in self.world.apps.values()
        ]
        state = {"apps": apps, "pages": pages, "latency": self.world.latency}
        return {**state, "users": self._users(), "buttons": self.panel.listed(), "calls": self.calls.as_json()}

    async def counted(self, request: Request) -> Any:
        return self.calls.as_json()

    async def forget_calls(self, request: Request) -> Any:
        self.calls.clear()
        return {}

    async def buttons(self, request: Request) -> Any:
        return self.panel.listed()

    async def press(self, request: Request) -> Any:
        return {"id": self.panel.set(read_button(await read_object(request)))}

    async def release(self, request: Request) -> Any:
        self.panel.release(request.path_params.get("number"))
        return {}

    async def leads(self, request: Request) -> Any:
        asked = request.query_params
        truths = self.world.leads_of(asked["page"], tests=True, kept=bool(asked.get("kept")))
        return [truth["external_id"] for truth in truths] if asked.get("ids") else truths

    async def add_leads(self, request: Request) -> Any:
        data = await read_object(request)
        form_id = data["form"] if "form" in data else self.world.pages[str(data["page"])].forms[0].id
        if data.get("test"):
            made = [self.world.add_test_lead(form_id)]
        else:
            when = datetime.fromisoformat(data["created_at"]) if data.get("created_at") else None
            made = self.world.add_leads(
                form_id,
                int(data.get("count", 1)),
                created_at=when,
                organic=data.get("organic"),
                odd=bool(data.get("odd", False)),
            )
        if data.get("prepare"):
            prepare(made, str(data["prepare"]))
        receipts: list[dict[str, Any]] = []
        if data.get("deliver"):
            shape = data["deliver"] if isinstance(data["deliver"], dict) else {}
            receipts = await self._deliver(made, {**data, "shape": shape, "as_meta": True})
        return {"ids": [lead.id for lead in made], "receipts": receipts}

    async def remove_lead(self, request: Request) -> Any:
        self.world.remove(self.world.leads[request.path_params["lead"]])
        return {}

    async def deliver(self, request: Request) -> Any:
        data = await read_object(request)
        if "leads" in data:
            leads = [self.world.leads[str(lead)] for lead in data["leads"]]
        else:
            leads = [lead for form in self.world.pages[str(data["page"])].forms for lead in form.leads]
        return await self._deliver(leads, data)

    async def token(self, request: Request) -> Any:
        data = await read_object(request)
        found = [self.world.tokens[data["token"]]] if "token" in data else self._tokens(str(data["page"]))
        dead = data.get("dead")
        for token in found:
            token.dead = None if dead is None else (int(dead.get("code", 190)), dead.get("subcode"))
        return {"changed": len(found)}

    async def latency(self, request: Request) -> Any:
        self.world.latency = float((await read_object(request))["seconds"])
        return {}

    async def _deliver(self, leads: list[Lead], data: Mapping[str, Any]) -> list[dict[str, Any]]:
        """In a thread: the receiver may ask Graph while we wait for its answer."""
        shape = read_shape(data.get("shape") or {})
        sender = Deliverer(self.world, callback_url=data.get("callback_url"), workers=int(data.get("workers", 1)))
        try:
            send = sender.announce if data.get("as_meta") else sender.deliver
            return [_receipt(it) for it in await asyncio.to_thread(send, leads, shape)]
        finally:
            sender.close()

    def _users(self) -> list[dict[str, Any]]:
        return [{"id": user.id, "name": user.name, "pages": user.pages} for user in self.world.users.values()]

    def _tokens(self, page_id: str) -> list[Token]:
        return [token for token in self.world.tokens.values() if token.page_id == self.world.pages[page_id].id]

    def _living(self, page_id: str) -> list[str]:
        return [token.value for token in self._tokens(page_id) if token.dead is None]


def _receipt(receipt: Receipt) -> dict[str, Any]:
    return {"size": receipt.size, "changes": receipt.changes, "statuses": receipt.statuses, "ok": receipt.delivered}
