"""The guard alone, as a program: whatever ends its parent, itself or its command, nothing is left running."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

import worker.guard

PYTHON = [sys.executable, "-I", "-S", "-c"]
GUARD = [sys.executable, "-I", "-S", worker.guard.__file__]
ANSWERS_SIGTERM = """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"asked\\n"), os._exit(3)))
signal.signal(signal.SIGINT, lambda *_: os.write(1, b"interrupted\\n"))
os.write(1, b"ready\\n")
while True: signal.pause()
"""
IGNORES_SIGTERM = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True: signal.pause()
"""
HAS_A_CHILD = """
import os, signal, sys
child = os.fork()
if child: print(child, flush=True)
if child and "leaves" in sys.argv: sys.exit(0)
while True: signal.pause()
"""


class Guarded:
    """A guard that this test started, the parent's end of its channel, and the command's pid."""

    def __init__(self, *command: str, grace: float = 5.0, under: Sequence[str] = ()) -> None:
        self.channel, theirs = socket.socketpair()
        with theirs:
            self.guard = subprocess.Popen(
                [*under, *GUARD, "--grace", str(grace), "--", *command],
                bufsize=0,
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.channel.settimeout(10)
        with self.channel.makefile("rb") as reports:
            self.pid = int(reports.readline())

    def line(self) -> str:
        assert self.guard.stdout
        assert select.select([self.guard.stdout], [], [], 8)[0], "nothing was said"
        return self.guard.stdout.readline().decode().strip()

    def status(self) -> int:
        return self.guard.wait(10)

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.channel.close()
        self.guard.kill()
        self.guard.communicate()


@pytest.fixture
def guarded() -> Iterator[Callable[..., Guarded]]:
    started: list[Guarded] = []

    def start(*command: str, grace: float = 5.0, under: Sequence[str] = ()) -> Guarded:
        started.append(Guarded(*command, grace=grace, under=under))
        return started[-1]

    yield start
    for one in started:
        one.end()


def gone(pid: int) -> bool:
    """No such process, or only its entry: where nobody reaps orphans, a zombie is as gone as it gets."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except ProcessLookupError:
        return True
    except FileNotFoundError:
        return sys.platform == "linux"


def until(condition: Callable[[], bool], within: float = 8.0) -> bool:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.01)
    return True


def test_a_command_that_does_not_exist_gives_127_and_a_sentence(guarded: Callable[..., Guarded]) -> None:
    one = guarded("/nowhere/at-all")
    assert one.line() == "guard: cannot start /nowhere/at-all: No such file or directory"
    assert one.status() == 127


@pytest.mark.parametrize(
    "arguments", [[], ["--"], ["true"], ["--grace"], ["--grace", "soon", "--", "true"], ["--grace", "-1", "--", "true"]]
)
def test_wrong_usage_starts_nothing(arguments: list[str]) -> None:
    ended = subprocess.run([*GUARD, *arguments], capture_output=True, timeout=10)
    assert ended.returncode == 2
    assert ended.stderr.startswith(b"usage: guard.py")


def test_the_command_s_exit_status_is_the_guard_s(guarded: Callable[..., Guarded]) -> None:
    assert guarded(*PYTHON, "raise SystemExit(7)").status() == 7


def test_a_signal_that_ended_the_command_becomes_128_plus_its_number(guarded: Callable[..., Guarded]) -> None:
    one = guarded(*PYTHON, ANSWERS_SIGTERM)
    os.kill(one.pid, signal.SIGKILL)
    assert one.status() == 137


def test_the_parent_s_end_of_the_channel_closed_ends_the_command(guarded: Callable[..., Guarded]) -> None:
    one = guarded(*PYTHON, ANSWERS_SIGTERM)
    assert one.line() == "ready"
    one.channel.close()
    assert one.line() == "asked"
    assert one.status() == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_every_stop_signal_reaches_the_command_as_sigterm(guarded: Callable[..., Guarded], number: int) -> None:
    one = guarded(*PYTHON, ANSWERS_SIGTERM)
    assert one.line() == "ready"
    one.guard.send_signal(number)
    assert one.line() == "asked"
    assert one.status() == 3


def test_a_command_that_will_not_end_is_killed_after_the_grace(guarded: Callable[..., Guarded]) -> None:
    one = guarded(*PYTHON, IGNORES_SIGTERM, grace=0.3)
    assert one.line() == "ready"
    asked_at = time.monotonic()
    one.channel.close()
    assert one.status() == 137
    assert 0.3 <= time.monotonic() - asked_at < 3


@pytest.mark.parametrize("how", ["stays", "leaves"])
def test_children_that_outlive_the_command_are_killed(guarded: Callable[..., Guarded], how: str) -> None:
    one = guarded(*PYTHON, HAS_A_CHILD, how)
    grandchild = int(one.line())
    if how == "stays":
        one.guard.terminate()
    one.status()
    assert until(lambda: gone(grandchild))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_killed_guard_takes_the_command_with_it(guarded: Callable[..., Guarded]) -> None:
    one = guarded(*PYTHON, IGNORES_SIGTERM)
    assert one.line() == "ready"
    one.guard.kill()
    assert until(lambda: gone(one.pid))


def test_a_forked_copy_of_the_channel_does_not_keep_the_command_alive(tmp_path: Path) -> None:
    parent = """
import os, signal, socket, subprocess, sys
ours, theirs = socket.socketpair()
guard = subprocess.Popen(sys.argv[1:], stdin=theirs.fileno(), start_new_session=True)
theirs.close()
copy = os.fork()
if copy: print(int(ours.makefile().readline()), copy, flush=True)
while True: signal.pause()
"""
    command = [*GUARD, "--grace", "0.1", "--", *PYTHON, "import signal; signal.pause()"]
    with subprocess.Popen([*PYTHON, parent, *command], stdout=subprocess.PIPE) as process:
        assert process.stdout
        pid, copy = map(int, process.stdout.readline().split())
        try:
            assert not gone(pid)
            process.kill()
            assert until(lambda: gone(pid))
            assert not gone(copy)
        finally:
            os.kill(copy, signal.SIGKILL)


def test_the_command_has_its_own_session_an_empty_input_and_default_signals(guarded: Callable[..., Guarded]) -> None:
    look = """
import os, signal, sys
default = [signal.getsignal(n) is signal.SIG_DFL for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)]
print(os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid(), sys.stdin.read() == "", all(default),
      signal.pthread_sigmask(signal.SIG_BLOCK, []) == set(), len(os.listdir("/dev/fd")))
"""
    one = guarded(*PYTHON, look, under=["sh", "-c", 'trap "" TERM HUP; exec "$@"', "sh"])  # as nohup would
    # Descriptors: the three standard ones, and the one that lists them.
    assert one.line() == "True True True True True 4"
