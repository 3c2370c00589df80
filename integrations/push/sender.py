"""Sends many requests at a time: libcurl in a thread of its own, whose connections are kept from one batch to the next.

A request costs a third of what it costs other clients (docs/decisions), and libcurl asks us at each connect whether the
address that a name has led to may be called. No redirect is followed and no proxy used: endpoints are strangers' words.
"""

import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast
from urllib.parse import urlsplit

import certifi
import pycurl

from integrations.push.addresses import is_public
from integrations.push.contract import Answer, Post

AT_ONCE, CONNECTIONS = 100, 1_000
"""Requests to one service at a time, and connections to all."""
CONNECT, WHOLE, IDLE = timedelta(seconds=5), timedelta(seconds=20), timedelta(seconds=50)
LARGEST_ANSWER = 16 * 1024
_USUAL = {status: Answer(status) for status in (200, 201)}
_NO_WAY = {pycurl.E_COULDNT_CONNECT, pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_SSL_CONNECT_ERROR,
           pycurl.E_PEER_FAILED_VERIFICATION}  # fmt: skip
_SEEN = ((select.POLLIN | select.POLLHUP, pycurl.CSELECT_IN), (select.POLLOUT, pycurl.CSELECT_OUT),
         (select.POLLERR | select.POLLNVAL, pycurl.CSELECT_ERR))  # fmt: skip


class Sender:
    """Safe to share between threads. `allowed` are origins whose names may lead inwards; `trust` a file of authorities."""

    def __init__(self, allowed: Sequence[str] = (), *, at_once: int = AT_ONCE, trust: str | None = None) -> None:
        self._hosts = {urlsplit(origin).hostname for origin in allowed}
        self._at_once, self._trust = at_once, trust or certifi.where()
        self._given: deque[tuple[Sequence[Post], _Batch]] = deque()
        self._lanes: dict[str, _Lane] = {}
        self._idle: list[_Hand] = []
        self._under_way: set[_Batch] = set()
        self._timer: float | None = None
        self._ends = False
        self._ear, self._bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._ear, select.POLLIN)
        self._curl = pycurl.CurlMulti()
        self._curl.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, CONNECTIONS)
        self._curl.setopt(pycurl.M_MAXCONNECTS, CONNECTIONS)
        self._curl.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._curl.setopt(pycurl.M_TIMERFUNCTION, self._wake_after)
        self._thread = threading.Thread(target=self._run, name="pushes", daemon=True)
        self._thread.start()

    def send(self, posts: Sequence[Post]) -> "Future[list[Answer]]":
        """The answers to come, in the order of the posts. None of them raises."""
        batch = _Batch(len(posts))
        if posts:
            self._given.append((posts, batch))
            self._ring()
            if not self._thread.is_alive():  # nobody may have heard it
                batch.cut()
        return batch.done

    def close(self) -> None:
        """Close every connection. What has no answer yet is told that it was cut."""
        self._ends = True
        self._ring()
        self._thread.join(5)

    def _ring(self) -> None:
        with suppress(BlockingIOError, OSError):  # it rings already; or the thread has ended
            os.write(self._bell, b"!")

    def _run(self) -> None:
        try:
            while not self._ends:
                self._turn()
        finally:
            for _, batch in self._given:
                batch.cut()
            for batch in list(self._under_way):
                batch.cut()
            self._curl.close()
            bell, self._bell = self._bell, -1
            os.close(bell)
            os.close(self._ear)

    def _turn(self) -> None:
        patience = None if self._timer is None else max(0.0, self._timer - time.monotonic()) * 1000
        for place, event in self._poll.poll(patience):
            if place == self._ear:
                with suppress(BlockingIOError):
                    os.read(self._ear, 4096)
            else:
                self._curl.socket_action(place, sum(bit for mask, bit in _SEEN if event & mask))
        if self._timer is not None and self._timer <= time.monotonic():
            self._timer = None
            self._curl.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._reap()
        while self._given:
            self._accept(*self._given.popleft())

    def _watch(self, wish: int, place: int, _multi: object, _own: object) -> None:
        """libcurl waits for something at a socket."""
        if wish == pycurl.POLL_REMOVE:
            self._poll.unregister(place)
        else:
            reads, writes = wish & pycurl.POLL_IN, wish & pycurl.POLL_OUT
            self._poll.register(place, (select.POLLIN if reads else 0) | (select.POLLOUT if writes else 0))

    def _wake_after(self, milliseconds: int) -> None:
        self._timer = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    def _accept(self, posts: Sequence[Post], batch: "_Batch") -> None:
        """Each service has hands of its own, so that a service that hangs holds nobody else up. They work on without a pause
        from batch to batch, which costs a third less than waiting for the slowest of each."""
        self._under_way.add(batch)
        for place, post in enumerate(posts):
            lane = self._lanes.get(post.service)
            if lane is None:
                lane = self._lanes[post.service] = _Lane(post.service, urlsplit(post.url).hostname in self._hosts)
            if lane.hands < self._at_once:
                lane.hands += 1
                self._begin(self._idle.pop() if self._idle else _Hand(self._trust), lane, place, post, batch)
            else:
                lane.waiting.append((place, post, batch))

    def _begin(self, hand: "_Hand", lane: "_Lane", place: int, post: Post, batch: "_Batch") -> None:
        hand.lane, hand.place, hand.batch = lane, place, batch
        hand.take(post)
        self._curl.add_handle(hand)

    def _reap(self) -> None:
        """What has ended: its answer goes to its batch, and its hand takes what its lane has next."""
        left = 1
        while left:
            left, well, badly = self._curl.info_read()
            for curl in well:
                self._ended(curl, 0)
            for curl, code, _text in badly:
                self._ended(curl, code)

    def _ended(self, curl: pycurl.Curl, code: int) -> None:
        self._curl.remove_handle(curl)
        hand = cast("_Hand", curl)
        lane, batch = hand.lane, hand.batch
        if batch.answer(hand.place, hand.answer(code)):
            self._under_way.discard(batch)
        if lane.waiting:
            self._begin(hand, lane, *lane.waiting.popleft())
            return
        lane.hands -= 1
        self._idle.append(hand)
        if not lane.hands:
            del self._lanes[lane.service]


@dataclass(slots=True, eq=False)
class _Lane:
    """What waits for one push service, and how many are at it."""

    service: str
    is_allowed: bool
    waiting: "deque[tuple[int, Post, _Batch]]" = field(default_factory=deque)
    hands: int = 0


class _Hand(pycurl.Curl):
    """One request at a time, over whichever connection is free."""

    lane: _Lane
    batch: "_Batch"
    place: int

    def __init__(self, trust: str) -> None:
        self.url = ""
        self.headers: list[str] | None = None
        self.parts: list[bytes] = []
        self.opened: list[socket.socket] = []
        self.was_refused = False
        for option, value in (
            (pycurl.POST, 1), (pycurl.NOSIGNAL, 1), (pycurl.FOLLOWLOCATION, 0), (pycurl.PROXY, ""),
            (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS), (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.CONNECTTIMEOUT_MS, _ms(CONNECT)), (pycurl.TIMEOUT_MS, _ms(WHOLE)),
            (pycurl.MAXAGE_CONN, int(IDLE.total_seconds())), (pycurl.MAXFILESIZE, LARGEST_ANSWER),
            (pycurl.CAINFO, trust), (pycurl.USERAGENT, "troth"), (pycurl.WRITEFUNCTION, self.parts.append),
            (pycurl.OPENSOCKETFUNCTION, self.socket),
        ):  # fmt: skip
            self.setopt(option, value)

    def take(self, post: Post) -> None:
        """Make ready what is not the same as last time."""
        if self.url != post.url:
            self.url = post.url
            self.setopt(pycurl.URL, post.url)
        if self.headers is not post.headers:
            self.headers = post.headers
            self.setopt(pycurl.HTTPHEADER, post.headers)
        self.setopt(pycurl.POSTFIELDS, post.body())

    def socket(self, _purpose: int, address: tuple[int, int, int, tuple[str, int]]) -> socket.socket | int:
        """A socket for an address that a name has led to, unless it leads inwards: between name and connect, so that a name
        which changed its mind since the registration leads nowhere."""
        family, kind, protocol, where = address
        if not self.lane.is_allowed and not is_public(where[0]):
            self.was_refused = True
            return pycurl.SOCKET_BAD
        opened = socket.socket(family, kind, protocol)
        self.opened.append(opened)  # libcurl works with a duplicate, made when this has returned
        return opened

    def answer(self, code: int) -> Answer:
        """What came of the request; `code` is libcurl's, 0 for an answer that came whole."""
        status = self.getinfo(pycurl.RESPONSE_CODE)
        body, was_refused = b"".join(self.parts), self.was_refused
        self.parts.clear()
        while self.opened:
            self.opened.pop().close()
        self.was_refused = False
        if code == 0 or (code == pycurl.E_FILESIZE_EXCEEDED and status):
            # A status is all there is to know of what was taken, and the beginning enough of what was not.
            return _USUAL.get(status) or Answer(status, body, timedelta(seconds=self.getinfo(pycurl.RETRY_AFTER)))
        if code == pycurl.E_OPERATION_TIMEDOUT:
            return Answer(0, failed="timeout")
        return Answer(0, failed="refused" if was_refused else "connect" if code in _NO_WAY else "cut")


class _Batch:
    """Answers as they come; `done` when all are there."""

    def __init__(self, size: int) -> None:
        self.done: Future[list[Answer]] = Future()
        self._answers = [_NONE] * size
        self._left = size
        if not size:
            self.done.set_result([])

    def answer(self, place: int, answer: Answer) -> bool:
        """One of them; whether it was the last."""
        self._answers[place] = answer
        self._left -= 1
        if not self._left:
            self.done.set_result(self._answers)
        return not self._left

    def cut(self) -> None:
        """No more of them will come."""
        if not self.done.done():
            self.done.set_result(self._answers)


_NONE = Answer(0, failed="cut")


def _ms(time: timedelta) -> int:
    return int(time.total_seconds() * 1000)
