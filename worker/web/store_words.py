"""What people call the stores of an erasure: a few lines with a number each; it asks no database."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "Leads and their history": ("leads", "lead_history"),
    "Forms and their daily counts": ("forms", "lead_checks"),
    "Notices of the provider": ("inbox_events",),
    "What events told of it": ("events",),
    "Answers kept for repeated requests": ("kept_answers",),
    "Copies that were asked for": ("exports", "export_chunks"),
    "Restrictions": ("restrictions",),
    "Preferences and notices of policies": ("opt_outs", "policy_notices", "policy_recipients"),
    "Bulletins, whom they were for and who read them": ("bulletins", "pushes", "feed_reads"),
    "Devices": ("devices", "device_tags"),
    "Finished jobs": ("jobs",),
    "Calendars and the ids of their events": ("calendars", "channels", "calendar_events"),
    "Accounts and who connected them": ("connections", "holders"),
    "Links to connect": ("connect_links", "connect_states"),
    "Keys and sign-ins": ("api_keys", "sign_ins"),
    "Rules about how long data is kept": ("retention_rules", "legal_retentions"),
    "The customer's name": ("tenants",),
    "Encryption keys": ("data_keys",),
}


@dataclass(frozen=True, slots=True)
class Line:
    """A group of stores, and how many of its rows are meant."""

    words: str
    rows: int


def lines_of(rows: Mapping[str, int]) -> list[Line]:
    """Store -> rows, as lines; a group of which no store is there has none."""
    return [
        Line(words, sum(rows.get(name, 0) for name in names))
        for words, names in WORDS.items() if any(name in rows for name in names)
    ]  # fmt: skip
