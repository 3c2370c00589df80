"""Leads as a crowd: persons who came before, what a day brought, forms that fell quiet."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from models import lead as leads
from models.database import Database
from models.feed import emit
from models.lead import Lead, LeadHistory, acknowledge
from models.lead_facts import counts_of, mark_duplicates, name_form, silence, times_of
from models.tenancy import CrossTenantWrite, tenant_session
from models.vault import Vault
from tests.conftest import Company, FrozenClock
from tests.models.test_lead import new_lead

HOUR = timedelta(hours=1)
Store = Callable[..., int]
ANN, BOB = {"email": "ann@example.com"}, {"email": "bob@example.com"}
ANN_CALLS = {"email": "ANN@example.com ", "phone": "+442079460001"}
CALLER = {"phone": "+442079460001"}


@pytest.fixture
def store(database: Database, vault: Vault, clock: FrozenClock) -> Store:
    def stores(company: Company, *contacts: dict[str, str], first: int = 1, **more: object) -> int:
        new = [new_lead(company, clock, str(first + step), contact=contact, **more) for step, contact in
               enumerate(contacts)]  # fmt: skip
        with tenant_session(database, company.id) as session:
            keyring = vault.keyring(session, company.id, company.connection_id, clock())
            hashes = vault.keyring(session, company.id, company.id, clock())
            ready = leads.ready(keyring, hashes, tenant_id=company.id, connection_id=company.connection_id, leads=new)
            stored = leads.store(session, hashes, ready, clock())
            emit(session, company.id, [("lead.received", {})], clock())
            return mark_duplicates(session, company.id, stored)

    return stores


def marks(database: Database, company: Company) -> dict[str, str | None]:
    with tenant_session(database, company.id, reads_only=True) as session:
        rows = {row.id: row for row in session.scalars(select(Lead))}
    return {row.external_id: rows[row.duplicate_of].external_id if row.duplicate_of else None for row in rows.values()}


def test_a_person_who_comes_again_points_at_the_first_lead(
    database: Database, acme: Company, globex: Company, store: Store
) -> None:
    assert store(acme, ANN) == 0
    assert store(globex, ANN) == 0, "another tenant's persons are nobody's business"
    assert store(acme, ANN_CALLS, BOB, first=2) == 1
    assert store(acme, CALLER, {}, first=4) == 1
    assert marks(database, acme) == {"1": None, "2": "1", "3": None, "4": "1", "5": None}
    assert marks(database, globex) == {"1": None}


def test_a_person_within_one_part_points_at_the_first_of_it(database: Database, acme: Company, store: Store) -> None:
    assert store(acme, ANN, ANN_CALLS, CALLER, BOB) == 2
    assert marks(database, acme) == {"1": None, "2": "1", "3": "1", "4": None}


def test_test_leads_neither_point_nor_are_pointed_at(database: Database, acme: Company, store: Store) -> None:
    store(acme, ANN, is_test=True)
    store(acme, ANN, first=2)
    store(acme, ANN, first=3, is_test=True)
    assert set(marks(database, acme).values()) == {None}


def test_an_acknowledgement_is_kept_once(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, globex: Company, store: Store
) -> None:
    store(acme, ANN, BOB)
    with tenant_session(database, acme.id) as session:
        ids = [lead.id for lead in leads.leads_page(session)]
        assert acknowledge(session, acme.id, ids[:1], clock()) == 1
    with tenant_session(database, acme.id) as session:
        assert acknowledge(session, acme.id, [*ids, ids[0]], clock() + HOUR) == 1
        assert acknowledge(session, acme.id, [], clock()) == 0
    with tenant_session(database, globex.id) as session:
        assert acknowledge(session, globex.id, ids, clock()) == 0
        with pytest.raises(CrossTenantWrite):
            acknowledge(session, acme.id, ids, clock())
    with tenant_session(database, acme.id, reads_only=True) as session:
        assert session.get_one(Lead, ids[0]).acknowledged_at == clock()
        query = select(LeadHistory.lead_id, LeadHistory.occurred_at).where(LeadHistory.kind == "acknowledged")
        assert {tuple(row) for row in session.execute(query)} == {(ids[0], clock()), (ids[1], clock() + HOUR)}
        assert leads.leads_page(session, is_acknowledged=False) == []
        assert len(leads.leads_page(session, is_acknowledged=True, is_test=False, source="webhook")) == 2


def test_a_days_leads_are_counted_for_their_tenant_without_test_leads(
    database: Database, clock: FrozenClock, acme: Company, globex: Company, store: Store
) -> None:
    day = clock().replace(hour=0)
    store(acme, ANN, BOB, created_at=day)
    store(acme, ANN, first=3, created_at=day + 24 * HOUR)
    store(acme, ANN, first=4, created_at=day, is_test=True)
    for company, expected in ((acme, {"f1": (2, 0)}), (globex, {})):
        with tenant_session(database, company.id, reads_only=True) as session:
            assert counts_of(session, ["f1", "f2"], day, day + 24 * HOUR) == expected
            assert len(times_of(session, "f1", day + 48 * HOUR)) == (3 if expected else 0)


def test_a_lead_gets_its_forms_name_later_and_no_other_does(
    database: Database, clock: FrozenClock, acme: Company, globex: Company, store: Store
) -> None:
    for company in (acme, globex):
        store(company, ANN, form_name=None)
        store(company, BOB, first=2, form_name="Its own")
    with tenant_session(database, acme.id) as session:
        name_form(session, acme.id, "f1", "Spring")
    for company, expected in ((acme, {"Spring", "Its own"}), (globex, {None, "Its own"})):
        with tenant_session(database, company.id, reads_only=True) as session:
            assert {lead.form_name for lead in leads.leads_page(session)} == expected


@pytest.mark.parametrize(
    ("pauses", "quiet", "is_silent"),
    [
        ([1] * 9, 49, True),
        ([1] * 9, 48, False),
        ([1] * 8, 500, False),
        ([1] * 8 + [20], 60, False),
        ([1] * 8 + [20], 61, True),
        ([0] * 9, 49, True),
        ([], 500, False),
    ],
    ids=["quiet", "not two days", "nine leads", "three pauses", "more than three", "all at once", "none"],
)
def test_a_form_is_silent_against_its_own_history(
    clock: FrozenClock, pauses: list[int], quiet: int, is_silent: bool
) -> None:
    times: list[datetime] = [clock()] if pauses else []
    for pause in pauses:
        times.append(times[-1] + pause * HOUR)
    last = times[-1] if times else clock()
    assert silence(times, last + quiet * HOUR) == (last if is_silent else None)
