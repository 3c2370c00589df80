"""`connections.revoke`: the grant of a closed connection is ended at its provider, step by step, and then destroyed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select

from integrations.contract import Provider
from integrations.errors import IntegrationError, Missing, NeedsUser, OurBug, Throttled, Transient
from integrations.google_calendar import GOOGLE_CALENDAR
from models.connection import LISTENING, PENDING, REVOKING, Connection, account_names, read_tokens
from models.deletion import (
    REMOVE_EVENTS,
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
from models.grant import held_by, holders_of
from models.revocation import end_revocation
from models.tenancy import system_session
from worker.jobs import deletions_run
from worker.task import Ticket
from worker.tasks.calendar_end import has_channels, remove_events, stop_channels

log = structlog.get_logger(__name__)

PROVIDER_PATIENCE = timedelta(days=2)
"""How long a closed connection's grant is kept for a provider that cannot be reached; then it is destroyed untold."""


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
        for name, call in ((REMOVE_EVENTS, _remove_events), (STOP_NOTICES, _leave), (REVOKE_GRANT, _revoke)):
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


def _remove_events(ticket: Ticket, provider: Provider, ending: Ending) -> str | None:
    return remove_events(ticket, ending.deletion_id, _access(provider, ending))


def _leave(ticket: Ticket, provider: Provider, ending: Ending) -> str | None:
    if ending.integration == GOOGLE_CALENDAR.name and has_channels(ticket):
        stop_channels(ticket, _access(provider, ending))
    provider.leave(ending.tokens, ending.account)
    return None


def _access(provider: Provider, ending: Ending) -> str:
    """An access token for the last calls; nothing of it is stored any more."""
    return provider.refresh(ending.tokens).values["access_token"]


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
