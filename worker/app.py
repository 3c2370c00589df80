"""The Celery app: our settings for it, the tasks it knows, and what a worker process does when it starts and stops."""

from collections.abc import Mapping, Sequence
from socket import gethostname
from threading import Semaphore
from typing import Any

import structlog
from celery import Celery
from celery.bootsteps import StartStopStep
from celery.signals import setup_logging, task_unknown, worker_ready, worker_shutdown
from kombu import Queue

from models.refusal import refuse
from models.tenancy import system_session
from worker.desk import Desk
from worker.embedded import celery_broker_url
from worker.jobs import LANES
from worker.lease import Keeper
from worker.logs import configure
from worker.schedule import beat_schedule
from worker.services import Services, keep_for_good
from worker.task import Handler, TenantTask

log = structlog.get_logger(__name__)


class Worker(Celery[Any]):
    """A Celery app that carries what its process was built with."""

    services: Services
    keeper: Keeper


def create_app(services: Services, handlers: Mapping[str, Handler], *, concurrency: int | None = None) -> Worker:
    """An app whose tasks are the kinds of `handlers`, at most `concurrency` (default: the settings') of them at once in a
    process. Time, retries and results live in the ledger, not in Celery."""
    app: Any = Worker("troth", broker=celery_broker_url(services.settings.redis_url or ""), set_as_current=False)
    app.conf.update(_settings())
    app.services = services
    app.steps["consumer"].add(Unstarted)
    at_once = concurrency or services.settings.concurrency
    keeper, slots = Keeper(services, at_once), Semaphore(at_once)
    desk = Desk(services, keeper)
    for kind, handler in handlers.items():
        parts = {"name": kind, "handler": staticmethod(handler), "services": services, "keeper": keeper, "desk": desk,
                 "slots": slots}  # fmt: skip
        app.register_task(type("TenantTask", (TenantTask,), parts)())
    app.keeper = keeper
    _connect_signals(services, keeper, desk)
    made: Worker = app
    return made


class Unstarted(StartStopStep):
    """Messages that a worker has taken and not begun: put back into Redis when it leaves, and not when Redis is away.

    Kombu puts them back whenever a connection ends, and into a dump file when that fails. But they wait for a thread here
    all the same, and will be run.
    """

    requires = ("celery.worker.consumer:Tasks",)

    def start(self, parent: Any) -> None:
        """Consuming has begun, on a new channel."""
        parent.task_consumer.channel.do_restore = False

    def stop(self, parent: Any) -> None:
        """The worker is leaving (or its connection has gone, and with it this channel)."""
        if parent.task_consumer is not None:
            parent.task_consumer.channel.do_restore = True

    def terminate(self, parent: Any) -> None:
        """The same in a hurry."""
        self.stop(parent)


def run_worker(app: Worker, *, name: str = "troth", lanes: Sequence[str] = LANES) -> None:
    """A worker process; returns when it was told to end and its jobs have.

    Its threads are a few more than the jobs it may run: while those run, the others claim what comes next and write the
    ends of what is over, so that the ledger's waits do not cost the jobs their slots.
    """
    concurrency = app.keeper.concurrency
    threads = concurrency + max(2, concurrency // 4)
    # What `celery worker` does, without the modules of its command line: those weigh 6 MiB.
    app.Worker(quiet=True, pool_cls="threads", concurrency=threads, queues=list(lanes), hostname=f"{name}@{gethostname()}",
               without_gossip=True, without_mingle=True, without_heartbeat=True).start()  # fmt: skip


def run_beat(app: Worker) -> None:
    """The clock; returns when it was told to end."""
    app.Beat(quiet=True).run()


def _settings() -> dict[str, Any]:
    return {
        "task_ignore_result": True,
        # The message is acknowledged when the run begins: from then on the lease in the ledger vouches for the job.
        # With late acknowledgement a worker that loses Redis may exit instead of reconnecting (docs/decisions/0003).
        "task_acks_late": False,
        "worker_prefetch_multiplier": 1,
        "task_queues": [Queue(lane) for lane in LANES],
        "task_default_queue": LANES[0],
        "task_create_missing_queues": False,
        "accept_content": ["json"],
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_send_task_events": False,
        "worker_enable_remote_control": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "worker_soft_shutdown_timeout": 20,
        "worker_enable_soft_shutdown_on_idle": True,
        "broker_transport_options": {
            # Kombu's own list of unacknowledged messages costs two round trips a message and guards nothing that the
            # ledger's lease does not: what is left in a worker that died, `worker.reconcile` publishes again.
            "ack_emulation": False,
            "socket_timeout": 15,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "priority_steps": [0],
        },
        "beat_schedule": beat_schedule(),
        "beat_scheduler": "worker.schedule:LedgerScheduler",
        "beat_max_loop_interval": 2,
    }


def _connect_signals(services: Services, keeper: Keeper, desk: Desk) -> None:
    @setup_logging.connect(weak=False)
    def _logs(**_: object) -> None:
        configure()

    @worker_ready.connect(weak=False)
    def _ready(sender: Any, **_: object) -> None:
        keeper.lanes = tuple(sender.app.amqp.queues.consume_from)
        keeper.start()
        desk.open()
        keep_for_good()
        log.info("worker_ready", concurrency=keeper.concurrency, worker=keeper.name)

    @worker_shutdown.connect(weak=False)
    def _leaving(**_: object) -> None:
        desk.close()
        keeper.stop()

    @task_unknown.connect(weak=False)
    def _unknown(name: str, id: str, message: Any, **_: object) -> None:
        tenant = (message.headers or {}).get("tenant")
        with system_session(services.database) as session:
            refuse(session, reason="unknown_kind", now=services.clock(), job=id, tenant=tenant, kind=name)
        log.warning("message_refused", reason="unknown_kind")
