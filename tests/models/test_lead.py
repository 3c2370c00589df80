"""Leads: stored once, sealed, found by their tenant alone."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import StatementError

from models import lead as leads
from models.database import Database
from models.lead import Lead, LeadHistory, NewLead, email_fingerprint
from models.tenancy import CrossTenantWrite, system_session, tenant_session
from models.vault import Vault, VaultError
from tests.at_once import at_once
from tests.conftest import Company, FrozenClock

ADA = {"full_name": "Ada Lovelace", "email": "Ada@Example.com", "phone": "+442079460000", "phone_raw": "020 7946 0000"}


def new_lead(company: Company, clock: FrozenClock, external_id: str = "1", **more: object) -> NewLead:
    lead = NewLead(
        external_id=external_id, page_external_id=company.page_id, form_external_id="f1", form_name="Form",
        created_at=clock() - timedelta(minutes=1), received_at=clock(), source="webhook", platform="fb", is_test=False,
        is_organic=None, ad={"ad_id": "a1"}, contact=dict(ADA),
        answers=[{"key": "city", "label": "City", "values": ["Zürich", "🙂"]}], consents=[{"key": "c", "is_checked": True}],
    )  # fmt: skip
    return replace(lead, **more)  # type: ignore[arg-type]


def store(database: Database, vault: Vault, clock: FrozenClock, company: Company, *new: NewLead) -> None:
    with tenant_session(database, company.id) as session:
        hashes = vault.keyring(session, company.id, company.id, clock())
        ready = leads.ready(vault.keyring(session, company.id, company.connection_id, clock()), hashes,
                            tenant_id=company.id, connection_id=company.connection_id, leads=new)  # fmt: skip
        leads.store(session, hashes, ready, clock())


def page(database: Database, company: Company, **filters: object) -> list[Lead]:
    with tenant_session(database, company.id, reads_only=True) as session:
        return leads.leads_page(session, **filters)  # type: ignore[arg-type]


def histories(database: Database) -> list[str]:
    with system_session(database, reads_only=True) as session:
        return list(session.scalars(select(LeadHistory.lead_id)))


def test_a_lead_is_stored_sealed_and_can_be_read_with_its_key(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    new = new_lead(acme, clock)
    store(database, vault, clock, acme, new)
    (lead,) = page(database, acme)
    assert (lead.external_id, lead.form_name, lead.ad, lead.is_test, lead.is_organic) == (
        "1", "Form", {"ad_id": "a1"}, False, None,
    )  # fmt: skip
    assert lead.created_at == new.created_at
    with tenant_session(database, acme.id) as session:
        keyring = vault.keyring(session, acme.id, acme.connection_id, clock())
        assert leads.read(keyring, lead, "contact") == new.contact
        assert leads.read(keyring, lead, "answers") == new.answers
        assert leads.read(keyring, lead, "consents") == new.consents
        with pytest.raises(VaultError):
            leads.read(vault.keyring(session, acme.id, acme.id, clock()), lead, "contact")


def test_nothing_personal_lies_in_the_open(database: Database, vault: Vault, clock: FrozenClock, acme: Company) -> None:
    store(database, vault, clock, acme, new_lead(acme, clock))
    with system_session(database, reads_only=True) as session:
        for table in ("leads", "lead_history", "inbox_events", "jobs", "connections"):
            rows = str(session.execute(text(f"SELECT * FROM {table}")).all())
            for secret in ("Ada", "Lovelace", "example", "7946", "Zürich", acme.token):
                assert secret not in rows


def test_a_lead_that_comes_twice_stays_as_it_is(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    store(database, vault, clock, acme, new_lead(acme, clock))
    store(database, vault, clock, acme, new_lead(acme, clock, form_name="Other"), new_lead(acme, clock, "2"))
    assert {lead.external_id: lead.form_name for lead in page(database, acme)} == {"1": "Form", "2": "Form"}
    assert len(histories(database)) == 2


def test_a_lead_twice_in_one_list_is_one_lead(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    store(database, vault, clock, acme, new_lead(acme, clock), new_lead(acme, clock))
    assert histories(database) == [lead.id for lead in page(database, acme)]


def test_odd_text_is_stored_as_it_is_and_a_naive_instant_is_refused(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    odd = 'a "quoted" \\x41 \\u0041 \t\n name, {half} 🙂'
    new = new_lead(acme, clock, form_name=odd, ad={"ad_name": odd}, platform=None)
    store(database, vault, clock, acme, new)
    (lead,) = page(database, acme)
    assert (lead.form_name, lead.ad, lead.platform, lead.created_at) == (odd, {"ad_name": odd}, None, new.created_at)
    with pytest.raises((ValueError, StatementError)):
        store(database, vault, clock, acme, new_lead(acme, clock, "2", created_at=clock().replace(tzinfo=None)))


def test_two_runs_that_store_the_same_leads_store_each_once(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    new = [new_lead(acme, clock, str(number)) for number in range(20)]
    at_once(*[partial(store, database, vault, clock, acme, *new) for _ in range(4)])
    assert sorted(histories(database)) == sorted(lead.id for lead in page(database, acme))
    assert len(histories(database)) == 20


def test_nothing_is_stored_from_an_empty_list(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    store(database, vault, clock, acme)
    assert page(database, acme) == []


def test_globex_sees_nothing_of_acmes_leads(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    store(database, vault, clock, acme, new_lead(acme, clock))
    (lead,) = page(database, acme)
    assert page(database, globex) == []
    with tenant_session(database, globex.id, reads_only=True) as session:
        assert session.get(Lead, lead.id) is None
        assert leads.history_counts(session, [lead.id]) == {}
    with tenant_session(database, acme.id, reads_only=True) as session:
        assert leads.history_counts(session, [lead.id]) == {lead.id: 1}
    with tenant_session(database, globex.id) as session:
        keyring = vault.keyring(session, globex.id, globex.id, clock())
    ready = leads.ready(keyring, keyring, tenant_id=acme.id, connection_id=acme.connection_id,
                        leads=[new_lead(acme, clock, "2")])  # fmt: skip
    with pytest.raises(CrossTenantWrite), tenant_session(database, globex.id) as session:
        leads.store(session, keyring, ready, clock())


def test_a_person_is_found_by_keyed_hash_within_their_tenant(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    for company in (acme, globex):
        store(database, vault, clock, company, new_lead(company, clock))
        store(database, vault, clock, company, new_lead(company, clock, "2", contact={"email": "b@example.com"}))
    with tenant_session(database, acme.id) as session:
        hashes = vault.keyring(session, acme.id, acme.id, clock())
    email = leads.email_fingerprint(hashes, " ada@EXAMPLE.com ")
    assert [lead.external_id for lead in page(database, acme, found_by=("email_hash", email))] == ["1"]
    phone = hashes.fingerprint("+442079460000")
    assert [lead.external_id for lead in page(database, acme, found_by=("phone_hash", phone))] == ["1"]
    assert page(database, globex, found_by=("email_hash", email)) == []


def test_pages_go_from_the_newest_to_the_oldest_without_a_gap(
    database: Database, vault: Vault, clock: FrozenClock, acme: Company
) -> None:
    for number in range(7):
        store(database, vault, clock, acme, new_lead(acme, clock, str(number)))
    found: list[Lead] = []
    while more := page(database, acme, limit=3, before=found[-1].id if found else None):
        found += more
    assert len(found) == 7
    assert [lead.id for lead in found] == sorted((lead.id for lead in found), reverse=True)


def test_filters_narrow_the_list(database: Database, vault: Vault, clock: FrozenClock, acme: Company) -> None:
    first = clock()
    store(database, vault, clock, acme, new_lead(acme, clock, created_at=first))
    store(
        database, vault, clock, acme, new_lead(acme, clock, "2", form_external_id="f2", created_at=first + timedelta(1))
    )
    for filters, expected in (
        ({"form_id": "f2"}, ["2"]), ({"page_id": acme.page_id}, ["2", "1"]), ({"page_id": "other"}, []),
        ({"since": first + timedelta(seconds=1)}, ["2"]), ({"until": first + timedelta(1)}, ["1"]),
    ):  # fmt: skip
        assert sorted(lead.external_id for lead in page(database, acme, **filters)) == sorted(expected)


def test_an_email_is_the_same_person_however_it_is_written(vault: Vault, database: Database, acme: Company) -> None:
    with tenant_session(database, acme.id) as session:
        hashes = vault.existing(session, acme.id, acme.id)
    assert hashes is not None
    assert email_fingerprint(hashes, " Ann@Example.com") == email_fingerprint(hashes, "ann@example.com ")
