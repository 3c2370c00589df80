"""A callback on this machine."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from integrations.simulator.seed import VERIFY_TOKEN


class Receiver:
    """A callback that keeps what it got; `answers` are the next statuses, 200 when there are none left."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, dict[str, str]]] = []
        self.answers: list[int] = []
        self.challenge: str | None = None
        receiver, turn = self, Condition()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with turn:
                    receiver.got.append((body, dict(self.headers)))
                    status = receiver.answers.pop(0) if receiver.answers else 200
                    turn.notify_all()
                self._answer(status, b"")

            def do_GET(self) -> None:
                query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                good = query.get("hub.mode") == "subscribe" and query.get("hub.verify_token") == VERIFY_TOKEN
                challenge = receiver.challenge or query.get("hub.challenge", "")
                self._answer(200 if good else 403, challenge.encode() if good else b"")

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self._turn = turn
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/webhooks/meta"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def ids(self) -> list[str]:
        found = []
        for body, _ in self.got:
            for entry in json.loads(body)["entry"]:
                found += [str(change["value"]["leadgen_id"]) for change in entry["changes"]]
        return found

    def heard(self, number: int) -> list[dict[str, str]]:
        """The headers of so many messages, waited for."""
        with self._turn:
            assert self._turn.wait_for(lambda: len(self.got) >= number, timeout=10)
            return [headers for _, headers in self.got]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
