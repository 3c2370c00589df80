"""A process's parts that push to the simulated services, devices registered there, and bulletins played to their end."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from redis import Redis
from sqlalchemy import select

from integrations.simulator.push_world import PushWorld
from integrations.simulator.server import SimulatorServer
from models import bulletin as bulletins
from models import push as pushes
from models.bulletin import Audience, Bulletin, Content, NewBulletin
from models.device import FID, WEBPUSH, Device, NewDevice, register
from models.feed import Event
from models.push import Push
from models.tenancy import system_session, tenant_session
from tests.conftest import Company, FrozenClock
from tests.worker.outside import settle
from tests.worker.runner import Runner
from worker import jobs
from worker.pauses import Pauses
from worker.pushes import Pushes
from worker.quota import Quota
from worker.services import Services
from worker.settings import Push as PushSettings
from worker.tasks import HANDLERS
from worker.work import Work

VAPID_KEY = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"


def names(stem: str, number: int) -> list[str]:
    """So many names of devices."""
    return [f"{stem}{one:04d}" for one in range(number)]


class Pushing:
    """One simulated world of push services, and a worker."""

    def __init__(self, server: SimulatorServer, services: Services, clock: FrozenClock) -> None:
        self.server, self.clock, self.panel = server, clock, server.panel
        self._redis = services.redis
        self.world: PushWorld = server.world.push
        self.services = services
        self.limit(600_000)

    def limit(self, fcm_quota: int, redis: Redis | None = None) -> None:
        """As a process begins that is told of this quota; with another Redis to keep it in, if one is given."""
        url = self.server.url
        settings = PushSettings(url, self.world.credentials(url), VAPID_KEY, "mailto:o@crm.example", (url,), fcm_quota)
        quota = Quota(redis or self._redis, clock=lambda: self.clock().timestamp())
        pushes = Pushes(settings, self.services.http, self.clock, self.pauses(), quota)
        self.services.pushes.close()
        self.services = replace(self.services, settings=replace(self.services.settings, push=settings), pushes=pushes)
        self.worker = Runner(self.services, HANDLERS)

    def pauses(self) -> Pauses:
        """Providers' pauses, as each process looks at them."""
        return Pauses(self._redis, self.clock, prefix="troth:pushes:paused:")

    def close(self) -> None:
        """End the sender."""
        self.services.pushes.close()

    def phones(self, company: Company, names: Iterable[str], **more: Any) -> None:
        """Devices of FCM; each belongs to a user of its own name unless `user` says otherwise."""
        self._register(company, [NewDevice(**{"host_id": name, "kind": FID, "address": {"token": name},
                                              "user": f"user-{name}", **more}) for name in names])  # fmt: skip

    def browsers(self, company: Company, names: Iterable[str], **more: Any) -> None:
        """Browsers, subscribed."""
        made = []
        for name in names:
            given = self.world.subscribe(name, self.server.url)
            address = {"endpoint": given["endpoint"], **given["keys"]}
            made.append(
                NewDevice(**{"host_id": name, "kind": WEBPUSH, "address": address, "user": f"user-{name}", **more})
            )
        self._register(company, made)

    def _register(self, company: Company, made: list[NewDevice]) -> None:
        with tenant_session(self.services.database, company.id) as session:
            keyring = self.services.vault.keyring(session, company.id, company.id, self.clock())
            for new in made:
                register(session, keyring, new, tenant_id=company.id, now=self.clock())

    def announce(self, company: Company, audience: Audience | None = None, **more: Any) -> str:
        """Store a bulletin as the API does; its id."""
        now = self.clock()
        given: dict[str, Any] = {
            "content": Content("Fire drill", "<p>At ten.</p>", variants={"de": {"title": "Feueralarm", "body": "Um zehn."}}),
            "audience": audience or Audience("all"), "starts_at": now, "expires_at": now + timedelta(days=1), **more,
        }  # fmt: skip
        with Work(self.services, company.id) as work:
            keyring = self.services.vault.keyring(work.session, company.id, company.id, now)
            row = bulletins.add(work.session, keyring, NewBulletin(**given), tenant_id=company.id, now=now)
            work.put(jobs.bulletins_start(company.id, row.id, row.starts_at))
        return row.id

    def cancel(self, company: Company, bulletin: str) -> None:
        """As a person does."""
        with Work(self.services, company.id) as work:
            row = bulletins.locked(work.session, bulletin)
            assert row is not None
            bulletins.end(row, bulletins.CANCELLED, self.clock())
            work.put(jobs.bulletins_settle(company.id, bulletin))

    def play(self, seconds: float = 10) -> None:
        """Run all that is due, and what is due a little later."""
        settle(self.worker, self.services)
        self.clock.tick(seconds)
        settle(self.worker, self.services)

    def row(self, bulletin_id: str) -> Bulletin:
        """As it stands."""
        with system_session(self.services.database, reads_only=True) as session:
            return session.get_one(Bulletin, bulletin_id)

    def states(self, bulletin_id: str) -> dict[str, int]:
        """state -> pushes."""
        with system_session(self.services.database, reads_only=True) as session:
            tenant = session.get_one(Bulletin, bulletin_id).tenant_id
            return dict(pushes.counts(session, tenant, bulletin_id).states)

    def pushes(self, bulletin_id: str) -> list[Push]:
        """Every row."""
        with system_session(self.services.database, reads_only=True) as session:
            return list(session.scalars(select(Push).where(Push.bulletin_id == bulletin_id).order_by(Push.device_id)))

    def devices(self, company: Company) -> list[str]:
        """Those that are left."""
        with system_session(self.services.database, reads_only=True) as session:
            query = select(Device.host_id).where(Device.tenant_id == company.id).order_by(Device.host_id)
            return list(session.scalars(query))

    def events(self, company: Company, kind: str) -> list[dict[str, Any]]:
        """What was told of."""
        with system_session(self.services.database, reads_only=True) as session:
            query = select(Event.data).where(Event.tenant_id == company.id, Event.type == kind).order_by(Event.position)
            return list(session.scalars(query))

    def times(self, bulletin_id: str) -> dict[str, int]:
        """target -> how often the services took it."""
        return {name: count for (name, tag), count in self.world.taken.items()
                if tag in (bulletin_id, bulletin_id.replace("-", ""))}  # fmt: skip
