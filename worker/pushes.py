"""The ways to devices that are set up here, and the senders of this process, made when they are first needed."""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from integrations.http import Http
from integrations.push.contract import Answer, Channel, Post
from integrations.push.fcm import Fcm, FcmTokens
from integrations.push.vapid import Vapid
from integrations.push.webpush import WebPush
from models.device import FID, TOKEN, WEBPUSH
from worker.pauses import Pauses
from worker.push_pace import Paces
from worker.quota import Bucket, Quota, within
from worker.settings import Push

if TYPE_CHECKING:
    from integrations.push.sender import Sender


BATCHES_AT_ONCE: Final = 2
"""Of how many jobs posts are on their way at a time. Each has many connections; of four, each message took a tenth more CPU."""


class Pushes:
    """Safe to share between threads. A push service that asked for a pause gets it from every process."""

    def __init__(self, settings: Push, http: Http, clock: Callable[[], datetime], pauses: Pauses, quota: Quota) -> None:
        self._settings, self._pauses = settings, pauses
        self._turn, self._sending = threading.Lock(), threading.BoundedSemaphore(BATCHES_AT_ONCE)
        self.writing = threading.Lock()
        """Held while messages are written, which is all computing: by threads that take the interpreter from each other every
        few milliseconds a message costs a third more."""
        self.last_taken = ""
        """The bulletin of which a provider has taken a push, as this process saw last: it need not ask for each chunk."""
        self._free: list[Sender] = []
        self._channels: dict[str, Channel] = {}
        project: Bucket | None = None
        if settings.fcm_credentials is not None:
            tokens = FcmTokens(http, settings.fcm_credentials, clock)
            name = settings.fcm_credentials["project_id"]
            fcm = Fcm(tokens, url=settings.fcm_url, project=name)
            self._channels |= {FID: fcm, TOKEN: fcm}
            if settings.fcm_quota:
                project = within(f"fcm:{name}", settings.fcm_quota)
        if settings.vapid_private_key:
            vapid = Vapid(settings.vapid_private_key, settings.vapid_subject, lambda: clock().timestamp())
            self._channels[WEBPUSH] = WebPush(vapid, settings.allowed)
        self.paces = Paces(quota, clock, project)

    @property
    def is_on(self) -> bool:
        """Whether anything can be sent at all."""
        return bool(self._channels)

    @property
    def public_key(self) -> str | None:
        """What the host's pages subscribe browsers with; None while Web Push is off."""
        found = self._channels.get(WEBPUSH)
        return found.vapid.public_key if isinstance(found, WebPush) else None

    def channel(self, kind: str) -> Channel | None:
        """The way to devices of a kind; None while it is turned off."""
        return self._channels.get(kind)

    def send(self, posts: Sequence[Post]) -> list[Answer]:
        """The answers, in the order of the posts; by the sender that was free last, whose connections are warm."""
        with self._sending:
            with self._turn:
                sender = self._free.pop() if self._free else self._another()
            answers = sender.send(posts)
            self._free.append(sender)
        return answers

    def _another(self) -> "Sender":
        from integrations.push.sender import Sender  # noqa: PLC0415 - libcurl, for the processes that push alone

        return Sender([*self._settings.allowed, self._settings.fcm_url])

    def hold(self, service: str, until: datetime) -> None:
        """A push service asked for a pause."""
        self._pauses.pause(service, until)

    def held(self, service: str) -> datetime | None:
        """Until when nothing is to be sent to a push service; None: it may be."""
        return self._pauses.until(service)

    def close(self) -> None:
        """Close the connections of who sends nothing now."""
        while self._free:
            self._free.pop().close()
