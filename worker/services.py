"""What a process needs, built once and handed on; tests build their own. It starts nothing and knows no job."""

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from integrations.contract import Provider
from integrations.errors import OurBug
from integrations.facebook_leads.forms import Forms
from integrations.facebook_leads.graph import Graph
from integrations.facebook_leads.login import FacebookPages
from integrations.facebook_leads.reading import LeadPages
from integrations.facebook_leads.trial import Trials
from integrations.google_calendar.calendars import Calendars
from integrations.google_calendar.oauth import GoogleAccounts
from integrations.http import Http
from models import schema  # noqa: F401 - every table, so that a flush knows all that refer to each other
from models.database import Database
from models.vault import Vault
from worker.gate import Gate
from worker.jobs import LANES
from worker.pauses import Pauses
from worker.pushes import Pushes
from worker.quota import Quota
from worker.settings import Settings

Clock = Callable[[], datetime]


def wall_clock() -> datetime:
    """Now, aware, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Services:
    """A process's parts. `graph` is None, and a provider is missing, while its settings are: that integration is off."""

    settings: Settings
    database: Database
    redis: redis.Redis
    gates: dict[str, Gate]
    vault: Vault
    http: Http
    graph: Graph | None
    providers: Mapping[str, Provider]
    calendar_api: Calendars
    pushes: Pushes
    clock: Clock = wall_clock

    def provider(self, integration: str) -> Provider:
        """The way to an integration's grants; OurBug with the settings to make while it is turned off."""
        found = self.providers.get(integration)
        if found is None:
            missing = {"facebook_leads": self.settings.meta.missing, "google_calendar": self.settings.google.missing}
            raise OurBug(f"This integration is turned off here: set {', '.join(missing[integration])}.", code="off")
        return found

    def meta(self) -> Graph:
        """The way to Meta; OurBug with the settings to make while it is turned off."""
        if self.graph is None:
            raise OurBug(
                f"Facebook leads are turned off here: set {', '.join(self.settings.meta.missing)}.", code="off"
            )
        return self.graph

    @property
    def forms(self) -> Forms:
        """Lists Pages' forms."""
        return Forms(self.meta())

    @property
    def lead_pages(self) -> LeadPages:
        """Reads forms' leads in bulk."""
        return LeadPages(self.meta())

    @property
    def trials(self) -> Trials:
        """Makes test leads."""
        return Trials(self.meta())

    @property
    def quota(self) -> Quota:
        """The buckets of providers' quotas."""
        return Quota(self.redis, clock=lambda: self.clock().timestamp())

    def close(self) -> None:
        """Let go of every socket."""
        self.pushes.close()
        self.http.close()
        self.redis.close()
        self.database.close()


def build(settings: Settings, *, clock: Clock = wall_clock) -> Services:
    """The real parts, as the settings say. Connects to nothing yet."""
    if settings.redis_url is None:
        raise ValueError("TROTH_REDIS_URL is not set; only `troth up` and `troth demo` bring a Redis of their own")
    connection = connect_redis(settings.redis_url)
    meta, http = settings.meta, Http()
    graph = None
    if not meta.missing:
        graph = Graph(
            http, base_url=meta.graph_url, version=meta.graph_version, app_id=meta.app_id, app_secret=meta.app_secret
        )
    providers = _providers(settings, http, graph, clock)
    gates = {
        lane: Gate(connection, lane, tenant_cap=settings.tenant_jobs_in_flight, clock=lambda: clock().timestamp())
        for lane in LANES
    }
    pauses = Pauses(connection, clock, prefix="troth:pushes:paused:")
    pushes = Pushes(settings.push, http, clock, pauses, Quota(connection, clock=lambda: clock().timestamp()))
    return Services(
        settings, Database(settings.database_url), connection, gates, Vault(settings.master_keys), http, graph, providers,
        Calendars(http, api_url=settings.google.api_url), pushes, clock,
    )  # fmt: skip


def _providers(settings: Settings, http: Http, graph: Graph | None, clock: Clock) -> dict[str, Provider]:
    meta, google = settings.meta, settings.google
    found: dict[str, Provider] = {}
    if graph is not None:
        found["facebook_leads"] = FacebookPages(
            http, graph, dialog_url=meta.dialog_url, base_url=meta.graph_url, app_id=meta.app_id,
            app_secret=meta.app_secret, version=meta.graph_version, clock=clock,
        )  # fmt: skip
    if not google.missing:
        found["google_calendar"] = GoogleAccounts(
            http, client_id=google.client_id, client_secret=google.client_secret, auth_url=google.auth_url,
            token_url=google.token_url, revoke_url=google.revoke_url, api_url=google.api_url, scopes=google.scopes,
            clock=clock,
        )  # fmt: skip
    return found


def connect_redis(url: str) -> redis.Redis:
    """A client that fails fast: while Redis is away a webhook must not wait for it."""
    return redis.Redis.from_url(
        url,
        socket_timeout=5,
        socket_connect_timeout=1,
        health_check_interval=10,
        retry=Retry(NoBackoff(), 1),
        client_name="troth",
    )


def keep_for_good() -> None:
    """What a process has imported and built by now stays until its end, and jobs leave few circles behind: garbage collection
    stops looking through the former, which took a tenth of a second and more, at times in the middle of a transaction with its
    locks held; and it looks for the latter seldom, which was a third of the CPU of a backfill, whose parts hold tens of
    thousands of small things."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
