"""A Google grant from consent to revocation, through Google's own libraries, against the simulator over HTTP."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from integrations.contract import Account
from integrations.errors import GrantGone, NeedsUser, OurBug, Transient
from integrations.google_calendar import GOOGLE_CALENDAR
from integrations.google_calendar.oauth import GoogleAccounts
from integrations.google_calendar.scopes import CALENDAR, EMAIL, OPENID
from integrations.http import Http
from integrations.simulator.buttons import Does
from integrations.simulator.google_consent import consent
from integrations.simulator.google_records import GoogleAccount
from integrations.simulator.seed import GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET, build_world
from integrations.simulator.server import SimulatorServer
from tests.integrations.google_calendar.conftest import BACK, SUB, failed

ADDRESS = "ada@example.com"


class Clock:
    """Now is what the test says."""

    now = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def simulator(clock: Clock) -> Iterator[SimulatorServer]:
    world = build_world(clock)
    world.google.accounts[SUB] = GoogleAccount(SUB, ADDRESS, "Ada")
    with SimulatorServer(world) as running:
        yield running


def accounts_of(
    simulator: SimulatorServer, http: Http, clock: Clock, secret: str = GOOGLE_CLIENT_SECRET
) -> GoogleAccounts:
    return GoogleAccounts(
        http,
        client_id=GOOGLE_CLIENT_ID,
        client_secret=secret,
        auth_url=simulator.url + "/o/oauth2/v2/auth",
        token_url=simulator.url + "/token",
        revoke_url=simulator.url + "/revoke",
        api_url=simulator.url,
        scopes=GOOGLE_CALENDAR.scopes,
        clock=clock,
    )


@pytest.fixture
def accounts(simulator: SimulatorServer, http: Http, clock: Clock) -> GoogleAccounts:
    return accounts_of(simulator, http, clock)


def code_in(location: str) -> str:
    """The code of the address that a person comes back to."""
    return httpx.URL(location).params["code"]


def connected(accounts: GoogleAccounts, simulator: SimulatorServer, *, untick: tuple[str, ...] = ()) -> Account:
    begun = accounts.begin(redirect_uri=BACK, state="s")
    back = consent(simulator.world.google, begun.url, SUB, untick=untick)
    [account] = accounts.complete(code=code_in(back), verifier=begun.verifier, redirect_uri=BACK)
    return account


def test_a_grant_lives_from_consent_to_revocation(
    accounts: GoogleAccounts, simulator: SimulatorServer, clock: Clock
) -> None:
    account = connected(accounts, simulator)
    assert (account.external_id, account.name, account.holders) == (SUB, ADDRESS, (SUB, ADDRESS))
    assert set(account.scopes) == {OPENID, EMAIL, CALENDAR} and account.problem is None
    assert account.expires_at == clock() + timedelta(seconds=3599)
    fresh = accounts.refresh(account.tokens)
    assert fresh.values["access_token"] != account.tokens["access_token"]
    assert fresh.values["refresh_token"] == account.tokens["refresh_token"]
    assert set(fresh.scopes or ()) == {OPENID, EMAIL, CALENDAR}
    assert accounts.check(fresh.values, SUB).holders == (SUB, ADDRESS)
    accounts.revoke(fresh.values)
    assert simulator.world.google.living("refresh", SUB) == []
    accounts.revoke(fresh.values)
    assert type(failed(lambda: accounts.refresh(fresh.values))) is GrantGone
    assert type(failed(lambda: accounts.check(fresh.values, SUB))) is NeedsUser


def test_a_code_works_once_and_only_with_its_own_verifier(accounts: GoogleAccounts, simulator: SimulatorServer) -> None:
    begun, other = (accounts.begin(redirect_uri=BACK, state="s") for _ in range(2))
    code = code_in(consent(simulator.world.google, begun.url, SUB))
    for verifier in (other.verifier, None):
        wrong = failed(lambda it=verifier: accounts.complete(code=code, verifier=it, redirect_uri=BACK))  # type: ignore[misc]
        assert wrong.code == "code_refused"
    assert accounts.complete(code=code, verifier=begun.verifier, redirect_uri=BACK)
    again = failed(lambda: accounts.complete(code=code, verifier=begun.verifier, redirect_uri=BACK))
    assert again.code == "code_refused"


def test_a_calendar_left_unticked_is_named(accounts: GoogleAccounts, simulator: SimulatorServer) -> None:
    account = connected(accounts, simulator, untick=(CALENDAR,))
    assert account.problem is not None and account.problem.code == "scope_missing"
    assert CALENDAR not in account.scopes


def test_the_calendar_alone_does_not_say_whose_it_is(accounts: GoogleAccounts, simulator: SimulatorServer) -> None:
    error = failed(lambda: connected(accounts, simulator, untick=(OPENID, EMAIL)))
    assert error.code == "no_account"


def test_an_imported_grant_of_the_calendar_alone_is_refreshed_and_checked(
    accounts: GoogleAccounts, simulator: SimulatorServer
) -> None:
    token = simulator.world.google.grant(SUB, [CALENDAR])
    fresh = accounts.refresh({"refresh_token": token.value})
    assert fresh.scopes == (CALENDAR,)
    assert accounts.check(fresh.values, SUB).holders is None


def test_a_rotated_refresh_token_works_and_the_old_one_is_dead(
    accounts: GoogleAccounts, simulator: SimulatorServer
) -> None:
    account = connected(accounts, simulator)
    simulator.world.google.account(SUB).rotate = True
    fresh = accounts.refresh(account.tokens)
    assert fresh.values["refresh_token"] != account.tokens["refresh_token"]
    assert type(failed(lambda: accounts.refresh(account.tokens))) is GrantGone
    assert accounts.refresh(fresh.values).values["access_token"]


def test_a_grant_ended_outside_is_gone(accounts: GoogleAccounts, simulator: SimulatorServer) -> None:
    account = connected(accounts, simulator)
    simulator.world.google.revoke(SUB)
    assert type(failed(lambda: accounts.refresh(account.tokens))) is GrantGone
    assert type(failed(lambda: accounts.check(account.tokens, SUB))) is NeedsUser


def test_a_changed_password_ends_the_grant(accounts: GoogleAccounts, simulator: SimulatorServer) -> None:
    account = connected(accounts, simulator)
    simulator.world.google.change_password(SUB)
    assert type(failed(lambda: accounts.refresh(account.tokens))) is GrantGone


def test_an_administrator_who_shuts_the_app_out_does_not_end_the_grant(
    accounts: GoogleAccounts, simulator: SimulatorServer
) -> None:
    account = connected(accounts, simulator)
    simulator.world.google.account(SUB).admin_policy = True
    error = failed(lambda: accounts.refresh(account.tokens))
    assert type(error) is NeedsUser and error.code == "admin_policy_enforced"
    simulator.world.google.account(SUB).admin_policy = False
    assert accounts.refresh(account.tokens).values["access_token"]


def test_an_app_in_testing_loses_its_grants_after_seven_days(
    accounts: GoogleAccounts, simulator: SimulatorServer, clock: Clock
) -> None:
    account = connected(accounts, simulator)
    simulator.world.google.client().testing = True
    clock.now += timedelta(days=6, hours=23)
    assert accounts.refresh(account.tokens).values["access_token"]
    clock.now += timedelta(hours=1)
    assert type(failed(lambda: accounts.refresh(account.tokens))) is GrantGone


def test_an_expired_access_token_is_told_from_a_dead_grant_by_a_refresh(
    accounts: GoogleAccounts, simulator: SimulatorServer, clock: Clock
) -> None:
    account = connected(accounts, simulator)
    clock.now += timedelta(hours=2)
    assert type(failed(lambda: accounts.check(account.tokens, SUB))) is NeedsUser
    assert accounts.check(accounts.refresh(account.tokens).values, SUB).holders == (SUB, ADDRESS)


def test_a_wrong_client_secret_is_the_operators_to_mend(simulator: SimulatorServer, http: Http, clock: Clock) -> None:
    account = connected(accounts_of(simulator, http, clock), simulator)
    wrong = accounts_of(simulator, http, clock, secret="another")
    error = failed(lambda: wrong.refresh(account.tokens))
    assert type(error) is OurBug and error.code == "invalid_client"


@pytest.mark.parametrize("does", ["cut", "html_502", "error"])
def test_trouble_at_google_is_transient_and_is_called_once(
    accounts: GoogleAccounts, simulator: SimulatorServer, does: Does
) -> None:
    account = connected(accounts, simulator)
    simulator.panel.press(does, kind="google_refresh", times=1)
    before = simulator.world.google.refresh_calls[SUB]
    assert type(failed(lambda: accounts.refresh(account.tokens))) is Transient
    assert simulator.world.google.refresh_calls[SUB] == before + 1
    assert accounts.refresh(account.tokens).values["access_token"]
