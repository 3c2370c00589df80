"""Ids and instants mean the same everywhere."""

import uuid
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import StatementError

from models.base import is_id, new_id
from models.database import Database
from models.refusal import Refusal, refuse
from models.tenancy import system_session
from models.tenant import Tenant, add_tenant, tenants
from tests.conftest import FrozenClock

ID = "01a2086d-aa9e-7c02-ab43-9082d4cc8248"


def test_an_id_is_a_uuid7_of_this_very_moment() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    value = uuid.UUID(new_id())
    made = datetime.fromtimestamp((value.int >> 80) / 1000, UTC)
    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert before <= made <= datetime.now(UTC)


def test_ids_are_never_the_same_and_sort_by_their_moment() -> None:
    ids = [new_id() for _ in range(5000)]
    moments = [value[:13] for value in ids]
    assert len(set(ids)) == 5000
    assert moments == sorted(moments)


@pytest.mark.parametrize(
    "value", [None, 1, "", "0", "x" * 36, ID.upper(), f" {ID}", f"{{{ID[2:]}", ID.replace("-", "")]
)
def test_what_is_not_one_of_our_ids_is_not_compared_with_one(value: object) -> None:
    assert not is_id(value)


@given(st.uuids())
def test_every_id_in_its_one_spelling_is_one(value: uuid.UUID) -> None:
    assert is_id(str(value))


def test_ids_sort_in_the_database_as_they_do_in_python(database: Database, clock: FrozenClock) -> None:
    with system_session(database) as session:
        for number in range(40):
            add_tenant(session, external_id=str(number), name="n", country="US", timezone="UTC", now=clock())
    with system_session(database, reads_only=True) as session:
        first = tenants(session, limit=25)
        rest = tenants(session, after=first[-1].id, limit=25)
    found = [tenant.id for tenant in first + rest]
    assert len(found) == 40
    assert found == sorted(found)


def test_a_naive_datetime_never_reaches_a_database(database: Database) -> None:
    with pytest.raises(StatementError, match="naive"), system_session(database) as session:
        refuse(session, reason="x", now=datetime(2026, 3, 2))  # noqa: DTZ001


@pytest.mark.parametrize(
    "zone",
    [UTC, timezone(timedelta(hours=-9, minutes=-30)), ZoneInfo("Pacific/Auckland")],
    ids=["utc", "fixed", "zone"],
)
def test_an_instant_comes_back_as_it_went_in(database: Database, zone: timezone) -> None:
    instant = datetime(2026, 4, 5, 1, 59, 59, 123456, tzinfo=zone)
    with system_session(database) as session:
        refuse(session, reason="x", now=instant)
    with system_session(database, reads_only=True) as session:
        found = session.scalars(select(Refusal)).one().refused_at
    assert found == instant
    assert found.utcoffset() == timedelta()


def test_text_is_compared_with_regard_to_case(database: Database, clock: FrozenClock) -> None:
    with system_session(database) as session:
        for name in ("acme", "ACME", "ácme"):
            add_tenant(session, external_id=name, name=name, country="US", timezone="UTC", now=clock())
    with system_session(database, reads_only=True) as session:
        assert session.scalars(select(Tenant.external_id).where(Tenant.external_id == "ACME")).all() == ["ACME"]


@pytest.mark.parametrize("claimed", ["a\0b", "\ud800", "x" * 500, {"a": 1}, b"\xff", "🙂" * 70])
def test_whatever_a_refused_message_claims_can_be_kept(database: Database, clock: FrozenClock, claimed: object) -> None:
    with system_session(database) as session:
        refuse(session, reason="no_tenant", now=clock(), job=claimed, tenant=claimed, kind=claimed)
    with system_session(database, reads_only=True) as session:
        assert len(session.scalars(select(Refusal)).one().claimed_job or "") <= 64
