"""What a push service is to the rest: a message is written for many devices, posted to each, and every answer is a verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple, Protocol

ACCEPTED = "accepted"
DEAD = "dead"
"""The provider says that this address will never work again."""
FOREIGN = "foreign"
"""The address belongs to another project's app: dead to this one."""
INVALID = "invalid"
"""The provider refuses what was sent, not whom it was sent to: the next device would be answered the same."""
AGAIN = "again"
"""Later, after `wait` where the provider named one."""
CREDENTIALS = "credentials"
"""The provider does not take us for who we are: a person has to mend a setting, and no device is to blame."""


TIMEOUT = "timeout"
"""What `Answer.failed` says of a service that hangs."""
LONGEST_WAIT = timedelta(hours=6)


class Verdict(NamedTuple):
    """What an answer means. `code` is the provider's word in small letters, or one of ours."""

    kind: str
    code: str
    wait: timedelta | None = None


TAKEN = Verdict(ACCEPTED, "ok")


@dataclass(frozen=True, slots=True)
class Message:
    """What is to appear on a device. `tag` is the bulletin: what comes twice under one tag is shown once.

    `body` is plain text; `ttl` how long the provider may keep it for a device that is off.
    """

    tag: str
    title: str = field(repr=False)
    body: str = field(repr=False)
    ttl: timedelta
    url: str | None = None
    image_url: str | None = None
    is_urgent: bool = False


class Post(NamedTuple):
    """One request, ready to be sent, to an ASCII `url`. `service` is who takes it: one who asks for a pause gets it for all of
    its own, and what hangs there holds nobody else up.

    `headers` are lines "name: value", and the same object for the same headers.
    """

    url: str
    service: str
    headers: list[str]
    body: bytes


class Answer(NamedTuple):
    """What came back; status 0 and a word of ours in `failed` when no answer came. The `body` of what was taken is not kept.

    `wait` is the answer's Retry-After, whose date is counted from now; zero where there was none."""

    status: int
    body: bytes = b""
    wait: timedelta = timedelta()
    failed: str = ""

    @property
    def retry_after(self) -> timedelta | None:
        """How long the provider asks us to wait, within reason; None when it does not say."""
        return min(self.wait, LONGEST_WAIT) if self.wait > timedelta() else None


class Writer(Protocol):
    """A message on its way to the devices of one kind: written once, addressed many times."""

    def post(self, address: Mapping[str, str]) -> Post:
        """The request for one device. ValueError where its address is none."""


class Channel(Protocol):
    """One provider's way. `name` is what its devices are called in words of ours."""

    name: str

    def begin(self, message: Message, kind: str) -> Writer:
        """Write a message for devices of a kind. IntegrationError when we cannot prove who we are."""

    def verdict(self, answer: Answer) -> Verdict:
        """What an answer means."""
