"""What Troth lets go of its own accord, and when: built-in rules for its working papers, the same for all tenants.

What people are promised (leads, connections) is not here: that goes by a tenant's rules and requests. Bulletins have
terms of their own (`models.bulletin`), for what goes of them leaves something behind.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, delete, select, true
from sqlalchemy.orm import Session

from models.connect_link import ConnectLink, ConnectState
from models.feed import Event
from models.host import SignIn
from models.idempotency import KEPT_FOR, KeptAnswer
from models.inbox import FAILED, HANDLED, InboxEvent
from models.job import CANCELLED, DONE, JOBS
from models.refusal import Refusal
from models.statements import among
from models.tenancy import SYSTEM

MONTH, QUARTER = timedelta(days=30), timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Paper:
    """Rows of a table that go when the instant `since` is `keeps` ago; `which` of them, `words` for people."""

    words: str
    table: Table
    since: str
    keeps: timedelta
    which: ColumnElement[bool]


def _paper(words: str, model: Any, since: str, keeps: timedelta, which: ColumnElement[bool] | None = None) -> Paper:
    table: Table = getattr(model, "__table__", model)
    return Paper(words, table, since, keeps, true() if which is None else which)


_ENDED, _INBOX = JOBS.c.state.in_((DONE, CANCELLED)), InboxEvent.__table__.c.state
HOUSEKEEPING = (
    # Ticks come by the minute, say nothing once they are done, and are looked through by who asks for the last canary.
    _paper("Jobs of Troth's own that are done", JOBS, "finished_at", timedelta(days=1),
           and_(_ENDED, JOBS.c.tenant_id == SYSTEM)),
    _paper("Jobs that are done or cancelled; dead ones stay until they are dealt with", JOBS, "finished_at", MONTH, _ENDED),
    _paper("Visits to a provider's consent page", ConnectState, "expires_at", MONTH),
    # A visit that began at the end of its link outlives it.
    _paper("Links to connect", ConnectLink, "expires_at", MONTH + timedelta(days=1)),
    _paper("One-time links and sessions of the pages", SignIn, "expires_at", MONTH),
    _paper("Answers kept for a repeated request", KeptAnswer, "created_at", KEPT_FOR),
    # Meta keeps a lead for 90 days: what could not be fetched in that time never will be.
    _paper("Notices of providers, dealt with or failed", InboxEvent, "received_at", QUARTER, _INBOX.in_((HANDLED, FAILED))),
    _paper("Events of the feed", Event, "created_at", QUARTER),
    _paper("Messages that were refused", Refusal, "refused_at", QUARTER),
)  # fmt: skip


def let_go(session: Session, paper: Paper, now: datetime, *, limit: int) -> int:
    """Drop up to `limit` of the rows whose time is over; how many (system session)."""
    table, connection = paper.table, session.connection()
    old = select(table.c.id).where(table.c[paper.since] < now - paper.keeps, paper.which).limit(limit)
    ids = list(connection.execute(old).scalars())
    if ids:
        connection.execute(delete(table).where(among(connection, table.c.id, ids)))
    return len(ids)
