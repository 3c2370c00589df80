"""What Meta holds, in memory, and how it comes about: leads, tokens, and what people gave; knows no HTTP and no failure."""

import hashlib
import hmac
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from integrations.simulator.google_world import Google
from integrations.simulator.people import answers, dummy_answers, invent
from integrations.simulator.push_world import PushWorld
from integrations.simulator.records import App, Form, Lead, Page, Token, User
from integrations.simulator.truth import truth_of

FIRST_LEAD = 7_100_000_000_000_000
LONG_LIFE = timedelta(days=60)
KEPT = timedelta(days=90)
SCOPES = (
    "ads_management",
    "leads_retrieval",
    "pages_manage_ads",
    "pages_manage_metadata",
    "pages_read_engagement",
    "pages_show_list",
)


class World:
    """All of it. `clock` gives aware instants; the same `seed` gives the same leads.

    `given` are the pages and `declined` the permissions that a person ticked and un-ticked for an app: (app id, user id).
    """

    def __init__(self, clock: Callable[[], datetime], *, seed: int = 1) -> None:
        self.clock = clock
        self.seed = seed
        self.latency = 0.0
        self.google = Google(clock, seed=seed)
        self.push = PushWorld(clock)
        self.apps: dict[str, App] = {}
        self.users: dict[str, User] = {}
        self.pages: dict[str, Page] = {}
        self.forms: dict[str, Form] = {}
        self.leads: dict[str, Lead] = {}
        self.tokens: dict[str, Token] = {}
        self.codes: dict[str, tuple[str, str, str]] = {}
        self.asked: dict[str, frozenset[str]] = {}
        self.given: dict[tuple[str, str], frozenset[str]] = {}
        self.declined: dict[tuple[str, str], frozenset[str]] = {}
        self.proofs: dict[str, str] = {}
        self._made = 0
        self._issued = 0

    def add_app(self, app: App) -> App:
        """Register an app; its `id|secret` is a token."""
        self.apps[app.id] = app
        value = f"{app.id}|{app.secret}"
        self.tokens[value] = Token(value, "app", app.id, "", None, frozenset(), self.clock())
        return app

    def add_page(self, page: Page, *users: User) -> Page:
        """Publish a page, managed by `users`."""
        self.pages[page.id] = page
        for user in users:
            self.users.setdefault(user.id, user)
            if page.id not in user.pages:
                user.pages.append(page.id)
        return page

    def add_form(self, form: Form) -> Form:
        """Publish a form on its page."""
        self.forms[form.id] = form
        form.page.forms.append(form)
        return form

    def remove_form(self, form_id: str) -> None:
        """The form is deleted, and its leads can no longer be read."""
        form = self.forms.pop(form_id)
        form.page.forms.remove(form)
        for lead in [*form.leads, *([form.test_lead] if form.test_lead is not None else ())]:
            self.leads.pop(lead.id, None)

    def kept(self, form: Form) -> list[Lead]:
        """The leads of a form that Meta still gives, oldest first."""
        return form.leads[self.expired(form) :]

    def expired(self, form: Form) -> int:
        """How many leads of a form are too old to be given."""
        oldest = self.clock() - KEPT
        if not form.leads or form.leads[0].created_at >= oldest:
            return 0
        return bisect_left(form.leads, oldest, key=lambda lead: lead.created_at)

    def is_kept(self, lead: Lead) -> bool:
        """Whether Meta still gives this lead."""
        return lead.created_at >= self.clock() - KEPT

    def issue(
        self,
        kind: str,
        *,
        app_id: str,
        user_id: str,
        page_id: str | None = None,
        scopes: Iterable[str] = SCOPES,
        life: timedelta | None = None,
        value: str | None = None,
    ) -> Token:
        """A new token of kind "user", "page" or "system"; `life` None never ends."""
        self._issued += 1
        now = self.clock()
        if value is None:
            digest = hashlib.blake2b(f"{self.seed}:{kind}:{self._issued}".encode(), digest_size=24).hexdigest()
            value = f"EAASIM{kind.upper()}{digest}"
        expires = None if life is None else now + life
        token = Token(value, kind, app_id, user_id, page_id, frozenset(scopes), now, expires)
        self.tokens[value] = token
        return token

    def kill(self, value: str, code: int = 190, subcode: int | None = 460) -> None:
        """From now on this token is answered with that error (460: the password was changed)."""
        self.tokens[value].dead = (code, subcode)

    def revive(self, value: str) -> None:
        """Take `kill` back."""
        self.tokens[value].dead = None

    def page_token(self, page_id: str) -> Token:
        """A living page token of this page, the one issued last; LookupError when there is none."""
        for token in reversed(self.tokens.values()):
            if token.kind == "page" and token.page_id == page_id and token.dead is None:
                return token
        raise LookupError(f"page {page_id} has no living token")

    def pages_given(self, app_id: str, user: User) -> list[str]:
        """The pages that an app reaches through a person: managed by them, and not un-ticked."""
        given = self.given.get((app_id, user.id))
        return [page for page in user.pages if given is None or page in given]

    def tokens_of(self, user_id: str, app_id: str | None = None) -> list[Token]:
        """A person's own tokens and those of pages that came through them, dead ones too."""
        own = [it for it in list(self.tokens.values()) if it.user_id == user_id and it.kind != "app"]
        return [it for it in own if app_id in (None, it.app_id)]

    def change_password(self, user_id: str) -> None:
        """Every token that came of this person's login ends (190/460)."""
        for token in self.tokens_of(self.users[user_id].id):
            token.dead = token.dead or (190, 460)

    def remove_app(self, user_id: str, app_id: str | None = None) -> None:
        """The person removes the app (every one, without `app_id`): tokens end with 190/458, pages send nothing more."""
        user = self.users[user_id]
        for app in list(self.apps) if app_id is None else [app_id]:
            for page in self.pages_given(app, user):
                self.pages[page].subscribed.pop(app, None)
            for token in self.tokens_of(user_id, app):
                token.dead = token.dead or (190, 458)
            self.given.pop((app, user_id), None)
            self.declined.pop((app, user_id), None)

    def lose_role(self, page_id: str, code: int = 190, subcode: int | None = 492) -> None:
        """Nobody who managed this page does so now; its tokens are answered with that error."""
        page = self.pages[page_id]
        for user in self.users.values():
            if page_id in user.pages:
                user.pages.remove(page_id)
                page.former.append(user.id)
        for token in list(self.tokens.values()):
            if token.page_id == page_id:
                token.dead = token.dead or (code, subcode)

    def regain_role(self, page_id: str) -> None:
        """Take `lose_role` back: the same people manage the page again. Dead tokens stay dead: only a login brings new ones."""
        page = self.pages[page_id]
        for user_id in page.former:
            self.users[user_id].pages.append(page_id)
        page.former.clear()

    def drop_app(self, page_id: str) -> None:
        """The page drops every app: it sends nothing more, and its tokens end (190 without a subcode)."""
        self.pages[page_id].subscribed.clear()
        for token in list(self.tokens.values()):
            if token.page_id == page_id:
                token.dead = token.dead or (190, None)

    def proof_of(self, token: Token) -> str:
        """The `appsecret_proof` that belongs to this token."""
        proof = self.proofs.get(token.value)
        if proof is None:
            secret = self.apps[token.app_id].secret
            proof = hmac.new(secret.encode(), token.value.encode(), hashlib.sha256).hexdigest()
            self.proofs[token.value] = proof
        return proof

    def add_leads(
        self,
        form_id: str,
        count: int = 1,
        *,
        created_at: datetime | None = None,
        organic: bool | None = None,
        odd: bool = False,
    ) -> list[Lead]:
        """People fill in a form; a second apart from `created_at` on, all at the present second without it."""
        form = self.forms[form_id]
        made = []
        for step in range(count):
            when = self.clock().replace(microsecond=0) if created_at is None else created_at + timedelta(seconds=step)
            made.append(self._add(form, when, organic, odd))
        return made

    def add_test_lead(self, form_id: str, field_data: list[dict[str, Any]] | None = None) -> Lead:
        """The one test lead of a form; ValueError while there is one."""
        form = self.forms[form_id]
        if form.test_lead is not None:
            raise ValueError("this form has a test lead already")
        now = self.clock().replace(microsecond=0)
        lead = Lead(self._next_id(), form, now, field_data or dummy_answers(form.questions), [], {}, "fb", True, None)
        self.leads[lead.id] = form.test_lead = lead
        return lead

    def remove(self, lead: Lead) -> None:
        """As if it had never been there, or is older than Meta keeps leads."""
        self.leads.pop(lead.id, None)
        if lead.form.test_lead is lead:
            lead.form.test_lead = None
        elif lead in lead.form.leads:
            lead.form.leads.remove(lead)

    def leads_of(self, page_id: str, *, tests: bool = False, kept: bool = False) -> list[dict[str, Any]]:
        """The truth about every lead of a page, oldest first (see `truth`); KeyError for an unknown page.

        With `kept` only of those that Meta still gives.
        """
        forms = self.pages[page_id].forms
        found = [lead for form in forms for lead in (self.kept(form) if kept else form.leads)]
        if tests:
            found += [form.test_lead for form in forms if form.test_lead is not None]
        return [truth_of(lead) for lead in sorted(found)]

    def _next_id(self) -> str:
        self._made += 1
        return str(FIRST_LEAD + self._made * 7919 + self.seed % 7919)

    def _add(self, form: Form, when: datetime, organic: bool | None, odd: bool) -> Lead:
        lead_id = self._next_id()
        number = self._made
        chance = Random(self.seed * 1_000_003 + number)
        person = invent(number, odd=odd)
        no_ad = chance.random() < 0.25 if organic is None else organic
        disclaimers = [
            {"checkbox_key": key, "is_checked": "1" if chance.random() < 0.6 else ""}
            for key, _, required in form.consents
            if not required
        ]
        lead = Lead(
            lead_id,
            form,
            when.astimezone(UTC),
            answers(form.questions, person, chance, odd=odd),
            disclaimers,
            {} if no_ad else _ad(number % 4),
            "ig" if chance.random() < 0.3 else "fb",
            False,
            person,
        )
        self.leads[lead_id] = lead
        if form.leads and lead < form.leads[-1]:
            insort(form.leads, lead)
        else:
            form.leads.append(lead)
        return lead


def _ad(number: int) -> dict[str, str]:
    return {
        "ad_id": f"23850000000{number:04d}",
        "ad_name": f"Ad {number}: spring",
        "adset_id": f"23850000001{number // 2:04d}",
        "adset_name": f"Set {number // 2}",
        "campaign_id": "238500000020001",
        "campaign_name": "Frühling",
    }
