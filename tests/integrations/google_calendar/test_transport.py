"""Google's libraries on our connections: nothing secret gets out, and threads do not mix."""

import logging
import threading

import pytest

from integrations.errors import Transient
from integrations.google_calendar.oauth import GoogleAccounts
from integrations.google_calendar.transport import through
from tests.integrations.google_calendar.conftest import (
    ADDRESS,
    BACK,
    CANARIES,
    REFRESH,
    SUB,
    Google,
    completed,
    failed,
    token_answer,
)


def test_the_whole_life_of_a_grant_logs_nothing_secret(
    accounts: GoogleAccounts, google: Google, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    google.answers |= {
        "/token": (200, token_answer()),
        "/oauth2/v3/userinfo": (200, {"sub": SUB, "email": ADDRESS}),
        "/revoke": (200, {}),
    }
    begun = accounts.begin(redirect_uri=BACK, state="canary-state")
    account = completed(accounts)
    fresh = accounts.refresh(account.tokens)
    accounts.check(fresh.values, SUB)
    accounts.revoke(fresh.values)
    told = caplog.text + repr(begun) + repr(account.__class__) + repr(fresh)
    assert not [canary for canary in (*CANARIES, begun.verifier or "") if canary in told]


def test_many_threads_refresh_over_one_pool_without_mixing_their_tokens(
    accounts: GoogleAccounts, google: Google
) -> None:
    google.answers["/token"] = lambda call: (200, {"access_token": "for-" + call.form["refresh_token"]})
    results: dict[str, str] = {}

    def refresh(name: str) -> None:
        for _ in range(5):
            results[name] = accounts.refresh({"refresh_token": name}).values["access_token"]

    threads = [threading.Thread(target=refresh, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {f"t{number}": f"for-t{number}" for number in range(8)}
    assert len(google.calls) == 40


def test_what_a_library_raises_by_itself_is_dropped() -> None:
    def broken() -> None:
        raise KeyError(REFRESH)

    error = failed(lambda: through(broken))
    assert type(error) is Transient and error.code == "answer"
