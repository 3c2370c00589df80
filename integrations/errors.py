"""The error tree, where the class says what to do next; it knows no provider's codes, no retry schedule and no clock.

    Exception
    |-- IntegrationError     a call of ours to the outside failed
    |   |-- Transient        again soon
    |   |-- Throttled        again after `retry_after`; calling earlier makes the wait longer
    |   |-- NeedsUser        again after a person acted; `fix` says what to do
    |   |   `-- GrantGone    ... and the provider has ended the grant: its tokens are worthless and are destroyed
    |   |-- Missing          this item is not there or may not be read; look again a few times, then park it
    |   `-- OurBug           never again by itself; a person changes the code or a setting, then replays
    `-- Refused              a caller from outside was turned away; nothing of it is kept or tried again
        |-- BadSignature     not proven to come from the provider (answer 401)
        `-- BadPayload       proven, and not readable (answer 400)

Texts are ours, safe to log and to show: they hold neither token, URL, personal data nor the provider's prose.
"""

from datetime import timedelta
from typing import ClassVar


class IntegrationError(Exception):
    """A failed call to the outside. Use a subclass: the class is the decision.

    `sentence`: what happened, for people. `code`: the provider's code as text ("190/463"), or a short word of ours.
    `fix`: what a person can do. `retry_after`: not before this long from now. `trace`: the provider's own
    reference for the call. Survives pickling, so that it may cross a process.
    """

    kind: ClassVar[str] = "error"

    def __init__(
        self,
        sentence: str,
        *,
        code: str | None = None,
        fix: str | None = None,
        retry_after: timedelta | None = None,
        trace: str | None = None,
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code
        self.fix = fix
        self.retry_after = retry_after
        self.trace = trace

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.sentence!r}, code={self.code!r})"


class Transient(IntegrationError):
    """The same call is expected to work soon."""

    kind = "transient"


class Throttled(IntegrationError):
    """The provider asked for fewer calls; `retry_after` holds its own delay where it gave one."""

    kind = "throttled"


class NeedsUser(IntegrationError):
    """Only a person of the tenant can mend this: the connection turns `needs_reconnect`."""

    kind = "needs_user"


class GrantGone(NeedsUser):
    """The grant was ended at the provider. What its tokens opened stays closed until somebody connects again."""


class Missing(IntegrationError):
    """This one item is absent or closed to us; its neighbours and the connection are well."""

    kind = "missing"


class OurBug(IntegrationError):
    """The request was wrong, and would be wrong again."""

    kind = "our_bug"


class Refused(Exception):
    """A caller from outside was turned away; the text is a safe sentence."""


class BadSignature(Refused):
    """The caller did not prove to be the provider."""


class BadPayload(Refused):
    """The caller is the provider, but nothing of the body can be read."""
