"""Simulated Google and Meta around a process's parts, and people who connect there; it tests nothing itself."""

from collections.abc import Collection
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import select

from integrations.contract import Account, Provider
from integrations.facebook_leads.graph import Graph
from integrations.facebook_leads.login import FacebookPages
from integrations.google_calendar import GOOGLE_CALENDAR
from integrations.google_calendar.calendars import Calendars
from integrations.google_calendar.oauth import GoogleAccounts
from integrations.simulator import google_consent, meta_dialog
from integrations.simulator.google_world import CALENDAR, EMAIL
from integrations.simulator.records import Lead, User
from integrations.simulator.seed import DEFAULT, GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET, SHARED_ACCOUNT, build_world
from integrations.simulator.server import SimulatorServer
from integrations.simulator.world import World
from models.deletion import GRANT_STEPS, deletion_of, steps_of
from models.grant import BeingRevoked, Stored
from models.job import Job
from models.revocation import begin_revocation
from models.tenancy import system_session, tenant_session
from tests.conftest import Company, FrozenClock
from tests.models.accounts import UNDO
from tests.worker.runner import Runner
from worker import jobs
from worker.grants import BY_NAME, keep, new_grants
from worker.reconcile import reconcile
from worker.services import Services
from worker.tasks import HANDLERS
from worker.work import Work

APP_SECRET = "test-app-secret"
BACK = "https://troth.example/oauth/callback"
GOOGLE_SCOPES = ("openid", EMAIL, CALENDAR)


def world_of(clock: FrozenClock, *companies: Company) -> World:
    """Google's default accounts, and at Meta for each company a person with its page, its token and a form."""
    forms = DEFAULT["pages"][0]["forms"]
    pages = [
        {"id": one.page_id, "tenant": one.external_id, "access_token": one.token, "users": [user_of(one)],
         "subscribed": True, "forms": [{**forms[0], "id": f"6{one.page_id}", "leads": 0}]}
        for one in companies
    ]  # fmt: skip
    users = [{"id": user_of(one), "name": one.external_id} for one in companies]
    apps = [{"id": "1", "secret": APP_SECRET, "verify_token": "verify"}]
    return build_world(clock, {"apps": apps, "users": users, "pages": pages})


def user_of(company: Company) -> str:
    """The person who manages a company's page."""
    return f"4{company.page_id}"


class Outside:
    """The server, the parts that talk to it, and what people do there."""

    def __init__(self, server: SimulatorServer, services: Services) -> None:
        self.server, self.google, self.panel = server, server.google, server.panel
        url, http, clock = server.url, services.http, services.clock
        graph = Graph(http, base_url=url, version="v26.0", app_id="1", app_secret=APP_SECRET)
        pages = FacebookPages(http, graph, dialog_url=url, base_url=url, app_id="1", app_secret=APP_SECRET, clock=clock)
        accounts = GoogleAccounts(
            http, client_id=GOOGLE_CLIENT_ID, client_secret=GOOGLE_CLIENT_SECRET, auth_url=f"{url}/o/oauth2/v2/auth",
            token_url=f"{url}/token", revoke_url=f"{url}/revoke", api_url=url, scopes=GOOGLE_SCOPES, clock=clock,
        )  # fmt: skip
        providers: dict[str, Provider] = {"facebook_leads": pages, "google_calendar": accounts}
        calendars = Calendars(http, api_url=url)
        self.services = replace(services, graph=graph, providers=providers, calendar_api=calendars)
        self.secrets: list[str] = []
        """What went through people's browsers and must be found nowhere."""

    def connect(self, company: Company, integration: str, who: str, *, untick: Collection[str] = ()) -> list[Stored]:
        """A person follows a connect link to the provider's own page, allows access and comes back."""
        provider = self.services.provider(integration)
        begun = provider.begin(redirect_uri=BACK, state="state")
        if integration == "google_calendar":
            back = google_consent.consent(self.google, begun.url, who, untick=untick)
        else:
            back = meta_dialog.consent(self.server.world, begun.url, who, untick=untick)
        code = parse_qs(urlsplit(back).query)["code"][0]
        self.secrets += [code, *filter(None, [begun.verifier])]
        return self.store(
            company, integration, provider.complete(code=code, verifier=begun.verifier, redirect_uri=BACK)
        )

    def bring(self, company: Company, who: str = SHARED_ACCOUNT, **more: object) -> str:
        """A grant of Google's that the CRM held already; the connection's id."""
        account = self.google.account(who)
        token = self.google.grant(who)
        given = Account(account.sub, account.email, {"refresh_token": token.value}, token.scopes,
                        (account.sub, account.email))  # fmt: skip
        (stored,) = self.store(company, GOOGLE_CALENDAR.name, [replace(given, **more)])  # type: ignore[arg-type]
        return stored.connection.id

    def store(self, company: Company, integration: str, accounts: list[Account]) -> list[Stored]:
        """What a provider gave becomes connections, and their jobs are published."""
        grants = new_grants(self.services, company.id, BY_NAME[integration], accounts)
        with Work(self.services, company.id) as work:
            found = keep(self.services, work, company.id, grants)
        for one in found:
            if isinstance(one, BeingRevoked):
                raise one
        return [one for one in found if isinstance(one, Stored)]

    def fill_in(self, company: Company, number: int = 1) -> list[Lead]:
        """People fill in the company's form."""
        now = self.services.clock().replace(microsecond=0)
        return self.server.world.add_leads(f"6{company.page_id}", number, created_at=now)

    def user(self, company: Company) -> User:
        """The person behind the company's page."""
        return self.server.world.users[user_of(company)]


def settle(worker: Runner, services: Services) -> int:
    """Run what is published or due, in both lanes, until nothing is; how many runs."""
    ran = 0
    while True:
        reconcile(services)
        now = worker.run_all() + worker.run_all("bulk")
        if not now:
            return ran
        ran += now


def check(troth: Services, company: Company, connection_id: str) -> Job:
    """Ask for a look, and say what became of it."""
    with Work(troth, company.id) as work:
        work.put(jobs.connections_check(company.id, connection_id))
    Runner(troth, HANDLERS).run_all("bulk")
    return last_job(troth, jobs.CONNECTIONS_CHECK, connection_id)


def last_job(troth: Services, kind: str, connection_id: str) -> Job:
    """The newest of this kind."""
    with system_session(troth.database, reads_only=True) as session:
        query = select(Job).where(Job.kind == kind, Job.connection_id == connection_id).order_by(Job.id.desc())
        return session.scalars(query).all()[0]


def end(troth: Services, company: Company, connection_id: str) -> None:
    """Revoke it, as the API does."""
    with Work(troth, company.id) as work:
        begin_revocation(work.session, connection_id, requested_by="admin", undo=UNDO, now=troth.clock())
        work.put(jobs.connections_revoke(company.id, connection_id))


def steps(troth: Services, company: Company, connection_id: str) -> dict[str, tuple[str, str | None]]:
    """step -> (status, sentence) of those that end the grant, in the deletion that a revocation asked for."""
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        asked = deletion_of(session, connection_id)
        assert asked is not None
        return {
            step.name: (step.status, step.sentence) for step in steps_of(session, asked.id) if step.name in GRANT_STEPS
        }
