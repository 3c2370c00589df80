"""Talking with a helper process of ours, a JSON line at a time: orders, `ready`, the word, the result."""

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from tests.benchmarks.processes import Processes, python


def tell_result(result: Mapping[str, Any]) -> None:
    """The helper's own last word.

    Through a buffer, which writes on until all is written: `sys.stdout` is unbuffered here, and drops the rest of a long line
    when a full pipe's write comes back early, as it does when the process is stopped and goes on.
    """
    with open(1, "wb", closefd=False) as out:
        out.write(json.dumps(result).encode() + b"\n")


class Dialogue:
    """A helper that has understood its orders and waits for the word."""

    def __init__(
        self,
        processes: Processes,
        name: str,
        module: str,
        orders: Mapping[str, Any],
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._processes = processes
        self._started = processes.start(name, python(module), env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._tell(json.dumps(orders))
        self._hear()

    def go(self) -> None:
        """Begin."""
        self._tell("go")

    def result(self) -> dict[str, Any]:
        """Wait for the end."""
        answer: dict[str, Any] = json.loads(self._hear())
        self._processes.stop(self._started)
        return answer

    def _tell(self, line: str) -> None:
        stdin = self._started.process.stdin
        assert stdin is not None
        stdin.write(line.encode() + b"\n")
        stdin.flush()

    def _hear(self) -> bytes:
        stdout = self._started.process.stdout
        assert stdout is not None
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"{self._started.name} ended early\n{self._started.log.read_text()[-2000:]}")
        return line
