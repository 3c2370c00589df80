"""`bulletins`: one announcement to 100,000 devices, beside firebase-admin in a task per 500, a loop over pywebpush, and bare
loops over libcurl and aiohttp; what it weighs; and how long another tenant's leads take beside one.

A message's price is CPU of the processes that send it, so that the figures are messages a second and core. Everything speaks
plain HTTP to one provider, which answers after 20 ms and closes connections after 1,000 answers.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.request import urlopen

import orjson
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from integrations.push.subscription import text_of
from models import bulletin as bulletins
from models.base import new_id
from models.bulletin import COMPLETED, Audience, Bulletin, Content, NewBulletin
from models.device import DEVICES, FID, WEBPUSH
from models.opt_out import user_mark
from models.push import counts
from models.statements import insert_all
from models.tenancy import tenant_session
from tests.benchmarks.dialogue import Dialogue
from tests.benchmarks.figures import Figure, at_least, percentile, progress, told, within
from tests.benchmarks.ours import Ours
from tests.benchmarks.processes import Meter, Started, python
from tests.benchmarks.sending import PageLead, Sending, spread
from tests.benchmarks.servers import free_port, listens, wait_until
from tests.benchmarks.stage import PAGES, Stage, stage
from worker import jobs
from worker.services import Services, build
from worker.settings import read_settings
from worker.work import Work

DEVICES_SENT = int(os.environ.get("BENCH_DEVICES", "100000"))
PEER_DEVICES, LOOP_DEVICES, PEER_BROWSERS, BROWSERS = 10_000, 20_000, 3_000, DEVICES_SENT // 5
"""The peers' rates are the same all along, and 100,000 would take them minutes."""
LATENCY_MS, RECYCLE, DEAD_EVERY = 20, 1_000, 33
WANTED_PEER, WANTED_LIMIT, WANTED_WEBPUSH, MOST_MIB, LEAD_LIMIT_S = 4, 0.6, 8, 200, 2.0
LEADS, LEAD_RATE = 400, 20
PATIENCE = 400
VAPID_KEY = text_of(bytes([1]) * 32)
SENDER, OTHER = PAGES[0].tenant, PAGES[1].tenant


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to: messages taken, seconds, and CPU of who sends; `servers` is that of PostgreSQL and Redis."""

    sent: int
    seconds: float
    cpu: float
    servers: float = 0.0
    mib: float = 0.0

    def __add__(self, other: "Outcome") -> "Outcome":
        """Two runs as one."""
        return Outcome(self.sent + other.sent, self.seconds + other.seconds, self.cpu + other.cpu)

    @property
    def rate(self) -> float:
        """Messages a second and core."""
        return self.sent / self.cpu

    @property
    def rate_with_servers(self) -> float:
        """The same with the servers' CPU."""
        return self.sent / (self.cpu + self.servers)


def run() -> Iterator[Figure]:
    """FCM, then Web Push, then another tenant's leads beside a bulletin of both."""
    with stage() as here:
        url = _provider(here)
        firebase = _peer(here, url, "firebase", _tokens(PEER_DEVICES))
        before = _loops(here, url)
        ours, _ = _ours(here, url, fcm(DEVICES_SENT))
        after = _loops(here, url)
        bare, patient, other = (one + again for one, again in zip(before, after, strict=True))
        yield at_least(
            "bulletins", "messages_per_second_per_core_firebase_admin", ours.rate, firebase.rate, WANTED_PEER
        )
        yield at_least("bulletins", "messages_per_second_per_core_bare_loop", ours.rate, bare.rate, WANTED_LIMIT)
        yield at_least("bulletins", "messages_per_second_per_core_bare_aiohttp", ours.rate, other.rate, WANTED_LIMIT)
        yield at_least("bulletins", "messages_per_second_per_core_patient_loop", ours.rate, patient.rate, WANTED_LIMIT)
        yield told("bulletins", "with_the_cpu_of_database_and_redis", ours.rate_with_servers, firebase.rate)
        yield told("bulletins", "messages_per_second", ours.sent / ours.seconds, firebase.sent / firebase.seconds)
        subscribed = _subscriptions(url, PEER_BROWSERS)
        plain = _peer(here, url, "pywebpush", subscribed[: PEER_BROWSERS // 2])
        loop = _peer(here, url, "bare_webpush", subscribed)
        web, _ = _ours(here, url, webpush(url, BROWSERS))
        yield at_least("bulletins", "web_push_per_second_per_core_pywebpush", web.rate, plain.rate, WANTED_WEBPUSH)
        yield told("bulletins", "web_push_per_second_pywebpush", web.sent / web.seconds, plain.sent / plain.seconds)
        yield told("bulletins", "web_push_per_second_per_core_bare_loop", web.rate, loop.rate)
        both, latencies = _ours(here, url, [*fcm(DEVICES_SENT // 2), *webpush(url, DEVICES_SENT // 2)], leads=True)
        yield within("bulletins", "worker_peak_mib", max(ours.mib, both.mib), MOST_MIB)
        yield within("bulletins", "other_tenants_lead_stored_p99_s", percentile(latencies, 0.99), LEAD_LIMIT_S)
        yield told("bulletins", "other_tenants_lead_stored_p50_s", percentile(latencies, 0.5))


def _provider(here: Stage) -> str:
    port = free_port()
    started = here.processes.start(
        "provider", python("tests.benchmarks.push_provider", str(port), str(LATENCY_MS), str(RECYCLE))
    )
    wait_until(lambda: listens(port), 30, started)
    return f"http://127.0.0.1:{port}"


def _name(number: int) -> str:
    return f"{'dead-' if number % DEAD_EVERY == 0 else 'fid-'}{number:07d}:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx"


def _tokens(number: int) -> list[str]:
    return [_name(one) for one in range(number)]


def _subscriptions(url: str, number: int) -> list[dict[str, Any]]:
    point = (
        ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    )
    keys = {"p256dh": text_of(point), "auth": text_of(bytes(16))}
    return [{"endpoint": f"{url}/push/{_name(one)}", "keys": keys} for one in range(number)]


def _peer(here: Stage, url: str, kind: str, targets: list[Any]) -> Outcome:
    peer = Dialogue(here.processes, kind, "tests.benchmarks.peer.push",
                    {"kind": kind, "url": url, "targets": targets, "key": VAPID_KEY})  # fmt: skip
    peer.go()
    result = peer.result()
    outcome = Outcome(result["sent"], result["seconds"], result["cpu"])
    progress(f"{kind}: {outcome.rate:.0f} a second and core, {outcome.sent / outcome.seconds:.0f} a second")
    return outcome


def _loops(here: Stage, url: str) -> list[Outcome]:
    """The bare loops, once before ours and once after: a machine of others changes its pace from one minute to the next."""
    return [_peer(here, url, kind, _tokens(LOOP_DEVICES)) for kind in ("bare", "patient", "aiohttp")]


def fcm(number: int) -> list[tuple[str, dict[str, str]]]:
    """Devices of FCM, every 33rd of them dead."""
    return [(FID, {"token": token}) for token in _tokens(number)]


def webpush(url: str, number: int) -> list[tuple[str, dict[str, str]]]:
    """Browsers, every 33rd of them dead."""
    return [(WEBPUSH, {"endpoint": it["endpoint"], **it["keys"]}) for it in _subscriptions(url, number)]


def _ours(
    here: Stage, url: str, devices: Sequence[tuple[str, dict[str, str]]], *, leads: bool = False
) -> tuple[Outcome, list[float]]:
    provider = here.provider(LEADS) if leads else None
    ours = Ours(here, "postgresql", provider.url if provider is not None else "http://127.0.0.1:1")
    ours.env |= {"TROTH_FCM_URL": url, "TROTH_FCM_CREDENTIALS": credentials(url), "TROTH_VAPID_PRIVATE_KEY": VAPID_KEY,
                 "TROTH_VAPID_SUBJECT": "mailto:ops@crm.example", "TROTH_WEBPUSH_ALLOWED": url}  # fmt: skip
    services = build(read_settings(ours.env))
    tenant = ours.tenants[SENDER]
    register(services, tenant, devices)
    ours.start_worker("worker", "worker", "--lane", jobs.BULK, "--concurrency", "4")
    senders = list(ours.processes)
    ours.start_beat()
    if leads:
        ours.start_web()
        ours.start_worker("worker", "worker", "--lane", jobs.INTERACTIVE)
    mine = [one for one in provider.leads if one[0] == PAGES[1].id][:LEADS] if provider is not None else []
    outcome, latencies = _announced(here, ours, services, tenant, senders, mine)
    services.close()
    ours.stop()
    return outcome, latencies


def _announced(
    here: Stage, ours: Ours, services: Services, tenant: str, senders: list[Started], leads: list[PageLead]
) -> tuple[Outcome, list[float]]:
    deliveries = spread(leads, 1)
    sending = (
        Sending(here.processes, port=ours.port, deliveries=deliveries, connections=8, rate=LEAD_RATE) if leads else None
    )
    here.settle(*ours.processes)
    meter, servers = Meter(senders), Meter(here.servers("postgresql"))
    began = time.monotonic()
    bulletin = announce(services, tenant)
    if sending is not None:
        sending.go()
    wait_until(lambda: _row(services, tenant, bulletin).status == COMPLETED, PATIENCE, senders[0])
    seconds, cpu, spent = time.monotonic() - began, sum(meter.read().values()), sum(servers.read().values())
    with tenant_session(services.database, tenant, reads_only=True) as session:
        states = counts(session, tenant, bulletin).states
    row = _row(services, tenant, bulletin)
    if sum(states.values()) != row.devices or set(states) != {"sent", "removed"}:
        raise RuntimeError(f"the counts do not add up: {dict(states)} of {row.devices}")
    outcome = Outcome(row.devices, seconds, cpu, spent, max(peak for one in senders for _, peak in one.memory()))
    progress(f"ours: {outcome.rate:.0f} a second and core, {row.devices / seconds:.0f} a second, worker {cpu:.1f} s, "
             f"servers {spent:.1f} s, {outcome.mib:.0f} MiB, {dict(states)}")  # fmt: skip
    latencies: list[float] = []
    if sending is not None:
        sent = sending.result()
        wait_until(lambda: ours.stored() >= len(leads), 30)
        at = ours.stored_at()
        # Those that were sent while the bulletin was under way.
        latencies = [at[some[0][1]] - begun for begun, some in zip(sent.sent, deliveries, strict=True)
                     if begun < sent.began + seconds]  # fmt: skip
        progress(f"{len(latencies)} leads of another tenant meanwhile")
    return outcome, latencies


def register(services: Services, tenant: str, devices: Sequence[tuple[str, dict[str, str]]]) -> None:
    """Store devices, as many at once as can be."""
    now = datetime.now(UTC)
    for first in range(0, len(devices), 5_000):
        with tenant_session(services.database, tenant) as session:
            keyring = services.vault.keyring(session, tenant, tenant, now)
            rows = []
            for number, (kind, address) in enumerate(devices[first : first + 5_000], start=first):
                one, user = new_id(), f"u-{number}"
                sealed = keyring.seal(orjson.dumps(address), table="devices", row=one, column="address")
                rows.append({
                    "id": one, "tenant_id": tenant, "host_id": f"d-{number}", "kind": kind, "address": sealed,
                    "address_hash": keyring.fingerprint(f"{kind}:{number}"), "user_hash": user_mark(keyring, user),
                    "user": keyring.seal(user.encode(), table="devices", row=one, column="user"),
                    "created_at": now, "seen_at": now,
                })  # fmt: skip
            insert_all(session.connection(), DEVICES, rows)


def announce(services: Services, tenant: str) -> str:
    """A bulletin to all; its id."""
    now = services.clock()
    content = Content("Fire drill", "At ten, in the yard. Leave what you are doing, and take the stairs.")
    new = NewBulletin(content, Audience("all"), now, now + timedelta(hours=6))
    with Work(services, tenant) as work:
        keyring = services.vault.keyring(work.session, tenant, tenant, now)
        row = bulletins.add(work.session, keyring, new, tenant_id=tenant, now=now)
        work.put(jobs.bulletins_start(tenant, row.id))
    return row.id


def _row(services: Services, tenant: str, bulletin: str) -> Bulletin:
    with tenant_session(services.database, tenant, reads_only=True) as session:
        return session.get_one(Bulletin, bulletin)


def credentials(url: str) -> str:
    """A service account's key, with its token endpoint there."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return json.dumps({"type": "service_account", "project_id": "bench", "client_email": "bench@bench.example",
                       "private_key": pem, "token_uri": f"{url}/token"})  # fmt: skip


def taken(url: str) -> dict[str, int]:
    """What the provider counted."""
    with urlopen(f"{url}/counts") as answer:  # noqa: S310 - ours, on loopback
        found: dict[str, int] = json.loads(answer.read())
    return found
