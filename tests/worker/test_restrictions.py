"""Restrictions at work: a person's leads are kept, unseen and untold, a tenant's jobs wait; lifted, all of it goes on."""

import pytest
from sqlalchemy import select

from integrations.simulator.records import Lead as MetaLead
from models.deletion import AWAITING_HOST, Wish
from models.feed import Event
from models.inbox import Notice, take_in
from models.job import Job
from models.lead import CAME_RESTRICTED, RESTRICTED, Lead, email_fingerprint, leads_page
from models.restricting import Freeze, lift, restrict
from models.restriction import Restriction
from models.tenancy import system_session, tenant_session
from tests.conftest import Company, FrozenClock
from tests.worker.erasing import ask, bring, look_around, one
from tests.worker.outside import Outside, settle, user_of
from tests.worker.runner import Runner
from worker import jobs
from worker.services import Services
from worker.work import Work

pytestmark = pytest.mark.every_database


def freeze(troth: Services, company: Company, wish: Freeze) -> str:
    with Work(troth, company.id) as work:
        return restrict(work.session, company.id, wish, troth.clock()).id


def thaw(troth: Services, company: Company, restriction_id: str) -> int:
    with Work(troth, company.id) as work:
        return lift(work.session, work.session.get_one(Restriction, restriction_id), troth.clock())


def person_of(troth: Services, company: Company, lead: MetaLead) -> Freeze:
    assert lead.person is not None and lead.person.email
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        hashes = troth.vault.existing(session, company.id, company.id)
        assert hashes is not None
        return Freeze("subject", email=email_fingerprint(hashes, lead.person.email), reason="accuracy")


def seen(troth: Services, company: Company) -> set[str]:
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        return {lead.external_id for lead in leads_page(session)}


def told(troth: Services, company: Company) -> list[str]:
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        query = select(Event).where(Event.type.in_(("lead.received", "lead.updated"))).order_by(Event.position)
        return [event.data["external_id"] for event in session.scalars(query) if "external_id" in event.data]


def marked(troth: Services, company: Company) -> dict[str, str | None]:
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        return {lead.external_id: lead.restricted for lead in session.scalars(select(Lead))}


def fill_in_again(outside: Outside, worker: Runner, company: Company, person: MetaLead) -> MetaLead:
    """The same person fills in the form once more."""
    (again,) = outside.fill_in(company)
    again.person, again.field_data = person.person, person.field_data
    with Work(outside.services, company.id) as work:
        notice = Notice(company.id, company.connection_id, "lead", again.id, "webhook", occurred_at=again.created_at)
        take_in(work.session, [notice], outside.services.clock())
        work.put(jobs.leads_fetch(company.id, company.connection_id))
    settle(worker, outside.services)
    return again


def test_a_restricted_persons_leads_are_kept_untold_and_unseen_until_it_is_lifted(
    outside: Outside, troth: Services, worker: Runner, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    for company in (acme, globex):
        outside.connect(company, "facebook_leads", user_of(company))
    settle(worker, troth)
    known, other = bring(outside, worker, acme, 2)
    bring(outside, worker, globex, 1)
    wish = person_of(troth, acme, known)
    first = freeze(troth, acme, wish)
    assert freeze(troth, acme, wish) == first, "it is restricted already"
    second = freeze(troth, acme, Freeze("subject", phone=_phone_of(troth, acme, known)))
    new = fill_in_again(outside, worker, acme, known)
    assert marked(troth, acme) == {known.id: RESTRICTED, other.id: None, new.id: CAME_RESTRICTED}
    assert seen(troth, acme) == {other.id} and told(troth, acme) == [known.id, other.id]
    fill_in_again(outside, worker, globex, known)
    assert len(seen(troth, globex)) == 2 and set(marked(troth, globex).values()) == {None}, "globex restricted nobody"

    assert thaw(troth, acme, first) == 0 and seen(troth, acme) == {other.id}, "the other restriction keeps them"
    assert thaw(troth, acme, second) == 2 and thaw(troth, acme, second) == 0
    assert seen(troth, acme) == {known.id, other.id, new.id} and set(marked(troth, acme).values()) == {None}
    assert told(troth, acme) == [known.id, other.id, new.id], "what came meanwhile is told of, once"
    with tenant_session(troth.database, acme.id, reads_only=True) as session:
        rows = {lead.external_id: lead for lead in session.scalars(select(Lead))}
        assert rows[new.id].duplicate_of == rows[known.id].id
        kinds = session.scalars(select(Event.type).where(Event.type.like("restriction.%"))).all()
        assert sorted(kinds) == ["restriction.lifted", "restriction.lifted", "restriction.set", "restriction.set"]


def _phone_of(troth: Services, company: Company, lead: MetaLead) -> bytes | None:
    with tenant_session(troth.database, company.id, reads_only=True) as session:
        return session.scalars(select(Lead.phone_hash).where(Lead.external_id == lead.id)).one()


def test_a_restricted_tenants_jobs_wait_lose_nothing_and_go_on_but_a_deletion_runs(
    outside: Outside, troth: Services, worker: Runner, clock: FrozenClock, acme: Company, globex: Company
) -> None:
    for company in (acme, globex):
        outside.connect(company, "facebook_leads", user_of(company))
    settle(worker, troth)
    (known,) = bring(outside, worker, acme, 1)
    held = freeze(troth, acme, Freeze("tenant"))
    waiting = bring(outside, worker, acme, 2)
    bring(outside, worker, globex, 1)
    assert seen(troth, acme) == {known.id} and len(seen(troth, globex)) == 1
    with system_session(troth.database, reads_only=True) as session:
        fetch = session.scalars(select(Job).where(Job.tenant_id == acme.id, Job.open_key.like("leads.fetch%"))).one()
        assert (fetch.state, fetch.attempts) == ("waiting", 0)
        assert fetch.wake_at == clock() + jobs.HELD_AGAIN, "it is not asked for every few seconds"
    clock.tick(jobs.HELD_AGAIN.total_seconds())
    assert settle(worker, troth) > 0 and seen(troth, acme) == {known.id}

    person = person_of(troth, acme, known)
    asked = ask(troth, acme, Wish("subject", "api", email=person.email, requester=b"x" * 16, urgent=True))
    look_around(troth, worker, clock)
    assert one(troth, acme, asked).status == AWAITING_HOST and seen(troth, acme) == set()

    assert thaw(troth, acme, held) >= 1
    settle(worker, troth)
    assert seen(troth, acme) == {lead.id for lead in waiting} == set(told(troth, acme))


def test_an_erased_persons_restriction_goes_with_the_data(
    outside: Outside, troth: Services, worker: Runner, clock: FrozenClock, acme: Company
) -> None:
    outside.connect(acme, "facebook_leads", user_of(acme))
    settle(worker, troth)
    known, other = bring(outside, worker, acme, 2)
    wish = person_of(troth, acme, known)
    freeze(troth, acme, wish)
    kept = freeze(troth, acme, person_of(troth, acme, other))
    asked = ask(troth, acme, Wish("subject", "api", email=wish.email, requester=b"x" * 16, urgent=True))
    look_around(troth, worker, clock)
    assert one(troth, acme, asked).status == AWAITING_HOST
    with tenant_session(troth.database, acme.id, reads_only=True) as session:
        assert session.scalars(select(Restriction.id)).all() == [kept]
        assert session.scalars(select(Lead.external_id)).all() == [other.id]
