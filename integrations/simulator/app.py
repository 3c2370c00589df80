"""The simulator as an ASGI application: Graph, Google, the consent pages and /_sim; knows bytes and waiting, no rules.

A raw ASGI callable, as benchmarks share their processor cores with it.
"""

import asyncio
import threading
from contextlib import nullcontext

import httpx
import orjson

from integrations.simulator import calendar_batch
from integrations.simulator.buttons import AFTER, OUTER, Button, Does, Panel, Target
from integrations.simulator.calendar_batch import PATH as BATCH
from integrations.simulator.calendar_front import ROOT, CalendarFront
from integrations.simulator.calendar_notices import Notifier
from integrations.simulator.calls import Calls
from integrations.simulator.control import control_app
from integrations.simulator.deliver import NO_AUTHORITIES
from integrations.simulator.google import PATHS, GoogleFront
from integrations.simulator.google_call import read_call
from integrations.simulator.meta import Call, Graph, split_path
from integrations.simulator.meta_answers import BAD_GATEWAY, Answer, GraphFault
from integrations.simulator.meta_batch import batch
from integrations.simulator.meta_dialog import dialog
from integrations.simulator.meta_subscriptions import handshake, refused_callback, subscribe_callback
from integrations.simulator.push_front import PushFront, is_push
from integrations.simulator.query import read_query
from integrations.simulator.routes import ROUTES
from integrations.simulator.wire import LONGEST_HANG, Header, Meddler, Receive, Scope, Send, read_body, reply
from integrations.simulator.world import World

_APP_USAGE = (b"x-app-usage", b'{"call_count":1,"total_cputime":1,"total_time":1}')
_TOO_LARGE = Answer(413, b'{"error":{"message":"Request body too large","type":"OAuthException","code":1}}')


class Simulator:
    """The application."""

    def __init__(self, world: World, panel: Panel, *, longest_hang: float = LONGEST_HANG) -> None:
        self.world, self.panel, self.calls = world, panel, Calls()
        self.graph = Graph(world, panel, self.calls, ROUTES)
        self.google = GoogleFront(world.google, panel, self.calls)
        self.calendar = CalendarFront(world.google, panel, self.calls)
        self.notifier = world.google.calendars.notify = Notifier()
        self.push = PushFront(world.push, panel, self.calls)
        self.meddler = Meddler(longest_hang)
        self.started = threading.Event()
        self._control = control_app(world, panel, self.calls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            if scope["path"].startswith("/_sim"):
                await self._control(scope, receive, send)
            elif scope["path"].startswith(ROOT) or scope["path"] == BATCH:
                await self._serve_calendar(scope, receive, send)
            elif scope["path"] in PATHS:
                await self._serve_google(scope, receive, send)
            elif is_push(scope["path"]):
                await self._serve_push(scope, receive, send)
            else:
                await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        self.meddler.start()
        await receive()
        await send({"type": "lifespan.startup.complete"})
        self.started.set()
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive)
        if body is None:
            await reply(send, _TOO_LARGE)
            return
        version, path = split_path(scope["path"])
        if path == ("dialog", "oauth"):
            self.calls.requests["dialog"] += 1
            await reply(send, dialog(self.world, scope["method"], scope["query_string"], body))
            return
        call = _call(scope, body, version, path)
        target = self._target(call)
        self.calls.requests[target.kind] += 1
        button = self.graph.met(target, *OUTER)
        if button is not None and not await self.meddler.meddle(button, scope, send):
            return
        if self.world.latency:
            await asyncio.sleep(self.world.latency)
        answer = await self._answer(call)
        button = self.graph.met(target, *AFTER)
        if button is None or await self.meddler.meddle(button, scope, send):
            await reply(send, answer, _metas_headers(answer, version, self.graph.trace()))

    async def _serve_google(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        body = await read_body(scope, receive)
        if body is None:
            await reply(send, _TOO_LARGE)
            return
        call = read_call(path, method, scope["query_string"], body, dict(scope["headers"]), PATHS[path])
        target = self.google.begin(call)
        busy = call.kind == "google_refresh" and target.account
        with self.world.google.refreshing(target.account) if busy else nullcontext():
            button = self.panel.acting(target, OUTER) if self.panel.on and call.kind != "google_auth" else None
            if button is not None and not await self.meddler.meddle(button, scope, send):
                return
            if self.world.latency:
                await asyncio.sleep(self.world.latency)
            answer = self.google.answer(call, target)
        await reply(send, answer)

    async def _serve_calendar(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = "calendar_batch" if scope["path"] == BATCH else "calendar"
        body = await self._counted(kind, scope, receive, send)
        if body is None:
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if kind == "calendar_batch":
            media, authorization = headers.get("content-type", ""), headers.get("authorization", "")
            answer = calendar_batch.batch(self.calendar, body, media, authorization)
        else:
            address = f"{scope['raw_path'].decode()}?{scope['query_string'].decode()}"
            answer = self.calendar.answer(scope["method"], address, headers, body)
        button = self._met(kind, AFTER)
        if button is None or await self.meddler.meddle(button, scope, send):
            await reply(send, answer)

    async def _serve_push(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await self._counted(self.push.kind(scope["path"]), scope, receive, send)
        if body is None:
            return
        headers = dict(scope["headers"])
        answer = self.push.answer(scope["path"], headers, body, headers.get(b"host", b"").decode("latin-1"))
        await reply(send, answer, [(b"connection", b"close")] if self.push.recycles(scope["client"]) else [])

    async def _counted(self, kind: str, scope: Scope, receive: Receive, send: Send) -> bytes | None:
        """The body of a call of this kind, after its buttons and the latency; None when it has been answered."""
        body = await read_body(scope, receive)
        if body is None:
            await reply(send, _TOO_LARGE)
            return None
        self.calls.requests[kind] += 1
        button = self._met(kind, OUTER)
        if button is not None and not await self.meddler.meddle(button, scope, send):
            return None
        if self.world.latency:
            await asyncio.sleep(self.world.latency)
        return body

    def _met(self, kind: str, does: tuple[Does, ...]) -> Button | None:
        """The button that meets this HTTP exchange, counted as a fault."""
        button = self.panel.acting(Target(kind, "", "", "", ""), does) if self.panel.on else None
        if button is not None:
            self.calls.faults[f"{kind}/{button.does}"] += 1
        return button

    def _target(self, call: Call) -> Target:
        """What the buttons look at, of the HTTP exchange."""
        try:
            return self.graph.target(call, self.graph.locate(call))
        except GraphFault:
            return Target("me", call.token, "", "", "")

    async def _answer(self, call: Call) -> Answer:
        try:
            if not call.path and call.method == "POST":
                return batch(self.graph, call)
            if call.method == "POST" and call.path[-1] == "subscriptions":
                return await self._subscribe(call)
        except GraphFault as fault:
            return self.graph.refused("subscriptions" if call.path else "batch", fault)
        # A null item makes sense in a batch only.
        return self.graph.answer(call) or BAD_GATEWAY

    async def _subscribe(self, call: Call) -> Answer:
        """POST /{app}/subscriptions: ask the callback first, as Meta does."""
        app = self.graph.app_of(self.graph.check(call, self.world.tokens.get(call.token)))
        ask = handshake(call)
        try:
            async with httpx.AsyncClient(timeout=10, trust_env=False, verify=NO_AUTHORITIES) as client:
                heard = await client.get(ask.url, params=ask.params)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise refused_callback("no answer") from error
        if heard.status_code != 200:
            raise refused_callback(f"HTTP Status Code = {heard.status_code}")
        if heard.text != ask.challenge:
            raise refused_callback("the response does not match the challenge")
        return subscribe_callback(app, call)


def create_app(world: World, *, panel: Panel | None = None, longest_hang: float = LONGEST_HANG) -> Simulator:
    """The ASGI application over a world; a hang without end is cut after `longest_hang` seconds."""
    return Simulator(world, panel or Panel(world.seed), longest_hang=longest_hang)


def _call(scope: Scope, body: bytes, version: str, path: tuple[str, ...]) -> Call:
    bearer = host = media = ""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, bearer = value.decode("latin-1").partition(" ")
            bearer = bearer.strip() if scheme.lower() == "bearer" else ""
        elif name == b"host":
            host = value.decode("latin-1")
        elif name == b"content-type":
            media = value.decode("latin-1")
    params = read_query(scope["query_string"])
    if body:
        params.update(_json_params(body) if media.startswith("application/json") else read_query(body))
    token = params.get("access_token") or bearer
    return Call(scope["method"], path, params, token, f"{scope['scheme']}://{host}", version)


def _json_params(body: bytes) -> dict[str, str]:
    """Graph takes JSON bodies too; what is not text stays JSON."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(data, dict):
        return {}
    return {name: value if isinstance(value, str) else orjson.dumps(value).decode() for name, value in data.items()}


def _metas_headers(answer: Answer, version: str, trace: str) -> list[Header]:
    """What Graph says beside each answer; the usage only where the answer has none of its own."""
    headers = [(b"facebook-api-version", version.encode()), (b"x-fb-trace-id", trace.encode())]
    if not any(name.lower() == "x-app-usage" for name, _ in answer.headers):
        headers.append(_APP_USAGE)
    return headers
