"""Whatever happens to deliveries, tokens, pages, forms and workers: in the end each tenant has exactly its leads, each once.

A lead is its tenant's whose connection to the page was the last to begin before the lead was made. What has to be there:

- of a page that a tenant has: every lead that Meta has and that was made since the connection began, and every older one
  of the tenant's own that Meta told of since then;
- of a page that it had, and of a form that was deleted: what was there when the connection, or the form, ended.

And nothing else, also not on the way. Before anybody presses a button, or the day's reading comes, there has to be what was
told of, what a backfill was to read, and what was made while a page's subscription was lost; and what only a person can
mend has been said, and nothing else has.
"""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule
from structlog.testing import capture_logs

from integrations.simulator.deliver import Shape
from integrations.simulator.records import Lead as MetaLead
from models.connection import ACTIVE, LISTENING, NEEDS_RECONNECT, PENDING
from tests.conftest import Company, FrozenClock
from tests.journeys.histories import LATER, WELL, Deeds, Drawn, leaps, play, unwritten
from tests.journeys.lead_runs import MOST_FORMS, Go, Runs, goes, which
from tests.journeys.lead_troubles import BESIDE, WAYS
from tests.journeys.stage import Stage
from tests.worker.outside import Outside
from worker.tasks import reading

BEFALLS = {
    *WAYS, *filter(None, BESIDE), "told twice", "told late", "told again", "told of in vain", "unsubscribed",
    "connected again", "connected in vain", "moved", "given up and taken again", "read now", "backfilled", "form deleted",
    "form added", "3600 s passed", "93600 s passed", "Redis wiped",
} - {LATER, WELL}  # fmt: skip
TOLD = {"well": Shape(), "told twice": Shape(duplicates=1, shuffled=True), "told of in vain": None, "told late": None}
"""How Meta tells of leads: at once, except for what is lost and for what comes some other time."""

deed = Deeds()


class LeadHistories(Runs):
    """What people, tenants, Meta and machines do."""

    def __init__(self) -> None:
        super().__init__()
        self.untold: list[MetaLead] = []

    # People at Meta, and its deliveries

    @deed(4, number=st.integers(1, 3), late=st.sampled_from([0, 0, 90, 240]), how=st.sampled_from(["well", *TOLD]))
    def people_fill_in_a_form(self, go: Go, number: int, late: int, how: str) -> None:
        made = self.fill_in(go, number, late)
        shape = TOLD[how]
        self.met.add(how)
        if shape is not None:
            self.tell(made, shape)
        elif how == "told late":
            self.untold += made
        self.go(go, fetches=shape is not None)

    @deed(2, last=st.booleans(), shuffled=st.booleans())
    def meta_tells_late(self, go: Go, last: bool, shuffled: bool) -> None:
        number = 1 + go.number % 4
        told = self.untold[-number:] if last else self.untold[:number]
        self.untold = [lead for lead in self.untold if lead not in told]
        self.tell(told, Shape(shuffled=shuffled))
        self.go(go, fetches=bool(told))

    @deed()
    def meta_tells_again(self, go: Go) -> None:
        if self.told:
            self.met.add("told again")
            start = go.number % len(self.told)
            self.tell(self.told[start : start + 6], Shape())
        self.go(go)

    @deed(struck=st.booleans())
    def a_page_is_unsubscribed(self, go: Go, struck: bool) -> None:
        """What is made then nobody hears of; within an hour we know."""
        self.page(go.page).subscribed.clear()
        self.fill_in(go, 1 + go.number % 3)
        self.met.add("unsubscribed")
        if struck:
            self.pass_time(3600, struck=True, wiped=False)
        self.go(go, fetches=True)

    @deed(change=st.sampled_from(["added", "ARCHIVED", "ACTIVE", "deleted"]))
    def a_form_changes(self, go: Go, change: str) -> None:
        chosen = self.form(go.page, go.form)
        if change == "added" and len(self.page(go.page).forms) < MOST_FORMS:
            self.add_form(self.page(go.page))
            self.met.add("form added")
        elif change == "deleted":
            self.delete_form(go)
        elif change != "added" and chosen is not None:
            chosen.status = change
        self.go(go)

    # Tenants

    @deed(company=which)
    def a_tenant_connects_a_page(self, go: Go, company: int) -> None:
        """Its own again, or in vain another's."""
        page = self.page(go.page)
        holding = self.holding(page)
        if holding is not None:
            self.met.add("connected again" if holding.company is self.companies[company] else "connected in vain")
        self.connect(self.companies[company], page)
        self.go(go)

    @deed(back=st.booleans(), asked_before=st.booleans(), work=st.sampled_from([0, 1, 99]))
    def a_page_moves(self, go: Go, back: bool, asked_before: bool, work: int) -> None:
        """To the other tenant, who may have asked for it in vain before; or it is given up, and connected anew."""
        page = self.page(go.page)
        if holding := self.holding(page):
            other = self.companies[1 - self.companies.index(holding.company)]
            if asked_before:
                self.connect(other, page)
            left = self.fill_in(go, 1)
            self.tell(left, Shape())
            self.disconnect(page, holding)
            self.stage.work(work)
            self.connect(holding.company if back else other, page)
            self.met.add("given up and taken again" if back else "moved")
            self.go(go)

    @deed(2, hours=st.sampled_from([0, 0, 1, 48]))
    def a_button_is_pressed(self, go: Go, hours: int) -> None:
        """Read it now, or a backfill."""
        page = self.page(go.page)
        if holding := self.holding(page):
            self.fill_in(go, 1 + go.number % 7)
            self.met.add("backfilled" if hours else "read now")
            if hours == 0:
                self.stage.read_now(holding.company, page.id)
            else:
                since = max(holding.since, self.now - timedelta(hours=hours))
                begun = self.stage.backfill(holding.company, page.id, since)
                holding.wished |= {
                    lead.id for form in page.forms if form.id in begun for lead in form.leads
                    if lead.created_at >= since and self.is_of(holding, lead)
                }  # fmt: skip
            self.go(go, reads=True, fetches=True)

    # Time, and the order of all this

    @deed(2, **leaps)
    def time_passes(self, go: Go, seconds: int, struck: bool, wiped: bool) -> None:
        self.pass_time(seconds, struck, wiped)
        self.go(go)

    @rule(deed=deed.drawn(), go=goes, connects=st.booleans())
    def something_happens(self, deed: Drawn, go: Go, connects: bool) -> None:
        page = self.page(go.page)
        if self.holding(page) is None:
            self.connect(self.companies[go.page], page)
        elif connects:
            self.mend(page)
        getattr(self, deed[0])(go, **deed[1])

    # What holds

    def teardown(self) -> None:
        """Meta is well; then people mend what only they can, and days pass."""
        self.within_an_hour()
        for page in self.world.pages.values():
            self.mend(page)
        self.within_an_hour()
        for hours in (*[5] * 5, *[1] * 26, *[5] * 5):
            if not self.is_behind():
                break
            self.pass_hours(hours)
        self.is_exactly_there()
        self.is_over()

    def within_an_hour(self) -> None:
        """What is wrong is known, and what can come without a person is there."""
        self.stage.until_quiet()
        if self.are_mistaken():
            self.pass_hours(1)
        assert not self.are_mistaken()
        assert self.are_promises_kept()

    def are_mistaken(self) -> bool:
        """Whether a page is held to be well and is not, or the other way round: within an hour we know."""
        status = {row.page_id: row.status for row in self.stage.rows() if row.status in LISTENING}
        return any(
            status[page.id] != (NEEDS_RECONNECT if self.is_broken(page, holding) else ACTIVE)
            or not (self.is_broken(page, holding) or "1" in page.subscribed)
            for page, holding in self.held()
        )

    def is_behind(self) -> bool:
        there = {lead for _, lead in self.stage.leads()}
        return any(not self.all_leads(page, holding) <= there for page, holding in self.held())

    def pass_hours(self, hours: int) -> None:
        self.stage.clock.tick(3600 * hours)
        self.stage.beat()
        self.stage.until_quiet()


@pytest.fixture
def stage(
    outside: Outside, clock: FrozenClock, acme: Company, globex: Company, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    monkeypatch.setattr(reading, "PART", 3)
    opened = Stage(outside, clock, (acme, globex))
    with capture_logs([unwritten]):
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
    play(LeadHistories, BEFALLS, steps=4)
