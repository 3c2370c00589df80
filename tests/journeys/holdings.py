"""Who had which page when, and so whose each lead is: what is kept of a history to know it, and what has to be there."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis.stateful import invariant

from integrations.simulator.records import Form, Page
from integrations.simulator.records import Lead as MetaLead
from tests.conftest import Company
from tests.journeys.histories import Histories
from tests.worker.outside import user_of


@dataclass
class Holding:
    """A tenant has a page. Of its own leads: `told` are those that Meta told of since then, `missed` those that were made
    while it told nothing, or before somebody mended what only a person can, `wished` those of backfills."""

    company: Company
    since: datetime
    until: datetime | None = None
    told: set[str] = field(default_factory=set)
    missed: set[str] = field(default_factory=set)
    wished: set[str] = field(default_factory=set)


class Holdings(Histories):
    """Two companies, two pages. `made` are all leads that ever were at Meta; `kept` is what stays, whatever comes, and `lost`
    what went there while it may have been on its way to here."""

    def __init__(self) -> None:
        super().__init__()
        self.companies = self.stage.companies
        began = self.now - timedelta(seconds=self.stage.age)
        self.holdings = {company.page_id: [Holding(company, began)] for company in self.companies}
        self.made: dict[str, MetaLead] = {}
        self.kept: set[tuple[str, str]] = set()
        self.lost: set[str] = set()

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

    def held(self) -> Iterator[tuple[Page, Holding]]:
        """The pages that somebody has."""
        for page in self.world.pages.values():
            if holding := self.holding(page):
                yield page, holding

    def owner(self, lead: MetaLead) -> Company:
        """Whose connection was the last to begin before the lead was made."""
        begun = [one for one in self.holdings[lead.form.page.id] if one.since <= lead.created_at]
        return begun[-1].company

    def keep(self, leads: set[str]) -> None:
        """What is there of these leads stays."""
        self.kept |= {(tenant, lead) for tenant, lead in self.stage.leads() if lead in leads}

    def is_dead(self, page: Page, holding: Holding) -> bool:
        """Whether Meta refuses the token that the tenant gave last."""
        user = user_of(holding.company)
        tokens = [one for one in self.world.tokens.values() if (one.page_id, one.user_id) == (page.id, user)]
        return tokens[-1].dead is not None

    def is_broken(self, page: Page, holding: Holding) -> bool:
        """Whether only a person can mend it."""
        return not page.lead_access or self.is_dead(page, holding)

    def all_leads(self, page: Page, holding: Holding) -> set[str]:
        """Every lead of a page that has to be there in the end."""
        return {
            lead.id for form in page.forms for lead in form.leads
            if self.owner(lead) is holding.company and (lead.created_at >= holding.since or lead.id in holding.told)
        }  # fmt: skip

    def promised(self, page: Page, holding: Holding) -> set[str]:
        """Those that have to be there as soon as Meta is well: nobody has to press a button, or wait for the day's reading."""
        known, read = self.stage.known_forms(page.id)
        here = {lead.id: form.id for form in page.forms for lead in form.leads}
        return {lead for lead in holding.told if lead in here} \
            | {lead for lead in holding.missed if here.get(lead) in known} \
            | {lead for lead in holding.wished if here.get(lead) in read}  # fmt: skip

    def are_promises_kept(self) -> bool:
        there = {lead for _, lead in self.stage.leads()}
        return all(
            self.is_broken(page, holding) or self.promised(page, holding) <= there for page, holding in self.held()
        )

    def has_to_be_read(self, page: Page, holding: Holding) -> None:
        """Nobody could read it until now: what is there already comes without the day's reading."""
        holding.missed |= {lead.id for form in page.forms for lead in form.leads if self.is_of(holding, lead)}

    def is_of(self, holding: Holding, lead: MetaLead) -> bool:
        """Whether a lead is of a holding's own time."""
        return self.owner(lead) is holding.company and lead.created_at >= holding.since

    @invariant()
    def no_lead_is_anothers_or_here_twice(self) -> None:
        leads = self.stage.leads()
        assert len(leads) == len(set(leads))
        for tenant, lead in leads:
            assert tenant == self.owner(self.made[lead]).id

    def is_exactly_there(self) -> None:
        wanted = self.kept | {
            (holding.company.id, lead) for page, holding in self.held() for lead in self.all_leads(page, holding)
        }
        there = self.stage.leads()
        assert sorted(one for one in there if one in wanted or one[1] not in self.lost) == sorted(wanted)
        assert self.stage.is_told_once()
        assert self.stage.unfinished() == []
