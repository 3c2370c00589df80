"""Whatever happens to deliveries, tokens, pages, forms and workers: in the end each tenant has exactly its leads, each once.

A lead is its tenant's whose connection to the page was the last to begin before the lead was made. What has to be there:

- of a page that a tenant has: every lead that Meta has and that was made since the connection began, and every older one
  of the tenant's own that Meta told of since then;
- of a page that it had, and of a form that was deleted: what was there when the connection, or the form, ended.

And nothing else, also not on the way.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test
from structlog import DropEvent
from structlog.testing import capture_logs
from structlog.typing import EventDict

from integrations.simulator.deliver import Shape
from integrations.simulator.records import Form, Page
from integrations.simulator.records import Lead as MetaLead
from integrations.simulator.seed import add_form
from models.connection import ACTIVE, LISTENING, NEEDS_RECONNECT, PENDING
from tests.conftest import Company, FrozenClock
from tests.journeys.histories import Machines, Stage, few
from tests.worker.outside import Outside
from worker.tasks import reading

HISTORIES, STEPS = 200, 15
MOST_FORMS = 3
FAILURES = [
    ("html_502", {}),
    ("cut", {}),
    ("error", {"code": 2}),
    ("throttle", {"code": 80005, "minutes": 7}),
    ("throttle", {"code": 4, "minutes": 2}),
    ("usage", {"percent": 85, "minutes": 11}),
    ("null_item", {}),
    ("no_cursors", {}),
    ("missing", {"kind": "lead"}),
]
ENDS_OF_TOKENS = [(190, 460), (190, 458), (190, None), (10, None)]


@dataclass
class Holding:
    """A tenant has a page. `owed`: older leads of its own that Meta told of since then."""

    company: Company
    since: datetime
    until: datetime | None = None
    owed: set[str] = field(default_factory=set)


which, forms = st.integers(0, 1), st.integers(0, MOST_FORMS - 1)


class LeadHistories(Machines):
    """Two companies, two pages. `Meta` is the simulator's world; what is kept here is who had which page when."""

    stage: ClassVar[Stage]
    ran: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.stage.begin()
        self.companies = self.stage.companies
        began = self.now - timedelta(hours=1)
        self.holdings = {company.page_id: [Holding(company, began)] for company in self.companies}
        self.made: dict[str, MetaLead] = {}
        self.untold: list[MetaLead] = []
        self.told: list[MetaLead] = []
        self.kept: set[tuple[str, str]] = set()
        for page in (0, 1):
            self.people_fill_in_a_form(page=page, form=0, number=1, late=0)

    # People at Meta, and its deliveries

    @rule(page=which, form=forms, number=st.integers(1, 2), late=st.sampled_from([0, 90, 240]))
    def people_fill_in_a_form(self, page: int, form: int, number: int, late: int) -> None:
        chosen = self.form(page, form)
        if chosen is not None and chosen.status == "ACTIVE":
            made = self.world.add_leads(chosen.id, number, created_at=self.now - timedelta(seconds=late))
            self.made.update((lead.id, lead) for lead in made)
            if "1" in chosen.page.subscribed:
                self.untold += made
            self.stage.clock.tick(number)

    @rule(page=which, form=forms, change=st.sampled_from(["added", "ARCHIVED", "ACTIVE", "deleted"]))
    def a_form_changes(self, page: int, form: int, change: str) -> None:
        chosen = self.form(page, form)
        if change == "added" and len(self.page(page).forms) < MOST_FORMS:
            add_form(self.world, self.page(page), {"id": f"{7 + len(self.world.forms)}{self.page(page).id}"})
        elif change == "deleted" and chosen is not None:
            self.keep({lead.id for lead in chosen.leads})
            self.world.remove_form(chosen.id)
        elif change != "added" and chosen is not None:
            chosen.status = change

    @precondition(lambda self: self.untold)
    @rule(number=st.integers(1, 4), last=st.booleans(), copies=st.integers(0, 1), shuffled=st.booleans(), lost=few)
    def leads_are_told(self, number: int, last: bool, copies: int, shuffled: bool, lost: bool) -> None:
        told = self.untold[-number:] if last else self.untold[:number]
        self.untold = [lead for lead in self.untold if lead not in told]
        self.told += told
        if not lost:
            self.deliver(told, Shape(duplicates=copies, shuffled=shuffled))

    @precondition(lambda self: self.told)
    @rule(first=st.integers(0, 20), number=st.integers(1, 6))
    def leads_are_told_again(self, first: int, number: int) -> None:
        start = first % len(self.told)
        self.deliver(self.told[start : start + number], Shape())

    def deliver(self, leads: list[MetaLead], shape: Shape) -> None:
        for lead in leads:
            holding = self.holding(lead.form.page)
            if holding is not None and self.owner(lead) is holding.company:
                holding.owed.add(lead.id)
        self.stage.deliver(leads, shape)

    @rule(page=which, trouble=st.sampled_from([*ENDS_OF_TOKENS, "withheld", "unsubscribed"]))
    def access_is_lost(self, page: int, trouble: tuple[int, int | None] | str) -> None:
        lost = self.page(page)
        if trouble == "withheld":
            lost.lead_access = not lost.lead_access
        elif trouble == "unsubscribed":
            lost.subscribed.clear()
        else:
            for token in self.world.tokens.values():
                if token.page_id == lost.id:
                    token.dead = token.dead or trouble  # type: ignore[assignment]

    @rule(failure=st.sampled_from(FAILURES), times=st.integers(1, 3))
    def meta_fails(self, failure: tuple[str, dict[str, object]], times: int) -> None:
        does, values = failure
        self.stage.outside.panel.press(does, times=times, **values)  # type: ignore[arg-type]

    # Tenants

    @rule(company=which, page=which)
    def a_tenant_connects_a_page(self, company: int, page: int) -> None:
        self.connects(self.companies[company], self.page(page))

    @rule(page=which, back=st.booleans(), asked_before=st.booleans(), work=st.sampled_from([0, 1, 99]))
    def a_page_moves(self, page: int, back: bool, asked_before: bool, work: int) -> None:
        """To the other tenant, who may have asked for it in vain before; or it is given up, and connected anew."""
        moved = self.page(page)
        if holding := self.holding(moved):
            other = self.companies[1 - self.companies.index(holding.company)]
            if asked_before:
                self.connects(other, moved)
                self.people_fill_in_a_form(page=page, form=0, number=1, late=0)
            self.stage.clock.tick(1)
            self.stage.disconnect(holding.company, moved.id)
            holding.until = self.now
            self.keep({lead.id for lead in self.made.values() if lead.form.page is moved})
            self.stage.work(work)
            self.connects(holding.company if back else other, moved)

    @rule(page=which, hours=st.sampled_from([0, 1, 48]))
    def a_button_is_pressed(self, page: int, hours: int) -> None:
        """Read it now, or a backfill."""
        if holding := self.holding(self.page(page)):
            if hours == 0:
                self.stage.read_now(holding.company, self.page(page).id)
            else:
                since = max(holding.since, self.now - timedelta(hours=hours))
                self.stage.backfill(holding.company, self.page(page).id, since)

    def connects(self, company: Company, page: Page) -> None:
        self.stage.clock.tick(1)
        status = self.stage.connect(company, page.id)
        holding = self.holding(page)
        if status in LISTENING and holding is None:
            self.holdings[page.id].append(Holding(company, self.now))
        else:
            is_free = holding is None or holding.company is company
            assert status in (None, PENDING) or (is_free and status == ACTIVE)
        self.stage.clock.tick(1)

    # What holds

    @invariant()
    def no_lead_is_anothers_or_here_twice(self) -> None:
        leads = self.stage.leads()
        assert len(leads) == len(set(leads))
        for tenant, lead in leads:
            assert tenant == self.owner(self.made[lead]).id

    def teardown(self) -> None:
        """Meta is well, people mend what only they can, and everything is done."""
        self.stage.outside.panel.release()
        for page in self.world.pages.values():
            page.lead_access = True
        held = [(page, holding) for page in self.world.pages.values() if (holding := self.holding(page))]
        dead = {token.page_id for token in self.world.tokens.values() if token.dead is not None}
        broken = dead | {row.page_id for row in self.stage.rows() if row.status == NEEDS_RECONNECT}
        for page, holding in held:
            if page.id in broken:
                self.connects(holding.company, page)
            else:
                self.stage.read_now(holding.company, page.id)
        self.stage.until_quiet()
        assert {row.status for row in self.stage.rows()} <= {ACTIVE, PENDING}
        wanted = set(self.kept)
        for page, holding in held:
            wanted |= {(holding.company.id, lead.id) for form in page.forms for lead in form.leads
                       if self.owner(lead) is holding.company
                       and (lead.created_at >= holding.since or lead.id in holding.owed)}  # fmt: skip
        there = self.stage.leads()
        assert sorted(there) == sorted(wanted)
        assert self.stage.is_told_once()
        assert self.stage.unfinished() == []
        type(self).ran += 1

    # What is known

    @property
    def world(self):  # type: ignore[no-untyped-def]
        return self.stage.outside.server.world

    @property
    def now(self) -> datetime:
        return self.stage.clock.now

    def page(self, number: int) -> Page:
        page: Page = self.world.pages[self.companies[number].page_id]
        return page

    def form(self, page: int, number: int) -> Form | None:
        forms = self.page(page).forms
        return forms[number % len(forms)] if forms else None

    def holding(self, page: Page) -> Holding | None:
        """Of the tenant that has the page now."""
        found = self.holdings[page.id]
        return found[-1] if found and found[-1].until is None else None

    def owner(self, lead: MetaLead) -> Company:
        """Whose connection was the last to begin before the lead was made."""
        begun = [one for one in self.holdings[lead.form.page.id] if one.since <= lead.created_at]
        return begun[-1].company

    def keep(self, leads: set[str]) -> None:
        """What is there of these leads stays, whatever comes."""
        self.kept |= {(tenant, lead) for tenant, lead in self.stage.leads() if lead in leads}


def _unwritten(*_: object) -> EventDict:
    raise DropEvent


@pytest.fixture
def stage(
    outside: Outside, clock: FrozenClock, acme: Company, globex: Company, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    monkeypatch.setattr(reading, "PART", 3)
    opened = Stage(outside, clock, (acme, globex))
    with capture_logs([_unwritten]):  # writing them takes a third of the time
        yield opened
    opened.close()


def leads_of(stage: Stage, company: Company) -> set[str]:
    return {lead for tenant, lead in stage.leads() if tenant == company.id}


def move(stage: Stage, leaving: Company, coming: Company) -> None:
    """A page of one tenant becomes another's, or its own again; an hour passes."""
    stage.disconnect(leaving, leaving.page_id)
    stage.until_quiet()
    stage.clock.tick(3600)
    assert stage.connect(coming, leaving.page_id) == ACTIVE
    stage.until_quiet()


SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@SQLITE
def test_what_waited_when_its_page_was_disconnected_comes_when_it_is_told_again(
    stage: Stage, acme: Company, globex: Company
) -> None:
    stage.begin()
    made = stage.outside.fill_in(acme, 2)
    stage.deliver(made, Shape())
    move(stage, acme, acme)
    assert stage.leads() == [], "they were made before this connection"
    assert stage.unfinished() == []
    stage.deliver(made, Shape())
    stage.until_quiet()
    assert (leads_of(stage, acme), leads_of(stage, globex)) == ({lead.id for lead in made}, set())


@SQLITE
def test_late_word_of_a_lead_that_was_made_when_another_tenant_had_the_page_brings_nothing(
    stage: Stage, acme: Company, globex: Company
) -> None:
    stage.begin()
    theirs = stage.outside.fill_in(acme, 2)
    move(stage, acme, globex)
    ours = stage.outside.fill_in(acme, 1)
    stage.deliver([*theirs, *ours], Shape())
    stage.until_quiet()
    assert (leads_of(stage, acme), leads_of(stage, globex)) == (set(), {lead.id for lead in ours})


@SQLITE
def test_who_waited_for_a_page_gets_no_lead_of_the_time_in_which_it_was_anothers(
    stage: Stage, acme: Company, globex: Company
) -> None:
    stage.begin()
    assert stage.connect(globex, acme.page_id) == PENDING
    stage.clock.tick(60)
    stage.outside.fill_in(acme, 2)
    move(stage, acme, globex)
    assert stage.leads() == []


@SQLITE
def test_whatever_happens_each_tenant_ends_with_exactly_its_leads(stage: Stage) -> None:
    LeadHistories.stage = stage
    before = LeadHistories.ran
    run_state_machine_as_test(
        LeadHistories,
        settings=settings(
            max_examples=HISTORIES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            database=None,
            print_blob=True,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert LeadHistories.ran - before >= HISTORIES
