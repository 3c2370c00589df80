"""Runs the simulator on a loopback port, in a thread for tests or in the foreground; knows sockets, nothing of Meta."""

import asyncio
import gc
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from integrations.simulator.app import Simulator, create_app
from integrations.simulator.buttons import Panel
from integrations.simulator.calls import Calls
from integrations.simulator.google_world import Google
from integrations.simulator.seed import build_world, read_seed
from integrations.simulator.wire import LONGEST_HANG
from integrations.simulator.world import World

_START = 10.0
_TICK = 0.02
_FAREWELL = 1.0

Transports = dict[Any, asyncio.Transport]


class SimulatorServer:
    """A simulator in a thread of this process; it is answering when the constructor returns.

    `url` is its address, `world`, `panel` and `calls` are its state, to be looked at and changed while it runs.
    """

    def __init__(self, world: World, *, port: int = 0, longest_hang: float = LONGEST_HANG) -> None:
        self.app = create_app(world, longest_hang=longest_hang)
        self._socket = _listen(port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = _Server(self.app)
        self._thread = threading.Thread(target=self._run, name="simulator", daemon=True)
        self._thread.start()
        if not self.app.started.wait(_START):
            raise RuntimeError("the simulator did not start")

    @property
    def world(self) -> World:
        """What Meta holds, and in `google` what Google does."""
        return self.app.world

    @property
    def google(self) -> Google:
        """Google's accounts and grants."""
        return self.app.world.google

    @property
    def panel(self) -> Panel:
        """The failure buttons."""
        return self.app.panel

    @property
    def calls(self) -> Calls:
        """The counts."""
        return self.app.calls

    def stop(self) -> None:
        """End it, hanging answers too; may be called twice."""
        self._server.should_exit = True
        self._thread.join(_START)
        self._socket.close()

    def __enter__(self) -> "SimulatorServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


def serve(
    *, port: int, seed_path: Path | None, clock: Callable[[], datetime], say: Callable[[str], None] = print
) -> None:
    """`troth simulator`: answer on a loopback port (0: a free one) until told to stop by SIGINT or SIGTERM.

    Says one line with the address when it answers. SeedError for a wrong seed file, OSError for a port in use.
    """
    world = build_world(clock, read_seed(seed_path) if seed_path is not None else None)
    app = create_app(world)
    # Thousands of leads that never die: a full collection would find nothing, and cost a benchmark 50 ms each time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    with _listen(port) as listening:
        say(f"simulator: http://127.0.0.1:{listening.getsockname()[1]} with {len(world.pages)} pages")
        _Server(app).run(sockets=[listening])


class _Server(uvicorn.Server):
    """uvicorn that stops at once: tests start and stop many, and no client of a simulator needs a farewell."""

    def __init__(self, app: Simulator) -> None:
        self._app = app
        self._transports: Transports = {}
        super().__init__(_config(app, self._transports))

    async def main_loop(self) -> None:
        while not self.should_exit:  # noqa: ASYNC110 - a signal handler sets uvicorn's flag, and it is no Event
            await asyncio.sleep(_TICK)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Without uvicorn's tenth of a second for connections that it has told to end: these are cut."""
        for listening in self.servers:
            listening.close()
        self._app.meddler.wake()
        if self.server_state.tasks:  # a turn for the answers that were hanging
            await asyncio.sleep(_TICK)
        for transport in list(self._transports.values()):
            transport.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                while self.server_state.tasks:  # noqa: ASYNC110 - uvicorn tells nobody
                    await asyncio.sleep(0.005)
        for task in self.server_state.tasks:
            task.cancel()
        await self.lifespan.shutdown()


def _config(app: Simulator, transports: Transports) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_protocol(app, transports),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        date_header=False,
        server_header=False,
        timeout_keep_alive=75,
        backlog=2048,
    )


def _protocol(app: Simulator, transports: Transports) -> type[asyncio.Protocol]:
    """uvicorn's protocol, which also remembers the transports by address, so that a button can cut one."""

    class Cuttable(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        def connection_made(self, transport: asyncio.Transport) -> None:
            self.address = tuple(transport.get_extra_info("peername")[:2])
            transports[self.address] = transport
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            transports.pop(self.address, None)
            super().connection_lost(exc)

    def cut(address: Any) -> None:
        transport = transports.get(tuple(address))
        if transport is not None:
            transport.abort()

    app.meddler.cut = cut
    return Cuttable


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except OSError:
        listening.close()
        raise
    listening.listen(2048)
    return listening
