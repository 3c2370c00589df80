"""The page of calendars: how far each is proven, both sides of an event beside each other, and what a tenant decides."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from models.base import new_id
from models.calendar import Calendar, Channel
from models.calendar_event import CONFLICT, CalendarEvent
from models.database import Database
from models.tenancy import tenant_session
from models.vault import Vault
from tests.conftest import FrozenClock
from tests.worker.web.answers import good
from tests.worker.web.api.test_calendar_events import body, import_calendar, put
from tests.worker.web.conftest import Api


@pytest.fixture
def connection_id(
    platform: Callable[..., Api],
    as_tenant: Callable[..., Api],
    acme: Any,
    database: Database,
    vault: Vault,
    clock: FrozenClock,
) -> str:
    """A calendar of acme's with one event that was changed on both sides."""
    connection = import_calendar(platform("acme"))
    good(put(as_tenant(acme), "appointment-7", body(connection, title="Host's title")), 202)
    with tenant_session(database, acme.id) as session:
        row = session.scalars(select(CalendarEvent)).one()
        keyring = vault.existing(session, acme.id, connection)
        assert keyring is not None
        event = b'{"title":"Person\'s title","start":{"date":"2026-03-12"},"end":{"date":"2026-03-13"}}'
        found = b'{"event":%b,"instances":{"2026-03-14":null}}' % event
        row.state, row.told_at = CONFLICT, clock()
        row.found = keyring.seal(found, table="calendar_events", row=row.id, column="found")
        calendar = session.scalars(select(Calendar)).one()
        calendar.external_id, calendar.pulled_at = "ours@group.calendar.google.com", clock()
        session.add(Channel(id=new_id(), tenant_id=acme.id, connection_id=connection, digest=b"1" * 32, created_at=clock(),
                            resource_id="r", expires_at=clock() + timedelta(days=3)))  # fmt: skip
    return connection


def test_both_sides_stand_beside_each_other_until_somebody_has_seen_them(
    signed_in: httpx.Client, connection_id: str, database: Database, acme: Any
) -> None:
    shown = signed_in.get("/admin/calendars").text

    assert "Host&#39;s title" in shown
    assert "Person&#39;s title" in shown
    assert "Complete up to" in shown
    seen = signed_in.post(f"/admin/calendars/{connection_id}/seen", data={"host_id": "appointment-7"})
    assert seen.status_code == 303
    after = signed_in.get("/admin/calendars?said=seen").text
    assert "s title" not in after
    with tenant_session(database, acme.id, reads_only=True) as session:
        row = session.scalars(select(CalendarEvent)).one()
    assert (row.state, row.wish, row.found) == ("synced", None, None)


def test_what_is_decided_is_kept(signed_in: httpx.Client, connection_id: str, database: Database, acme: Any) -> None:
    answers = {"clash": "newest", "on_gone": "explain", "on_revoke": "remove"}

    assert signed_in.post(f"/admin/calendars/{connection_id}/policy", data=answers).status_code == 303
    assert (
        signed_in.post(f"/admin/calendars/{connection_id}/policy", data={**answers, "clash": "host"}).status_code == 422
    )
    assert signed_in.post(f"/admin/calendars/{connection_id}/read").status_code == 303

    with tenant_session(database, acme.id, reads_only=True) as session:
        row = session.scalars(select(Calendar)).one()
    assert (row.clash, row.on_gone, row.on_revoke) == ("newest", "explain", "remove")
    assert row.dirty_at is not None
    before = signed_in.get(f"/admin/connections/{connection_id}/disconnect").text
    assert 'value="remove" checked' in before


def test_globex_sees_nothing_and_changes_nothing(
    enter: Callable[..., httpx.Client], connection_id: str, globex: Any, database: Database, acme: Any
) -> None:
    other = enter(globex.id)

    assert "appointment-7" not in other.get("/admin/calendars").text
    assert other.post(f"/admin/calendars/{connection_id}/seen", data={"host_id": "appointment-7"}).status_code == 404
    answers = {"clash": "newest", "on_gone": "explain", "on_revoke": "remove"}
    assert other.post(f"/admin/calendars/{connection_id}/policy", data=answers).status_code == 404
    assert other.post(f"/admin/calendars/{connection_id}/read").status_code == 404


def test_nothing_is_connected_and_nothing_wished_for(signed_in: httpx.Client, platform: Callable[..., Api]) -> None:
    assert "No Google account is connected" in signed_in.get("/admin/calendars").text
    import_calendar(platform("acme"))
    assert "has not wished for an event" in signed_in.get("/admin/calendars").text
