"""`connections.check`, `check_all` and `sweep`: grants are looked at, all of them in time, where it can be many in one call."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog

from integrations.contract import Checkup, LooksTogether
from integrations.errors import IntegrationError, NeedsUser, OurBug, Transient
from integrations.facebook_leads import FACEBOOK_LEADS
from models.connection import (
    ACTIVE,
    LISTENING,
    NEEDS_RECONNECT,
    Connection,
    account_names,
    described,
    hold_open,
    is_well,
    tokens_of,
)
from models.feed import CONNECTION_RECOVERED, emit
from models.form import read_all_soon
from models.grant import hold_also, marks_of
from models.job import NewJob, are_open
from models.look import Due, due_looks, looks_left, set_next, siblings
from models.tenancy import system_session
from worker.grants import BY_NAME, CHECK_EVERY, fresh_tokens, mark, missing_permission, next_check, start
from worker.jobs import connections_check, connections_check_all, leads_catch_up
from worker.retries import Again, decide
from worker.task import Ticket
from worker.work import Work

log = structlog.get_logger(__name__)

SWEPT_AT_ONCE = 500


def sweep(ticket: Ticket) -> None:
    """A look at every connection whose time has come; how often is the integration's, and no two at once.

    Where a provider can be asked about many grants in one call, all of a tenant's have their time together.
    """
    providers = ticket.services.providers  # what is turned off cannot be asked
    together = [name for name, provider in providers.items() if isinstance(provider, LooksTogether)]
    while True:
        with ticket.work() as work:
            found = due_looks(work.session, list(providers), ticket.now(), limit=SWEPT_AT_ONCE)
            grouped = [due for due in found if due.integration in together]
            with_them = siblings(work.session, {due.tenant_id for due in grouped}, {due.integration for due in grouped})
            alone = [due for due in found if due.integration not in together]
            work.put(*_looks(ticket, work, alone, [*grouped, *with_them]))
            if len(found) < SWEPT_AT_ONCE:
                ticket.finish(work)
                return


def _looks(ticket: Ticket, work: Work, alone: Sequence[Due], grouped: Sequence[Due]) -> list[NewJob]:
    """Their jobs, and when their next ones come."""
    services, now = ticket.services, ticket.now()
    groups = {(due.tenant_id, due.integration) for due in grouped}
    turns = {group: now + next_check(services, group[1]) for group in groups}
    nexts = {due.connection_id: turns[due.tenant_id, due.integration] for due in grouped}
    nexts |= {due.connection_id: now + next_check(services, due.integration) for due in alone}
    set_next(work.session, nexts)
    return [
        *(connections_check_all(tenant_id, integration) for tenant_id, integration in groups),
        *(connections_check(due.tenant_id, due.connection_id) for due in alone),
    ]


Outcome = Checkup | IntegrationError
"""What a look at one grant showed."""


def check(ticket: Ticket) -> None:
    """Is the grant good and complete? What only a person can mend is said; what is well again is told and goes on."""
    integration, account = _account(ticket)
    outcomes: dict[str, Outcome] = {}
    if account is not None:
        try:
            # None: closed, or its tokens destroyed, since we looked; then there is nothing to be said about it.
            tokens = fresh_tokens(ticket.services, ticket.tenant_id, ticket.connection_id, renew=True)
            if tokens is not None:
                outcomes[ticket.connection_id] = ticket.services.provider(integration).check(tokens, account)
        except NeedsUser as trouble:
            outcomes[ticket.connection_id] = trouble
    _write(ticket, integration, outcomes, is_last=True)


def check_all(ticket: Ticket) -> None:
    """The same for those of the tenant's grants whose time has come. One that cannot be looked at gets a job of its own,
    with its own waits, and costs the others nothing."""
    integration = str(ticket.run.args.get("integration"))
    provider = ticket.services.provider(integration)
    if not isinstance(provider, LooksTogether):
        raise OurBug(f"{ticket.run.kind} was stored for an integration that is asked about one grant at a time")
    after: str | None = None
    while True:
        asked, after = _next(ticket, integration, provider.at_once, after)
        answers = provider.check_all(list(asked.values())) if asked else []
        _write(ticket, integration, dict(zip(asked, answers, strict=True)), is_last=after is None)
        if after is None:
            return


def _account(ticket: Ticket) -> tuple[str, str | None]:
    """(integration, the account's id); None: there is nothing to look at."""
    with ticket.work(reads_only=True) as work:
        row = work.session.get(Connection, ticket.connection_id)
        if row is None or row.status not in LISTENING or row.tokens is None:
            return "" if row is None else row.integration, None
        return row.integration, account_names(work.session, ticket.services.vault, [row])[row.id].external_id


def _next(
    ticket: Ticket, integration: str, number: int, after: str | None
) -> tuple[dict[str, tuple[dict[str, str], str]], str | None]:
    """connection id -> (tokens, account) of the next ones to be looked at, and where to go on (None: those are all)."""
    with ticket.work(reads_only=True) as work:
        rows, after = looks_left(work.session, integration, every=CHECK_EVERY[integration], after=after, limit=number)
        # Those that have a job of their own wait there, as their provider wants it.
        own = {str(connections_check(row.tenant_id, row.id).key): row for row in rows}
        waiting = are_open(work.session, ticket.tenant_id, list(own))
        left = [row for key, row in own.items() if key not in waiting]
        tokens = tokens_of(work.session, ticket.services.vault, left)
        return {row.id: (tokens[row.id], row.external_id) for row in left if row.id in tokens}, after


def _write(ticket: Ticket, integration: str, outcomes: Mapping[str, Outcome], *, is_last: bool) -> None:
    """What was found, of those that are still open and were not connected again while we looked at the grant before."""
    checkups = {one: outcome for one, outcome in outcomes.items() if isinstance(outcome, Checkup)}
    troubles = {one: outcome for one, outcome in outcomes.items() if not isinstance(outcome, Checkup)}
    marks = _marks(ticket, integration, checkups)
    if outcomes:
        codes = Counter(error.code or error.kind for error in troubles.values())
        log.info("connections_checked", integration=integration, well=len(checkups), troubles=dict(codes))
    with ticket.work() as work:
        there = hold_open(work.session, outcomes)
        rows = [row for row in there if not _renewed(row, ticket.began)]
        hold_also(work.session, rows, marks)
        gaps = [row for row in there if _may_have_missed(ticket, outcomes[row.id])]
        _judge(ticket, work, rows, checkups, troubles, gaps)
        if is_last:
            ticket.finish(work)


def _marks(ticket: Ticket, integration: str, checkups: Mapping[str, Checkup]) -> dict[str, list[bytes]]:
    names = {name for checkup in checkups.values() for name in checkup.holders or ()}
    if not names:
        return {}
    with system_session(ticket.services.database) as session:
        vault, now = ticket.services.vault, ticket.now()
        known = {name: marks_of(session, vault, integration, [name], now) for name in names}
    return {
        one: [mark for name in checkup.holders for mark in known[name]]
        for one, checkup in checkups.items()
        if checkup.holders
    }


def _renewed(row: Connection, began: datetime) -> bool:
    """Whether somebody connected again while we looked at the grant before."""
    return row.granted_at is not None and row.granted_at > began


def _may_have_missed(ticket: Ticket, outcome: Outcome) -> bool:
    """Whether notices may not have come for a while: this look brought them back, or one that did not live to say so; then
    the next one finds nothing to be mended."""
    if isinstance(outcome, Checkup):
        return outcome.mended or ticket.run.attempts > 1
    return isinstance(outcome, Transient)


def _judge(
    ticket: Ticket,
    work: Work,
    rows: Sequence[Connection],
    checkups: Mapping[str, Checkup],
    troubles: Mapping[str, IntegrationError],
    gaps: Sequence[Connection],
) -> None:
    """First what is wrong, then what is well again, at the end and all at once the jobs that follow."""
    now, recovered, again = ticket.now(), list[Connection](), list[NewJob]()
    for row in rows:
        error = troubles.get(row.id)
        if error is not None and not isinstance(error, NeedsUser):
            again.append(_again(row, error, now))
            continue
        row.checked_at = now
        checkup = checkups.get(row.id, Checkup())
        _learn(row, checkup)
        error = error or missing_permission(BY_NAME[row.integration], row.scopes)
        if error is not None:
            mark(work, ticket.services, row, error)
        elif row.status == NEEDS_RECONNECT:
            is_well(row, now)
            recovered.append(row)
    emit(work.session, ticket.tenant_id, [(CONNECTION_RECOVERED, described(row)) for row in recovered], now)
    pages = [row for row in gaps if row.integration == FACEBOOK_LEADS.name and row.status == ACTIVE]
    if pages:  # what came while we were told nothing has to be read
        read_all_soon(work.session, sorted({row.id for row in (*pages, *recovered)}), now)
    again += [leads_catch_up(row.tenant_id, row.id) for row in pages]
    start(work, ticket.services, ticket.tenant_id, recovered, *again)


def _learn(row: Connection, checkup: Checkup) -> None:
    if checkup.scopes is not None:
        row.scopes = list(checkup.scopes)
    if checkup.expires_at is not None and row.token_expires_at is None:
        row.token_expires_at = checkup.expires_at


def _again(row: Connection, error: IntegrationError, now: datetime) -> NewJob:
    """A look of its own for a grant that could not be looked at: when the error allows, or at once, to end with it."""
    decision = decide(error, 1)
    return connections_check(row.tenant_id, row.id, now + decision.wait if isinstance(decision, Again) else None)
