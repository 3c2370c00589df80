"""Google's own client, of an account and a calendar in it, pointed at the simulator."""

from functools import cache
from importlib.resources import files
from typing import Any

import google_auth_httplib2
import httplib2
import orjson
import pytest
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError

from integrations.simulator.google_world import CALENDAR
from integrations.simulator.seed import ACME_ACCOUNT, GOOGLE_CLIENT_ID
from integrations.simulator.server import SimulatorServer

EVENT = {"id": "event00001", "summary": "Visit", "start": {"date": "2026-03-10"}, "end": {"date": "2026-03-11"}}


@cache
def document() -> dict[str, Any]:
    path = files("googleapiclient").joinpath("discovery_cache", "documents", "calendar.v3.json")
    found: dict[str, Any] = orjson.loads(path.read_bytes())
    return found


class Client:
    """Google's client of one account, and a calendar in it."""

    def __init__(self, server: SimulatorServer, account: str = ACME_ACCOUNT, scope: str = CALENDAR) -> None:
        server.google.grant(account, (scope,))
        self.server = server
        self.token = server.google.issue_access((GOOGLE_CLIENT_ID, account), (scope,)).value
        credentials = Credentials(self.token)  # type: ignore[no-untyped-call]
        self.http = google_auth_httplib2.AuthorizedHttp(credentials, http=httplib2.Http())  # type: ignore[no-untyped-call]
        self.service = build_from_document({**document(), "rootUrl": f"{server.url}/"}, http=self.http)
        self.events = self.service.events()

    def calendar(self) -> str:
        made: str = self.service.calendars().insert(body={"summary": "Ours", "timeZone": "Europe/Kyiv"}).execute()["id"]
        return made

    def insert(self, calendar: str, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.events.insert(calendarId=calendar, body={**EVENT, **more}).execute()
        return found


def refused(request: Any, **headers: str) -> tuple[int, str]:
    """(status, reason) of a call that is refused."""
    request.headers.update(headers)
    with pytest.raises(HttpError) as caught:
        request.execute()
    return caught.value.status_code, orjson.loads(caught.value.content)["error"]["errors"][0]["reason"]
