"""Sends many requests at a time: one event loop in a thread of its own, and connections that are kept between chunks.

aiohttp on HTTP/1.1: per core several times what other well-kept clients do, and nothing is lost when a provider recycles its
connections (docs/decisions). No redirect is followed and no proxy of the environment used: endpoints are strangers' words.
"""

import asyncio
import ssl
import threading
from collections.abc import Iterator, Sequence
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
        self._thread = threading.Thread(target=self._loop.run_forever, name="pushes", daemon=True)
        self._thread.start()

    def send(self, posts: Sequence[Post]) -> list[Answer]:
        """The answers, in the order of the posts. It never raises for one of them."""
        return asyncio.run_coroutine_threadsafe(self._send_all(posts), self._loop).result()

    def close(self) -> None:
        """End the loop and close every connection."""
        if self._session is not None:
            asyncio.run_coroutine_threadsafe(self._session.close(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _send_all(self, posts: Sequence[Post]) -> list[Answer]:
        if self._session is None:
            self._session = self._open()
        answers: list[Answer] = [_NONE] * len(posts)
        following = iter(enumerate(posts))
        crowd = min(self._at_once, len(posts))
        await asyncio.gather(*(self._work(self._session, following, answers) for _ in range(crowd)))
        return answers

    async def _work(
        self, session: aiohttp.ClientSession, following: Iterator[tuple[int, Post]], answers: list[Answer]
    ) -> None:
        for place, post in following:
            answers[place] = await self._one(session, post)

    async def _one(self, session: aiohttp.ClientSession, post: Post) -> Answer:
        try:
            async with session.post(
                URL(post.url, encoded=True), data=post.body, headers=post.headers, allow_redirects=False
            ) as reply:
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
            limit=0, limit_per_host=self._at_once, ttl_dns_cache=60, resolver=PublicOnly(self._allowed),
            ssl=self._trust if self._trust is not None else True, keepalive_timeout=50,
        )  # fmt: skip
        limits = aiohttp.ClientTimeout(
            total=WHOLE.total_seconds(), sock_connect=CONNECT.total_seconds(), sock_read=ANSWER.total_seconds()
        )
        return aiohttp.ClientSession(
            connector=connector, timeout=limits, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False,
            headers={"user-agent": "troth"}, auto_decompress=False,
        )  # fmt: skip


_NONE = Answer(0, {}, b"", "cut")
