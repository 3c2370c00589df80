"""The error tree: each class is one decision, and every error crosses a process whole."""

import copy
import pickle
from datetime import timedelta

import pytest

from integrations.errors import (
    BadPayload,
    BadSignature,
    IntegrationError,
    Missing,
    NeedsUser,
    OurBug,
    Refused,
    Throttled,
    Transient,
)

KINDS = {Transient: "transient", Throttled: "throttled", NeedsUser: "needs_user", Missing: "missing", OurBug: "our_bug"}


@pytest.mark.parametrize("error", KINDS, ids=KINDS.values())
def test_an_error_survives_pickling_with_all_it_says(error: type[IntegrationError]) -> None:
    before = error("It broke.", code="190/463", fix="Mend it.", retry_after=timedelta(minutes=7), trace="Ax1")
    for after in (pickle.loads(pickle.dumps(before)), copy.deepcopy(before)):  # noqa: S301 - our own bytes
        assert type(after) is error
        assert str(after) == after.sentence == "It broke."
        assert (after.code, after.fix, after.retry_after, after.trace) == (
            "190/463",
            "Mend it.",
            timedelta(minutes=7),
            "Ax1",
        )


@pytest.mark.parametrize(("error", "kind"), KINDS.items(), ids=KINDS.values())
def test_a_kind_is_the_word_that_the_ledger_keeps(error: type[IntegrationError], kind: str) -> None:
    assert error("It broke.").kind == kind


def test_a_refused_caller_is_no_failed_call_of_ours() -> None:
    for refusal in (BadSignature, BadPayload):
        assert issubclass(refusal, Refused)
        assert not issubclass(refusal, IntegrationError)
