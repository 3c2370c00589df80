"""Ties a command's life to its parent's; knows nothing of Troth and imports only the standard library.

Run by file path, isolated, so that it starts fast and nothing in the checkout can shadow the standard library:

    python -I -S worker/guard.py [--grace SECONDS] -- COMMAND [ARGUMENT...]

Standard input is one end of a socket pair (or pipe) whose other end only the parent holds. The guard writes the
command's pid to it as one line, then waits for its end: the kernel closes it however the parent dies, SIGKILL included.
Then, as on SIGTERM, SIGINT, SIGHUP or SIGQUIT, the command gets SIGTERM, and after the grace SIGKILL with its whole
process group. Exit status: the command's own, 128+n when signal n ended it, 127 when it could not be started, 2 for
wrong usage.
"""

import os
import select
import signal
import sys
import time
from contextlib import suppress

if sys.platform == "linux":
    import ctypes

_USAGE = "usage: guard.py [--grace SECONDS] -- COMMAND [ARGUMENT...]"
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_DEFAULT_GRACE = 10.0
_PR_SET_PDEATHSIG = 1  # https://man7.org/linux/man-pages/man2/pr_set_pdeathsig.2const.html
_CHANNEL = 0
# A parent that forked without exec left a second copy of its end: then no end of file comes, but our parent changes.
_LOOK_FOR_PARENT_EVERY = 1.0


def main(arguments: list[str]) -> int:
    """Run the command to its end and return the exit status described above. Grace in seconds."""
    parsed = _parse(arguments)
    if parsed is None:
        sys.stderr.write(_USAGE + "\n")
        return 2
    grace, command = parsed
    parent = os.getppid()
    # Until the handlers stand, a stop signal waits; the child resets them before it may receive one.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    child = _start(command)
    wake, asked = _hear_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
    with suppress(OSError):  # a one-way pipe, or the parent has already gone: the loop below finds out
        os.write(_CHANNEL, b"%d\n" % child)
    status = _watch(child, grace, parent, wake, asked)
    _signal_group(child)
    return status


def _parse(arguments: list[str]) -> tuple[float, list[str]] | None:
    """Grace and command, or None. By hand: argparse would double the start-up time."""
    grace = _DEFAULT_GRACE
    if arguments[:1] == ["--grace"]:
        try:
            grace = float(arguments[1])
        except (IndexError, ValueError):
            return None
        arguments = arguments[2:]
    if arguments[:1] != ["--"] or len(arguments) < 2 or not 0 <= grace < float("inf"):
        return None
    return grace, arguments[1:]


def _start(command: list[str]) -> int:
    """Run the command in a session of its own, so that a terminal's Ctrl-C does not reach it; return its pid."""
    guard = os.getpid()
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != guard:
            os._exit(128 + signal.SIGKILL)  # the guard died before the line above could count
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, _CHANNEL)
        # What Python ignores, and what our own parent may have told us to ignore (nohup), must not bind the command.
        for number in (*_STOP_SIGNALS, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"guard: cannot start {command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _hear_signals() -> tuple[int, list[int]]:
    """A descriptor that turns readable with every signal, and the list that collects the stop signals."""
    wake, write_end = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(write_end, False)
    asked: list[int] = []
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler must stand, or the wake-up byte is not written
    for number in _STOP_SIGNALS:
        signal.signal(number, lambda number, _: asked.append(number))
    return wake, asked


def _watch(child: int, grace: float, parent: int, wake: int, asked: list[int]) -> int:
    """Wait for the child's end and return its exit status; stop it when asked or when the parent has gone."""
    kill_at: float | None = None
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if kill_at is None:
            readable, _, _ = select.select([_CHANNEL, wake], [], [], _LOOK_FOR_PARENT_EVERY)
            if asked or os.getppid() != parent or (_CHANNEL in readable and _channel_closed()):
                os.kill(child, signal.SIGTERM)  # the child alone: it knows best how to end its own children
                kill_at = time.monotonic() + grace
        elif (left := kill_at - time.monotonic()) > 0:
            readable, _, _ = select.select([wake], [], [], left)
        else:
            _signal_group(child)
            readable, _, _ = select.select([wake], [], [], _LOOK_FOR_PARENT_EVERY)
        if wake in readable:
            os.read(wake, 512)


def _channel_closed() -> bool:
    try:
        return not os.read(_CHANNEL, 512)
    except OSError:
        return True  # the parent died with our line unread: a socket pair says "reset" instead of "end"


def _signal_group(child: int) -> None:
    """SIGKILL for what is left of the child's process group: its children that outlived it, or itself."""
    with suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        os.killpg(child, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
