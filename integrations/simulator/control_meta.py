"""/_sim: what a person does at Meta's pages, and what befalls a login or a page; knows no Graph.

POST /_sim/meta/consent   {"url": the dialog's address, "user", "pages": [ids] or null (all), "untick": [permissions],
                          "deny"} -> {"location"}
POST /_sim/meta/callback  {"kind": "deauthorize" or "deletion", "user" or "page", "callback_url", "app", "removed": true to
                          let it happen too, "payload": {more or other fields}, "secret"} -> {"status", "body"}
POST /_sim/users/{id}     happens now: "password_changed", "removed_app"; stays: "empty_page": N or null (of /me/accounts)
POST /_sim/pages/{id}     happens now: "role_lost": true or false (with "code", "subcode"), "drops_app"; stays:
                          "lead_access", "name", "tenant", "tasks": [..], "empty_page": N or null (of /leadgen_forms)
POST /_sim/forms          a form as in a seed file, with "page" -> {"id"}; without "id" it gets one
POST /_sim/forms/{id}     stays: "name", "status" (ARCHIVED, ...), "most" (leads in one answer), "empty_page": N or null;
                          DELETE: it is gone, and its leads
POST /_sim/quota          {"on", "per_lead": 4800, "floor": 200, "pages": 4800}: calls a day are counted against budgets,
                          told in usage headers, and refused beyond them (80005, 80001)
"""

import asyncio
from itertools import count
from typing import Any

import httpx
from starlette.requests import Request

from integrations.simulator.buttons import Panel
from integrations.simulator.control_json import Table, read_object, texts
from integrations.simulator.meta_callbacks import callback_payload, post_callback, signed_request
from integrations.simulator.meta_dialog import consent
from integrations.simulator.meta_quota import QUOTA_KEYS
from integrations.simulator.records import App
from integrations.simulator.seed import FORM_KEYS, add_form
from integrations.simulator.world import World

_CALLBACK = ("kind", "user", "page", "callback_url", "app", "removed", "payload", "secret")
_PAGE = ("lead_access", "name", "tenant", "tasks", "empty_page", "role_lost", "code", "subcode", "drops_app")
_FORM = ("name", "status", "most", "empty_page")
_NEW_FORM = ("page", "id", *FORM_KEYS)
_FIRST_FORM = 620_000_000_000_000


def meta_table(world: World, panel: Panel) -> Table:
    """The switches."""
    control = _Control(world, panel)
    return [
        ("POST", "meta/consent", control.consent),
        ("POST", "meta/callback", control.callback),
        ("POST", "users/{user}", control.user),
        ("POST", "pages/{page}", control.page),
        ("POST", "forms", control.add_form),
        ("POST", "forms/{form}", control.form),
        ("DELETE", "forms/{form}", control.remove_form),
        ("POST", "quota", control.quota),
    ]


class _Control:
    def __init__(self, world: World, panel: Panel) -> None:
        self.world, self.panel = world, panel
        self._new_forms = count(_FIRST_FORM + 1)

    async def consent(self, request: Request) -> Any:
        data = await read_object(request, ("url", "user", "pages", "untick", "deny"))
        pages = None if data.get("pages") is None else texts(data, "pages")
        untick, deny = texts(data, "untick"), bool(data.get("deny"))
        return {"location": consent(self.world, data["url"], str(data["user"]), pages=pages, untick=untick, deny=deny)}

    async def callback(self, request: Request) -> Any:
        data = await read_object(request, _CALLBACK)
        if data.get("kind") not in ("deauthorize", "deletion") or ("user" in data) == ("page" in data):
            raise ValueError("'kind' must be deauthorize or deletion, and one of 'user' and 'page' is needed")
        app = self.world.apps[data.get("app") or next(iter(self.world.apps))]
        about = {"page_id": str(data["page"])} if "page" in data else {"user_id": str(data["user"])}
        if data.get("removed"):
            self._remove(data, app)
        payload = callback_payload(self.world.clock(), **about) | dict(data.get("payload") or {})
        value = signed_request(str(data.get("secret", app.secret)), payload)
        try:
            # In a thread: the receiver may ask us while we wait for its answer.
            answer = await asyncio.to_thread(post_callback, data["callback_url"], value)
        except (httpx.HTTPError, httpx.InvalidURL):
            return {"status": 0, "body": ""}
        return {"status": answer.status_code, "body": answer.text}

    async def user(self, request: Request) -> Any:
        user = self.world.users[request.path_params["user"]]
        data = await read_object(request, ("password_changed", "removed_app", "empty_page"))
        user.empty_page = data.get("empty_page", user.empty_page)
        if data.get("password_changed"):
            self.world.change_password(user.id)
        if data.get("removed_app"):
            self.world.remove_app(user.id)
        return {"living_tokens": sum(token.dead is None for token in self.world.tokens_of(user.id))}

    async def page(self, request: Request) -> Any:
        page = self.world.pages[request.path_params["page"]]
        data = await read_object(request, _PAGE)
        page.lead_access = bool(data.get("lead_access", page.lead_access))
        page.name = str(data.get("name", page.name))
        page.tenant = str(data.get("tenant", page.tenant))
        page.empty_page = data.get("empty_page", page.empty_page)
        if "tasks" in data:
            page.tasks = texts(data, "tasks")
        if data.get("role_lost"):
            code = int(data.get("code", 190))
            self.world.lose_role(page.id, code, data.get("subcode", 492 if code == 190 else None))
        elif data.get("role_lost") is False:
            self.world.regain_role(page.id)
        if data.get("drops_app"):
            self.world.drop_app(page.id)
        return {}

    async def add_form(self, request: Request) -> Any:
        data = await read_object(request, _NEW_FORM)
        page = self.world.pages[str(data.pop("page"))]
        data["id"] = str(data.get("id") or next(self._new_forms))
        if data["id"] in self.world.forms:
            raise ValueError("there is a form with this id already")
        return {"id": add_form(self.world, page, data).id}

    async def form(self, request: Request) -> Any:
        form = self.world.forms[request.path_params["form"]]
        data = await read_object(request, _FORM)
        form.name, form.status = str(data.get("name", form.name)), str(data.get("status", form.status))
        form.most = int(data.get("most", form.most))
        form.empty_page = data.get("empty_page", form.empty_page)
        return {}

    async def remove_form(self, request: Request) -> Any:
        self.world.remove_form(request.path_params["form"])
        return {}

    async def quota(self, request: Request) -> Any:
        data = await read_object(request, QUOTA_KEYS)
        self.panel.quota.set(**data)
        return {}

    def _remove(self, data: dict[str, Any], app: App) -> None:
        if "page" in data:
            self.world.drop_app(str(data["page"]))
        else:
            self.world.remove_app(str(data["user"]), app.id)
