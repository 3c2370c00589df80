"""`leads.catch_up` and `leads.backfill`: read a form part by part, and remember after each how far it is.

A part is one transaction: its leads, the end of their inbox events, and the place from which to go on. Whoever is killed
has lost the part that was not stored, and the next run begins behind the last one that was.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import uniform
from typing import Protocol

import structlog
from sqlalchemy.orm import Session

from integrations.errors import Missing, NeedsUser
from integrations.facebook_leads.paging import CursorGone, PageTooLarge, smaller
from integrations.facebook_leads.reading import Read
from integrations.facebook_leads.usage import Usage
from models import inbox, reading
from models.connection import NEEDS_RECONNECT, Connection, still
from models.form import BACKFILL_RUNNING, READ_EVERY, SELDOM_EVERY, Form, due_to_read, is_read_seldom
from models.lead import ReadyLeads, store
from worker.task import Ticket
from worker.tasks.storing import (
    BACKFILL,
    CATCH_UP,
    LEAD,
    Page,
    access_problem,
    known,
    made_ready,
    new_lead,
    open_page,
    tell,
)

log = structlog.get_logger(__name__)

PART = 500
"""Leads asked for at once; what is too much for Meta is halved."""
PARTS_A_TURN = 200
"""Then the job goes to the end of its lane: a long backfill is not to keep others waiting."""
ENOUGH = 80
"""Percent of a page's budget that readings use up, and no more: webhooks' leads are read from the rest."""
REST = timedelta(minutes=30)
"""How long to leave a budget alone that Meta named no wait for."""


class Kind(Protocol):
    """A catch-up or a backfill: what it is called, and where in a form's row its place is kept."""

    source: str

    def place(self, form: Form) -> tuple[datetime | None, str | None]:
        """(since when, the cursor to go on from)."""

    def mark(self, form: Form) -> datetime | None:
        """What tells this reading from one that was begun in its place; None: it is not under way."""

    def go_on(self, form: Form, after: str | None, number: int) -> None:
        """A part of so many leads is stored; None: it was the last one."""

    def again(self, form: Form, now: datetime) -> None:
        """From the newest lead again."""

    def stop(self, form: Form, sentence: str, now: datetime) -> None:
        """Meta does not give this form's leads."""


class CatchUp:
    """From the proven point."""

    source = CATCH_UP

    def place(self, form: Form) -> tuple[datetime | None, str | None]:
        return form.reading_since, form.reading_after

    def mark(self, form: Form) -> datetime | None:
        return form.reading_began_at

    def go_on(self, form: Form, after: str | None, number: int) -> None:
        form.reading_after = after
        if after is None:
            reading.end_reading(form)

    def again(self, form: Form, now: datetime) -> None:
        reading.read_again(form, now)

    def stop(self, form: Form, sentence: str, now: datetime) -> None:
        reading.is_gone(form, sentence, now)


class Backfill:
    """From the instant that was wished."""

    source = BACKFILL

    def place(self, form: Form) -> tuple[datetime | None, str | None]:
        return form.backfill_since, form.backfill_after

    def mark(self, form: Form) -> datetime | None:
        return form.backfill_since if form.backfill_state == BACKFILL_RUNNING else None

    def go_on(self, form: Form, after: str | None, number: int) -> None:
        form.backfill_after, form.backfill_sentence = after, None
        form.backfill_read += number
        if after is None:
            reading.end_backfill(form)

    def again(self, form: Form, now: datetime) -> None:
        form.backfill_after, form.backfill_read = None, 0

    def stop(self, form: Form, sentence: str, now: datetime) -> None:
        reading.end_backfill(form, sentence)


def catch_up(ticket: Ticket) -> None:
    """Every form of the page that is due, or was being read when a run ended."""
    left = PARTS_A_TURN
    while (run := _begin(ticket)) is not None:
        wait = run.read(left)
        left -= run.parts
        if wait is not None:
            _rest(ticket, wait)
            return


def _begin(ticket: Ticket) -> "Run | None":
    """The next form's reading, begun or gone on with; None: the job is done, and ended."""
    with ticket.work() as work:
        session, now = work.session, ticket.now()
        page = open_page(session, ticket.services.vault, ticket.connection_id)
        due = due_to_read(session, page.connection_id, now) if page and still(session, page.connection_id) else []
        if page is None or not due:
            ticket.finish(work)
            return None
        form = due[0]
        if form.reading_began_at is None:
            every = (SELDOM_EVERY if is_read_seldom(form, now) else READ_EVERY) * uniform(0.8, 1)  # noqa: S311
            reading.begin_reading(form, connected_at=page.connected_at, next_at=now + every, now=now)
        return Run(ticket, page, form, CatchUp())


def backfill(ticket: Ticket) -> None:
    """The form that the job names, from the instant in its row."""
    run = None
    with ticket.work(reads_only=True) as work:
        page = open_page(work.session, ticket.services.vault, ticket.connection_id)
        form = work.session.get(Form, str(ticket.run.args.get("form")))
        if form is not None and form.backfill_state == BACKFILL_RUNNING:
            if page is None:
                _wait_for_person(work.session, ticket.connection_id)
            else:
                run = Run(ticket, page, form, Backfill())
    wait = None
    if run is not None:
        try:
            wait = run.read(PARTS_A_TURN)
        except NeedsUser as error:
            _say(ticket, run, error)
            raise
    if run is not None and wait is not None and not run.is_at_end:
        _rest(ticket, wait)
        return
    with ticket.work() as work:
        ticket.finish(work)


def _wait_for_person(session: Session, connection_id: str) -> None:
    """Park the job with the connection's own trouble, so that it goes on when the connection is well again."""
    row = session.get(Connection, connection_id)
    if row is not None and row.status == NEEDS_RECONNECT:
        sentence = row.health_sentence or "This connection needs a person."
        raise NeedsUser(sentence, code=row.health_code, fix=row.health_fix)


def _rest(ticket: Ticket, wait: timedelta) -> None:
    with ticket.work() as work:
        ticket.rest(work, ticket.now() + wait)


def _say(ticket: Ticket, run: "Run", error: NeedsUser) -> None:
    """Why a backfill stands still; its job goes on by itself when a person has acted."""
    with ticket.work() as work:
        form = work.session.get(Form, run.form_id)
        if form is not None and form.backfill_state == BACKFILL_RUNNING:
            form.backfill_sentence = error.sentence


@dataclass(frozen=True, slots=True)
class Part:
    """Some leads of a form, being made ready; `after` is the cursor behind them (None: they are the last), `wait` how long to
    rest before going on there."""

    leads: Future[ReadyLeads]
    after: str | None
    wait: timedelta | None


class Run:
    """One form's reading for as long as this job's turn lasts. Holds plain values: no session outlives its transaction."""

    def __init__(self, ticket: Ticket, page: Page, form: Form, kind: Kind) -> None:
        self.ticket, self.page, self.kind = ticket, page, kind
        self.form_id, self.external_id = form.id, form.external_id
        self.since, self.after = kind.place(form)
        self.mark = kind.mark(form)
        self.forms = known([form])
        self.pages = ticket.services.lead_pages
        self.limit = PART
        self.parts = 0
        self.is_at_end = False

    def read(self, most: int) -> timedelta | None:
        """Read on, `most` parts at most. None: there is nothing more to be read of it; else how long to rest before."""
        is_again = False
        while True:
            try:
                return self._read(most)
            except CursorGone:
                if is_again or not self._change(self.kind.again):
                    raise
                is_again, self.after = True, None
            except Missing as error:
                self._lost(error)
                return None

    def _read(self, most: int) -> timedelta | None:
        for part in self._parts(most):
            is_ours = self._store(part.leads.result(), part.after)
            self.is_at_end = part.after is None
            if not is_ours:
                return None
            if self.is_at_end or part.wait is not None:
                return part.wait
        return None

    def _parts(self, most: int) -> Iterator[Part]:
        """Part after part: while one is stored, the next is made ready and the one after that is on its way."""
        seen, last = set[str](), None
        with ThreadPoolExecutor(2, thread_name_prefix="part") as ahead:
            asked: Future[Read] | None = ahead.submit(self._ask, self.after)
            while asked is not None:
                try:
                    read = asked.result()
                except Exception:
                    if last is not None:
                        yield last  # it came before the trouble
                    raise
                self.parts += 1
                after = None if read.after in seen else read.after
                wait = _wait(read.usage)
                if wait is None and after is not None and self.parts >= most:
                    wait = timedelta()
                asked = None
                if after is not None:
                    seen.add(after)
                    if wait is None:
                        asked = ahead.submit(self._ask, after)
                part = Part(ahead.submit(self._leads, read), after, wait)
                if last is not None:
                    yield last
                last = part
            if last is not None:
                yield last

    def _ask(self, after: str | None) -> Read:
        while True:
            try:
                return self.pages.read(self.page.token, self.external_id, since=self.since, after=after,
                                       limit=self.limit, page_id=self.page.external_id)  # fmt: skip
            except PageTooLarge:
                self.limit = smaller(self.limit) or self.limit

    def _leads(self, part: Read) -> ReadyLeads:
        now = self.ticket.now()
        return made_ready(self.page, [
            new_lead(self.page, self.forms, raw, external_id=raw["id"], form_external_id=self.external_id,
                     received_at=now, source=self.kind.source)
            for raw in part.leads
        ])  # fmt: skip

    def _store(self, leads: ReadyLeads, after: str | None) -> bool:
        """False when the reading is no longer ours: the connection was closed, or it was begun anew."""
        page, now = self.page, self.ticket.now()
        with self.ticket.work() as work:
            session = work.session
            form = self._form(session)
            if form is None:
                return False
            stored = store(session, page.hashes, leads, now)
            inbox.arrived(session, tenant_id=page.tenant_id, kind=LEAD, now=now,
                          external_ids=[row["external_id"] for row in leads.rows])  # fmt: skip
            self.kind.go_on(form, after, len(leads.rows))
            session.flush()
            tell(session, page, stored, now)
        log.info("part_stored", source=self.kind.source, leads=len(leads.rows), new=len(stored), is_last=after is None)
        return True

    def _form(self, session: Session) -> Form | None:
        """The form, while its reading is this one and its connection is open."""
        if not still(session, self.page.connection_id):
            return None
        form = session.get(Form, self.form_id)
        return form if form is not None and self.kind.mark(form) == self.mark else None

    def _change(self, change: Callable[[Form, datetime], None]) -> bool:
        with self.ticket.work() as work:
            form = self._form(work.session)
            if form is None:
                return False
            change(form, self.ticket.now())
            self.mark = self.kind.mark(form)
            return True

    def _lost(self, error: Missing) -> None:
        """The form is gone, and its neighbours go on; unless leads are withheld from us, which a person has to mend."""
        trouble = access_problem(self.ticket.services.meta(), self.page)
        if trouble is not None:
            raise trouble
        self._change(lambda form, now: self.kind.stop(form, error.sentence, now))
        log.info("form_gone", form=self.external_id, error=error.code)


def _wait(usage: Usage) -> timedelta | None:
    if usage.wait is None and usage.percent < ENOUGH:
        return None
    return usage.wait or REST
