"""`connections.*`: look at grants, all of them in time, and end the grants of closed connections step by step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select

from integrations.contract import Checkup, Provider
from integrations.errors import IntegrationError, Missing, NeedsUser, OurBug, Throttled, Transient
from models.connection import (
    LISTENING,
    NEEDS_RECONNECT,
    PENDING,
    REVOKING,
    Connection,
    account_names,
    described,
    is_well,
    read_tokens,
)
from models.deletion import (
    REVOKE_GRANT,
    RUNNING,
    STEP_DONE,
    STEP_FAILED,
    STEP_PENDING,
    STEP_SKIPPED,
    STOP_NOTICES,
    Deletion,
    deletion_of,
    end_step,
    steps_of,
)
from models.feed import CONNECTION_RECOVERED, emit
from models.form import read_all_soon
from models.grant import held_by, hold, holders_of, marks_of
from models.revocation import end_revocation
from models.tenancy import system_session
from worker.grants import BY_NAME, fresh_tokens, mark, missing_permission, next_check, start
from worker.jobs import connections_check, deletions_run, leads_catch_up
from worker.task import Ticket
from worker.work import Work

log = structlog.get_logger(__name__)

SWEPT_AT_ONCE = 500
PROVIDER_PATIENCE = timedelta(days=2)
"""How long a closed connection's grant is kept for a provider that cannot be reached; then it is destroyed untold."""


def sweep(ticket: Ticket) -> None:
    """A look at every connection whose time has come; how often is the integration's, and no two at once."""
    while True:
        with ticket.work() as work:
            now = ticket.now()
            due = work.session.scalars(
                select(Connection)
                .where(
                    Connection.check_at <= now,
                    Connection.status.in_(LISTENING),
                    Connection.integration.in_(ticket.services.providers),  # what is turned off cannot be asked
                )
                .order_by(Connection.check_at)
                .limit(SWEPT_AT_ONCE)
                .with_for_update(skip_locked=True)
            ).all()
            for row in due:
                row.check_at = now + next_check(ticket.services, row.integration)
            work.put(*(connections_check(row.tenant_id, row.id) for row in due))
            if len(due) < SWEPT_AT_ONCE:
                ticket.finish(work)
                return


def check(ticket: Ticket) -> None:
    """Is the grant good and complete? What only a person can mend is said; what is well again is told and goes on."""
    found = _account(ticket)
    error: NeedsUser | None = None
    checkup: Checkup | None = None
    if found is not None:
        integration, account = found
        try:
            # None: closed, or its tokens destroyed, since we looked; then there is nothing to be said about it.
            tokens = fresh_tokens(ticket.services, ticket.tenant_id, ticket.connection_id, renew=True)
            checkup = None if tokens is None else ticket.services.provider(integration).check(tokens, account)
        except NeedsUser as trouble:
            error = trouble
        log.info("connection_checked", integration=integration, outcome=error.code if error else "well")
    marks = _marks(ticket, checkup) if checkup is not None and checkup.holders else None
    with ticket.work() as work:
        row = work.session.get(Connection, ticket.connection_id, with_for_update=True)
        has_looked = checkup is not None or error is not None
        if row is not None and has_looked and row.status in LISTENING and not _renewed(row, ticket.began):
            _write(ticket, work, row, checkup or Checkup(), marks, error)
        ticket.finish(work)


def _account(ticket: Ticket) -> tuple[str, str] | None:
    with ticket.work(reads_only=True) as work:
        row = work.session.get(Connection, ticket.connection_id)
        if row is None or row.status not in LISTENING or row.tokens is None:
            return None
        account = account_names(work.session, ticket.services.vault, [row])[row.id].external_id
        return None if account is None else (row.integration, account)


def _marks(ticket: Ticket, checkup: Checkup) -> list[bytes]:
    with ticket.work(reads_only=True) as work:
        integration = work.session.scalars(
            select(Connection.integration).where(Connection.id == ticket.connection_id)
        ).one()
    with system_session(ticket.services.database) as session:
        return marks_of(session, ticket.services.vault, integration, checkup.holders or (), ticket.now())


def _renewed(row: Connection, began: datetime) -> bool:
    """Whether somebody connected again while we looked at the grant before."""
    return row.granted_at is not None and row.granted_at > began


def _write(
    ticket: Ticket, work: Work, row: Connection, checkup: Checkup, marks: list[bytes] | None, error: NeedsUser | None
) -> None:
    now = ticket.now()
    row.checked_at = now
    if checkup.scopes is not None:
        row.scopes = list(checkup.scopes)
    if checkup.expires_at is not None and row.token_expires_at is None:
        row.token_expires_at = checkup.expires_at
    if marks is not None:
        hold(work.session, row, sorted({*marks, *holders_of(work.session, row)}))
    error = error or missing_permission(BY_NAME[row.integration], row.scopes)
    if error is not None:
        mark(work, ticket.services, row, error)
    elif row.status == NEEDS_RECONNECT:
        is_well(row, now)
        emit(work.session, row.tenant_id, [(CONNECTION_RECOVERED, described(row))], now)
        start(work, ticket.services, row.tenant_id, [row])
    elif checkup.mended:  # what came while we were told nothing has to be read
        read_all_soon(work.session, [row.id], now)
        work.put(leads_catch_up(row.tenant_id, row.id))


@dataclass(frozen=True, slots=True)
class Ending:
    """What is to be ended. `may_revoke` False: another connection lives by the same person's grant, or may."""

    deletion_id: str
    closed_at: datetime
    integration: str
    account: str
    tokens: Mapping[str, str] = field(repr=False)
    open_steps: frozenset[str]
    marks: tuple[bytes, ...] = field(repr=False)


_GONE = "There was no token left to do it with: the grant had been ended already."
_SHARED = "Not done: another connection here lives by a grant of the same account, and revoking would end that one too."
_UNKNOWN = "Not done: it is not known whose grant this was, and other connections may live by it."


def revoke(ticket: Ticket) -> None:
    """End a closed connection's grant at the provider, each step with its outcome, and then destroy it here.

    What is destroyed here never depends on the provider: after `PROVIDER_PATIENCE` it is destroyed all the same.
    """
    ending = _ending(ticket)
    if ending is not None:
        for name, call in ((STOP_NOTICES, _leave), (REVOKE_GRANT, _revoke)):
            if name in ending.open_steps:
                status, sentence = _try(ticket, ending, call)
                with ticket.work() as work:
                    end_step(work.session, ending.deletion_id, name, status, sentence, ticket.now())
                log.info("revocation_step", step=name, outcome=status)
    with ticket.work() as work:
        row = work.session.get(Connection, ticket.connection_id, with_for_update=True)
        if ending is not None and row is not None and row.status == REVOKING:
            end_revocation(work.session, ticket.services.vault, row, ticket.now())
            # An erasure under way may have waited for it.
            running = work.session.scalars(select(Deletion.id).where(Deletion.status == RUNNING))
            work.put(*(deletions_run(ticket.tenant_id, one) for one in running))
        ticket.finish(work)


def _ending(ticket: Ticket) -> Ending | None:
    with ticket.work(reads_only=True) as work:
        session, vault = work.session, ticket.services.vault
        row = session.get(Connection, ticket.connection_id)
        asked = None if row is None else deletion_of(session, row.id)
        if row is None or row.status != REVOKING or asked is None:
            return None
        is_open = frozenset(step.name for step in steps_of(session, asked.id) if step.status == STEP_PENDING)
        account = account_names(session, vault, [row])[row.id].external_id or ""
        return Ending(asked.id, asked.requested_at, row.integration, account, read_tokens(session, vault, row), is_open,
                      tuple(holders_of(session, row)))  # fmt: skip


Call = Callable[[Ticket, Provider, Ending], str | None]
"""One step at the provider; what it returns is why it was left undone."""


def _leave(_ticket: Ticket, provider: Provider, ending: Ending) -> str | None:
    provider.leave(ending.tokens, ending.account)
    return None


def _revoke(ticket: Ticket, provider: Provider, ending: Ending) -> str | None:
    if not ending.marks:
        return _UNKNOWN
    with system_session(ticket.services.database, reads_only=True) as session:
        others = held_by(session, ending.marks, states=(*LISTENING, PENDING))
    if any(connection != ticket.connection_id for _, connection in others):
        return _SHARED
    provider.revoke(ending.tokens)
    return None


def _try(ticket: Ticket, ending: Ending, call: Call) -> tuple[str, str | None]:
    """(status, sentence) of a step. Raises what is worth another attempt."""
    if not ending.tokens:
        return STEP_SKIPPED, _GONE
    try:
        undone = call(ticket, ticket.services.provider(ending.integration), ending)
    except (Transient, Throttled) as error:
        if ticket.now() < ending.closed_at + PROVIDER_PATIENCE:
            raise
        return STEP_FAILED, error.sentence
    except (NeedsUser, Missing) as error:
        return STEP_SKIPPED, error.sentence
    except (OurBug, IntegrationError) as error:
        return STEP_FAILED, error.sentence
    return (STEP_DONE, None) if undone is None else (STEP_SKIPPED, undone)
