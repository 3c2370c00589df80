"""One process under `guard.py`, so that it ends when this process ends; knows pipes and signals, not why it is run."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_GUARD = Path(__file__).with_name("guard.py")
_REPORT_WITHIN = 10.0
BEYOND_GRACE = 5.0
"""Seconds after a program's grace in which its guard must have ended it."""


class SuperviseError(Exception):
    """A process could not be started; the text is safe to show."""


@dataclass(frozen=True)
class Program:
    """What to run. `env` None means this process's own; `grace` is seconds from SIGTERM to SIGKILL (a busy Celery
    worker needs 45); `fds` stay open in the process; `ready` blocks until the program serves, or raises."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] | None = field(default=None, repr=False)  # it may hold secrets
    grace: float = 45.0
    fds: Sequence[int] = ()
    ready: Callable[[], object] | None = None


class GuardedProcess:
    """A process under `guard.py`, so that it ends when this process ends, by whatever means.

    Its standard input is empty; standard output and error go to `output`, a descriptor or a file.
    Raises SuperviseError when the guard does not start; a command that cannot be executed ends with status 127.
    """

    def __init__(self, program: Program, output: int | IO[bytes]) -> None:
        self.grace = program.grace
        self._channel, theirs = socket.socketpair()
        guard = [sys.executable, "-I", "-S", str(_GUARD), "--grace", str(program.grace), "--", *program.argv]
        try:
            self._guard = subprocess.Popen(
                guard,
                stdin=theirs.fileno(),
                stdout=output,
                stderr=subprocess.STDOUT,
                env=program.env,
                pass_fds=program.fds,
                start_new_session=True,  # a terminal's Ctrl-C is for this process, which ends programs in order
            )
        except BaseException:
            self._channel.close()
            raise
        finally:
            theirs.close()
        self.pid = self._reported_pid(program.name)

    def _reported_pid(self, name: str) -> int:
        self._channel.settimeout(_REPORT_WITHIN)
        with suppress(OSError, ValueError), self._channel.makefile("rb") as reports:
            return int(reports.readline())
        self._guard.kill()
        self._guard.wait()
        self._channel.close()
        raise SuperviseError(f"The guard of {name} did not start.")

    def fileno(self) -> int:
        """Turns readable, by end of file, once the process and its guard have ended."""
        return self._channel.fileno()

    def wait(self, timeout: float | None = None) -> int | None:
        """Exit status (128+n for signal n), or None when it still runs after `timeout` seconds."""
        try:
            status = self._guard.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        if status < 0 and self._channel.fileno() >= 0:  # the guard itself was killed: once, clear up in its place
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        self._channel.close()
        return int(status) if status >= 0 else 128 - int(status)

    def terminate(self) -> None:
        """Ask for the end: SIGTERM now, SIGKILL after the grace. Does not wait."""
        self._guard.terminate()

    def kill(self) -> None:
        """SIGKILL to the process itself, like a crash. Does not wait."""
        if self._guard.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Ask for the end and wait for it."""
        self.terminate()
        if self.wait(self.grace + BEYOND_GRACE) is None:
            self._guard.kill()
            self.wait()


def spawn(program: Program) -> tuple[GuardedProcess, int]:
    """The process, and a descriptor from which its output is read without blocking."""
    reading, writing = os.pipe()
    try:
        os.set_blocking(reading, False)
        return GuardedProcess(program, writing), reading
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
