"""The sender: signed deliveries over kept connections, as cheaply as Python can, in a process of its own.

Reads a plan as JSON from standard input, says `ready`, waits for a line, and writes what happened as JSON.
It prebuilds every request, so that its CPU does not compete with what it measures.
"""

import asyncio
import hmac
import json
import socket
import sys
import time
from typing import Any, cast

import orjson
import uvloop

from tests.benchmarks.dialogue import tell_result


def request(path: str, page_leads: list[tuple[str, str]], secret: bytes) -> bytes:
    """One signed delivery with a change per (page, lead), an entry per page, as raw HTTP."""
    now = int(time.time())
    entries: dict[str, list[dict[str, Any]]] = {}
    for page, lead in page_leads:
        value = {"leadgen_id": lead, "page_id": page, "form_id": "990001", "ad_id": "880001", "adgroup_id": "770001",
                 "created_time": now}  # fmt: skip
        entries.setdefault(page, []).append({"field": "leadgen", "value": value})
    body = orjson.dumps(
        {"object": "page", "entry": [{"id": page, "time": now, "changes": some} for page, some in entries.items()]}
    )
    signature = hmac.digest(secret, body, "sha256").hex()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: crm.example\r\nContent-Type: application/json\r\n"
        f"X-Hub-Signature-256: sha256={signature}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Sender(asyncio.Protocol):
    """One kept connection: a request at a time, and the instant and status of its answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buffer = b""
        self._answer: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop has a class of its own

    def data_received(self, data: bytes) -> None:
        """Look for the end of the answer."""
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        at = head.lower().find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) >= length and self._answer is not None:
            self._buffer = b""
            answer, self._answer = self._answer, None
            answer.set_result(int(head[9:12]))

    def connection_lost(self, error: Exception | None) -> None:
        """A cut is an answer of its own: status 0."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(0)

    async def send(self, raw: bytes) -> int:
        """The status of the answer."""
        self._answer = self._loop.create_future()
        self._transport.write(raw)
        return await self._answer


async def _send_all(plan: dict[str, Any], requests: list[bytes]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    senders = [
        (await loop.create_connection(lambda: Sender(loop), "127.0.0.1", plan["port"]))[1]
        for _ in range(plan["connections"])
    ]
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    sent = [0.0] * len(requests)
    answered = [0.0] * len(requests)
    statuses = [0] * len(requests)
    position = iter(range(len(requests)))
    began = time.time()
    stop_at = began + (plan.get("seconds") or 3600)
    rate = plan.get("rate")

    async def work(sender: Sender) -> None:
        for index in position:
            if rate:
                await asyncio.sleep(max(0.0, began + index / rate - time.time()))
            sent[index] = time.time()
            if sent[index] >= stop_at:
                sent[index] = 0.0
                return
            statuses[index] = await sender.send(requests[index])
            answered[index] = time.time()

    await asyncio.gather(*(work(sender) for sender in senders))
    return {"began": began, "ended": max(answered), "sent": sent, "answered": answered, "statuses": statuses}


def main() -> None:
    """The process."""
    plan = json.loads(sys.stdin.readline())
    secret = plan["secret"].encode()
    requests = [request(plan["path"], some, secret) for some in plan["deliveries"]]
    result = uvloop.run(_send_all(plan, requests))
    tell_result(result)


if __name__ == "__main__":
    socket.setdefaulttimeout(30)
    main()
