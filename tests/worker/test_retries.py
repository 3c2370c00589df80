"""Errors and attempts become decisions."""

from datetime import timedelta

import pytest

from integrations.errors import Missing, NeedsUser, OurBug, Throttled, Transient
from worker.retries import (
    LONGEST_WAIT,
    PARKED,
    THROTTLED_WAIT,
    TRANSIENT_ATTEMPTS,
    UNKNOWN_ATTEMPTS,
    Again,
    Decision,
    GiveUp,
    NeedsPerson,
    backoff,
    decide,
    describe,
)

TABLE: list[tuple[Exception, int, Decision]] = [
    (
        Throttled("Meta asks us to wait.", retry_after=timedelta(minutes=17)),
        1,
        Again(timedelta(minutes=17), counts=False),
    ),
    (Throttled("Meta asks us to wait."), 999, Again(THROTTLED_WAIT, counts=False)),
    (NeedsUser("The token is dead.", fix="Connect it again."), 1, NeedsPerson(PARKED)),
    (Transient("Meta did not answer."), TRANSIENT_ATTEMPTS, GiveUp()),
    (OurBug("We asked for a field that does not exist."), 1, GiveUp()),
    (Missing("It is not there."), 1, GiveUp()),
    (ValueError("x"), UNKNOWN_ATTEMPTS, GiveUp()),
]


@pytest.mark.parametrize(("error", "attempts", "decision"), TABLE)
def test_each_class_of_error_has_its_decision(error: Exception, attempts: int, decision: Decision) -> None:
    assert decide(error, attempts) == decision


@pytest.mark.parametrize("error", [Transient("Meta did not answer."), ValueError("x")])
def test_what_may_pass_is_tried_again_later_each_time(error: Exception) -> None:
    waits = [decision.wait for decision in (decide(error, n) for n in (1, 3, 5)) if isinstance(decision, Again)]
    assert len(waits) == 3
    assert waits == sorted(waits)
    assert waits[0] >= timedelta(seconds=1)


def test_the_providers_own_delay_comes_before_a_shorter_backoff() -> None:
    decision = decide(Transient("Busy.", retry_after=timedelta(minutes=9)), 1)
    assert decision == Again(timedelta(minutes=9))


def test_backoff_ends_at_an_hour_and_outlives_metas_own_retries() -> None:
    assert backoff(500) <= LONGEST_WAIT
    shortest = sum((backoff(n) for n in range(1, TRANSIENT_ATTEMPTS)), timedelta())
    assert shortest > timedelta(hours=36)


def test_a_foreign_errors_words_never_reach_the_ledger() -> None:
    assert "canary@example.com" not in " ".join(describe(ValueError("canary@example.com")))
