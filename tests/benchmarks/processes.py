"""Starts processes whose life ends with ours, and reads from /proc what they cost; it knows no benchmark."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_TICK = os.sysconf("SC_CLK_TCK")
_MIB = 1024.0


class Started:
    """One process and its descendants. CPU and memory are read from /proc, so Linux only."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    def cpu(self) -> float:
        """Seconds of CPU, user and system, of the process and all of its descendants, also those that have ended."""
        return sum(_cpu(pid) for pid in family(self.process.pid))

    def memory(self) -> list[tuple[float, float]]:
        """(resident now, resident at its peak) in MiB of the process and each living descendant."""
        return [found for pid in family(self.process.pid) if (found := _memory(pid)) is not None]

    def stop(self, grace: float = 10) -> None:
        """End the whole process group, kindly first."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


class Processes:
    """Everything that was started; `with` ends all of it, the last one first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[Started] = []

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()

    def start(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        user: int | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = None,
    ) -> Started:
        """Start a process in its own group; its output goes to `NAME.log` in our folder."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                argv,
                env={**_environment(), **(env or {})},
                stdin=stdin,
                stdout=out if stdout is None else stdout,
                stderr=out,
                start_new_session=True,
                preexec_fn=_die_with_parent(os.getpid()),
                user=user,
                extra_groups=None if user is None else [],
            )
        self._started.append(started := Started(name, process, log))
        return started

    def stop_all(self) -> None:
        """End what still runs."""
        while self._started:
            self._started.pop().stop()

    def stop(self, *which: Started) -> None:
        """End these."""
        for started in reversed(which):
            started.stop()
            self._started.remove(started)


class Meter:
    """CPU of named processes between two moments."""

    def __init__(self, processes: Sequence[Started]) -> None:
        self._processes = processes
        self._before = [started.cpu() for started in processes]

    def read(self) -> dict[str, float]:
        """name -> seconds of CPU since the meter was made."""
        spent: dict[str, float] = {}
        for started, before in zip(self._processes, self._before, strict=True):
            spent[started.name] = spent.get(started.name, 0.0) + started.cpu() - before
        return spent


def family(pid: int) -> list[int]:
    """The process and all of its living descendants."""
    found = [pid]
    for member in found:
        for task in _tasks(member):
            try:
                found += [int(child) for child in (task / "children").read_text().split()]
            except OSError:
                continue
    return found


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(ticks) for ticks in fields[11:15]) / _TICK  # utime, stime, and both of children that ended


def _memory(pid: int) -> tuple[float, float] | None:
    try:
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return int(lines["VmRSS"].split()[0]) / _MIB, int(lines["VmHWM"].split()[0]) / _MIB
    except (OSError, KeyError, ValueError):
        return None


def _die_with_parent(parent: int) -> Callable[[], None]:
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def _environment() -> dict[str, str]:
    """Ours without what a developer's shell may say about Troth; the root of the checkout can be imported."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TROTH_")}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUNBUFFERED": "1"}


def python(*arguments: str) -> list[str]:
    """A command line for a module of this environment."""
    return [sys.executable, "-m", *arguments]
