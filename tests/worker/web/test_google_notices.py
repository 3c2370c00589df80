"""Google's notices: every one is acknowledged, only a true one is followed, and none says what changed."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from models.base import new_id
from models.calendar import Calendar, Channel, ensure_calendar, token_digest
from models.job import Job
from models.tenancy import tenant_session
from tests.conftest import FrozenClock
from worker.services import Services

SECRET = "the-token-of-this-channel-0123456789"


@pytest.fixture
def channel(services: Services, acme: Any, clock: FrozenClock) -> str:
    """A channel of acme's; which connection it is of makes no difference here."""
    channel_id = new_id()
    with tenant_session(services.database, acme.id) as session:
        ensure_calendar(session, tenant_id=acme.id, connection_id=acme.connection_id, now=clock())
        session.add(Channel(id=channel_id, tenant_id=acme.id, connection_id=acme.connection_id, created_at=clock(),
                            digest=token_digest(SECRET), resource_id="r", expires_at=clock() + timedelta(days=7)))  # fmt: skip
    return channel_id


def notice(http: httpx.Client, channel: str | None, token: str | None = SECRET, state: str = "exists") -> int:
    headers = {"X-Goog-Channel-ID": channel, "X-Goog-Channel-Token": token, "X-Goog-Resource-State": state}
    given = {name: value for name, value in headers.items() if value is not None}
    return http.post("/webhooks/google/calendar", headers=given).status_code


def outcome(services: Services, company: Any) -> tuple[datetime | None, list[datetime]]:
    with tenant_session(services.database, company.id, reads_only=True) as session:
        dirty = session.scalars(select(Calendar.dirty_at)).one()
        return dirty, list(session.scalars(select(Job.due_at).where(Job.kind == "calendars.converge")))


@pytest.mark.every_database
def test_a_true_notice_stamps_the_calendar_and_has_it_read_soon(
    http: httpx.Client, services: Services, acme: Any, channel: str, clock: FrozenClock
) -> None:
    assert notice(http, channel) == notice(http, channel) == 204

    assert outcome(services, acme) == (clock(), [clock() + timedelta(seconds=2)])


@pytest.mark.parametrize(
    ("token", "state"),
    [("forged", "exists"), (None, "exists"), ("", "exists"), (SECRET[:-1], "exists"), (SECRET, "sync")],
)
def test_a_forged_one_is_acknowledged_and_does_nothing(
    http: httpx.Client, services: Services, acme: Any, channel: str, token: str | None, state: str
) -> None:
    assert notice(http, channel, token, state) == 204

    assert outcome(services, acme) == (None, [])


def test_one_of_an_unknown_or_ended_channel_is_acknowledged_and_does_nothing(
    http: httpx.Client, services: Services, acme: Any, channel: str, clock: FrozenClock
) -> None:
    clock.now += timedelta(days=8)

    assert [notice(http, one) for one in (channel, new_id(), "no id", "", None)] == [204] * 5
    assert outcome(services, acme) == (None, [])


def test_notices_are_counted_by_what_became_of_them(http: httpx.Client, channel: str) -> None:
    def counted(name: str) -> float:
        line = f'troth_webhook_deliveries_total{{outcome="{name}",source="google"}}'
        text = http.get("/metrics").text
        return next((float(one.rpartition(" ")[2]) for one in text.splitlines() if one.startswith(line)), 0.0)

    before = {name: counted(name) for name in ("stored", "forged", "stale", "sync")}
    notice(http, channel)
    notice(http, channel, "forged")
    notice(http, new_id())
    notice(http, channel, state="sync")

    assert {name: counted(name) - before[name] for name in before} == dict.fromkeys(before, 1.0)
