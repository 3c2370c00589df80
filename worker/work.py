"""One transaction and what follows from it: commit first, then publish what was asked for; never the other way round."""

from contextlib import AbstractContextManager
from types import TracebackType

import redis
import structlog
from sqlalchemy.orm import Session

from models.job import Message, NewJob, put, put_alone
from models.tenancy import SYSTEM, system_session, tenant_session
from worker.services import Services

log = structlog.get_logger(__name__)


class Work:
    """`with Work(services, tenant_id) as work:` - a session bound to one tenant (None or SYSTEM: all), and jobs to start.

    When the block ends well the rows are committed and only then are the messages published. A publish that fails is
    no error: the rows are there, and the reconciler publishes them when Redis is back. The transaction begins with the
    first use of `session`; a single job without one is stored by one statement.
    """

    def __init__(self, services: Services, tenant_id: str | None, *, reads_only: bool = False) -> None:
        self._services = services
        self._tenant_id = None if tenant_id == SYSTEM else tenant_id
        self._transaction: AbstractContextManager[Session] = (
            system_session(services.database, reads_only=reads_only)
            if self._tenant_id is None
            else tenant_session(services.database, self._tenant_id, reads_only=reads_only)
        )
        self._session: Session | None = None
        self._unwritten: list[NewJob] = []
        self._messages: list[Message] = []

    def __enter__(self) -> "Work":
        return self

    @property
    def session(self) -> Session:
        """The session of this transaction."""
        if self._session is None:
            self._session = self._transaction.__enter__()
            self._write_jobs(self._session)
        return self._session

    def put(self, *jobs: NewJob) -> None:
        """Store jobs in this transaction; they are published after its commit."""
        self._unwritten += jobs
        if self._session is not None or len(self._unwritten) > 1:
            self._write_jobs(self.session)

    def _write_jobs(self, session: Session) -> None:
        jobs, self._unwritten = self._unwritten, []
        self._messages += put(session, jobs, self._services.clock())

    def publish_if(self, message: Message | None) -> None:
        """Publish this after the commit, if there is one."""
        if message is not None:
            self._messages.append(message)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            self._transaction.__exit__(kind, error, trace)
        elif error is None:
            for job in self._unwritten:  # one at most
                clock, database = self._services.clock, self._services.database
                self._messages += put_alone(database, job, clock(), tenant_id=self._tenant_id)
        if error is None and self._messages:
            publish(self._services, self._messages)


def publish(services: Services, messages: list[Message]) -> bool:
    """Hand messages to the gates of their lanes; False when Redis is away, which only delays them."""
    try:
        for lane, gate in services.gates.items():
            mine = [message for message in messages if message.lane == lane]
            if mine:
                gate.publish(mine)
    except redis.RedisError as error:
        log.warning("publish_failed", jobs=len(messages), error=type(error).__name__)
        return False
    return True
