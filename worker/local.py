"""Everything on one machine: an embedded Redis where none is named, and web, workers and beat under one supervisor.

It starts and ends processes; it knows nothing of what they do.
"""

import base64
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from models.migrations import upgrade
from worker.embedded import EmbeddedRedis
from worker.guarded import Program
from worker.jobs import LANES
from worker.settings import PREFIX, Settings, read_settings, with_dotenv
from worker.supervise import Supervisor

WORKER_GRACE = 45.0


@dataclass(slots=True)
class Local:
    """One machine's Troth. `environment` is what its processes are given; `folder` holds its state and its logs."""

    folder: Path
    port: int
    environment: dict[str, str] = field(repr=False)
    redis: EmbeddedRedis | None
    settings: Settings

    @property
    def url(self) -> str:
        """Where the pages and the API are."""
        return f"http://127.0.0.1:{self.port}"

    def programs(self) -> list[Program]:
        """Redis first, then who needs it."""
        mine = [self.redis.program()] if self.redis else []
        workers = [self._program(f"worker-{lane}", "worker", "--lane", lane, grace=WORKER_GRACE) for lane in LANES]
        return [*mine, self._program("web", "web", "--port", str(self.port)), *workers, self._program("beat", "beat")]

    def supervisor(self) -> Supervisor:
        """Not started yet; its processes' lines go to `troth.log` in the folder."""
        return Supervisor(self.programs(), self.folder / "troth.log")

    def _program(self, name: str, *arguments: str, grace: float = 10.0) -> Program:
        return Program(name, [sys.executable, "-m", "worker", *arguments], self.environment, grace=grace)


def prepare(folder: Path, port: int, given: Mapping[str, str] | None = None) -> Local:
    """Make the folder, a master key where none is set, the schema, and the settings of the processes to come."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = {**with_dotenv(), **(given or {}), f"{PREFIX}DATA_DIR": str(folder.absolute())}
    environment.setdefault(f"{PREFIX}BASE_URL", f"http://127.0.0.1:{port}")
    environment.setdefault("MALLOC_ARENA_MAX", "2")  # docs/operations.md, "Memory"
    if not environment.get(f"{PREFIX}MASTER_KEYS"):
        environment[f"{PREFIX}MASTER_KEYS"] = _own_master_key(folder / "master_keys")
    redis = None
    if not environment.get(f"{PREFIX}REDIS_URL"):
        redis = EmbeddedRedis(folder)
        environment[f"{PREFIX}REDIS_URL"] = redis.url
    settings = read_settings(environment)
    upgrade(settings.database_url)
    return Local(folder, port, environment, redis, settings)


def _own_master_key(path: Path) -> str:
    """The key kept beside the data, made on the first start. Good for one machine; a deployment sets its own."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(new_master_key())
    return path.read_text().strip()


def new_master_key() -> str:
    """A fresh `id:base64` entry for TROTH_MASTER_KEYS."""
    return f"k{secrets.token_hex(3)}:{base64.b64encode(secrets.token_bytes(32)).decode()}"
