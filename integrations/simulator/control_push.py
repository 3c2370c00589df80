"""/_sim/push: the service account's key, browsers that subscribe, what arrived, and what dies; knows no FCM.

GET  /_sim/push              how many targets were reached so often, by tag
GET  /_sim/push/shown/{name} what a target shows now
GET  /_sim/push/credentials  the service account's key file; its token_uri is this simulator
POST /_sim/push/browsers     {"names": [...]} -> {"subscriptions"}: browsers subscribe
POST /_sim/push              {"dead": [targets], "recycle": requests a connection, "read_all", "service_key": PEM}
"""

from typing import Any

from starlette.requests import Request

from integrations.simulator.control_json import Table, read_object, texts
from integrations.simulator.push_world import PushWorld


def push_table(push: PushWorld) -> Table:
    """The switches."""
    control = _Control(push)
    return [
        ("GET", "push", control.state),
        ("POST", "push", control.change),
        ("GET", "push/shown/{name}", control.shown),
        ("GET", "push/credentials", control.credentials),
        ("POST", "push/browsers", control.subscribe),
    ]


class _Control:
    def __init__(self, push: PushWorld) -> None:
        self.push = push

    async def state(self, request: Request) -> Any:
        return self.push.summary()

    async def change(self, request: Request) -> Any:
        data = await read_object(request, ("dead", "recycle", "read_all", "service_key"))
        self.push.dead |= set(texts(data, "dead"))
        self.push.recycle = int(data.get("recycle", self.push.recycle))
        self.push.read_all = bool(data.get("read_all", self.push.read_all))
        if "service_key" in data:
            self.push.adopt(data["service_key"])
        return {}

    async def shown(self, request: Request) -> Any:
        return self.push.shown.get(request.path_params["name"])

    async def credentials(self, request: Request) -> Any:
        return self.push.credentials(_url(request))

    async def subscribe(self, request: Request) -> Any:
        names = texts(await read_object(request, ("names",)), "names")
        return {"subscriptions": [self.push.subscribe(name, _url(request)) for name in names]}


def _url(request: Request) -> str:
    return str(request.base_url).rstrip("/")
