"""What `/metrics` shows: counters of this web process and gauges read from rows at scrape time; no tenant is named.

Figures of single tenants would make a label for each customer, and show every reader of the metrics who they are.
"""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timedelta

import redis
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models.bulletin import Bulletin
from models.connection import LISTENING, Connection
from models.deletion import Deletion
from models.export import Export
from models.inbox import PENDING, InboxEvent
from models.job import DEAD, QUEUED, WAITING, Job
from models.promise import promises
from models.refusal import refusals_by_reason
from models.restriction import Restriction
from models.retention import RetentionRule
from models.tally import Tally, late, tallies
from models.tenancy import system_session
from worker.services import Services

LATE = timedelta(hours=1)
TALLIED_EVERY = timedelta(minutes=1)
"""Promises are counted from many rows, and change slowly: scrapes in between get the last count."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class WebMetrics:
    """The registry of one web process, and the counters its requests turn."""

    def __init__(self, services: Services) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "troth_web_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "troth_web_request_seconds", "Time to answer a request.", ("route",), registry=self.registry
        )
        self.keys_refused = Counter("troth_web_keys_refused", "API keys that were refused.", registry=self.registry)
        self.registry.register(_Rows(services))

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; `route` is the template of its path, never the path."""
        self.requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """The Prometheus text format; what the process counts elsewhere (`worker.metrics`) comes last."""
        return generate_latest(self.registry) + generate_latest(REGISTRY)


class _Rows(Collector):
    """Gauges that are questions to the database and to Redis; while one is away its `up` gauge is 0."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tallied: tuple[datetime, dict[str, Tally]] | None = None

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: registering must not ask the database."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All gauges."""
        database = GaugeMetricFamily("troth_database_up", "1 when the database answers.")
        gates = GaugeMetricFamily("troth_redis_up", "1 when Redis answers.")
        found: list[Metric] = []
        try:
            with system_session(self._services.database, reads_only=True) as session:
                now = self._services.clock()
                found += [
                    *_ledger(session, now),
                    *_deletions(session, now),
                    *_retention(self._services, session, now),
                    *_rights(session),
                    *self._promises(session, now),
                ]
            database.add_metric((), 1)
        except (SQLAlchemyError, TimeoutError):
            database.add_metric((), 0)
        try:
            found += _gates(self._services)
            gates.add_metric((), 1)
        except redis.RedisError:
            gates.add_metric((), 0)
        return [database, gates, *found]

    def _promises(self, session: Session, now: datetime) -> list[Metric]:
        if self._tallied is None or now - self._tallied[0] >= TALLIED_EVERY:
            self._tallied = now, tallies(session, now)
        counted = self._tallied[1]
        gauge = GaugeMetricFamily(
            "troth_promises", "Promises by how they are kept: open ones, and those of the last three months.",
            labels=("promise", "state"),
        )  # fmt: skip
        for one in promises():
            if one.counts:
                for state, number in asdict(counted[one.counts]).items():
                    gauge.add_metric((one.id, state), number)
        return [gauge]


def _deletions(session: Session, now: datetime) -> list[Metric]:
    deletions = GaugeMetricFamily("troth_deletions", "Requests to delete, by status.", labels=("status",))
    states = select(Deletion.status, func.count()).where(Deletion.part_of.is_(None)).group_by(Deletion.status)
    for status, number in session.execute(states):
        deletions.add_metric((status,), number)
    overdue = GaugeMetricFamily("troth_deletions_overdue", "Open deletions past what was promised.")
    overdue.add_metric((), late(session, now).overdue)
    return [deletions, overdue]


def _retention(services: Services, session: Session, now: datetime) -> list[Metric]:
    rules = GaugeMetricFamily("troth_retention_rules", "Retention rules, by state.", labels=("state",))
    state = case(
        (RetentionRule.armed_at.is_(None), "dry_run"), (RetentionRule.runs_at.is_(None), "armed"), else_="noticed"
    )
    for name, number in session.execute(select(state, func.count()).group_by(state)):
        rules.add_metric((name,), number)
    late = session.scalar(select(func.count()).select_from(RetentionRule).where(RetentionRule.next_at < now - LATE))
    return [
        rules,
        GaugeMetricFamily("troth_retention_late", "Rules that nobody has looked at for an hour after their time.",
                          value=late or 0),
        GaugeMetricFamily("troth_retention_on", "0 when TROTH_RETENTION is off.", value=int(services.settings.retention)),
    ]  # fmt: skip


def _rights(session: Session) -> list[Metric]:
    exports = GaugeMetricFamily("troth_exports", "Copies of data that were asked for, by status.", labels=("status",))
    for status, number in session.execute(select(Export.status, func.count()).group_by(Export.status)):
        exports.add_metric((status,), number)
    frozen = GaugeMetricFamily("troth_restrictions", "Restrictions in force, by what they are of.", labels=("kind",))
    in_force = select(Restriction.kind, func.count()).where(Restriction.lifted_at.is_(None)).group_by(Restriction.kind)
    for kind, number in session.execute(in_force):
        frozen.add_metric((kind,), number)
    return [exports, frozen]


def _ledger(session: Session, now: datetime) -> list[Metric]:
    jobs = GaugeMetricFamily("troth_jobs", "Jobs that have not ended well, by state.", labels=("state", "lane"))
    # Rows that may still run have a `wake_at`: its index spares this question the millions that are done.
    alive = select(Job.state, Job.lane, func.count()).where(Job.wake_at.is_not(None)).group_by(Job.state, Job.lane)
    dead = select(Job.state, Job.lane, func.count()).where(Job.state == DEAD).group_by(Job.state, Job.lane)
    for question in (alive, dead):
        for state, lane, count in session.execute(question):
            jobs.add_metric((state, lane), count)
    oldest = GaugeMetricFamily("troth_jobs_oldest_due_seconds", "How long the oldest due job waits.", labels=("lane",))
    due = (
        select(Job.lane, func.min(Job.due_at))
        .where(Job.wake_at.is_not(None), Job.state.in_((WAITING, QUEUED)), Job.due_at <= now)
        .group_by(Job.lane)
    )
    for lane, since in session.execute(due):
        oldest.add_metric((lane,), (now - since).total_seconds())
    pending = session.scalar(select(func.count()).select_from(InboxEvent).where(InboxEvent.state == PENDING))
    inbox = GaugeMetricFamily("troth_inbox_pending", "Inbox events not dealt with yet.", value=pending or 0)
    bulletins = GaugeMetricFamily("troth_bulletins", "Bulletins that are not over, by status.", labels=("status",))
    # Those have a `wake_at`, and its index.
    states = select(Bulletin.status, func.count()).where(Bulletin.wake_at.is_not(None)).group_by(Bulletin.status)
    for status, count in session.execute(states):
        bulletins.add_metric((status,), count)
    late = [
        GaugeMetricFamily("troth_bulletins_late", "Bulletins that nobody has looked at for an hour after their time.",
                          value=_number(session, Bulletin.wake_at < now - LATE)),
        GaugeMetricFamily("troth_bulletins_kept", "Bulletins of which something should have gone a day ago.",
                          value=_number(session, Bulletin.prune_at < now - timedelta(days=1))),
    ]  # fmt: skip
    refused = GaugeMetricFamily("troth_refusals", "Messages refused and kept, by reason.", labels=("reason",))
    for reason, count in refusals_by_reason(session).items():
        refused.add_metric((reason,), count)
    return [jobs, oldest, inbox, bulletins, *late, refused, *_connections(session, now)]


def _number(session: Session, which: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(Bulletin).where(which)) or 0


def _connections(session: Session, now: datetime) -> list[Metric]:
    connections = GaugeMetricFamily(
        "troth_connections", "Connections, by state and, where one needs a person, by cause.",
        labels=("integration", "status", "code"),
    )  # fmt: skip
    count = func.count()
    states = select(Connection.integration, Connection.status, Connection.health_code, count).group_by(
        Connection.integration, Connection.status, Connection.health_code
    )
    for integration, status, code, number in session.execute(states):
        connections.add_metric((integration, status, code or ""), number)
    late = session.scalar(
        select(count).select_from(Connection).where(Connection.check_at < now - LATE, Connection.status.in_(LISTENING))
    )
    return [
        connections,
        GaugeMetricFamily("troth_connections_late", "Connections whose check is over an hour late.", value=late or 0),
    ]


def _gates(services: Services) -> list[Metric]:
    jobs = GaugeMetricFamily("troth_gate_jobs", "Jobs in a lane's gate, by place.", labels=("lane", "place"))
    tenants = GaugeMetricFamily("troth_gate_tenants_waiting", "Tenants that wait for their turn.", labels=("lane",))
    for lane, gate in services.gates.items():
        backlog = gate.backlog()
        jobs.add_metric((lane, "waiting"), backlog.waiting)
        jobs.add_metric((lane, "queued"), backlog.queued)
        jobs.add_metric((lane, "in_flight"), backlog.in_flight)
        tenants.add_metric((lane,), backlog.tenants_waiting)
    return [jobs, tenants]
