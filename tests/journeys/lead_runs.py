"""How workers run over a page's leads, and what happens beside them: always there is a lead to which it happens."""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from hypothesis import strategies as st

from integrations.simulator.deliver import Shape
from integrations.simulator.records import Form, Page
from integrations.simulator.records import Lead as MetaLead
from integrations.simulator.seed import add_form
from models.connection import ACTIVE, LISTENING, PENDING
from tests.conftest import Company
from tests.journeys.histories import KILLED, LATE, LATER
from tests.journeys.holdings import Holding, Holdings
from tests.journeys.lead_troubles import BESIDE, BUTTONS, ENDS, LOST_MESSAGE, NOT_SHOWN, READS, WAYS, WITHHELD
from worker.jobs import BULK, INTERACTIVE

MOST_FORMS = 3


@dataclass(frozen=True)
class Go:
    """How the workers' next run goes: over which page and form, in which of the WAYS, BESIDE what, and where in it."""

    page: int
    form: int
    way: str
    beside: str | None
    number: int


which, number = st.integers(0, 1), st.integers(0, 30)
goes = st.builds(
    Go, st.sampled_from((0, 0, 0, 1)), st.integers(0, MOST_FORMS - 1), st.sampled_from(WAYS), st.sampled_from(BESIDE), number
)  # fmt: skip


class Runs(Holdings):
    """`told` are the leads that Meta told of, ever."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[MetaLead] = []

    # How workers run

    def go(self, go: Go, *, fetches: bool = False, reads: bool = False) -> None:
        """Workers do what there is to do, and it goes in a way. `fetches`, `reads`: there is something to be fetched, or
        to be read."""
        page = self.page(go.page)
        holding = self.holding(page)
        if go.way == LATER or holding is None:
            return
        if go.way in READS and not reads:
            self.fill_in(go, 1 + go.number % 7)
            self.stage.read_now(holding.company, page.id)
        elif go.way not in READS and not fetches:
            self.tell(self.fill_in(go, 1), Shape())
        self.begin(go, page)
        before = self.faults()
        if go.way == LOST_MESSAGE:
            self.stage.work(0)
            if self.stage.lose_message(INTERACTIVE if go.beside is None else BULK):
                self.met.add(LOST_MESSAGE)
        self.workers_run(killed_at=go.number if go.way == KILLED else None)
        self.see(go, set(self.faults() - before))
        self.stage.outside.panel.release()

    def begin(self, go: Go, page: Page) -> None:
        """Something is going to happen."""
        if go.way in BUTTONS:
            does, values = BUTTONS[go.way]
            self.stage.outside.panel.press(does, times=1 + go.number % 2, **values)
        elif go.way in ENDS:
            for token in self.world.tokens.values():
                if token.page_id == page.id:
                    token.dead = token.dead or ENDS[go.way]
        elif go.way == WITHHELD:
            page.lead_access = False
        if go.beside is not None:
            self.stage.crossing.do(partial(self.happens, go), (0, 0, 1)[go.number % 3], is_early=go.number % 2 == 0)

    def happens(self, go: Go) -> None:
        """While Meta answers."""
        assert go.beside is not None
        page = self.page(go.page)
        holding = self.holding(page)
        self.met.add(go.beside)
        if go.beside == LATE:
            self.another_worker_runs()
        elif go.beside == "told":
            self.tell(self.fill_in(go, 2), Shape())
        elif go.beside == "made":
            self.fill_in(go, 1 + go.number % 7, late=(0, 90, 240)[go.number % 3])
        elif go.beside == "form deleted":
            self.lost |= self.delete_form(go)
        elif holding is not None and go.beside == "connected again":
            self.connect(holding.company, page)
        elif holding is not None and go.beside == "ended meanwhile":
            self.disconnect(page, holding)

    def see(self, go: Go, answered: set[str]) -> None:
        """What Meta really answered in a run."""
        words = {key.partition("/")[2] for key in answered}
        if go.way in (answered if go.way in BUTTONS else words) or (go.way == WITHHELD and answered & NOT_SHOWN):
            self.met.add(go.way)

    def faults(self) -> Counter[str]:
        return Counter(self.stage.outside.server.calls.faults)

    # People at Meta, and its deliveries

    def fill_in(self, go: Go, number: int, late: int = 0) -> list[MetaLead]:
        """People fill in one of a page's forms; Meta shows it `late` seconds later."""
        page = self.page(go.page)
        forms = [form for form in page.forms if form.status == "ACTIVE"]
        chosen = forms[go.form % len(forms)] if forms else self.add_form(page)
        made: list[MetaLead] = self.world.add_leads(chosen.id, number, created_at=self.now - timedelta(seconds=late))
        self.made.update((lead.id, lead) for lead in made)
        holding = self.holding(page)
        if "1" not in page.subscribed and holding is not None:
            holding.missed |= {lead.id for lead in made if self.is_of(holding, lead)}
        self.stage.clock.tick(number)
        return made

    def tell(self, leads: list[MetaLead], shape: Shape) -> None:
        """Meta tells of leads of subscribed pages."""
        heard = [lead for lead in leads if "1" in lead.form.page.subscribed]
        for lead in heard:
            holding = self.holding(lead.form.page)
            if holding is not None and self.owner(lead) is holding.company:
                holding.told.add(lead.id)
        self.told += [lead for lead in heard if lead not in self.told]
        if heard:
            self.stage.deliver(heard, shape)

    def add_form(self, page: Page) -> Form:
        name = f"{7 + len(self.world.forms) + len(self.made)}{page.id}"
        made: Form = add_form(self.world, page, {"id": name})
        return made

    def delete_form(self, go: Go) -> set[str]:
        """Its leads that are not here."""
        chosen = self.form(go.page, go.form)
        if chosen is None:
            return set()
        self.met.add("form deleted")
        self.keep({lead.id for lead in chosen.leads})
        self.world.remove_form(chosen.id)
        return {lead.id for lead in chosen.leads} - {lead for _, lead in self.kept}

    # Tenants

    def connect(self, company: Company, page: Page) -> None:
        self.stage.clock.tick(1)
        status = self.stage.connect(company, page.id)
        holding = self.holding(page)
        if status in LISTENING and holding is None:
            self.holdings[page.id].append(Holding(company, self.now))
        else:
            is_free = holding is None or holding.company is company
            assert status in (None, PENDING) or (is_free and status == ACTIVE)
            if holding is not None and status == ACTIVE:
                self.has_to_be_read(page, holding)
        self.stage.clock.tick(1)

    def disconnect(self, page: Page, holding: Holding) -> None:
        self.stage.clock.tick(1)
        self.stage.disconnect(holding.company, page.id)
        holding.until = self.now
        self.keep({lead.id for lead in self.made.values() if lead.form.page is page})

    def mend(self, page: Page) -> None:
        """A person does what only a person can."""
        holding = self.holding(page)
        if holding is not None and not page.lead_access:
            self.has_to_be_read(page, holding)
        page.lead_access = True
        if holding is not None and self.is_dead(page, holding):
            self.connect(holding.company, page)
