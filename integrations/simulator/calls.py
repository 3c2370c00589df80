"""Counts what was asked of the simulator, so that a test can prove "each lead once, in N calls"; keeps no content."""

from collections import Counter
from typing import Any


class Calls:
    """`requests` counts HTTP requests by kind; `made` logical calls by (kind, token label, tenant), a batch's items
    singly, as Meta's limits count them; `leads` the good answers that carried a lead, by its id; `faults` what was answered
    otherwise than well, by the kind of call and what it was: "form_leads/80005", "batch/190/460", "lead/null_item",
    "calendar/backendError"."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin again at zero."""
        self.requests: Counter[str] = Counter()
        self.made: Counter[tuple[str, str, str]] = Counter()
        self.leads: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    def of(self, kind: str, *, token: str | None = None, tenant: str | None = None) -> int:
        """How many logical calls of a kind, of one token label or tenant if given."""
        return sum(
            number
            for (its_kind, its_token, its_tenant), number in self.made.items()
            if its_kind == kind and token in (None, its_token) and tenant in (None, its_tenant)
        )

    def as_json(self) -> dict[str, Any]:
        """For the control page; `lead_reads` is how many leads were read how often."""
        return {
            "requests": dict(self.requests),
            "calls": [
                {"kind": kind, "token": token, "tenant": tenant, "count": number}
                for (kind, token, tenant), number in self.made.items()
            ],
            "leads_read": len(self.leads),
            "lead_reads": {str(times): number for times, number in Counter(self.leads.values()).items()},
            "faults": dict(self.faults),
        }
