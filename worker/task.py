"""The one way into a job: check the tag, claim the row, hold the lease, run the handler, and turn errors into decisions."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Semaphore
from typing import Any

import structlog
from celery import Task
from sqlalchemy.exc import DBAPIError
from structlog.contextvars import bound_contextvars

from integrations.errors import NeedsUser, OurBug
from integrations.facebook_leads.graph import Graph
from models import run as ledger
from models.base import is_id
from models.connection import REVOKED, REVOKING, Connection
from models.job import owner_and_kind, park
from models.refusal import refuse
from models.restriction import is_restricted
from models.run import Ask, LeaseLost, Run
from models.tenancy import system_session
from models.tenant import Tenant
from worker import retries
from worker.desk import Desk, Leaving
from worker.grants import mark
from worker.jobs import ALTHOUGH_RESTRICTED, HELD_AGAIN
from worker.lease import Keeper
from worker.services import Services
from worker.work import Work

log = structlog.get_logger(__name__)

ENDED_WAIT = timedelta(minutes=1)
"""Until a run that was under way when its connection ended is made once more, and finds nothing to do."""


@dataclass(slots=True)
class Ticket:
    """What a handler is given: its run, the services, and the two ways to end. Its sessions see one tenant only."""

    services: Services
    run: Run
    began: datetime
    ended: bool = False

    @property
    def tenant_id(self) -> str:
        """The tenant whose work this is."""
        return self.run.tenant_id

    @property
    def connection_id(self) -> str:
        """The connection the job names."""
        if self.run.connection_id is None:
            raise OurBug(f"{self.run.kind} was stored without its connection")
        return self.run.connection_id

    def now(self) -> datetime:
        """The injected clock's now."""
        return self.services.clock()

    def work(self, *, reads_only: bool = False) -> Work:
        """One transaction of this tenant. Close it before calling a provider."""
        return Work(self.services, self.tenant_id, reads_only=reads_only)

    def graph(self) -> Graph:
        """The way to Meta."""
        if self.services.graph is None:
            raise OurBug(
                "Facebook leads are turned off here: " + ", ".join(self.services.settings.meta.missing) + " not set"
            )
        return self.services.graph

    def finish(self, work: Work) -> None:
        """The job is done, in the same transaction as its last write; a trigger that came meanwhile queues it once more."""
        work.publish_if(ledger.finish(work.session, self.run, self.now()))
        self.ended = True

    def hold(self, work: Work) -> None:
        """What was written in this transaction counts; LeaseLost undoes it where another run has the job now. Ask last."""
        ledger.hold(work.session, self.run)

    def progressed(self, work: Work) -> None:
        """As `hold`, and a part of the work is written: the attempts begin anew."""
        ledger.progressed(work.session, self.run)

    def rest(self, work: Work, due_at: datetime) -> None:
        """The run went well, and the job has more to do at `due_at`."""
        work.publish_if(ledger.rest(work.session, self.run, self.now(), due_at=due_at))
        self.ended = True


Handler = Callable[[Ticket], None]


class TenantTask(Task[Any, Any]):
    """The Celery task of one kind of job. Its message brings a job's id and a tenant; all else is read from the row."""

    abstract = True
    ignore_result = True
    handler: Handler
    services: Services
    keeper: Keeper
    desk: Desk
    slots: Semaphore

    def run(self, *args: object, **kwargs: object) -> None:
        """Run the job that the message names, if the row agrees with the message."""
        job_id, tenant_id = self.request.id, (self.request.headers or {}).get("tenant")
        unended: Run | None = None
        try:
            if args or kwargs or not is_id(job_id) or not is_id(tenant_id):
                reason = "untagged" if tenant_id is None else "malformed"
                self._refuse(reason, job_id, tenant_id, repr((args, kwargs)).encode())
                return
            ask = Ask(str(job_id), str(tenant_id), str(self.name))
            with bound_contextvars(tenant=ask.tenant_id, job=ask.job_id, kind=ask.kind):
                run = self.desk.claim(ask)
                if run is None:
                    self._explain(ask)
                else:
                    unended = self._held(Ticket(self.services, run, self.services.clock()))
        finally:
            lane = str((self.request.delivery_info or {}).get("routing_key"))
            self.desk.leave(Leaving(lane, str(job_id), str(tenant_id), unended))

    def _held(self, ticket: Ticket) -> Run | None:
        """Run it while the keeper renews its lease; returns the run if its end is left to the desk."""
        self.keeper.hold(ticket.run)
        outcome, left = "failed", False
        started = ticket.now()
        try:
            with self.slots:
                started = ticket.now()
                outcome = self._handle(ticket)
            left = outcome == "done" and not ticket.ended
        finally:
            if not left:
                self.keeper.release(ticket.run)
        log.info("job_ended", outcome=outcome, attempt=ticket.run.attempts, run_ms=_ms(ticket.now(), started))
        return ticket.run if left else None

    def _handle(self, ticket: Ticket) -> str:
        try:
            type(self).handler(ticket)
        except LeaseLost:
            return "lease_lost"
        except DBAPIError as error:
            # Nothing can be written: the lease runs out and the reconciler takes the job back.
            log.warning("database_failed", error=type(error.orig).__name__)
            return "lease_left"
        except Exception as error:
            return self._decide(ticket, error)
        return "done"

    def _decide(self, ticket: Ticket, error: Exception) -> str:
        decision = retries.decide(error, ticket.run.attempts)
        kind, sentence = retries.describe(error)
        log.warning(
            "job_failed", error=kind, sentence=sentence, exc_info=kind == "our_bug", decision=type(decision).__name__
        )
        now = ticket.now()
        try:
            with ticket.work() as work:
                if isinstance(decision, retries.GiveUp):
                    work.publish_if(ledger.give_up(work.session, ticket.run, now, kind=kind, sentence=sentence))
                    return "dead"
                counts = isinstance(decision, retries.Again) and decision.counts
                if isinstance(error, NeedsUser) and ticket.run.connection_id is not None:
                    again_at = _mark_connection(work, ticket, error)
                    if again_at is not None:
                        work.publish_if(ledger.rest(work.session, ticket.run, now, due_at=again_at))
                        return "again"
                ledger.later(
                    work.session, ticket.run, due_at=now + decision.wait, kind=kind, sentence=sentence, counts=counts
                )
                return "again"
        except LeaseLost:
            return "lease_lost"

    def _explain(self, ask: Ask) -> None:
        """Why there was nothing to claim: a second message of a job is normal, a wrong tag is not."""
        with system_session(self.services.database, reads_only=True) as session:
            found = owner_and_kind(session, ask.job_id)
            known_tenant = session.get(Tenant, ask.tenant_id) is not None
            is_held = is_restricted(session, ask.tenant_id) and ask.kind not in ALTHOUGH_RESTRICTED
        if found == (ask.tenant_id, ask.kind):
            if not (is_held and self._park(ask)):
                log.debug("message_spent")
            return
        reason = "unknown_tenant" if not known_tenant else "unknown_job" if found is None else "wrong_tag"
        self._refuse(reason, ask.job_id, ask.tenant_id, b"")

    def _park(self, ask: Ask) -> bool:
        """The tenant is restricted: the claim let nobody have the job, and it waits for the end of that."""
        now = self.services.clock()
        with system_session(self.services.database) as session:
            parked = park(session, ask.job_id, ask.tenant_id, now, now + HELD_AGAIN)
        if parked:
            log.info("job_held")
        return parked

    def _refuse(self, reason: str, job_id: object, tenant_id: object, body: bytes) -> None:
        with system_session(self.services.database) as session:
            refuse(
                session,
                reason=reason,
                now=self.services.clock(),
                job=job_id,
                tenant=tenant_id,
                kind=self.name,
                body_digest=hashlib.sha256(body).hexdigest() if body else None,
                body_size=len(body) or None,
            )
        log.warning("message_refused", reason=reason, kind=self.name)


def _mark_connection(work: Work, ticket: Ticket, error: NeedsUser) -> datetime | None:
    """Say what only a person can mend; else, when to run again: at once, when somebody did so while this run still used the
    old token; and soon, to end, when the connection has ended meanwhile."""
    connection = work.session.get(Connection, ticket.connection_id, with_for_update=True)
    if connection is None or connection.status in (REVOKING, REVOKED):
        return ticket.now() + ENDED_WAIT
    if connection.granted_at is not None and connection.granted_at > ticket.began:
        return ticket.now()
    mark(work, ticket.services, connection, error)
    return None


def _ms(until: datetime, since: datetime) -> int:
    return round((until - since).total_seconds() * 1000)
