"""Sends many requests at a time by libcurl, in the thread of whoever asks; connections are kept from one batch to the next.

A request costs a third of what it costs other clients (docs/decisions), and libcurl asks us at each connect whether the
address that a name has led to may be called. No redirect is followed and no proxy used: endpoints are strangers' words.
"""

import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import repeat
from typing import Self, cast
from urllib.parse import urlsplit

import certifi
import pycurl

from integrations.push.addresses import is_public
from integrations.push.contract import TIMEOUT, Answer, Post

AT_ONCE, CONNECTIONS = 150, 1_000
"""Requests to one service at a time, and connections to all."""
CONNECT, WHOLE, IDLE = timedelta(seconds=5), timedelta(seconds=20), timedelta(seconds=50)
LARGEST_ANSWER = 16 * 1024
_PATIENCE, _MOMENT, _GATHER = 0.1, 0.001, 0.004
"""Seconds. `_GATHER`: what has come waits for more, because each waking looks at all that is under way."""
_USUAL = {status: Answer(status) for status in (200, 201)}
"""Of what was taken, the status is all there is to know."""
_NONE = Answer(0, failed="cut")
_NO_WAY = {pycurl.E_COULDNT_CONNECT, pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_SSL_CONNECT_ERROR,
           pycurl.E_PEER_FAILED_VERIFICATION}  # fmt: skip


class Sender:
    """For one thread at a time. `allowed` are origins whose names may lead inwards; `trust` a file of authorities."""

    def __init__(self, allowed: Sequence[str] = (), *, at_once: int = AT_ONCE, trust: str | None = None) -> None:
        self._hosts = {urlsplit(origin).hostname for origin in allowed}
        self._at_once, self._trust = at_once, trust or certifi.where()
        self._idle: list[_Hand] = []
        self._curl = pycurl.CurlMulti()
        self._curl.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, CONNECTIONS)
        self._curl.setopt(pycurl.M_MAXCONNECTS, CONNECTIONS)

    def send(self, posts: Sequence[Post]) -> list[Answer]:
        """The answers, in the order of the posts; none raises. Each service has hands of its own: what hangs there holds nobody
        else up."""
        answers = [_NONE] * len(posts)
        lanes: dict[str, _Lane] = {}
        for place, post in enumerate(posts):
            lane = lanes.get(post.service)
            if lane is None:
                lane = lanes[post.service] = _Lane(urlsplit(post.url).hostname in self._hosts)
            lane.waiting.append((place, post))
        under_way = 0
        for lane in lanes.values():
            for _ in range(min(self._at_once, len(lane.waiting))):
                self._curl.add_handle((self._idle.pop() if self._idle else _Hand(self._trust)).take(lane))
                under_way += 1
        while under_way:
            self._curl.perform()
            if ended := self._ended():
                under_way -= self._follow(ended, answers)  # and whoever took the next request sends it at once
            elif self._curl.select(_PATIENCE) > 0:
                time.sleep(_GATHER)
            else:  # nothing came in time; or nothing can be waited for, as while a name is looked up
                time.sleep(_MOMENT)
        return answers

    def _ended(self) -> "list[tuple[_Hand, int]]":
        """Whose request has ended, and how in libcurl's words (0: an answer came whole)."""
        ended: list[tuple[_Hand, int]] = []
        left = 1
        while left:
            left, well, badly = self._curl.info_read()
            ended += zip(cast("list[_Hand]", well), repeat(0))
            ended += [(cast("_Hand", curl), code) for curl, code, _text in badly]
        return ended

    def _follow(self, ended: "list[tuple[_Hand, int]]", answers: list[Answer]) -> int:
        """Each gives its answer, and takes what its lane has next; how many found nothing."""
        rested, remove, add = 0, self._curl.remove_handle, self._curl.add_handle
        for hand, code in ended:
            remove(hand)
            answers[hand.place] = hand.answer(code)
            if hand.lane.waiting:
                add(hand.take(hand.lane))
            else:
                self._idle.append(hand)
                rested += 1
        return rested

    def close(self) -> None:
        """Close every connection."""
        for hand in self._idle:
            hand.close()
        self._curl.close()


@dataclass(slots=True, eq=False)
class _Lane:
    """What waits for one service."""

    is_allowed: bool
    waiting: deque[tuple[int, Post]] = field(default_factory=deque)


class _Hand(pycurl.Curl):
    """One request at a time, over whichever connection is free."""

    lane: _Lane
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

    def take(self, lane: _Lane) -> Self:
        """The next request of a lane: make ready what is not the same as last time."""
        self.lane = lane
        self.place, post = lane.waiting.popleft()
        if self.url != post.url:
            self.url = post.url
            self.setopt(pycurl.URL, post.url)
        if self.headers is not post.headers:
            self.headers = post.headers
            self.setopt(pycurl.HTTPHEADER, post.headers)
        self.setopt(pycurl.POSTFIELDS, post.body)
        return self

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
        status, parts = self.getinfo(pycurl.RESPONSE_CODE), self.parts
        found = _USUAL.get(status) if code == 0 else None
        if found is None:
            found = self._unusual(code, status, b"".join(parts))
        parts.clear()
        while self.opened:
            self.opened.pop().close()
        return found

    def _unusual(self, code: int, status: int, body: bytes) -> Answer:
        was_refused, self.was_refused = self.was_refused, False
        if code == 0 or (code == pycurl.E_FILESIZE_EXCEEDED and status):  # the beginning says enough
            return Answer(status, body, timedelta(seconds=self.getinfo(pycurl.RETRY_AFTER)))
        if code == pycurl.E_OPERATION_TIMEDOUT:
            return Answer(0, failed=TIMEOUT)
        return Answer(0, failed="refused" if was_refused else "connect" if code in _NO_WAY else "cut")


def _ms(time: timedelta) -> int:
    return int(time.total_seconds() * 1000)
