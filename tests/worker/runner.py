"""A worker's way with messages, without its process: takes them from the lanes one by one and runs them here."""

import orjson

from worker.app import create_app
from worker.services import Services
from worker.task import Handler


class Runner:
    """Takes messages out of a lane's Celery list, as a worker does, and runs them here."""

    def __init__(self, services: Services, handlers: dict[str, Handler]) -> None:
        self.services = services
        self.app = create_app(services, handlers)

    def waiting(self, lane: str = "interactive") -> list[dict[str, str]]:
        """The headers of the messages in the list, next one first."""
        return [orjson.loads(raw)["headers"] for raw in reversed(self.services.redis.lrange(lane, 0, -1))]

    def run_one(self, lane: str = "interactive", *, patience: float = 0) -> bool:
        """Run the next message; False when there is none, also not within `patience` seconds."""
        client = self.services.redis
        raw = client.brpop([lane], timeout=patience) if patience else client.rpop(lane)
        if raw is None:
            return False
        headers = orjson.loads(raw[1] if isinstance(raw, list | tuple) else raw)["headers"]
        self.deliver(headers["task"], headers["id"], headers["tenant"], lane)
        return True

    def run_all(self, lane: str = "interactive", *, patience: float = 0) -> int:
        """Run messages until the list is empty, after `patience` for the first one; how many."""
        ran = int(self.run_one(lane, patience=patience))
        while self.run_one(lane):
            ran += 1
        return ran

    def deliver(self, kind: str, job_id: object, tenant_id: object, lane: str = "interactive") -> None:
        """Hand a message to its task; errors are the test's."""
        headers = {} if tenant_id is None else {"tenant": tenant_id}
        self.app.tasks[kind].apply(task_id=job_id, headers=headers, routing_key=lane, throw=True)
