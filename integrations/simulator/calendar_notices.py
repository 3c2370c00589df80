"""Posts the notices of channels to where they want them, in a thread of its own; knows no calendar.

Google does not promise them: buttons lose, double and delay them here.
"""

import queue
import threading
import time

import httpx

from integrations.simulator.calendar_world import Notice
from integrations.simulator.deliver import NO_AUTHORITIES

_RETRIED = (500, 502, 503, 504)
_TRIES = 3


class Notifier:
    """`lost`: how many of the next ones are lost; `twice`: each is sent twice; `late`: seconds before each. While one is on its
    way, later ones of its channel become one."""

    def __init__(self) -> None:
        self.lost, self.twice, self.late = 0, False, 0.0
        self.sent = 0
        self._waiting: dict[str, Notice] = {}
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None

    def __call__(self, notice: Notice) -> None:
        """Take one in; it is sent soon."""
        with self._turn:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="notices", daemon=True)
                self._thread.start()
            key = f"{notice.channel.id}/{notice.state}"
            if key not in self._waiting:
                self._queue.put(key)
            self._waiting[key] = notice

    def _run(self) -> None:
        with httpx.Client(timeout=10, trust_env=False, verify=NO_AUTHORITIES) as client:
            while True:
                key = self._queue.get()
                if self.late:
                    time.sleep(self.late)
                with self._turn:
                    notice = self._waiting.pop(key)
                if self.lost > 0:
                    self.lost -= 1
                    continue
                for _ in range(2 if self.twice else 1):
                    self._post(client, notice)

    def _post(self, client: httpx.Client, notice: Notice) -> None:
        for again in range(_TRIES):
            try:
                status = client.post(notice.channel.address, headers=notice.headers()).status_code
            except (httpx.HTTPError, httpx.InvalidURL):
                status = 503
            self.sent += 1
            if status not in _RETRIED:
                return
            time.sleep(0.2 * (again + 1))
