"""An error and an attempt become a decision: again in t, a person is needed, or give up. Pure; it does nothing itself."""

import random
from dataclasses import dataclass
from datetime import timedelta

from integrations.errors import IntegrationError, Missing, NeedsUser, OurBug, Throttled, Transient

FIRST_WAIT = timedelta(seconds=2)
LONGEST_WAIT = timedelta(hours=1)
THROTTLED_WAIT = timedelta(minutes=5)
PARKED = timedelta(hours=6)
"""A job whose connection needs a person looks again this often by itself; a reconnect brings it forward at once."""

TRANSIENT_ATTEMPTS = 80
"""Reached after about three days of waits of at most an hour: longer than Meta's own 36 h of retries."""
UNKNOWN_ATTEMPTS = 6


@dataclass(frozen=True, slots=True)
class Again:
    """Run again after `wait`; `counts` is False when the run was no failure of ours or theirs (a throttle)."""

    wait: timedelta
    counts: bool = True


@dataclass(frozen=True, slots=True)
class NeedsPerson:
    """Only a person can mend the connection; the job waits meanwhile."""

    wait: timedelta = PARKED


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Dead: kept with its reason until a person replays it."""


Decision = Again | NeedsPerson | GiveUp


def decide(error: Exception, attempts: int) -> Decision:
    """What follows from an error after so many attempts (this one included)."""
    match error:
        case Throttled():
            return Again(error.retry_after or THROTTLED_WAIT, counts=False)
        case NeedsUser():
            return NeedsPerson()
        case Transient() if attempts < TRANSIENT_ATTEMPTS:
            return Again(max(backoff(attempts), error.retry_after or timedelta()))
        case OurBug() | Missing() | Transient():
            return GiveUp()
        case _:
            return Again(backoff(attempts)) if attempts < UNKNOWN_ATTEMPTS else GiveUp()


def backoff(attempts: int) -> timedelta:
    """2 s, 4 s, 8 s ... to an hour, less up to a quarter, so that those who failed together do not return together."""
    wait: timedelta = min(FIRST_WAIT * 2 ** min(attempts - 1, 20), LONGEST_WAIT)
    return wait * random.uniform(0.75, 1)  # noqa: S311 - spreads load, guards nothing


def describe(error: Exception) -> tuple[str, str]:
    """(kind, sentence) for the ledger. Only our own errors' words are kept: others may quote what they choked on."""
    if isinstance(error, IntegrationError):
        return error.kind, str(error)
    return ("our_bug", f"{type(error).__name__} was raised; the worker's log of this job has the place.")
