"""Sends many requests at a time: one event loop in a thread of its own, and connections that are kept between chunks.

aiohttp on HTTP/1.1: per core several times what other well-kept clients do, and nothing is lost when a provider recycles its
connections (docs/decisions). No redirect is followed and no proxy of the environment used: endpoints are strangers' words.
"""

import asyncio
import ssl
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import timedelta

import aiohttp
from yarl import URL

from integrations.push.contract import Answer, Post
from integrations.push.resolver import PublicOnly, Refused

try:
    import uvloop
except ImportError:  # on Windows, and where Python is not CPython
    uvloop = None  # type: ignore[assignment]

AT_ONCE = 100
CONNECT, ANSWER, WHOLE = timedelta(seconds=5), timedelta(seconds=15), timedelta(seconds=25)
LARGEST_ANSWER = 16 * 1024


class Sender:
    """Safe to share between threads. `allowed` are origins whose names may lead inwards."""

    def __init__(
        self, allowed: Sequence[str] = (), *, at_once: int = AT_ONCE, trust: ssl.SSLContext | None = None
    ) -> None:
        self._allowed, self._at_once, self._trust = allowed, at_once, trust
        self._loop: asyncio.AbstractEventLoop = (uvloop or asyncio).new_event_loop()
        self._session: aiohttp.ClientSession | None = None
        self._lanes: dict[str, _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pushes", daemon=True)
        self._thread.start()

    def send(self, posts: Sequence[Post]) -> "Future[list[Answer]]":
        """The answers to come, in the order of the posts. None of them raises."""
        batch = _Batch(len(posts))
        if posts:
            self._loop.call_soon_threadsafe(self._begin, posts, batch)
        return batch.done

    def close(self) -> None:
        """End the loop and close every connection."""
        if self._session is not None:
            asyncio.run_coroutine_threadsafe(self._session.close(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _begin(self, posts: Sequence[Post], batch: "_Batch") -> None:
        """Each origin has hands of its own, so that a service that hangs holds nobody else up. They work on without a pause
        from batch to batch, which costs a third less than waiting for the slowest of each."""
        session = self._session = self._session or self._open()
        for place, post in enumerate(posts):
            url = URL(post.url, encoded=True)
            lane = self._lanes.setdefault(url.raw_authority, _Lane())
            lane.waiting.append((place, post, url, batch))
            if lane.hands < self._at_once:
                lane.hands += 1
                task = self._loop.create_task(self._work(session, lane))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _work(self, session: aiohttp.ClientSession, lane: "_Lane") -> None:
        try:
            while lane.waiting:
                place, post, url, batch = lane.waiting.popleft()
                batch.answer(place, await self._one(session, post, url))
        finally:
            lane.hands -= 1

    async def _one(self, session: aiohttp.ClientSession, post: Post, url: URL) -> Answer:
        try:
            async with session.post(url, data=post.body(), headers=post.headers, allow_redirects=False) as reply:
                if reply.status == 200 or reply.status == 201:
                    await reply.read()
                    return Answer(reply.status, {}, b"")
                return Answer(reply.status, reply.headers, await reply.content.read(LARGEST_ANSWER))
        except TimeoutError:
            return Answer(0, {}, b"", "timeout")
        except aiohttp.ClientConnectorError as error:
            return Answer(0, {}, b"", "refused" if isinstance(error.os_error, Refused) else "connect")
        except (aiohttp.ClientError, OSError, ValueError):
            return Answer(0, {}, b"", "cut")

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0, ttl_dns_cache=60, resolver=PublicOnly(self._allowed),
            ssl=self._trust if self._trust is not None else True, keepalive_timeout=50,
        )  # fmt: skip
        limits = aiohttp.ClientTimeout(
            total=WHOLE.total_seconds(), sock_connect=CONNECT.total_seconds(), sock_read=ANSWER.total_seconds()
        )
        return aiohttp.ClientSession(
            connector=connector, timeout=limits, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False,
            headers={"user-agent": "troth"}, auto_decompress=False,
        )  # fmt: skip


@dataclass(slots=True)
class _Lane:
    """What waits for one origin, and how many are at it."""

    waiting: "deque[tuple[int, Post, URL, _Batch]]" = field(default_factory=deque)
    hands: int = 0


class _Batch:
    """Answers as they come; `done` when all are there."""

    def __init__(self, size: int) -> None:
        self.done: Future[list[Answer]] = Future()
        self._answers: list[Answer] = [_NONE] * size
        self._left = size
        if not size:
            self.done.set_result([])

    def answer(self, place: int, answer: Answer) -> None:
        """One of them."""
        self._answers[place] = answer
        self._left -= 1
        if not self._left:
            self.done.set_result(self._answers)


_NONE = Answer(0, {}, b"", "cut")
