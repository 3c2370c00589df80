"""The supervisor with real processes: what dies comes back, what is stopped stops in order, and nothing is orphaned."""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.embedded import EmbeddedRedis, EmbeddedRedisError, find_server
from worker.supervise import ProcessState, Program, SuperviseError, Supervisor, next_pause

ROOT = Path(__file__).parents[2]
PYTHON = [sys.executable, "-I", "-S", "-c"]
# Who waits in `signal.pause()` for what a handler does waits for ever when the signal comes just before it; these do not.
SLEEPER = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.write(1, b"runs as %d\\n" % os.getpid())
signal.sigwait([signal.SIGTERM])
os.write(1, b"ends\\n")
"""
SLOW_IF_TWO = """
import os, signal, sys, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
os.write(1, b"runs\\n")
while signal.sigwait([signal.SIGINT, signal.SIGTERM]) == signal.SIGINT: os.write(1, b"interrupted\\n")
time.sleep(0.3 * (sys.argv[1] == "two"))
os.write(1, b"ends\\n")
"""
STUBBORN = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, b"deaf\\n")
while True: signal.pause()
"""
A_PARENT = """
import os, signal, sys
from pathlib import Path
from worker.embedded import EmbeddedRedis
from worker.supervise import Program, Supervisor
command, grace = [sys.executable, "-I", "-S", "-c", sys.argv[2]], float(sys.argv[3])
programs = [Program(name, [*command, name], grace=grace) for name in ("one", "two")]
say = lambda *words: os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # whole lines, from two threads
said = lambda name, line: say(name, line) if name != "redis" else None
ended, end = os.pipe()
os.set_blocking(end, False)
signal.set_wakeup_fd(end)
signal.signal(signal.SIGINT, signal.default_int_handler)  # who starts the tests in the background has it ignored
with Supervisor([EmbeddedRedis(Path(sys.argv[1])).program(), *programs], said) as supervisor:
    say("pids", *(process.pid for process in supervisor.processes()))
    os.read(ended, 1)  # until a signal that Python handles
"""

Parent = Callable[[str, float], tuple["subprocess.Popen[str]", list[int]]]


class Heard:
    """A callback that keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __call__(self, name: str, line: str) -> None:
        self.lines.append((name, line))

    def count(self, start: str) -> int:
        return sum(line.startswith(start) for _, line in self.lines)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Parent]:
    """Start a process that supervises a Redis and two programs; its pids, and then the lines it prints."""
    started: list[subprocess.Popen[str]] = []

    def start(source: str, grace: float) -> tuple["subprocess.Popen[str]", list[int]]:
        command = [sys.executable, "-c", A_PARENT, str(tmp_path), source, str(grace)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        assert process.stdout
        said = sorted(process.stdout.readline() for _ in range(3))  # the pids, and a line from each program
        assert [line.split()[0] for line in said] == ["one", "pids", "two"]
        return process, [int(pid) for pid in said[1].split()[1:]]

    yield start
    for process in started:
        process.kill()
        process.communicate()


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


def sleeper(name: str) -> Program:
    return Program(name, [*PYTHON, SLEEPER], grace=5)


def pid_of(supervisor: Supervisor, name: str) -> int | None:
    return next(process.pid for process in supervisor.processes() if process.name == name)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV])
def test_however_the_parent_dies_its_programs_die_too(parent: Parent, tmp_path: Path, number: int) -> None:
    process, pids = parent(STUBBORN, 0.3)
    assert len(pids) == 3
    assert not any(gone(pid) for pid in pids)
    process.send_signal(number)
    assert until(lambda: all(gone(pid) for pid in pids))
    with EmbeddedRedis(tmp_path) as server:  # and the folder is free again
        assert server.pid


def test_a_server_that_outlives_its_killed_owner_for_a_moment_still_has_its_folder(
    parent: Parent, tmp_path: Path
) -> None:
    process, pids = parent(SLEEPER, 5)
    os.kill(pids[0], signal.SIGSTOP)
    process.kill()
    process.wait()
    try:
        with pytest.raises(EmbeddedRedisError, match=f"in use by process {process.pid}"):
            EmbeddedRedis(tmp_path).start()
    finally:
        os.kill(pids[0], signal.SIGCONT)
    with EmbeddedRedis(tmp_path) as server:
        assert server.pid


def test_ctrl_c_in_a_terminal_ends_the_programs_one_after_the_other(parent: Parent) -> None:
    process, pids = parent(SLOW_IF_TWO, 60)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole foreground group
    said = process.communicate(timeout=60)[0].splitlines()
    assert [line for line in said if line.endswith(("ends", "interrupted"))] == ["two ends", "one ends"]
    assert all(gone(pid) for pid in pids)


def test_a_killed_program_comes_back_and_is_counted(heard: Heard) -> None:
    with Supervisor([sleeper("a"), sleeper("b")], heard) as supervisor:
        assert until(lambda: heard.count("runs") == 2)
        before = supervisor.processes()
        supervisor.kill("a")
        assert until(lambda: heard.count("runs") == 3)
        after = supervisor.processes()
    assert [process.restarts for process in after] == [1, 0]
    assert after[0].pid != before[0].pid
    assert after[1] == before[1]
    assert ("a", "supervisor: ended with status 137, starts again in 0.5 s") in heard.lines


def test_the_pid_shown_is_the_program_s_own(heard: Heard) -> None:
    with Supervisor([sleeper("a")], heard) as supervisor:
        assert until(lambda: heard.count("runs") == 1)
        assert heard.lines == [("a", f"runs as {pid_of(supervisor, 'a')}")]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the guard by /proc")
def test_a_killed_guard_leaves_nothing_of_its_program_and_is_started_again(heard: Heard) -> None:
    a_family = "import os, signal\nos.fork()\nos.write(1, b'%d\\n' % os.getpid())\nwhile True: signal.pause()"
    with Supervisor([Program("a", [*PYTHON, a_family], grace=1)], heard) as supervisor:
        assert until(lambda: len(heard.lines) == 2)
        family = [int(line) for _, line in heard.lines]
        guard = int(Path(f"/proc/{pid_of(supervisor, 'a')}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(guard, signal.SIGKILL)
        assert until(lambda: all(gone(pid) for pid in family))
        assert until(lambda: supervisor.processes()[0].restarts == 1 and pid_of(supervisor, "a") is not None)


def test_a_program_that_cannot_run_is_tried_again_and_says_why(heard: Heard) -> None:
    with Supervisor([Program("a", ["/nowhere/at-all"])], heard) as supervisor:
        assert until(lambda: heard.count("supervisor: ended with status 127") == 2)
        assert pid_of(supervisor, "a") is None
    assert heard.lines[0] == ("a", "guard: cannot start /nowhere/at-all: No such file or directory")
    assert heard.lines[3] == ("a", "supervisor: ended with status 127, starts again in 1 s")


def test_pauses_double_to_ten_seconds_and_start_again_after_a_steady_run() -> None:
    pauses: list[float | None] = [None]
    for _ in range(7):
        pauses.append(next_pause(pauses[-1], alive_for=1))
    assert pauses[1:] == [0.5, 1, 2, 4, 8, 10, 10]
    assert next_pause(10, alive_for=29.9) == 10
    assert next_pause(10, alive_for=30) == 0.5


def test_a_program_that_will_not_end_is_killed_after_its_own_grace(heard: Heard) -> None:
    supervisor = Supervisor([sleeper("a"), Program("deaf", [*PYTHON, STUBBORN], grace=0.3)], heard)
    supervisor.start()
    assert until(lambda: len(heard.lines) == 2)
    pids = [process.pid or 0 for process in supervisor.processes()]
    supervisor.stop()
    assert all(gone(pid) for pid in pids)
    assert heard.lines[-3:] == [
        ("deaf", "supervisor: ended with status 137"),
        ("a", "ends"),
        ("a", "supervisor: ended with status 0"),
    ]
    supervisor.stop()
    assert supervisor.processes() == [ProcessState("a", None, 0), ProcessState("deaf", None, 0)]


def test_when_one_program_does_not_get_ready_none_stays(heard: Heard) -> None:
    def never() -> None:
        raise TimeoutError("not ready")

    unready = Program("b", [*PYTHON, SLEEPER], grace=5, ready=never)
    supervisor = Supervisor([sleeper("a"), unready, sleeper("c")], heard)
    with pytest.raises(TimeoutError, match="not ready"):
        supervisor.start()
    assert [process.pid for process in supervisor.processes()] == [None] * 3
    assert heard.count("supervisor: ended") == 2


def test_a_program_that_the_system_refuses_to_start_is_an_error_at_the_start(heard: Heard) -> None:
    no_descriptor = os.sysconf("SC_OPEN_MAX") - 1
    supervisor = Supervisor([sleeper("a"), Program("b", ["true"], fds=[no_descriptor])], heard)
    with pytest.raises(SuperviseError, match="b could not be started"):
        supervisor.start()
    assert [process.pid for process in supervisor.processes()] == [None, None]


def test_output_goes_to_a_private_file_line_by_line_with_the_program_s_name(tmp_path: Path) -> None:
    speak = "import os, sys\nos.write(1, b'a half')\nos.write(2, b' line\\r\\n\\xff\\n' + b'x' * 70000 + b'\\nend')"
    log = tmp_path / "troth.log"
    log.write_text("kept\n")
    log.chmod(0o600)
    with Supervisor([Program("a", [*PYTHON, speak])], log):
        assert until(lambda: "supervisor:" in log.read_text())
    lines = log.read_text().splitlines()
    assert lines[:3] == ["kept", "a | a half line", "a | \ufffd"]
    assert sum(line.count("x") for line in lines) == 70000
    assert lines[-2].endswith("| end") or lines[-1].startswith("a | supervisor")


def test_a_flood_of_lines_just_before_the_end_is_complete(heard: Heard) -> None:
    flood = (
        "import os\nleft = b''.join(b'%d\\n' % n for n in range(200000))\nwhile left: left = left[os.write(1, left):]"
    )
    with Supervisor([Program("a", [*PYTHON, flood])], heard):
        assert until(lambda: heard.count("supervisor:") == 1)
    assert [line for _, line in heard.lines[:200000]] == [str(number) for number in range(200000)]


def test_a_new_log_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    with Supervisor([], tmp_path / "troth.log"):
        pass
    assert (tmp_path / "troth.log").stat().st_mode & 0o777 == 0o600


def test_a_faulty_callback_costs_lines_but_no_program() -> None:
    def faulty(name: str, line: str) -> None:
        raise OSError("disk full")

    with Supervisor([sleeper("a")], faulty) as supervisor:
        supervisor.kill("a")
        assert until(lambda: supervisor.processes()[0].restarts == 1 and pid_of(supervisor, "a") is not None)


def test_a_program_s_environment_is_not_shown() -> None:
    assert "hidden" not in repr(Program("a", ["true"], {"TROTH_MASTER_KEYS": "hidden"}))


def test_a_supervised_redis_answers_once_started_and_comes_back_with_its_data(
    tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "redis-server"
    slow.write_text(f'#!/bin/sh\n[ $1 = --version ] || sleep 0.3\nexec {shlex.quote(str(find_server()))} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    server = EmbeddedRedis(tmp_path)
    with Supervisor([server.program(), sleeper("a")], heard) as supervisor:
        redis.Redis.from_url(server.url, retry=Retry(NoBackoff(), 0)).set("job", "kept")  # at once, or not at all
        first = pid_of(supervisor, "redis")
        supervisor.kill("redis")
        assert until(lambda: pid_of(supervisor, "redis") not in (None, first))
        server.wait_ready(5)
        assert redis.Redis.from_url(server.url).get("job") == b"kept"
    server.stop()
    with EmbeddedRedis(tmp_path) as alone:
        assert redis.Redis.from_url(alone.url).get("job") == b"kept"
