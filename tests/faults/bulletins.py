"""A bulletin while workers are killed at random, each in the middle of a chunk: each living device is taken at least once and
recorded once, what was taken twice had no result, the dead are removed, and the counts add up.

`python -m tests.faults.bulletins` plays it in full (100,000 devices, 20 kills); the test plays a smaller one.
"""

import json
import random
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sqlalchemy import func, select

from models.bulletin import COMPLETED, Bulletin
from models.device import Device
from models.feed import BULLETIN_COMPLETED, DEVICE_REMOVED, Event
from models.job import RUNNING, Job
from models.push import LEASE, SENT, Push
from models.tenancy import system_session
from models.tenant import add_tenant
from tests import databases
from tests.benchmarks.bulletins import VAPID_KEY, announce, credentials, fcm, register, taken, webpush
from tests.faults.loss import insist
from worker.embedded import free_port
from worker.jobs import BULK, BULLETINS_SEND
from worker.local import prepare
from worker.logs import configure
from worker.reconcile import LONGEST_TRUST
from worker.services import Services, build
from worker.supervise import Program, Supervisor
from worker.tasks.bulletin_sending import SLICE

THREADS = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """How many devices, half of them browsers, and how often a worker is killed, one every `pause` seconds until it is over."""

    devices: int = 100_000
    kills: int = 20
    pause: float = 1.0
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it. `twice` are targets that were taken more than once, `doubts` posts whose answer was never recorded,
    `kills` those that hit a worker at work."""

    devices: int
    kills: int
    sent: int
    removed: int
    left: int
    taken: int
    twice: int
    doubts: int
    devices_left: int
    told_removed: int
    told_completed: int
    seconds: float

    @property
    def good(self) -> bool:
        """Somebody was killed; every living device has one result, and nothing came twice but what was in flight at a kill."""
        return (
            self.sent == self.taken == self.devices_left
            and self.sent + self.removed == self.devices
            and self.left == 0
            and self.told_removed == self.removed
            and self.told_completed == 1
            and self.kills > 0
            and self.twice <= self.doubts <= self.kills * THREADS * SLICE
        )


def play(folder: Path, database_url: str, plan: Plan) -> Outcome:
    """Announce, kill, and wait for its end: a message that died with its worker is missed after so long at most."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    local = prepare(folder, free_port(), {
        "TROTH_DATABASE_URL": database_url, "TROTH_FCM_URL": url, "TROTH_FCM_CREDENTIALS": credentials(url),
        "TROTH_VAPID_PRIVATE_KEY": VAPID_KEY, "TROTH_VAPID_SUBJECT": "mailto:ops@crm.example",
        "TROTH_WEBPUSH_ALLOWED": url,
    })  # fmt: skip
    provider = Program("provider", [sys.executable, "-m", "tests.benchmarks.push_provider", str(port), "20", "300"],
                       local.environment, grace=2)  # fmt: skip
    command = [sys.executable, "-m", "worker", "worker", "--lane", BULK, "--concurrency", str(THREADS)]
    workers = [Program(name, command, local.environment, grace=5) for name in ("w1", "w2")]
    others = [one for one in local.programs() if one.name in ("redis", "beat")]
    services = build(local.settings)
    supervisor = Supervisor([provider, *others, *workers], folder / "bulletin.log")
    with system_session(services.database) as session:
        tenant = add_tenant(
            session, external_id="acme", name="Acme", country="US", timezone="UTC", now=services.clock()
        ).id
    half = plan.devices // 2
    register(services, tenant, [*fcm(half), *webpush(url, half)])
    supervisor.start()
    try:
        insist(lambda: _listens(url))
        began = time.monotonic()
        bulletin = announce(services, tenant)
        kills = _kill(supervisor, services, bulletin, plan)
        insist(lambda: _status(services, bulletin) == COMPLETED, (LONGEST_TRUST + 3 * LEASE).total_seconds())
        outcome = _outcome(services, bulletin, taken(url), plan)
        return replace(outcome, kills=kills, seconds=round(time.monotonic() - began, 1))
    finally:
        supervisor.stop()
        services.close()


def _listens(url: str) -> bool:
    try:
        return taken(url)["asked"] >= 0
    except OSError:
        return False


def _kill(supervisor: Supervisor, services: Services, bulletin: str, plan: Plan) -> int:
    """How often a worker was hit that had a chunk under way."""
    chance, pause, kills = random.Random(plan.seed), threading.Event(), 0
    while kills < plan.kills and _status(services, bulletin) != COMPLETED:
        pause.wait(plan.pause * chance.uniform(0.5, 1.5))
        at_work = _at_work(services)
        busy = [one.name for one in supervisor.processes() if one.pid in at_work]
        if busy:
            supervisor.kill(chance.choice(busy))
            kills += 1
    return kills


def _at_work(services: Services) -> set[int]:
    """The processes that have a chunk under way, and those that had one when they died."""
    with system_session(services.database, reads_only=True) as session:
        found = select(Job.worker).where(Job.kind == BULLETINS_SEND, Job.state == RUNNING)
        return {int(str(worker).rpartition(":")[2]) for worker in session.scalars(found)}


def _status(services: Services, bulletin: str) -> str:
    with system_session(services.database, reads_only=True) as session:
        return session.get_one(Bulletin, bulletin).status


def _outcome(services: Services, bulletin: str, counted: dict[str, int], plan: Plan) -> Outcome:
    with system_session(services.database, reads_only=True) as session:
        mine = Push.bulletin_id == bulletin
        states = dict(session.execute(select(Push.state, func.count()).where(mine).group_by(Push.state)).all())
        told = dict(session.execute(select(Event.type, func.count()).group_by(Event.type)).all())
        doubts = session.scalar(select(func.sum(Push.doubts)).where(mine)) or 0
        left = session.scalar(select(func.count()).select_from(Device)) or 0
    sent, removed = states.pop(SENT, 0), states.pop("removed", 0)
    return Outcome(
        devices=plan.devices, kills=plan.kills, sent=sent, removed=removed, left=sum(states.values()),
        taken=counted["taken"], twice=counted["twice"], doubts=int(doubts), devices_left=left,
        told_removed=told.get(DEVICE_REMOVED, 0), told_completed=told.get(BULLETIN_COMPLETED, 0), seconds=0,
    )  # fmt: skip


def main() -> int:
    """The full plan on PostgreSQL with its syncs on."""
    configure()
    with databases.postgresql(durable=True) as url, tempfile.TemporaryDirectory(prefix="troth-") as folder:
        outcome = play(Path(folder), url("postgres"), Plan())
    print(json.dumps({**asdict(outcome), "good": outcome.good}))  # noqa: T201
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main())
