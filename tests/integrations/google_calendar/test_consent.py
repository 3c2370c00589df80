"""Asking for a grant: the consent page's address, and who can ask."""

import base64
import hashlib
from urllib.parse import parse_qs

import pytest

from integrations.contract import Provider
from integrations.google_calendar import GOOGLE_CALENDAR
from integrations.google_calendar.oauth import GoogleAccounts
from integrations.http import Http
from tests.integrations.google_calendar.conftest import BACK, CLIENT_ID, CLIENT_SECRET, HELD, NOW, SUB, Google


def test_the_accounts_are_a_provider(accounts: GoogleAccounts) -> None:
    provider: Provider = accounts
    assert provider.leave(HELD, SUB) is None  # type: ignore[func-returns-value]


def test_a_client_without_an_id_or_a_secret_is_refused(http: Http) -> None:
    urls = {"auth_url": "a", "token_url": "t", "revoke_url": "r", "api_url": "u"}
    for client_id, secret in (("", "s"), ("i", "")):
        with pytest.raises(ValueError, match="client's id and secret"):
            GoogleAccounts(http, client_id=client_id, client_secret=secret, scopes=["x"], clock=lambda: NOW, **urls)


def test_the_consent_page_is_asked_for_lasting_access_to_no_more_than_the_scopes(
    accounts: GoogleAccounts, google: Google
) -> None:
    begun = accounts.begin(redirect_uri=BACK, state="state-1")
    page, _, query = begun.url.partition("?")
    asked = {name: values for name, values in parse_qs(query).items()}
    challenge = base64.urlsafe_b64encode(hashlib.sha256((begun.verifier or "").encode()).digest()).rstrip(b"=")
    assert page == google.url + "/o/oauth2/v2/auth"
    assert asked == {
        "response_type": ["code"],
        "client_id": [CLIENT_ID],
        "redirect_uri": [BACK],
        "scope": [" ".join(GOOGLE_CALENDAR.scopes)],
        "state": ["state-1"],
        "access_type": ["offline"],
        "prompt": ["consent"],
        "code_challenge": [challenge.decode()],
        "code_challenge_method": ["S256"],
    }


def test_every_consent_has_its_own_verifier_which_is_not_in_the_address(accounts: GoogleAccounts) -> None:
    first, second = (accounts.begin(redirect_uri=BACK, state="s") for _ in range(2))
    assert first.verifier and second.verifier and first.verifier != second.verifier
    assert 43 <= len(first.verifier) <= 128 and first.verifier not in first.url
    assert first.verifier not in repr(first) and CLIENT_SECRET not in first.url


def test_the_real_address_stays_https(http: Http) -> None:
    real = GoogleAccounts(
        http,
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        auth_url="https://accounts.google.com/o/oauth2/v2/auth",
        token_url="https://oauth2.googleapis.com/token",
        revoke_url="https://oauth2.googleapis.com/revoke",
        api_url="https://www.googleapis.com",
        scopes=GOOGLE_CALENDAR.scopes,
        clock=lambda: NOW,
    )
    url = real.begin(redirect_uri=BACK, state="s").url
    assert url.startswith("https://accounts.google.com/o/oauth2/v2/auth?")
