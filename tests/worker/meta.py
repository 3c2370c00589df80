"""A simulated Meta that holds acme's and globex's pages, and deliveries signed as Meta signs them."""

from datetime import datetime

from integrations.simulator.deliver import Shape, bodies
from integrations.simulator.records import Lead
from integrations.simulator.seed import DEFAULT, build_world
from integrations.simulator.server import SimulatorServer
from integrations.simulator.world import World
from tests.conftest import Company, FrozenClock
from tests.worker.outside import APP_SECRET


def world_of(clock: FrozenClock, *companies: Company) -> World:
    """A world in which each company has its page, its token and one form."""
    templates = DEFAULT["pages"]
    pages = [
        {**template, "id": company.page_id, "tenant": company.external_id, "access_token": company.token, "users": [],
         "forms": [{**form, "id": f"6{company.page_id}"} for form in template["forms"]]}
        for company, template in zip(companies, templates, strict=False)
    ]  # fmt: skip
    apps = [{"id": "1", "secret": APP_SECRET, "verify_token": "verify"}]
    return build_world(clock, {"apps": apps, "pages": pages})


class Meta:
    """The server and shortcuts."""

    def __init__(self, server: SimulatorServer, clock: FrozenClock) -> None:
        self.server, self.clock = server, clock

    def make(self, company: Company, number: int = 1) -> list[Lead]:
        """People fill in the company's form."""
        return self.server.world.add_leads(f"6{company.page_id}", number, created_at=self.now())

    def now(self) -> datetime:
        """The world's second."""
        return self.clock.now.replace(microsecond=0)

    def bodies(self, leads: list[Lead], **shape: object) -> list[bytes]:
        """What is delivered for these leads."""
        return bodies(leads, self.now(), Shape(**shape))  # type: ignore[arg-type]

    def batches(self) -> int:
        """How many requests with a batch in them Graph was sent."""
        return self.server.calls.requests["batch"]

    def lead_reads(self) -> int:
        """How many times a lead was read, in batches or alone."""
        return sum(self.server.calls.leads.values())
