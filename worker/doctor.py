"""`troth doctor`: everything Troth needs, looked at one by one; each finding says how to mend it. Changes nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import redis
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from models.connection import LIVING, Connection
from models.job import DONE, Job
from models.revision import current, head
from models.tenancy import system_session
from models.vault import wrapped_by
from worker.jobs import CANARY
from worker.services import Services, build
from worker.settings import BadSettings, read_settings

OLDEST_CANARY = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    ok: bool
    sentence: str


def examine() -> list[Finding]:
    """All findings; a part that cannot be looked at is a finding too."""
    try:
        settings = read_settings()
    except BadSettings as mistakes:
        return [Finding("settings", False, line) for line in str(mistakes).splitlines()]
    if settings.redis_url is None:
        return [Finding("redis", False, "TROTH_REDIS_URL is not set; `troth up` brings a Redis of its own")]
    services = build(settings)
    try:
        return [Finding("settings", True, "understood"), *_looks(services)]
    finally:
        services.close()


def _looks(services: Services) -> Iterator[Finding]:
    for subject, look in (
        ("database", _database),
        ("redis", _redis),
        ("keys", _keys),
        ("beat", _beat),
        ("meta", _meta),
        ("google", _google),
    ):
        yield _safely(subject, look, services)


def _safely(subject: str, look: Callable[[Services], Finding], services: Services) -> Finding:
    try:
        return look(services)
    except (SQLAlchemyError, redis.RedisError) as error:
        return Finding(subject, False, f"it cannot be reached ({type(error).__name__}); check its URL and that it runs")


def _database(services: Services) -> Finding:
    have, want = current(services.database), head()
    if have != want:
        return Finding("database", False, f"the schema is at {have or 'nothing'}, not {want}: run `troth migrate`")
    if services.database.kind == "postgresql":
        with system_session(services.database, reads_only=True) as session:
            bypasses = session.scalar(
                text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
            )
        if bypasses:
            return Finding("database", False, "the application's role goes around row policies: run `troth migrate`")
    return Finding("database", True, f"{services.database.kind}, schema {have}")


def _redis(services: Services) -> Finding:
    policy = services.redis.config_get("maxmemory-policy").get("maxmemory-policy")
    version = str(services.redis.info("server").get("redis_version", "0"))
    if policy != "noeviction":
        return Finding("redis", False, f"maxmemory-policy is {policy}: messages may vanish; set it to noeviction")
    if int(version.split(".")[0]) < 7:
        return Finding("redis", False, f"version {version} is too old; use 7 or newer")
    return Finding("redis", True, f"version {version}, noeviction")


def _keys(services: Services) -> Finding:
    with system_session(services.database, reads_only=True) as session:
        counts = wrapped_by(session)
    lost, old = (
        ", ".join(f"{count} under {name}" for name, count in sorted(counts.items()) if name in names)
        for names in (counts.keys() - services.settings.master_keys.keys(), [*services.settings.master_keys][1:])
    )
    if lost:
        return Finding("keys", False, f"data keys cannot be opened ({lost}): add these keys to TROTH_MASTER_KEYS")
    if old:
        return Finding("keys", True, f"data keys are under older master keys ({old}): `troth keys rotate` rewraps them")
    return Finding("keys", True, f"{sum(counts.values())} data keys, all under {services.vault.active}")


def _beat(services: Services) -> Finding:
    with system_session(services.database, reads_only=True) as session:
        last = session.scalar(select(func.max(Job.finished_at)).where(Job.kind == CANARY, Job.state == DONE))
    if last is None:
        return Finding("beat", False, "no canary job has ever run: start `troth beat` and `troth worker`")
    age = services.clock() - last
    if age > OLDEST_CANARY:
        return Finding(
            "beat", False, f"the last canary job ran {age.total_seconds():.0f} s ago: are beat and a worker up?"
        )
    return Finding("beat", True, f"a canary job ran {age.total_seconds():.0f} s ago")


def _meta(services: Services) -> Finding:
    meta = services.settings.meta
    return _provider(services, "meta", "facebook_leads", meta.missing, f"app {meta.app_id}, Graph {meta.graph_version}")


def _google(services: Services) -> Finding:
    return _provider(
        services, "google", "google_calendar", services.settings.google.missing, "client id and secret are set"
    )


def _provider(services: Services, subject: str, integration: str, missing: list[str], well: str) -> Finding:
    if not missing:
        return Finding(subject, True, well)
    with system_session(services.database, reads_only=True) as session:
        in_use = session.scalar(
            select(Connection.id).where(Connection.integration == integration, Connection.status.in_(LIVING)).limit(1)
        )
    if in_use:
        return Finding(subject, False, "accounts are connected, but the integration is off: set " + ", ".join(missing))
    return Finding(subject, True, "off: " + ", ".join(missing) + " not set, and no account is connected")
