"""Keeps named programs running and ends them in order; knows processes and pipes, not what the programs do."""

import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple, Self

from worker.guarded import BEYOND_GRACE, GuardedProcess, Program, SuperviseError, spawn

_FIRST_PAUSE, _LONGEST_PAUSE, _STEADY_AFTER = 0.5, 10.0, 30.0
_CHUNK = _LONGEST_LINE = 65536

Output = Callable[[str, str], object]
"""Called with a program's name and one line, always from the supervisor's own thread; a slow one holds up restarts."""


class ProcessState(NamedTuple):
    """One program as it is now: `pid` is the program's own, not its guard's, and None while it is down."""

    name: str
    pid: int | None
    restarts: int


def next_pause(pause: float | None, alive_for: float) -> float:
    """Seconds to wait before a restart: 0.5 doubling to 10, from the start again after 30 s alive."""
    if pause is None or alive_for >= _STEADY_AFTER:
        return _FIRST_PAUSE
    return min(pause * 2, _LONGEST_PAUSE)


class _Slot:
    """A program, whether it is wanted, and its process now. Written by the supervisor's thread, but for `wanted`."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.wanted = self.told = self.launched = False
        self.process: GuardedProcess | None = None
        self.failure = ""
        self.restarts = 0
        self.began = self.due = 0.0
        self.pause: float | None = None
        self.reading: int | None = None
        self.unfinished = b""

    def state(self) -> ProcessState:
        process = self.process
        return ProcessState(self.program.name, process.pid if process else None, self.restarts)

    def lines(self, chunk: bytes) -> list[str]:
        """The lines that `chunk` completes; the rest is kept, unless it is too long or `chunk` is empty: the end."""
        *lines, self.unfinished = (self.unfinished + chunk).split(b"\n")
        if self.unfinished and (not chunk or len(self.unfinished) > _LONGEST_LINE):
            lines.append(self.unfinished)
            self.unfinished = b""
        return [line.decode(errors="replace").rstrip("\r") for line in lines]


class Supervisor:
    """Runs programs, starts again what ended, forwards their output. Single use: start, then stop.

    `output` is a file to append `name | line` to, or a callback. However this process ends, all programs end; only
    `stop` (or leaving the `with` block) ends them one after the other, the last one first.
    """

    def __init__(self, programs: Iterable[Program], output: Path | Output) -> None:
        self._slots = {program.name: _Slot(program) for program in programs}
        self._target = output
        self._file: IO[str] | None = None
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._changed = threading.Condition()
        self._closing = self._finished = False
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the programs in order, each once the one before it is ready. On an error nothing stays running."""
        if isinstance(self._target, Path):
            descriptor = os.open(self._target, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            self._file = os.fdopen(descriptor, "a", buffering=1, encoding="utf-8")
        self._selector.register(self._wake, selectors.EVENT_READ, lambda: self._wake.recv(512))
        self._thread.start()
        try:
            for slot in self._slots.values():
                self._want(slot, True)
                if not slot.launched:
                    raise SuperviseError(f"{slot.program.name} could not be started: {slot.failure}")
                if slot.program.ready:
                    slot.program.ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the programs, the last one first, each with its grace. Harmless when repeated."""
        if self._closing:
            return
        for slot in reversed(self._slots.values()):
            self._want(slot, False)
            if slot.process:  # the thread could not see to it
                slot.process.stop()
                slot.process = None
        self._closing = True
        self._waker.send(b".")
        if self._thread.is_alive():
            self._thread.join(BEYOND_GRACE)
        for resource in (self._selector, self._wake, self._waker, self._file):
            if resource:
                resource.close()

    def processes(self) -> list[ProcessState]:
        """The programs in the order given."""
        return [slot.state() for slot in self._slots.values()]

    def kill(self, name: str) -> None:
        """SIGKILL to the named program, to show that it comes back. KeyError for an unknown name."""
        if process := self._slots[name].process:
            process.kill()

    def _want(self, slot: _Slot, wanted: bool) -> None:
        """Say what should be and wait until the thread has made it so, or could not."""

        def settled() -> bool:
            return self._finished or (slot.launched or slot.failure != "" if wanted else slot.process is None)

        with self._changed:
            slot.wanted = wanted
            if self._thread.is_alive():
                self._waker.send(b".")
                self._changed.wait_for(settled, None if wanted else slot.program.grace + BEYOND_GRACE)

    def _run(self) -> None:
        """The thread: wait for output, an end, a due restart or a wish; one turn after the other."""
        try:
            while not (self._closing and not any(slot.process for slot in self._slots.values())):
                for slot in self._slots.values():
                    self._converge(slot)
                for key, _ in self._selector.select(self._until_due()):
                    key.data()
        finally:
            with self._changed:
                self._finished = True
                self._changed.notify_all()

    def _until_due(self) -> float | None:
        due = [slot.due for slot in self._slots.values() if slot.wanted and not slot.process]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _converge(self, slot: _Slot) -> None:
        if slot.wanted and not slot.process and time.monotonic() >= slot.due:
            self._launch(slot)
        elif not slot.wanted and slot.process and not slot.told:
            slot.told = True
            slot.process.terminate()

    def _launch(self, slot: _Slot) -> None:
        slot.began = time.monotonic()
        slot.restarts += slot.launched
        try:
            process, slot.reading = spawn(slot.program)
        except (OSError, SuperviseError) as error:
            slot.failure = str(error)
            self._schedule(slot, f"cannot start: {error}")
            return
        self._selector.register(slot.reading, selectors.EVENT_READ, lambda: self._read(slot))
        self._selector.register(process, selectors.EVENT_READ, lambda: self._ended(slot, process))
        slot.launched = True
        self._note(slot, process)

    def _note(self, slot: _Slot, process: GuardedProcess | None) -> None:
        with self._changed:
            slot.process = process
            self._changed.notify_all()

    def _read(self, slot: _Slot) -> bool:
        """Forward what can be read at once; False when there is no more."""
        if slot.reading is None:
            return False
        try:
            chunk = os.read(slot.reading, _CHUNK)
        except BlockingIOError:
            return False
        for line in slot.lines(chunk):
            self._emit(slot, line)
        if not chunk:
            self._close_output(slot)
        return bool(chunk)

    def _close_output(self, slot: _Slot) -> None:
        if slot.reading is not None:
            self._selector.unregister(slot.reading)
            os.close(slot.reading)
            slot.reading = None

    def _ended(self, slot: _Slot, process: GuardedProcess) -> None:
        self._selector.unregister(process)
        status = process.wait()
        self._read(slot)  # what came since the last look: a pipe holds no more than one chunk
        self._close_output(slot)
        self._schedule(slot, f"ended with status {status}")

    def _schedule(self, slot: _Slot, cause: str) -> None:
        """Note that the program is down, why, and when it is due again."""
        now = time.monotonic()
        slot.pause = next_pause(slot.pause, now - slot.began)
        slot.due = now + slot.pause
        again = f", starts again in {slot.pause:g} s" if slot.wanted else ""
        self._emit(slot, f"supervisor: {cause}{again}")
        self._note(slot, None)

    def _emit(self, slot: _Slot, line: str) -> None:
        # A full disk or a faulty callback costs lines, never the programs: nobody else would restart or drain them.
        with suppress(Exception):
            if self._file:
                self._file.write(f"{slot.program.name} | {line}\n")
            elif callable(self._target):
                self._target(slot.program.name, line)
