"""A simulated Google and Meta for tests of connecting, and a person with a browser who goes there and comes back."""

import re
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import httpx
from sqlalchemy import select

from integrations.simulator import google_consent, meta_dialog, seed
from integrations.simulator.server import SimulatorServer
from models.connection import Connection
from models.tenancy import tenant_session
from tests.worker.web.answers import good
from worker.services import Services

GOOGLE, FACEBOOK = "google_calendar", "facebook_leads"


def provider_settings(url: str) -> dict[str, str]:
    """The settings that lead to a simulator."""
    return {
        "TROTH_META_APP_ID": seed.APP_ID,
        "TROTH_META_APP_SECRET": seed.APP_SECRET,
        "TROTH_META_VERIFY_TOKEN": seed.VERIFY_TOKEN,
        "TROTH_META_GRAPH_URL": url,
        "TROTH_META_DIALOG_URL": url,
        "TROTH_GOOGLE_CLIENT_ID": seed.GOOGLE_CLIENT_ID,
        "TROTH_GOOGLE_CLIENT_SECRET": seed.GOOGLE_CLIENT_SECRET,
        "TROTH_GOOGLE_AUTH_URL": f"{url}/o/oauth2/v2/auth",
        "TROTH_GOOGLE_TOKEN_URL": f"{url}/token",
        "TROTH_GOOGLE_REVOKE_URL": f"{url}/revoke",
        "TROTH_GOOGLE_API_URL": url,
    }


def path_of(address: str) -> str:
    """An address of ours without the host, which in tests is another one than BASE_URL says."""
    parts = urlsplit(address)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a browser of their own."""

    browser: httpx.Client
    simulator: SimulatorServer

    def open(self, link: str) -> str:
        """Open a connect link; the address of the provider's consent page that it leads to."""
        answer = self.browser.get(path_of(link))
        assert answer.status_code == 200, answer.text
        (address,) = re.findall(r'class="button main" href="([^"]+)"', answer.text)
        return unescape(address)

    def allow(self, address: str, who: str, **choices: Any) -> str:
        """Decide at the provider's page; the path (with its query) that one is sent back to."""
        if "/dialog/oauth" in address:
            return path_of(meta_dialog.consent(self.simulator.world, address, who, **choices))
        return path_of(google_consent.consent(self.simulator.google, address, who, **choices))

    def connect(self, link: str, who: str, **choices: Any) -> httpx.Response:
        """The whole way."""
        return self.browser.get(self.allow(self.open(link), who, **choices))


def make_link(api: Any, integration: str) -> str:
    """A connect link's address."""
    url: str = good(api("POST", "/v1/connect-links", json={"integration": integration}), 201)["url"]
    return url


def connections(services: Services, company: Any, integration: str) -> list[Connection]:
    """What a company has connected besides its page of the fixtures."""
    with tenant_session(services.database, company.id, reads_only=True) as session:
        query = select(Connection).where(Connection.integration == integration, Connection.id != company.connection_id)
        return list(session.scalars(query.order_by(Connection.id)))
