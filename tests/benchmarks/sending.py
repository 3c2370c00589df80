"""Drives the sender's process: what to deliver, how many at once, and what came of it."""

from dataclasses import dataclass, field

from tests.benchmarks.dialogue import Dialogue
from tests.benchmarks.processes import Processes

APP_SECRET = "benchmark-app-secret"
PATH = "/webhooks/meta"

PageLead = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Sent:
    """What happened: wall-clock instants (seconds) and status per delivery; 0 for one that was not sent any more."""

    began: float
    ended: float
    sent: list[float]
    answered: list[float]
    statuses: list[int] = field(default_factory=list)

    @property
    def acknowledged(self) -> int:
        """How many were answered 200."""
        return sum(status in (200, 204) for status in self.statuses)

    @property
    def refused(self) -> int:
        """How many were sent and answered otherwise, or not at all."""
        return sum(bool(at) and status not in (200, 204) for at, status in zip(self.sent, self.statuses, strict=True))

    @property
    def latencies(self) -> list[float]:
        """Seconds from sending to the answer."""
        return [b - a for a, b in zip(self.sent, self.answered, strict=True) if a and b]


class Sending:
    """A sender that has built its requests and waits for the word. `seconds` ends it before all is delivered."""

    def __init__(
        self,
        processes: Processes,
        *,
        port: int,
        deliveries: list[list[PageLead]],
        connections: int,
        rate: float | None = None,
        seconds: float | None = None,
    ) -> None:
        plan = {"port": port, "path": PATH, "secret": APP_SECRET, "deliveries": deliveries,
                "connections": connections, "rate": rate, "seconds": seconds}  # fmt: skip
        self._dialogue = Dialogue(processes, "load", "tests.benchmarks.load", plan)

    def go(self) -> None:
        """Begin."""
        self._dialogue.go()

    def result(self) -> Sent:
        """Wait for the end."""
        return Sent(**self._dialogue.result())


def spread(leads: list[PageLead], changes: int) -> list[list[PageLead]]:
    """Leads in deliveries of so many changes each."""
    return [leads[start : start + changes] for start in range(0, len(leads), changes)]
