"""The whole beat table on one screen, and a Celery beat that writes ledger rows instead of sending messages."""

from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import schedule

from models.job import put_once
from worker import jobs
from worker.reconcile import reconcile
from worker.services import Services
from worker.work import Work

log = structlog.get_logger(__name__)

# kind of job -> (lane, how often). About ten fixed entries; never one per tenant.
TABLE: dict[str, tuple[str, timedelta]] = {
    jobs.CANARY: (jobs.INTERACTIVE, timedelta(seconds=30)),
    jobs.BULLETINS_SWEEP: (jobs.BULK, timedelta(minutes=1)),
    jobs.CONNECTIONS_SWEEP: (jobs.BULK, timedelta(minutes=1)),
    jobs.DELETIONS_SWEEP: (jobs.BULK, timedelta(minutes=1)),
    jobs.EXPORTS_SWEEP: (jobs.BULK, timedelta(minutes=10)),
    jobs.CALENDARS_SWEEP: (jobs.BULK, timedelta(minutes=1)),
    jobs.DEVICES_PRUNE: (jobs.BULK, timedelta(hours=6)),
    jobs.LEADS_SWEEP: (jobs.BULK, timedelta(hours=1)),
    jobs.RETENTION_SWEEP: (jobs.BULK, timedelta(minutes=10)),
    jobs.LEDGER_PRUNE: (jobs.BULK, timedelta(hours=6)),
}

RECONCILE_EVERY = 2.0
"""Seconds between two looks of the reconciler."""


def beat_schedule() -> dict[str, dict[str, Any]]:
    """The table in Celery's form."""
    return {kind: {"task": kind, "schedule": schedule(every)} for kind, (_, every) in TABLE.items()}


def slot_of(now: datetime, every: timedelta) -> datetime:
    """The start of the period that `now` falls in: the same for every beat, however their clocks began."""
    seconds = int(every.total_seconds())
    return datetime.fromtimestamp(int(now.timestamp()) // seconds * seconds, UTC)


def tick(services: Services, kind: str) -> None:
    """Store this period's job of a kind, once, whoever else does it too."""
    lane, every = TABLE[kind]
    now = services.clock()
    with Work(services, None) as work:
        work.publish_if(put_once(work.session, jobs.tick(kind, lane, slot_of(now, every)), now))


class LedgerScheduler(Scheduler):
    """Celery beat, but a due entry becomes a row keyed by (name, slot), and between ticks the reconciler looks around."""

    @property
    def services(self) -> Services:
        """The process's parts, which the app carries."""
        services: Services = self.app.services  # type: ignore[attr-defined]
        return services

    def setup_schedule(self) -> None:
        """The schedule is the table; nothing is kept on disk."""
        self.install_default_entries(self.schedule)
        self.merge_inplace(self.app.conf.beat_schedule)

    def install_default_entries(self, data: Any) -> None:
        """Celery's own entry cleans up results, of which there are none."""

    def apply_async(self, entry: ScheduleEntry, producer: Any = None, advance: bool = True, **kwargs: Any) -> None:
        """Write the tick's row. When the database is away the tick is lost, and the next one comes."""
        if advance:
            self.reserve(entry)
        try:
            tick(self.services, str(entry.task))
        except Exception as error:  # beat must outlive it
            log.warning("tick_failed", kind=entry.task, error=type(error).__name__)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Due entries, then the reconciler; seconds until the next look."""
        wait = super().tick(*args, **kwargs)
        try:
            reconcile(self.services)
        except Exception as error:  # database or Redis away: look again
            log.warning("reconcile_failed", error=type(error).__name__)
        return min(wait, RECONCILE_EVERY)
