"""The simulator as an ASGI application: Graph, the consent page and /_sim; knows bytes and waiting, not Graph's rules.

A raw ASGI callable, as benchmarks share their processor cores with it.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

import httpx
import orjson

from integrations.simulator.buttons import OUTER, Button, Panel, Target
from integrations.simulator.calls import Calls
from integrations.simulator.control import control_app
from integrations.simulator.deliver import NO_AUTHORITIES
from integrations.simulator.meta import Call, Graph, split_path
from integrations.simulator.meta_answers import BAD_GATEWAY, Answer, GraphFault
from integrations.simulator.meta_batch import batch
from integrations.simulator.meta_oauth import consent_given, consent_page
from integrations.simulator.meta_subscriptions import handshake, refused_callback, subscribe_callback
from integrations.simulator.query import read_query
from integrations.simulator.routes import ROUTES
from integrations.simulator.world import World

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LONGEST_HANG = 60.0
_APP_USAGE = (b"x-app-usage", b'{"call_count":1,"total_cputime":1,"total_time":1}')
_TOO_LARGE = Answer(413, b'{"error":{"message":"Request body too large","type":"OAuthException","code":1}}')
_LARGEST = 8 * 1024 * 1024


class Simulator:
    """The application. `cut` is given by the server: it drops the connection of a client address."""

    def __init__(self, world: World, panel: Panel, *, longest_hang: float = LONGEST_HANG) -> None:
        self.world, self.panel, self.calls = world, panel, Calls()
        self.graph = Graph(world, panel, self.calls, ROUTES)
        self.longest_hang = longest_hang
        self.started = threading.Event()
        self.cut: Callable[[Any], None] | None = None
        self._stopping: asyncio.Event | None = None
        self._control = control_app(world, panel, self.calls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            if scope["path"].startswith("/_sim"):
                await self._control(scope, receive, send)
            else:
                await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    def wake(self) -> None:
        """Inside the loop: end every hang now, so that the server can stop."""
        if self._stopping is not None:
            self._stopping.set()

    async def _live(self, receive: Receive, send: Send) -> None:
        self._stopping = asyncio.Event()
        await receive()
        await send({"type": "lifespan.startup.complete"})
        self.started.set()
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b"" if scope["method"] == "GET" else await _read(receive)
        if body is None:
            await _reply(send, _TOO_LARGE, "", "")
            return
        version, path = split_path(scope["path"])
        if path == ("dialog", "oauth"):
            await _reply(send, self._dialog(scope, body), version, self.graph.trace())
            return
        call = _call(scope, body, version, path)
        button = self._begin(call)
        if button is not None and not await self._meddle(button, scope, send, version):
            return
        if self.world.latency:
            await asyncio.sleep(self.world.latency)
        await _reply(send, await self._answer(call), version, self.graph.trace())

    def _begin(self, call: Call) -> Button | None:
        """Count the request, and see whether a button meets it."""
        try:
            place = self.graph.locate(call)
            target = self.graph.target(call, place)
        except GraphFault:
            target = Target("me", call.token, "", "", "")
        self.calls.requests[target.kind] += 1
        return self.panel.acting(target, OUTER) if self.panel.on else None

    async def _meddle(self, button: Button, scope: Scope, send: Send, version: str) -> bool:
        """Do what the button says; whether the call shall be answered after it."""
        if button.does == "latency":
            await asyncio.sleep(button.seconds)
            return True
        if button.does == "html_502":
            await _reply(send, BAD_GATEWAY, version, self.graph.trace())
            return False
        if button.does == "hang":
            await self._hang(min(button.seconds or self.longest_hang, self.longest_hang))
            if button.seconds:
                return True
        await self._drop(scope, send)
        return False

    async def _hang(self, seconds: float) -> None:
        if self._stopping is None:
            await asyncio.sleep(seconds)
            return
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _drop(self, scope: Scope, send: Send) -> None:
        """Drop the connection; under a foreign server, break off in the middle of an answer, which closes it too."""
        if self.cut is not None:
            self.cut(scope["client"])
            await asyncio.sleep(0.01)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})

    async def _answer(self, call: Call) -> Answer:
        try:
            if not call.path and call.method == "POST":
                return batch(self.graph, call)
            if call.method == "POST" and call.path[-1] == "subscriptions":
                return await self._subscribe(call)
        except GraphFault as fault:
            return fault.answer(self.graph.trace())
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

    def _dialog(self, scope: Scope, body: bytes) -> Answer:
        self.calls.requests["dialog"] += 1
        query = read_query(scope["query_string"])
        if scope["method"] != "POST":
            return consent_page(self.world, query)
        form = parse_qs(body.decode(errors="replace"), keep_blank_values=True)
        given = {name: values[0] for name, values in form.items() if name != "page"}
        return consent_given(self.world, given, form.get("page", []))


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


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None when it is too large."""
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > _LARGEST:
            return None
        chunks.append(chunk)
        more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _reply(send: Send, answer: Answer, version: str, trace: str) -> None:
    headers = [
        (b"content-type", answer.media.encode()),
        (b"content-length", b"%d" % len(answer.body)),
        (b"facebook-api-version", version.encode()),
        (b"x-fb-trace-id", trace.encode()),
    ]
    if answer.headers:
        headers += [(name.lower().encode(), value.encode()) for name, value in answer.headers]
    if not any(name == b"x-app-usage" for name, _ in headers):
        headers.append(_APP_USAGE)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
