"""The stage of the demo: a simulated Meta and a whole Troth on this machine, and the hands of a host CRM on its API."""

import json
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from rich.console import Console

from integrations.simulator.push_world import PushWorld
from integrations.simulator.seed import (
    ACME_PAGE,
    ACME_TOKEN,
    APP_ID,
    APP_SECRET,
    GLOBEX_PAGE,
    GLOBEX_TOKEN,
    GOOGLE_CLIENT_ID,
    GOOGLE_CLIENT_SECRET,
    VERIFY_TOKEN,
)
from models.host import add_sign_in
from models.tenancy import system_session
from worker.embedded import free_port
from worker.guarded import Program
from worker.local import prepare
from worker.services import Services, build, wall_clock
from worker.supervise import Supervisor

PATIENCE = 45.0
LOOK_EVERY = 0.1


class NotTrue(Exception):
    """A chapter promised something that did not happen."""


@dataclass(slots=True)
class Tenant:
    """A company of the story, and what the host CRM has learnt of it."""

    external_id: str
    name: str
    country: str
    timezone: str
    page_id: str
    page_token: str
    id: str = ""
    connection_id: str = ""
    key: str = ""
    google_id: str = ""


class Stage:
    """Starts everything on entering and ends it on leaving. `wait` is the story's only way to let time pass."""

    def __init__(self, folder: Path, port: int, console: Console) -> None:
        self.console = console
        self.platform_key = "troth_platform_" + secrets.token_urlsafe(32)
        simulator_port = free_port()
        self.simulator_url = f"http://127.0.0.1:{simulator_port}"
        self.local = prepare(folder, port or free_port(), {
            "TROTH_PLATFORM_KEY": self.platform_key,
            "TROTH_META_APP_ID": APP_ID,
            "TROTH_META_APP_SECRET": APP_SECRET,
            "TROTH_META_VERIFY_TOKEN": VERIFY_TOKEN,
            "TROTH_META_GRAPH_URL": self.simulator_url,
            "TROTH_META_DIALOG_URL": self.simulator_url,
            **_google(self.simulator_url),
            **self._push(),
        })  # fmt: skip
        meta = [sys.executable, "-m", "worker", "simulator", "--port", str(simulator_port)]
        programs = [Program("simulator", meta, self.local.environment, grace=5), *self.local.programs()]
        self.supervisor = Supervisor(programs, folder / "troth.log")
        self.services: Services = build(self.local.settings)
        self.http = httpx.Client(timeout=30, trust_env=False)
        self.acme = Tenant("acme", "Acme Kitchens", "US", "America/New_York", ACME_PAGE, ACME_TOKEN)
        self.globex = Tenant("globex", "Globex Travel", "JP", "Asia/Tokyo", GLOBEX_PAGE, GLOBEX_TOKEN)

    def __enter__(self) -> Self:
        with self.console.status("Starting Redis, web, workers, beat and a simulated Meta"):
            self.supervisor.start()
            try:
                self.wait("web and simulator answer", self._answers)
                self.meta("POST", "push", json={"service_key": self.account["private_key"]})
            except BaseException:
                self.supervisor.stop()
                raise
        names = ", ".join(f"{process.name} ({process.pid})" for process in self.supervisor.processes())
        self.console.print(f"Up at {self.local.url}: {names}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
        self.services.close()
        with self.console.status("Ending every process"):
            self.supervisor.stop()

    @property
    def tenants(self) -> tuple[Tenant, Tenant]:
        """Both."""
        return (self.acme, self.globex)

    def wait(self, what: str, until: Callable[[], Any], *, seconds: float = PATIENCE) -> float:
        """Look again and again until it is so; the seconds it took. TimeoutError names what did not come."""
        began = time.monotonic()
        while not until():
            if time.monotonic() - began > seconds:
                raise TimeoutError(what)
            time.sleep(LOOK_EVERY)
        return time.monotonic() - began

    def api(self, method: str, path: str, key: str, *, tenant: Tenant | None = None, **options: Any) -> httpx.Response:
        """A call of the REST API."""
        headers = {"Authorization": f"Bearer {key}"} | ({"Troth-Tenant": tenant.external_id} if tenant else {})
        return self.http.request(method, f"{self.local.url}{path}", headers=headers, **options)

    def meta(self, method: str, path: str, **options: Any) -> Any:
        """The simulator's own switches."""
        answer = self.http.request(method, f"{self.simulator_url}/_sim/{path}", **options)
        answer.raise_for_status()
        return answer.json()

    def leads(self, tenant: Tenant) -> dict[str, dict[str, Any]]:
        """All of a tenant's leads as its own key sees them, by Meta's id; a doubled one shows as an extra entry."""
        found: dict[str, dict[str, Any]] = {}
        cursor: dict[str, str] = {}
        while True:
            page = self.api("GET", "/v1/leads", tenant.key, params={"limit": "100", **cursor}).json()
            for lead in page["items"]:
                name = lead["external_id"]
                found[name if name not in found else f"{name} again"] = lead
            if page["next"] is None:
                return found
            cursor = {"cursor": page["next"]}

    def sign_in_links(self) -> dict[str, str]:
        """One-time links to the pages, by whom they let in."""
        links: dict[str, str] = {}
        for name, tenant_id in [("the platform", None), *((tenant.name, tenant.id) for tenant in self.tenants)]:
            with system_session(self.services.database) as session:
                secret = add_sign_in(session, kind="link", tenant_id=tenant_id, now=self.services.clock(),
                                     lives=timedelta(hours=12))  # fmt: skip
            links[name] = f"{self.local.url}/admin/enter?link={secret}"
        return links

    @contextmanager
    def slow_meta(self, seconds: float) -> Iterator[None]:
        """Meta answers late for as long as this lasts."""
        self.meta("POST", "latency", json={"seconds": seconds})
        try:
            yield
        finally:
            self.meta("POST", "latency", json={"seconds": 0})

    def pid(self, name: str) -> int | None:
        """The pid of a process of the stage."""
        return next(process.pid for process in self.supervisor.processes() if process.name == name)

    def _push(self) -> dict[str, str]:
        """The push services there. Their service account is made here, and told to the simulator when it is up."""
        self.account = PushWorld(wall_clock).credentials(self.simulator_url)
        return {
            "TROTH_FCM_URL": self.simulator_url,
            "TROTH_FCM_CREDENTIALS": json.dumps(self.account),
            "TROTH_VAPID_PRIVATE_KEY": secrets.token_urlsafe(32),
            "TROTH_VAPID_SUBJECT": "mailto:ops@crm.example",
            "TROTH_WEBPUSH_ALLOWED": self.simulator_url,
        }

    def _answers(self) -> bool:
        try:
            self.meta("GET", "calls")
            return self.http.get(f"{self.local.url}/readyz").status_code == 200
        except httpx.HTTPError:
            return False


def _google(url: str) -> dict[str, str]:
    """A simulated Google at this address."""
    return {
        "TROTH_GOOGLE_CLIENT_ID": GOOGLE_CLIENT_ID,
        "TROTH_GOOGLE_CLIENT_SECRET": GOOGLE_CLIENT_SECRET,
        "TROTH_GOOGLE_AUTH_URL": f"{url}/o/oauth2/v2/auth",
        "TROTH_GOOGLE_TOKEN_URL": f"{url}/token",
        "TROTH_GOOGLE_REVOKE_URL": f"{url}/revoke",
        "TROTH_GOOGLE_API_URL": url,
    }
