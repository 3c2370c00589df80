"""Forms: what is read when, what is proven, and which page has something due."""

from datetime import datetime, timedelta

import pytest

from models.connection import NEEDS_RECONNECT, Connection
from models.database import Database
from models.form import ARCHIVED, KEPT, Form, SeenForm, due_to_read, forms_of, is_read_seldom, saw_leads, see_forms
from models.reading import LATE, OVERLAP, Due, begin_reading, due_connections, end_reading, read_again
from models.tenancy import CrossTenantWrite, system_session, tenant_session
from tests.conftest import Company, FrozenClock

DAY = timedelta(days=1)


def seen(external_id: str = "1", count: int | None = 0, status: str = "ACTIVE") -> SeenForm:
    questions = [{"key": "email", "label": "E-Mail", "type": "EMAIL", "options": []}]
    return SeenForm(external_id, f"Form {external_id}", status, "en_US", questions, None, count, 0, None)


def see(database: Database, company: Company, now: datetime, *forms: SeenForm) -> list[str]:
    with tenant_session(database, company.id) as session:
        new = see_forms(session, tenant_id=company.id, connection_id=company.connection_id, seen=forms, now=now)
        return [form.external_id for form in new]


def look(database: Database, company: Company) -> dict[str, Form]:
    with tenant_session(database, company.id, reads_only=True) as session:
        return {form.external_id: form for form in forms_of(session, company.connection_id)}


def change(database: Database, company: Company, **values: object) -> None:
    with tenant_session(database, company.id) as session:
        for form in forms_of(session, company.connection_id):
            for name, value in values.items():
                setattr(form, name, value)


def due(database: Database, company: Company, now: datetime) -> list[str]:
    with tenant_session(database, company.id, reads_only=True) as session:
        return [form.external_id for form in due_to_read(session, company.connection_id, now)]


def pages(database: Database, now: datetime, **more: object) -> list[Due]:
    with system_session(database, reads_only=True) as session:
        return list(due_connections(session, "facebook_leads", now=now, **{"after": None, "limit": 9, **more}))  # type: ignore[arg-type]


def test_globex_sees_no_form_of_acmes_and_writes_none(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    assert see(database, acme, clock(), seen("1"), seen("2")) == ["1", "2"]
    assert look(database, globex) == {}
    with tenant_session(database, globex.id, reads_only=True) as session:
        assert forms_of(session, acme.connection_id) == []
    with pytest.raises(CrossTenantWrite), tenant_session(database, globex.id) as session:
        saw_leads(session, tenant_id=acme.id, connection_id=acme.connection_id, newest={"1": clock()}, now=clock())


def test_a_form_that_is_seen_again_is_the_same_one_and_what_is_not_listed_is_gone(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    see(database, acme, clock(), seen("1"), seen("2"))
    change(database, acme, mapping={"email": "email"})
    assert see(database, acme, clock() + DAY, seen("1", 5), seen("3")) == ["3"]
    forms = look(database, acme)
    assert (forms["1"].leads_count, forms["1"].mapping, forms["1"].gone_at) == (5, {"email": "email"}, None)
    assert forms["2"].gone_at == clock() + DAY and forms["2"].gone_sentence
    assert due(database, acme, clock() + DAY) == ["1", "3"]
    see(database, acme, clock() + 2 * DAY, seen("2"))
    assert look(database, acme)["2"].gone_sentence is None


@pytest.mark.parametrize(
    ("due_in", "count", "is_pulled"),
    [(5 * DAY, 3, True), (5 * DAY, 2, False), (5 * DAY, None, False), (DAY / 2, 3, False)],
    ids=["more leads", "as many", "not told", "soon anyway"],
)
def test_a_form_that_is_read_seldom_is_read_when_the_provider_counts_more_leads(
    database: Database, clock: FrozenClock, acme: Company, due_in: timedelta, count: int | None, is_pulled: bool
) -> None:
    see(database, acme, clock(), seen("1", 2))
    change(database, acme, read_due_at=clock() + due_in)
    see(database, acme, clock(), seen("1", count))
    assert look(database, acme)["1"].read_due_at == (clock() if is_pulled else clock() + due_in)


def test_a_lead_ends_silence_and_seldom_reading_and_an_older_one_changes_nothing(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    see(database, acme, clock(), seen("1"), seen("2"))
    far = clock() + 6 * DAY
    change(database, acme, read_due_at=far, silent_since=clock() - DAY)
    for newest in (clock(), clock() - DAY):
        with tenant_session(database, acme.id) as session:
            saw_leads(session, tenant_id=acme.id, connection_id=acme.connection_id, newest={"1": newest}, now=clock())
    forms = look(database, acme)
    assert (forms["1"].last_lead_at, forms["1"].silent_since) == (clock(), None)
    read_due_at = forms["1"].read_due_at
    assert read_due_at is not None and read_due_at < clock() + DAY
    assert (forms["2"].last_lead_at, forms["2"].read_due_at, forms["2"].silent_since) == (None, far, clock() - DAY)


@pytest.mark.parametrize(
    ("status", "proven", "newest", "is_seldom"),
    [
        ("ACTIVE", None, None, False),
        ("ACTIVE", DAY, None, True),
        ("ACTIVE", DAY, 89 * DAY, False),
        ("ACTIVE", DAY, KEPT + DAY, True),
        (ARCHIVED, DAY, DAY, True),
    ],
    ids=["never read", "no lead", "a lead there", "leads gone", "archived"],
)
def test_what_cannot_have_leads_to_be_read_is_read_seldom(
    clock: FrozenClock, status: str, proven: timedelta | None, newest: timedelta | None, is_seldom: bool
) -> None:
    form = Form(
        status=status, proven_until=proven and clock() - proven, last_lead_at=newest and clock() - newest
    )  # fmt: skip
    assert is_read_seldom(form, clock()) is is_seldom


def test_a_reading_proves_what_was_before_it_and_never_less_than_was_proven(clock: FrozenClock) -> None:
    now = clock()
    form = Form(proven_until=None)
    begin_reading(form, connected_at=now - DAY, next_at=now + DAY, now=now)
    assert (form.reading_since, form.read_due_at) == (now - DAY, now + DAY)
    read_again(form, now + timedelta(hours=1))
    assert form.reading_since == now - DAY
    end_reading(form)
    assert (form.proven_until, form.reading_began_at) == (now + timedelta(hours=1) - LATE, None)
    begin_reading(form, connected_at=now - DAY, next_at=now, now=now)
    assert form.reading_since == now + timedelta(hours=1) - LATE - OVERLAP
    end_reading(form)
    assert form.proven_until == now + timedelta(hours=1) - LATE


def test_what_is_due_is_told_page_by_page(
    database: Database, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    see(database, acme, clock(), seen("1"), seen("2"))
    at = clock() + timedelta(hours=1)
    change(database, acme, read_due_at=at, check_due_at=at)
    nothing = Due(acme.id, acme.connection_id, clock(), False, False)
    other = Due(globex.id, globex.connection_id, None, False, False)
    assert pages(database, clock()) == [nothing, other]
    assert pages(database, at)[0] == Due(acme.id, acme.connection_id, clock(), True, True)
    change(database, acme, read_due_at=at + DAY, check_due_at=at + DAY, reading_began_at=clock())
    assert pages(database, at)[0] == Due(acme.id, acme.connection_id, clock(), True, False)
    change(database, acme, gone_at=clock())
    assert pages(database, at + 2 * DAY)[0] == nothing
    assert pages(database, at, limit=1) == [nothing]
    assert pages(database, at, after=acme.connection_id) == [other]
    with system_session(database) as session:
        session.get_one(Connection, acme.connection_id).status = NEEDS_RECONNECT
    assert pages(database, at) == [other]
